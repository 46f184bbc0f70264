//! `kill -9` of a daemon, whatever it is at: the next one is none the worse for it.

use crate::common::{NOBODY, command, text};
use crate::daemon_is_started_asked_and_stopped::{Home, hub};
use crate::serve_gives_a_neighbour_what_hub_gave_us::{MODEL_BYTES, pull};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use zest_store::{Catalog, Endpoint, Place, RepoId, RepoType};
use zest_xet::{ChunkRef, Manifest, chunk_hash, file_hash};

/// Flags of a daemon that disturbs nobody, and is slow enough to be met at work: ten seconds for the model.
const SLOW: [&str; 8] =
    ["--listen", "127.0.0.1", "--listen-port", "0", "--http-port", "0", "--max-download", "300k"];

/// Starts a daemon with more flags, and gives what it says of itself.
fn start(home: &Home, endpoint: &str, flags: &[&str]) -> Value {
    let started = home.run(endpoint, &[&["start", "--json"], &SLOW[..], flags].concat());
    assert_eq!(started.status.code(), Some(0), "{}", text(&started.stderr));
    serde_json::from_slice(&started.stdout).expect("one JSON document")
}

/// Asks its API, with the secret; gives the answer's body.
fn api(home: &Home, started: &Value, method: &str, path: &str) -> String {
    let at = started["http"].as_str().and_then(|url| url.strip_prefix("http://")).expect("an address");
    let secret = std::fs::read_to_string(home.file("api-secret")).expect("it made one");
    let mut stream = TcpStream::connect(at).expect("connected");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {at}\r\nAuthorization: Bearer {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        secret.trim()
    );
    stream.write_all(head.as_bytes()).expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).expect("a head")
}

fn kill(home: &Home) {
    let killed = home.run(NOBODY, &["stop", "--now"]);
    assert_eq!(killed.status.code(), Some(0), "{}", text(&killed.stderr));
    assert!(home.file("daemon.json").exists(), "it had no time to tidy up");
}

fn hand_over(home: &Home, endpoint: &str) {
    let handed = home.run(endpoint, &["pull", "org/name", "--detach", "-q"]);
    assert_eq!(handed.status.code(), Some(0), "{}", text(&handed.stderr));
}

/// Waits until the status is so.
fn until(home: &Home, what: &str, is_so: impl Fn(&Value) -> bool) {
    while !home.status().is_some_and(|status| is_so(&status)) {
        assert!(home.file("daemon.json").exists(), "it ended before it was {what}");
        std::thread::yield_now();
    }
}

fn has_begun(status: &Value) -> bool {
    status["pulls"][0]["progress"]["bytes_done"].as_u64() > Some(3)
}

/// The next daemon starts, has whatever was asked for, and what it has is right.
fn the_next_one_is_sound(home: &Home, endpoint: &str, state: &str) {
    let started = home.run(
        endpoint,
        &["start", "--json", "--listen", "127.0.0.1", "--listen-port", "0", "--http-port", "0"],
    );
    assert_eq!(started.status.code(), Some(0), "after {state}: {}", text(&started.stderr));
    let report = pull(home.path(), endpoint, &[]);
    assert_eq!(report["bytes"]["total"].as_u64(), Some(MODEL_BYTES as u64 + 3), "after {state}: {report}");
    let verified = home.run(endpoint, &["verify"]);
    assert_eq!(verified.status.code(), Some(0), "after {state}: {}", text(&verified.stdout));
    let stopped = home.run(endpoint, &["stop"]);
    assert_eq!(stopped.status.code(), Some(0), "after {state}: {}", text(&stopped.stderr));
    assert!(!home.file("daemon.json").exists(), "after {state}");
}

#[test]
fn whatever_a_daemon_was_killed_in_the_next_one_is_sound() {
    let hubs = Home::new();
    let (_hub, endpoint, _root) = hub(hubs.path());
    // Takes connections and says nothing.
    let mute = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mute = format!("http://{}", mute.local_addr().expect("bound"));

    let home = Home::new();
    start(&home, &endpoint, &[]);
    kill(&home);
    the_next_one_is_sound(&home, &endpoint, "doing nothing");

    let home = Home::new();
    start(&home, &mute, &[]);
    hand_over(&home, &mute);
    until(&home, "waiting for the Hub", |status| status["pulls"][0]["state"] == "running");
    kill(&home);
    the_next_one_is_sound(&home, &endpoint, "waiting for the Hub");

    let home = Home::new();
    start(&home, &endpoint, &[]);
    hand_over(&home, &endpoint);
    until(&home, "fetching", has_begun);
    kill(&home);
    the_next_one_is_sound(&home, &endpoint, "fetching");

    let home = Home::new();
    let started = start(&home, &endpoint, &[]);
    hand_over(&home, &endpoint);
    until(&home, "fetching", has_begun);
    let paused = api(&home, &started, "POST", "/v1/pulls/1/pause");
    until(&home, &format!("paused: {paused}"), |status| status["pulls"][0]["state"] == "paused");
    kill(&home);
    the_next_one_is_sound(&home, &endpoint, "a pause");

    let home = Home::new();
    let started = start(&home, &endpoint, &[]);
    hand_over(&home, &endpoint);
    until(&home, "fetching", has_begun);
    api(&home, &started, "POST", "/v1/pulls/1/cancel");
    kill(&home);
    the_next_one_is_sound(&home, &endpoint, "a cancellation");

    let home = Home::new();
    let started = start(&home, &endpoint, &[]);
    hand_over(&home, &endpoint);
    until(&home, "fetching", has_begun);
    api(&home, &started, "POST", "/v1/stop");
    kill(&home);
    the_next_one_is_sound(&home, &endpoint, "stopping");

    // Killed again and again in what the one before was killed in.
    let home = Home::new();
    start(&home, &endpoint, &[]);
    hand_over(&home, &endpoint);
    until(&home, "fetching", has_begun);
    for _ in 0..2 {
        kill(&home);
        start(&home, &endpoint, &[]);
        until(&home, "going on", |status| status["resumed"][0] == 1);
    }
    kill(&home);
    the_next_one_is_sound(&home, &endpoint, "going on");

    // Giving: a neighbour goes on without it, and it gives again.
    let (home, neighbour) = (Home::new(), Home::new());
    start(&home, &endpoint, &["--max-upload", "300k"]);
    home.run(&endpoint, &["pull", "org/name", "-q"]);
    let status = home.status().expect("it runs");
    let peer = status["listen"][0].as_str().expect("an address").to_owned();
    let words = ["pull", "org/name", "--json", "--no-daemon", "--peer", &peer, "--max-download", "600k"];
    let pulling = command(neighbour.path(), &words)
        .env("HF_ENDPOINT", &endpoint)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("zest starts");
    until(&home, "giving", |status| status["chunks_served"].as_u64() > Some(0));
    kill(&home);
    let ended = pulling.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(0), "{}", text(&ended.stderr));
    the_next_one_is_sound(&home, &endpoint, "giving");
}

#[test]
fn a_daemon_of_a_hundred_thousand_chunks_starts_answers_and_stops() {
    let home = Home::new();
    let zest_cache = home.path().join(".cache/zest");
    std::fs::create_dir_all(&zest_cache).expect("made");
    let catalog = Catalog::open(&zest_cache).expect("opened");
    let repo = RepoId::new(RepoType::Model, "org/name").expect("a name");
    for file in 0..10_u64 {
        let hash = |i: u64| chunk_hash(&(file << 32 | i).to_le_bytes());
        let list: Vec<ChunkRef> = (0..10_000).map(|i| ChunkRef { hash: hash(i), len: 65_536 }).collect();
        let path = home.path().join(format!("data-{file}"));
        std::fs::File::create(&path).and_then(|made| made.set_len(10_000 * 65_536)).expect("made");
        let manifest = Manifest::prove(file_hash(&list), 10_000 * 65_536, list).expect("a list");
        let place = Place { hub: Some(Endpoint::public()), path, repo: repo.clone(), commit: "1".repeat(40) };
        catalog.publish(&manifest, &place, None, None).expect("published");
    }
    drop(catalog);
    let flags = ["start", "--json", "--listen", "127.0.0.1", "--listen-port", "0", "--http-port", "0"];
    for _ in 0..3 {
        let begun = std::time::Instant::now();
        let started = home.run(NOBODY, &flags);
        let took = begun.elapsed();
        assert_eq!(started.status.code(), Some(0), "{}", text(&started.stderr));
        let pid = home.status().expect("it runs")["pid"].as_u64().expect("a number");
        println!("{took:?} from `zest start` to its proven answer");
        if let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) {
            println!("{}", status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default());
        }
        assert_eq!(home.run(NOBODY, &["stop"]).status.code(), Some(0));
    }
}
