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
