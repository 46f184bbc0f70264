//! `zest endpoint` names the address, and `zest run` gives it to one command, whose end is its own.

use crate::common::{NOBODY, command, folder, run, text};
use std::path::Path;
use std::process::Output;

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
    let first = home.run("echo $HF_ENDPOINT; echo $HF_XET_CLIENT_RETRY_MAX_DURATION; exit 7");
    assert_eq!(first.status.code(), Some(7), "{}", text(&first.stderr));
    let said = text(&first.stdout).lines().collect::<Vec<_>>();
    assert!(said[0].starts_with("http://127.0.0.1:") && said[0].contains("/hf/"), "{said:?}");
    assert_eq!(said[1], "5s");
    let (stderr, closing) = (text(&first.stderr), "zest: 0 B from peers");
    assert!(stderr.contains("begun in the background") && stderr.contains(closing), "{stderr}");
    // The same daemon, by the address that anybody is told.
    let second = home.run("echo $HF_ENDPOINT");
    assert_eq!(text(&second.stdout).trim(), said[0]);
    assert!(!text(&second.stderr).contains("begun"), "{}", text(&second.stderr));
    let told = run(&mut command(home.path(), &["endpoint"]));
    assert_eq!(text(&told.stdout).trim(), format!("export HF_ENDPOINT={}", said[0]));
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
