//! Where the kernel, a container or a limit refuses io_uring, `zest-seed` says so in one line and runs on tokio; told to
//! use io_uring, it fails with the same line. The refusals are real: seccomp filters and limits on locked memory and open files.

use crate::common::{Server, folder, run, seed_command, text};
use crate::refusals::{ENOSYS, refusing};
use std::path::Path;
use std::process::Command;

/// io_uring_setup, io_uring_enter, io_uring_register: the same numbers on every processor.
const URING_CALLS: [i64; 3] = [425, 426, 427];
/// "Operation not permitted".
const EPERM: u32 = 1;

/// Whether this machine lets these tests' programs use io_uring at all.
pub(crate) fn uring_is_here() -> bool {
    let home = folder_with_cache();
    let probe = run(&mut seed_command(home.path(), &["--runtime", "glommio", "--listen", "192.0.2.1:0"]));
    // Not our address: the listener fails if io_uring does not.
    let said = text(&probe.stderr).to_owned();
    if probe.status.code() != Some(5) {
        println!("skipped: {said}");
    }
    probe.status.code() == Some(5)
}

fn folder_with_cache() -> tempfile::TempDir {
    let home = folder();
    std::fs::create_dir_all(home.path().join(".cache/huggingface/hub")).expect("made");
    home
}

/// Runs `work` where io_uring calls fail with `errno`.
fn under_filter<T: Send>(errno: u32, work: impl FnOnce() -> T + Send) -> T {
    refusing(&URING_CALLS, errno, work)
}

/// `zest-seed` under a limit, as `ulimit` takes it.
fn with_limit(home: &Path, limit: &str, arguments: &[&str]) -> Command {
    let inner = seed_command(home, arguments);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit {limit} && exec \"$@\""), "sh"]);
    shell.arg(inner.get_program()).args(inner.get_args());
    shell.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    shell
}

const AUTO: [&str; 3] = ["--listen", "127.0.0.1:0", "--json"];
const GLOMMIO: [&str; 4] = ["--listen", "127.0.0.1:0", "--runtime", "glommio"];

fn falls_back(mut auto: Command, mut glommio: Command, remedy: &str) {
    let mut server = Server::start(auto.stderr(std::process::Stdio::piped()));
    let listening = server.event("listening");
    assert_eq!(listening["runtime"], "tokio", "{listening}");
    assert_eq!(server.stop(), Some(0));
    let refused = run(&mut glommio);
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    assert!(said.contains(remedy) && said.contains("--runtime tokio"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn a_filter_that_forbids_it() {
    let home = folder_with_cache();
    under_filter(EPERM, || {
        falls_back(seed_command(home.path(), &AUTO), seed_command(home.path(), &GLOMMIO), "seccomp profile");
    });
}

#[test]
fn a_kernel_without_it() {
    let home = folder_with_cache();
    under_filter(ENOSYS, || {
        falls_back(seed_command(home.path(), &AUTO), seed_command(home.path(), &GLOMMIO), "Linux 5.11");
    });
}

#[test]
fn too_little_lockable_memory() {
    let home = folder_with_cache();
    let with = |arguments: &[&str]| with_limit(home.path(), "-l 64", arguments);
    falls_back(with(&AUTO), with(&GLOMMIO), "LimitMEMLOCK");
}

#[test]
fn too_few_descriptors() {
    let home = folder_with_cache();
    let with = |arguments: &[&str]| with_limit(home.path(), "-n 64", arguments);
    falls_back(with(&AUTO), with(&GLOMMIO), "LimitNOFILE");
}

#[test]
fn a_soft_limit_on_descriptors_is_raised() {
    if !uring_is_here() {
        return;
    }
    let home = folder_with_cache();
    let mut server = Server::start(&mut with_limit(home.path(), "-S -n 64", &AUTO));
    let listening = server.event("listening");
    assert_eq!(listening["runtime"], "glommio", "{listening}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn the_reason_is_one_line_for_people() {
    let home = folder_with_cache();
    let output = under_filter(EPERM, || {
        // A port that is taken ends it right after the choice of a runtime.
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = taken.local_addr().expect("bound").to_string();
        run(&mut seed_command(home.path(), &["--listen", &addr]))
    });
    let lines: Vec<&str> = text(&output.stderr).lines().filter(|line| line.contains("io_uring")).collect();
    assert_eq!(lines.len(), 1, "{}", text(&output.stderr));
    assert!(lines[0].ends_with("using the tokio runtime"), "{}", lines[0]);
}
