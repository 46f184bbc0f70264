//! What `deploy/` says of the program is true of it: every flag is one, every figure is given.

use crate::common::{Server, command, folder, run, text};
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(deploy().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Words of `text` that begin with `prefix` and go on with letters, digits and what `more` has.
fn words<'a>(text: &'a str, prefix: &str, more: char) -> BTreeSet<&'a str> {
    let starts = text.match_indices(prefix).map(|(at, _)| &text[at..]);
    let end =
        |rest: &str| rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == more)).unwrap_or(rest.len());
    starts
        .map(|rest| rest[..end(rest)].trim_end_matches(more))
        .filter(|word| word.len() > prefix.len())
        .collect()
}

#[test]
fn flags_in_what_is_deployed_are_flags_of_serve_or_pull() {
    let home = folder();
    let help = |of: &str| run(&mut command(home.path(), &[of, "--help"])).stdout;
    let (serve, pull) = (help("serve"), help("pull"));
    for (path, help) in [
        ("helm/zest/templates/daemonset.yaml", text(&serve)),
        ("compose/compose.yaml", text(&serve)),
        ("systemd/system/zest.service", text(&serve)),
        ("slurm/prolog", text(&pull)),
    ] {
        let file = read(path);
        // What is said to Slurm, Docker and the like stands in comments and in lines of their own.
        let ours = file.lines().filter(|line| {
            let line = line.trim_start();
            let of_ours =
                ["- --", "command:", "ExecStart=", "zest "].iter().any(|start| line.starts_with(start));
            of_ours && !line.starts_with('#')
        });
        let flags: Vec<&str> = ours.flat_map(|line| words(line, "--", '-')).collect();
        for flag in flags {
            assert!(
                help.contains(&format!("{flag} ")) || help.contains(&format!("{flag}\n")),
                "{path}: {flag}"
            );
        }
    }
}

/// What a packager puts where: the part of `deploy/package`, and the folder or file of the system.
fn assets(of: &toml::Table, list: &str) -> BTreeSet<(String, String)> {
    let assets = of[list]["assets"].as_array().expect("a list");
    let parts = assets.iter().map(|asset| match asset {
        // cargo-deb's paths begin at the crate, cargo-generate-rpm's at the workspace.
        toml::Value::Array(it) => (it[0].as_str(), it[1].as_str()),
        other => (other["source"].as_str(), other["dest"].as_str()),
    });
    let named = parts.map(|(source, to)| (source.expect("a source"), to.expect("a place")));
    named
        .map(|(source, to)| {
            let source = source.trim_start_matches("../").trim_start_matches("target/package/");
            let name = source.rsplit('/').next().unwrap_or(source);
            let to = format!("/{}", to.trim_start_matches('/').trim_end_matches(&format!("/{name}")));
            // The two families differ in these places only.
            let to = to.replace("/usr/share/zsh/site-functions", "/usr/share/zsh/vendor-completions");
            (source.to_owned(), to.trim_end_matches('/').to_owned())
        })
        .collect()
}

#[test]
fn the_deb_and_the_rpm_have_the_same_files_and_every_unit_page_and_completion_is_among_them() {
    let manifest = std::fs::read_to_string(deploy().join("../cli/Cargo.toml")).expect("there");
    let manifest: toml::Table = manifest.parse().expect("a manifest");
    let metadata = manifest["package"]["metadata"].as_table().expect("there");
    let (deb, rpm) = (assets(metadata, "deb"), assets(metadata, "generate-rpm"));
    let licence = ("LICENSE".to_owned(), "/usr/share/licenses/zest".to_owned());
    // A .deb has it as its `copyright`.
    let rpm: BTreeSet<_> = rpm.into_iter().filter(|asset| *asset != licence).collect();
    assert_eq!(deb, rpm);
    let has =
        |source: &str| assert!(deb.iter().any(|(it, _)| it == source), "{source} is in no package: {deb:?}");
    for kind in ["system", "user", "sysusers.d"] {
        for unit in std::fs::read_dir(deploy().join("systemd").join(kind)).expect("units") {
            has(&format!("systemd/{kind}/{}", unit.expect("a unit").file_name().display()));
        }
    }
    for part in ["systemd/system/zest-seed.service", "bin/zest", "bin/zest-seed", "man/*.1.gz"] {
        has(part);
    }
    for shell in ["bash", "zsh", "fish"] {
        has(&format!("completions/zest.{shell}"));
    }
}

#[test]
fn what_the_packaged_readme_links_to_is_in_the_repository_at_that_version() {
    let output = run(std::process::Command::new("sh").arg(deploy().join("readme")).arg("9.9.9"));
    let page = text(&output.stdout);
    assert!(output.status.success() && page.starts_with("# zest\n"), "{page}");
    let links: Vec<&str> =
        page.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(to, _)| to).collect();
    assert!(links.len() > 20, "{links:?}");
    for link in links {
        let own = ["blob", "raw"]
            .iter()
            .find_map(|how| link.strip_prefix(&format!("https://github.com/zest-p2p/zest/{how}/v9.9.9/")));
        let Some(path) = own else {
            assert!(link.starts_with('#') || link.starts_with("https://"), "{link}");
            continue;
        };
        let file = path.split('#').next().unwrap_or_default();
        assert!(deploy().join("..").join(file).exists(), "{link}");
    }
    assert!(!read("package").contains(" README.md"), "no package takes the other one");
    // What is named and not beside it would not be found.
    for place in ["deploy/", "python/", "docs/", ".ci/"] {
        let is_link = |before: &str| before.ends_with('[') || before.ends_with("/v9.9.9/");
        let named: Vec<_> = page.match_indices(place).map(|(at, _)| &page[..at]).collect();
        let bare = named.into_iter().find(|before| !is_link(before)).and_then(|before| before.lines().last());
        assert_eq!(bare, None, "{place} is named and not linked to");
    }
}

#[test]
fn each_target_of_the_release_has_one_tarball_that_installer_and_binstall_ask_for_and_one_package() {
    let workflow = std::fs::read_to_string(deploy().join("../.github/workflows/release.yml")).expect("there");
    let manifest = std::fs::read_to_string(deploy().join("../cli/Cargo.toml")).expect("there");
    let (script, installer) = (read("package"), read("install.sh"));
    // The name of a tarball, as each of them writes it.
    assert!(script.contains("name=zest-$version-$target\n") && script.contains("$out/$name.tar.gz"));
    assert!(installer.contains("zest-[0-9][^ ]*-$target\\.tar\\.gz"));
    let names = "zest-{ version }-{ target }{ archive-suffix }";
    assert!(manifest.contains(&format!("/releases/download/v{{ version }}/{names}")), "{names}");
    for target in ["unknown-linux-musl", "unknown-linux-gnu", "apple-darwin"] {
        for machine in ["x86_64", "aarch64"] {
            assert!(workflow.contains(&format!("target: {machine}-{target}")), "{machine}-{target}");
        }
    }
    // Two targets of one processor that both made a package would overwrite each other's.
    assert!(script.contains("case $target in *-linux-gnu) ;; *) exit 0 ;; esac"));
}

#[test]
fn the_dashboard_asks_for_figures_that_are_given() {
    let home = folder();
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let at = port.to_string();
    let line =
        ["serve", "--json", "-q", "--listen", "127.0.0.1:0", "--http-port", "0", "--metrics-addr", &at];
    let mut server = Server::start(&mut command(home.path(), &line));
    server.event("listening");
    let mut stream = TcpStream::connect(port).expect("it answers");
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n").expect("open");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("text");
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    let given = words(&page, "zest_", '_');
    let asked = read("grafana/zest.json");
    let asked = words(&asked, "zest_", '_');
    assert!(asked.len() > 10, "{asked:?}");
    for name in &asked {
        assert!(given.contains(name), "{name} is not among {given:?}");
    }
    assert_eq!(server.stop(), Some(0));
}
