//! `zest-seed` on each runtime, asked by real pulls, many at once.

use crate::common::{Server, command, folder, hub, run, seed_command, text};
use crate::serve_gives_a_neighbour_what_hub_gave_us::{MODEL_BYTES, make_repository, pull};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;

/// Pulls at once.
const NEIGHBOURS: usize = 8;

fn eight_pulls_are_served_and_verified(runtime: &str) {
    let (root, here) = (folder(), folder());
    make_repository(root.path());
    let (hub, endpoint) = hub(here.path(), root.path());
    pull(here.path(), &endpoint, &[]);

    let arguments = ["--listen", "127.0.0.1:0", "--runtime", runtime, "--cache-mem", "16Mi", "--json", "-q"];
    let mut seed = Server::start(seed_command(here.path(), &arguments).env("HF_ENDPOINT", &endpoint));
    let listening = seed.event("listening");
    assert_eq!(listening["runtime"], runtime, "{listening}");
    let peer = listening["addrs"][0].as_str().expect("an address");
    assert_eq!(seed.event_among("indexed")["files_shared"], 1);

    let homes: Vec<_> = (0..NEIGHBOURS).map(|_| folder()).collect();
    let pulls: Vec<_> = homes
        .iter()
        .map(|home| {
            command(home.path(), &["pull", "org/name", "--json", "--peer", peer])
                .env("HF_ENDPOINT", &endpoint)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("zest starts")
        })
        .collect();
    let mut given = 0;
    for (pull, home) in pulls.into_iter().zip(&homes) {
        let output = pull.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let told: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
        // On a busy machine the CDN may join in, as the default policy has it.
        given += told["bytes"]["from_peers"].as_u64().expect("a number");
        assert_eq!((&told["chunks"]["bad"], &told["peers_banned"]), (&0.into(), &0.into()), "{told}");
        let verified = run(&mut command(home.path(), &["verify", "org/name", "--json"]));
        assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stderr));
    }
    assert!(given >= MODEL_BYTES as u64, "{given} bytes came from the seed box");
    assert_eq!(seed.stop(), Some(0));
    assert_eq!(hub.stop(), Some(0));
}

#[test]
fn on_tokio() {
    eight_pulls_are_served_and_verified("tokio");
}

#[cfg(target_os = "linux")]
#[test]
fn on_io_uring() {
    if crate::seed_box_takes_another_runtime_where_io_uring_is_refused::uring_is_here() {
        eight_pulls_are_served_and_verified("glommio");
    }
}

#[test]
fn index_only_gets_ready_and_stops() {
    let (root, here) = (folder(), folder());
    make_repository(root.path());
    let (hub, endpoint) = hub(here.path(), root.path());
    let folder = pull(here.path(), &endpoint, &[])["path"].as_str().expect("a path").to_owned();
    assert!(Path::new(&folder).is_dir());
    // A program that knows nothing of it: all is to be indexed.
    std::fs::remove_dir_all(here.path().join(".cache/zest")).expect("it is there");
    let indexed = run(seed_command(here.path(), &["--index-only", "--json"]).env("HF_ENDPOINT", &endpoint));
    assert_eq!(indexed.status.code(), Some(0), "{}", text(&indexed.stderr));
    let event: Value = serde_json::from_slice(&indexed.stdout).expect("one event");
    assert_eq!((&event["event"], event["files_shared"].as_u64()), (&"indexed".into(), Some(1)), "{event}");
    let again = run(seed_command(here.path(), &["--index-only", "--json"]).env("HF_ENDPOINT", &endpoint));
    let event: Value = serde_json::from_slice(&again.stdout).expect("one event");
    assert_eq!(event["files_indexed"], 0, "{event}");
    assert_eq!(hub.stop(), Some(0));
}

#[test]
fn mistakes_name_the_next_step() {
    let here = folder();
    let missing = run(&mut seed_command(here.path(), &["--root", "/no/such/cache"]));
    assert_eq!(missing.status.code(), Some(7));
    assert!(text(&missing.stderr).contains("--root"), "{}", text(&missing.stderr));
    for arguments in [["--cores", "x"], ["--cache-mem", "big"], ["--runtime", "none"], ["--max-upload", "0"]]
    {
        assert_eq!(run(&mut seed_command(here.path(), &arguments)).status.code(), Some(2), "{arguments:?}");
    }
    std::fs::create_dir_all(here.path().join(".cache/huggingface/hub")).expect("made");
    for runtime in ["auto", "tokio"] {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = taken.local_addr().expect("bound").to_string();
        let output = run(&mut seed_command(here.path(), &["--runtime", runtime, "--listen", &addr]));
        assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("another port"), "{}", text(&output.stderr));

        // A port of its own for the DHT is used or refused, and what was started before it ends.
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let port = taken.local_addr().expect("bound").port().to_string();
        let flags = [
            "--runtime",
            runtime,
            "--listen",
            "127.0.0.1:0",
            "--bootstrap",
            "127.0.0.1:9",
            "--dht-port",
            &port,
        ];
        let output = run(seed_command(here.path(), &flags).env_remove("ZEST_NO_DHT"));
        assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("--dht-port"), "{}", text(&output.stderr));
    }
    let help = run(&mut seed_command(here.path(), &["--help"]));
    assert!(help.status.success() && text(&help.stdout).contains("--runtime tokio needs less"));
}

#[test]
fn two_seeders_never_share_a_port() {
    let here = folder();
    std::fs::create_dir_all(here.path().join(".cache/huggingface/hub")).expect("made");
    let arguments = ["--listen", "127.0.0.1:0", "--json", "-q"];
    let mut first = Server::start(&mut seed_command(here.path(), &arguments));
    let listening = first.event("listening");
    let addr = listening["addrs"][0].as_str().expect("an address");
    let second = run(&mut seed_command(here.path(), &["--listen", addr]));
    assert_eq!(second.status.code(), Some(5), "{}", text(&second.stderr));
    assert_eq!(first.stop(), Some(0));
    // A restart finds the port free.
    let mut third = Server::start(&mut seed_command(here.path(), &["--listen", addr, "--json", "-q"]));
    third.event("listening");
    assert_eq!(third.stop(), Some(0));
}
