//! zest in the background: started, found, asked, given work, killed, stopped.

use crate::common::{NOBODY, Server, command, folder, run, signal, text};
use crate::serve_gives_a_neighbour_what_hub_gave_us::{MODEL_BYTES, make_repository, pull};
use serde_json::Value;
use std::path::Path;
use std::process::{Output, Stdio};

/// Flags of a daemon that disturbs nobody.
const ALONE: [&str; 6] = ["--listen", "127.0.0.1", "--listen-port", "0", "--http-port", "0"];

/// A home whose daemon ends with the test, whatever becomes of that.
pub(crate) struct Home(tempfile::TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(folder())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn run(&self, endpoint: &str, words: &[&str]) -> Output {
        run(command(self.path(), words).env("HF_ENDPOINT", endpoint))
    }

    pub(crate) fn start(&self, endpoint: &str) -> Value {
        let words = [&["start", "--json"], &ALONE[..]].concat();
        let started = self.run(endpoint, &words);
        assert_eq!(started.status.code(), Some(0), "{}", text(&started.stderr));
        serde_json::from_slice(&started.stdout).expect("one JSON document")
    }

    pub(crate) fn status(&self) -> Option<Value> {
        let status = self.run(NOBODY, &["status", "--json"]);
        (status.status.code() == Some(0)).then(|| serde_json::from_slice(&status.stdout).expect("JSON"))
    }

    pub(crate) fn file(&self, name: &str) -> std::path::PathBuf {
        self.path().join(".cache/zest").join(name)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _nobody_is_there = run(&mut command(self.path(), &["stop", "--now"]));
    }
}

/// A hub with one repository.
pub(crate) fn hub(home: &Path) -> (Server, String, tempfile::TempDir) {
    let root = folder();
    make_repository(root.path());
    let (hub, endpoint) = crate::common::hub(home, root.path());
    (hub, endpoint, root)
}

#[test]
fn a_pull_beside_a_daemon_is_the_daemons_and_is_given_from_that_moment_on() {
    let (home, neighbour) = (Home::new(), folder());
    let (_hub, endpoint, _root) = hub(home.path());
    let started = home.start(&endpoint);
    let pid = started["pid"].as_u64().expect("a number");
    assert!(started["http"].as_str().is_some_and(|url| url.starts_with("http://127.0.0.1:")), "{started}");
    let again = home.run(&endpoint, &["start"]);
    assert_eq!(again.status.code(), Some(0));
    assert!(
        text(&again.stdout).starts_with("zest server is already running on http://127.0.0.1:"),
        "{again:?}"
    );

    let report = pull(home.path(), &endpoint, &[]);
    assert_eq!(report["bytes"]["from_cdn"].as_u64(), Some(MODEL_BYTES as u64 + 3), "{report}");
    let status = home.status().expect("it runs");
    assert_eq!((status["pid"].as_u64(), &status["pulls"][0]["state"]), (Some(pid), &Value::from("done")));
    let snapshot = Path::new(report["path"].as_str().expect("a path"));
    assert!(snapshot.starts_with(home.path()) && snapshot.join("model.safetensors").exists());

    let peer = status["listen"][0].as_str().expect("an address");
    let second = pull(neighbour.path(), &endpoint, &["--peer", peer]);
    assert_eq!(second["p2p_ratio"], 1.0, "{second}");

    let failed = home.run(&endpoint, &["pull", "org/name", "none.bin", "--json"]);
    assert_eq!(failed.status.code(), Some(4), "the exit code is that of a pull alone");
    let value: Value = serde_json::from_slice(&failed.stdout).expect("JSON");
    assert_eq!(value["error"]["kind"], "not-found");

    let stopped = home.run(&endpoint, &["stop"]);
    assert_eq!(stopped.status.code(), Some(0), "{}", text(&stopped.stderr));
    assert_eq!(text(&stopped.stdout), format!("zest server stopped (was PID {pid}).\n"));
    assert!(!home.file("zest.pid").exists() && !home.file("daemon.json").exists());
    assert!(home.status().is_none());
    let nobody = home.run(&endpoint, &["stop"]);
    assert_eq!((nobody.status.code(), text(&nobody.stdout)), (Some(0), "No running zest server found.\n"));
    let log = std::fs::read_to_string(home.file("zest.log")).expect("it wrote one");
    let secret = std::fs::read_to_string(home.file("api-secret")).expect("it made one");
    assert!(log.contains("stopped:") && !log.contains(secret.trim()), "{log}");
    assert_eq!(text(&home.run(&endpoint, &["logs", "-n", "1"]).stdout).lines().count(), 1);
}

#[test]
fn a_daemon_that_was_started_on_demand_says_what_it_shares_and_with_whom() {
    let home = Home::new();
    let (_hub, endpoint, _root) = hub(home.path());
    let words = [&["start", "--on-demand"], &ALONE[..]].concat();
    assert_eq!(home.run(&endpoint, &words).status.code(), Some(0));
    // Its answer is what is shared before.
    assert_eq!(home.status().expect("it runs")["shared"]["files_shared"], 0);
    pull(home.path(), &endpoint, &[]);
    let said = home.run(&endpoint, &["status"]);
    let said = text(&said.stdout);
    assert!(said.contains("sharing 1 file (3.0 MB) with this network"), "{said}");
    assert!(!said.contains("everyone who asks"), "{said}");
    home.run(&endpoint, &["share", "deny", "org/name"]);
    while home.status().is_none_or(|status| status["shared"]["files_shared"] != 0) {
        std::thread::yield_now();
    }
}

#[test]
fn a_daemon_that_was_started_on_demand_gives_what_it_fetched_itself_and_nothing_else() {
    let (home, hubs) = (Home::new(), folder());
    let root = folder();
    make_repository(root.path());
    // The same under another name, with one more byte: another file.
    let models = root.path().join("models/org");
    let other = models.join("other/main");
    std::fs::create_dir_all(&other).expect("made");
    let mut bytes = std::fs::read(models.join("name/main/model.safetensors")).expect("it was made");
    bytes.reverse();
    std::fs::write(other.join("model.safetensors"), &bytes).expect("written");
    let (_hub, endpoint) = crate::common::hub(hubs.path(), root.path());
    // It lies here with its list and its proof, fresh from a pull that asked peers.
    pull(home.path(), &endpoint, &["--no-daemon", "--listen", "127.0.0.1:0", "--peer", "127.0.0.1:9"]);
    let words = [&["start", "--on-demand"], &ALONE[..]].concat();
    assert_eq!(home.run(&endpoint, &words).status.code(), Some(0));
    let peer = home.status().expect("it runs")["listen"][0].as_str().expect("an address").to_owned();
    let fetch = |repo: &str| -> Value {
        let neighbour = folder();
        let words = ["pull", repo, "--json", "--no-daemon", "--listen", "127.0.0.1:0", "--peer", &peer];
        let output = run(command(neighbour.path(), &words).env("HF_ENDPOINT", &endpoint));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
    };
    let report = fetch("org/name");
    assert_eq!(report["bytes"]["from_peers"], 0, "{report}");
    let mine = home.run(&endpoint, &["pull", "org/other", "--json"]);
    assert_eq!(mine.status.code(), Some(0), "{}", text(&mine.stderr));
    let report = fetch("org/other");
    assert_eq!(report["p2p_ratio"], 1.0, "{report}");
    assert_eq!(home.status().expect("it runs")["shared"]["files_shared"], 1);
    let log = std::fs::read_to_string(home.file("zest.log")).expect("it wrote one");
    assert!(log.contains("sharing what it fetches itself, and nothing else"), "{log}");
}

#[test]
fn a_second_daemon_of_a_cache_is_refused_by_name_and_a_killed_one_is_none() {
    let home = Home::new();
    let started = home.start(NOBODY);
    let pid = started["pid"].as_u64().expect("a number").to_string();
    let words = [&["serve", "-q"], &ALONE[..]].concat();
    let second = home.run(NOBODY, &words);
    assert_eq!(second.status.code(), Some(1));
    let said = text(&second.stderr);
    assert!(said.contains(&format!("process {pid}")) && said.contains("zest stop"), "{said}");

    let killed = home.run(NOBODY, &["stop", "--now"]);
    assert_eq!(killed.status.code(), Some(0), "{}", text(&killed.stderr));
    assert!(home.file("daemon.json").exists(), "it had no time to tidy up");
    assert!(home.status().is_none(), "and is not taken for alive");
    let next = home.start(NOBODY);
    assert_ne!(next["pid"].as_u64().expect("a number").to_string(), pid);
    assert_eq!(home.run(NOBODY, &["stop"]).status.code(), Some(0));
}

#[test]
fn a_daemon_that_is_killed_in_the_middle_costs_a_pull_nothing_but_time() {
    let home = Home::new();
    let (_hub, endpoint, _root) = hub(home.path());
    let words = [&["start", "--json", "--max-download", "300k"], &ALONE[..]].concat();
    assert_eq!(home.run(&endpoint, &words).status.code(), Some(0));
    let mut pulling = command(home.path(), &["pull", "org/name", "--json"]);
    pulling.env("HF_ENDPOINT", &endpoint).stdout(Stdio::piped()).stderr(Stdio::piped());
    let pulling = pulling.spawn().expect("zest starts");
    // Ten seconds are needed for all of it; it is in the middle once something has come.
    while home.status().is_none_or(|status| status["pulls"][0]["progress"]["bytes_done"].as_u64() <= Some(3))
    {
        std::thread::yield_now();
    }
    assert_eq!(home.run(&endpoint, &["stop", "--now"]).status.code(), Some(0));
    let ended = pulling.wait_with_output().expect("it ends");
    let said = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{said}");
    assert!(said.contains("going on alone, as it did with --max-download 300.0 kB/s"), "{said}");
    let report: Value = serde_json::from_slice(&ended.stdout).expect("JSON");
    let notices = report["notices"].as_array().expect("a list");
    assert!(notices.iter().any(|notice| notice["kind"] == "daemon-gone"), "{report}");
    assert_eq!(report["bytes"]["total"].as_u64(), Some(MODEL_BYTES as u64 + 3), "{report}");
    assert_eq!(home.run(&endpoint, &["verify"]).status.code(), Some(0));
}

/// What is said to a daemon is text: a cache whose name is none could be pulled into with `--no-daemon` alone.
#[cfg(unix)]
#[test]
fn a_cache_whose_name_is_no_text_is_pulled_into_without_the_daemon() {
    use std::os::unix::ffi::OsStrExt;
    let home = Home::new();
    let (_hub, endpoint, _root) = hub(home.path());
    home.start(&endpoint);
    let cache = home.path().join(std::ffi::OsStr::from_bytes(b"hub \xff\xfe"));
    let pull = |words: &[&str]| {
        let words = [&["pull", "org/name", "--json"], words].concat();
        run(command(home.path(), &words).env("HF_ENDPOINT", &endpoint).env("HF_HUB_CACHE", &cache))
    };
    let alone = pull(&[]);
    let said = text(&alone.stderr);
    assert_eq!(alone.status.code(), Some(0), "{said}");
    assert!(
        said.contains("pulling without the zest in the background: ") && said.contains("is no text"),
        "{said}"
    );
    assert!(cache.join("models--org--name").exists());
    assert_eq!(pull(&["--detach"]).status.code(), Some(2), "left with a daemon it cannot be");
}

#[test]
fn ctrl_c_ends_a_pull_of_the_daemon_and_no_other() {
    let home = Home::new();
    let (_hub, endpoint, _root) = hub(home.path());
    let words = [&["start", "--json", "--max-download", "300k"], &ALONE[..]].concat();
    assert_eq!(home.run(&endpoint, &words).status.code(), Some(0));
    let left = home.run(&endpoint, &["pull", "org/name", "config.json", "--detach", "-q"]);
    assert_eq!(left.status.code(), Some(0));
    let mut pulling = command(home.path(), &["pull", "org/name", "-q"]);
    let pulling = pulling.env("HF_ENDPOINT", &endpoint).stderr(Stdio::piped()).spawn().expect("zest starts");
    while home.status().is_none_or(|status| status["pulls"][1]["progress"]["bytes_done"].as_u64() <= Some(3))
    {
        std::thread::yield_now();
    }
    signal(&pulling, rustix::process::Signal::INT);
    let ended = pulling.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(130), "{}", text(&ended.stderr));
    let status = home.status().expect("it lives on");
    assert_eq!(
        (&status["pulls"][0]["state"], &status["pulls"][1]["state"]),
        (&"done".into(), &"cancelled".into()),
        "{status}"
    );
    // The daemon goes on where it was stopped, and has its end from the signal as from the API.
    let pid = status["pid"]
        .as_u64()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.expect("a number"), rustix::process::Signal::TERM).expect("it lives");
    while home.file("zest.pid").exists() {
        std::thread::yield_now();
    }
}

#[test]
fn the_next_daemon_goes_on_with_what_one_was_killed_in() {
    let home = Home::new();
    let (_hub, endpoint, _root) = hub(home.path());
    let words = [&["start", "--json", "--max-download", "300k"], &ALONE[..]].concat();
    assert_eq!(home.run(&endpoint, &words).status.code(), Some(0));
    assert_eq!(home.run(&endpoint, &["pull", "org/name", "--detach", "-q"]).status.code(), Some(0));
    while home.status().is_none_or(|status| status["pulls"][0]["progress"]["bytes_done"].as_u64() <= Some(3))
    {
        std::thread::yield_now();
    }
    assert_eq!(home.run(&endpoint, &["stop", "--now"]).status.code(), Some(0));
    home.start(&endpoint);
    let status = home.status().expect("it runs");
    assert_eq!(
        (&status["resumed"][0], &status["pulls"][0]["repo"]),
        (&1.into(), &"org/name".into()),
        "{status}"
    );
    while home.status().is_none_or(|status| status["pulls"][0]["state"] == "running") {
        std::thread::yield_now();
    }
    let status = home.status().expect("it runs");
    assert_eq!(status["pulls"][0]["state"], "done", "{status}");
    assert!(status["pulls"][0]["report"]["bytes"]["from_disk"].as_u64() > Some(0), "{status}");
    assert!(!home.file("pulls.json").exists());
}

#[test]
fn one_without_an_api_is_stopped_too() {
    let home = Home::new();
    let words = ["start", "--listen", "127.0.0.1", "--listen-port", "0", "--no-http"];
    let started = home.run(NOBODY, &words);
    assert_eq!(started.status.code(), Some(0), "{}", text(&started.stderr));
    let stopped = home.run(NOBODY, &["stop"]);
    assert_eq!(stopped.status.code(), Some(0), "{}", text(&stopped.stderr));
    assert!(text(&stopped.stdout).contains("stopped (was PID"));
    assert!(!home.file("zest.pid").exists());
}

#[test]
fn what_cannot_start_says_why_and_what_contradicts_itself_is_refused() {
    let home = Home::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let failed =
        home.run(NOBODY, &["start", "--listen", "127.0.0.1", "--listen-port", "0", "--http-port", &port]);
    let said = text(&failed.stderr);
    assert!(
        failed.status.code() == Some(1) && said.contains(&format!("cannot listen on 127.0.0.1:{port}")),
        "{said}"
    );
    let serve =
        home.run(NOBODY, &["serve", "--listen", "127.0.0.1", "--listen-port", "0", "--http-port", &port]);
    assert_eq!(serve.status.code(), Some(5));
    for words in [
        &["serve", "--http", "127.0.0.1:5", "--http-port", "6"][..],
        &["start", "--http", "127.0.0.1:5", "--http-port", "6"],
        &["serve", "--http", "0.0.0.0:5"],
        &["serve", "--listen", "127.0.0.1:5", "--listen-port", "6"],
        &["pull", "a/b", "--detach"],
    ] {
        assert_eq!(home.run(NOBODY, words).status.code(), Some(2), "{words:?}");
    }
    assert!(!home.file("daemon.json").exists());
}

#[test]
fn a_pull_that_does_not_wait_is_left_with_the_daemon() {
    let home = Home::new();
    let (_hub, endpoint, _root) = hub(home.path());
    home.start(&endpoint);
    let left = home.run(&endpoint, &["pull", "org/name", "--detach", "--json"]);
    assert_eq!(left.status.code(), Some(0), "{}", text(&left.stderr));
    let value: Value = serde_json::from_slice(&left.stdout).expect("JSON");
    assert_eq!((&value["event"], &value["id"]), (&Value::from("handed-over"), &Value::from(1)));
    // The same again waits for the same files, and finds them.
    let report = pull(home.path(), &endpoint, &[]);
    assert_eq!(report["bytes"]["total"].as_u64(), Some(MODEL_BYTES as u64 + 3));
    let alone = home.run(&endpoint, &["pull", "org/name", "--no-daemon"]);
    assert_eq!(alone.status.code(), Some(0));
    let status = home.status().expect("it runs");
    assert_eq!(status["pulls"].as_array().map(Vec::len), Some(2), "the last one was done alone: {status}");
}
