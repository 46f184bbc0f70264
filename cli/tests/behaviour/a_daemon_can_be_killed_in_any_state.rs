//! `kill -9` of a daemon, whatever it is at: the next one is none the worse for it.

use crate::common::{NOBODY, command, run, text};
use crate::daemon_is_started_asked_and_stopped::{Home, hub};
use crate::serve_gives_a_neighbour_what_hub_gave_us::{MODEL_BYTES, pull};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use zest_store::{Catalog, Endpoint, Place, RepoId, RepoType};
use zest_xet::{ChunkRef, Manifest, chunk_hash, file_hash};

/// Flags of a daemon that disturbs nobody, and is slow enough to be met at work: ten seconds for the model.
const SLOW: [&str; 8] =
    ["--listen", "127.0.0.1", "--listen-port", "0", "--http-port", "0", "--max-download", "300k"];

/// The token of a person.
const SECRET: &str = "hf_of_this_shell_alone";

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

/// At once: `zest stop` takes its time to begin.
fn kill_at_once(started: &Value) {
    let pid = started["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    kill_process(pid.expect("a number"), Signal::KILL).expect("it lives");
}

/// Files below a folder, links not followed.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// The model's bytes under their last name.
fn landed(home: &Home) -> Option<PathBuf> {
    let is_it = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.len() == 64)
            && path.metadata().is_ok_and(|meta| meta.len() == MODEL_BYTES as u64)
    };
    files(&home.path().join(".cache/huggingface/hub")).into_iter().find(is_it)
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
    // It may have been quicker.
    let killed = home.run(NOBODY, &["stop", "--now"]);
    assert_eq!(killed.status.code(), Some(0), "{}", text(&killed.stderr));
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

    // With a token that came with the request, which is in no file: it waits for it, also through the next that is killed.
    let home = Home::new();
    start(&home, &endpoint, &[]);
    let handed = run(command(home.path(), &["pull", "org/name", "--detach", "-q"])
        .env("HF_ENDPOINT", &endpoint)
        .env("HF_TOKEN", SECRET));
    assert_eq!(handed.status.code(), Some(0), "{}", text(&handed.stderr));
    until(&home, "fetching", has_begun);
    for _ in 0..2 {
        kill(&home);
        start(&home, &endpoint, &[]);
        let status = home.status().expect("it runs");
        assert_eq!(status["waiting_for_token"][0]["repo"], "org/name", "{status}");
        assert_eq!((&status["pulls"], &status["resumed"]), (&json!([]), &json!([])), "{status}");
        let shown = home.run(NOBODY, &["status"]);
        assert!(text(&shown.stdout).contains("waits for a token"), "{}", text(&shown.stdout));
    }
    kill(&home);
    for file in files(&home.path().join(".cache/zest")) {
        let kept = std::fs::read(&file).expect("readable");
        assert!(!kept.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()), "{}", file.display());
    }
    the_next_one_is_sound(&home, &endpoint, "waiting for a token");

    // The moment in which a file has got its name, and whatever of the rest was done by then.
    for _ in 0..3 {
        let home = Home::new();
        let flags = ["start", "--json", "--listen", "127.0.0.1", "--listen-port", "0", "--http-port", "0"];
        let started = home.run(&endpoint, &flags);
        let started: Value = serde_json::from_slice(&started.stdout).expect("one JSON document");
        hand_over(&home, &endpoint);
        while landed(&home).is_none() {
            std::thread::yield_now();
        }
        kill_at_once(&started);
        // A process that the disk holds up is there until it is done.
        kill(&home);
        the_next_one_is_sound(&home, &endpoint, "landing");
    }

    // Reading what lies in the cache: 4 GiB of it that some program left there, under a name that is not its own.
    let home = Home::new();
    pull(home.path(), &endpoint, &[]);
    for known in ["files", "places", "proofs"] {
        std::fs::remove_dir_all(home.file(known)).expect("there is one");
    }
    let model = landed(&home).expect("it is there");
    let name = model.file_name().and_then(|name| name.to_str()).expect("a hash");
    let left = model.with_file_name(format!("{}{}", &name[..2], "0".repeat(62)));
    std::fs::File::create(&left).and_then(|made| made.set_len(4 << 30)).expect("made");
    start(&home, &endpoint, &[]);
    until(&home, "indexing", |status| {
        let index = &status["shared"]["index"];
        index["files_total"] == 2 && index["files_done"].as_u64() < Some(2)
    });
    kill(&home);
    std::fs::remove_file(&left).expect("it is there");
    the_next_one_is_sound(&home, &endpoint, "indexing");

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

/// A machine that sleeps: its processes stand still, and the clock goes on.
#[test]
fn a_daemon_that_slept_in_the_middle_goes_on_and_bans_nobody() {
    let (giver, home, neighbour) = (Home::new(), Home::new(), Home::new());
    let (_hub, endpoint, _root) = hub(giver.path());
    start(&giver, &endpoint, &["--max-upload", "10M"]);
    giver.run(&endpoint, &["pull", "org/name", "-q"]);
    let peer = giver.status().expect("it runs")["listen"][0].as_str().expect("an address").to_owned();
    let started = start(&home, &endpoint, &["--peer", &peer]);
    until(&home, "linked", |status| status["stats"]["peers"] == 1);
    // From that peer, and not from the CDN.
    let words = ["pull", "org/name", "--policy", "spare-origin", "--detach", "-q"];
    let handed = home.run(&endpoint, &words);
    assert_eq!(handed.status.code(), Some(0), "{}", text(&handed.stderr));
    until(&home, "fetching", has_begun);
    let pid = started["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    let pid = pid.expect("a number");
    kill_process(pid, Signal::STOP).expect("it lives");
    // Meanwhile somebody fetches all of it, which takes ten seconds.
    let flags = ["--no-daemon", "--peer", &peer, "--max-download", "300k"];
    pull(neighbour.path(), &endpoint, &flags);
    kill_process(pid, Signal::CONT).expect("it lives");
    until(&home, "done", |status| status["pulls"][0]["state"] != "running");
    let status = home.status().expect("it runs");
    let ended = &status["pulls"][0];
    assert_eq!(ended["state"], "done", "{status}");
    let report = &ended["report"];
    assert_eq!((&report["chunks"]["bad"], &report["peers_banned"]), (&json!(0), &json!(0)), "{report}");
    assert!(report["bytes"]["from_peers"].as_u64() > Some(0), "{report}");
    let banned = |home: &Home| home.status().expect("it runs")["stats"]["banned"].clone();
    assert_eq!((banned(&home), banned(&giver)), (json!(0), json!(0)));
    let verified = home.run(&endpoint, &["verify"]);
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stdout));
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
