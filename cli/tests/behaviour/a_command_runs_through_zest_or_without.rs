//! `zest endpoint` names the address, and `zest run` gives it to one command, whose end is its own.

use crate::common::{NOBODY, command, folder, hub, run, text};
use std::path::Path;
use std::process::{Command, Output};

/// A home whose daemon ends with the test.
struct Home(tempfile::TempDir);

impl Drop for Home {
    fn drop(&mut self) {
        let _nobody_is_there = run(&mut command(self.0.path(), &["stop", "--now"]));
    }
}

impl Home {
    fn path(&self) -> &Path {
        self.0.path()
    }

    /// A command below `zest run`, beside a daemon that disturbs nobody.
    fn run(&self, script: &str) -> Output {
        run(command(self.path(), &["run", "--", "/bin/sh", "-c", script]).env("ZEST_SHARE", "0"))
    }
}

#[test]
fn a_command_has_the_address_its_own_exit_code_and_the_daemon_that_runs() {
    let home = Home(folder());
    let begun = home.run("echo $HF_ENDPOINT; echo $HF_XET_CLIENT_RETRY_MAX_DURATION; exit 7");
    assert_eq!(begun.status.code(), Some(7), "{}", text(&begun.stderr));
    let said = text(&begun.stdout).lines().collect::<Vec<_>>();
    assert!(said[0].starts_with("http://127.0.0.1:") && said[0].contains("/hf/"), "{said:?}");
    assert_eq!(said[1], "5s");
    let (stderr, closing) = (text(&begun.stderr), "zest: 0 B from peers");
    assert!(stderr.contains("begun in the background") && stderr.contains(closing), "{stderr}");
    assert!(!stderr.contains("first run"), "nothing is opened, and nobody is asked: {stderr}");
    // The same daemon, by the address that anybody is told, and a name of its own behind the key.
    let (first, name) = said[0].rsplit_once('.').expect("a name");
    let second = home.run("echo $HF_ENDPOINT");
    let (again, other) = text(&second.stdout).trim().rsplit_once('.').expect("a name");
    assert_eq!(again, first);
    assert_ne!(name, other, "runs are told apart");
    assert!(!text(&second.stderr).contains("begun"), "{}", text(&second.stderr));
    let told = run(&mut command(home.path(), &["endpoint"]));
    assert_eq!(text(&told.stdout).trim(), format!("export HF_ENDPOINT={again}"));
    // zest itself, given that address, asks the Hub behind it.
    let behind = run(command(home.path(), &["pull", "org/none", "--no-daemon", "--give-up-after", "1s"])
        .env("HF_ENDPOINT", said[0]));
    assert!(text(&behind.stderr).contains(NOBODY.trim_start_matches("http://")), "{}", text(&behind.stderr));
    let killed = home.run("kill -TERM $$");
    assert_eq!(killed.status.code(), Some(128 + 15));
    let missing = run(command(home.path(), &["run", "--", "/nowhere/program"]).env("ZEST_SHARE", "0"));
    assert_eq!(missing.status.code(), Some(127));
    let rotated = run(&mut command(home.path(), &["endpoint", "rotate"]));
    assert_ne!(text(&rotated.stdout).trim(), text(&told.stdout).trim());
    assert_eq!(rotated.status.code(), Some(0));
    use std::os::unix::fs::PermissionsExt as _;
    let key = std::fs::metadata(home.path().join(".cache/zest/endpoint-key")).expect("there");
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_a_daemon_opens_that_was_begun_for_a_command_is_said_once() {
    let home = Home(folder());
    let begin = |words: &[&str]| {
        let output = run(command(home.path(), words).env("ZEST_LISTEN", "127.0.0.1:0"));
        assert_eq!(run(&mut command(home.path(), &["stop"])).status.code(), Some(0));
        text(&output.stderr).to_owned()
    };
    let said = begin(&["run", "--", "/bin/true"]);
    assert!(
        said.contains("first run: while zest runs in the background, peers may connect to 127.0.0.1:"),
        "{said}"
    );
    assert!(said.contains("ZEST_SHARE=0") && said.contains("this is said once"), "{said}");
    assert!(!begin(&["run", "--", "/bin/true"]).contains("first run"), "once");
    // As Python begins it, which passes these lines on.
    std::fs::remove_file(home.path().join(".cache/zest/introduced")).expect("noted");
    let said = begin(&["start", "--on-demand"]);
    let lines: Vec<&str> = said.lines().skip_while(|line| !line.starts_with("first run: ")).collect();
    assert!(lines.len() >= 2 && lines[1].contains("this is said once"), "{said}");
}

#[test]
fn where_zest_cannot_begin_the_command_runs_without_it() {
    let home = Home(folder());
    // A cache that can take nothing.
    std::fs::create_dir_all(home.path().join(".cache")).expect("made");
    std::fs::write(home.path().join(".cache/zest"), "no folder").expect("written");
    let ran = home.run("echo $HF_ENDPOINT; exit 3");
    assert_eq!(ran.status.code(), Some(3), "{}", text(&ran.stderr));
    assert_eq!(text(&ran.stdout).trim(), NOBODY, "the environment is as it was");
    assert!(text(&ran.stderr).contains("running without zest"), "{}", text(&ran.stderr));
}

/// What clients do by themselves when a connection breaks: the dying daemon may have taken theirs.
const RETRY: &str = "--retry 20 --retry-delay 1 --retry-all-errors";

/// Where the whole of a file is asked for from a command whose daemon was killed just before.
fn after_a_kill(home: &Home, hub: &str, retry: &str) -> Output {
    let file = "\"$HF_ENDPOINT/org/model/resolve/main/weights.bin\"";
    let script = format!(
        "cd \"$HOME\" && curl -sf -r 0-9 -o first {file} && kill -9 $(cat .cache/zest/zest.pid) && curl -sf {retry} -o whole {file}"
    );
    run(command(home.path(), &["run", "--", "/bin/sh", "-c", &script])
        .env("ZEST_SHARE", "0")
        .env("HF_ENDPOINT", hub))
}

#[test]
fn a_daemon_that_dies_is_begun_again_where_the_command_looks_for_it() {
    if Command::new("curl").arg("--version").output().is_err() {
        return println!("skipped: there is no curl");
    }
    let files = folder();
    let model = files.path().join("models/org/model/main");
    std::fs::create_dir_all(&model).expect("made");
    let weights: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(model.join("weights.bin"), &weights).expect("written");
    let (_hub, hub) = hub(folder().path(), files.path());
    // One that was begun for the command: whoever connects while it is begun again waits, and is not refused.
    let home = Home(folder());
    let ran = after_a_kill(&home, &hub, RETRY);
    let said = text(&ran.stderr);
    assert_eq!(ran.status.code(), Some(0), "{said}");
    assert!(said.contains("it is begun again"), "{said}");
    let whole = || std::fs::read(home.path().join("whole")).expect("it came");
    assert!(whole() == weights, "{} bytes", whole().len());
    assert!(said.contains(" from the CDN"), "{said}");
    // And one of which the command only made use: its port is free for a moment.
    std::fs::remove_file(home.path().join("whole")).expect("there");
    assert_eq!(run(&mut command(home.path(), &["stop"])).status.code(), Some(0));
    let mut start = command(home.path(), &["start", "--listen", "127.0.0.1:0", "--http-port", "0"]);
    assert_eq!(run(start.env("HF_ENDPOINT", &hub)).status.code(), Some(0));
    let ran = after_a_kill(&home, &hub, RETRY);
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    assert!(text(&ran.stderr).contains("it is begun again"), "{}", text(&ran.stderr));
    assert!(whole() == weights, "{} bytes", whole().len());
}
