//! What changes the outcome is said without `-v`, and to programs.

use crate::common::{Server, command, folder, hub, run, text};
use crate::scripted_hub::{Answer, ScriptedHub, usual};
use crate::serve_gives_a_neighbour_what_hub_gave_us::{make_repository, pull};
use serde_json::{Value, json};

#[test]
fn a_peer_of_a_server_whose_name_has_no_address_is_named() {
    let home = folder();
    let words = ["serve", "--no-http", "--listen", "127.0.0.1:0", "--json", "--peer", "nobody.invalid"];
    let mut server = Server::start(&mut command(home.path(), &words));
    let warning = server.event_among("warning");
    assert_eq!(warning["kind"], "peer-unreachable", "{warning}");
    assert!(warning["text"].as_str().expect("words").contains("nobody.invalid"), "{warning}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_cache_that_takes_no_notes_is_said_by_a_pull_and_stands_in_its_report() {
    let (root, home) = (folder(), folder());
    make_repository(root.path());
    let (_hub, endpoint) = hub(home.path(), root.path());
    let zest = home.path().join(".cache/zest");
    std::fs::create_dir_all(&zest).expect("a folder");
    std::fs::write(zest.join("proofs"), "no folder").expect("written");
    let words = ["pull", "org/name", "--json", "--peer", "127.0.0.1:9", "--listen", "127.0.0.1:0"];
    let output = run(command(home.path(), &words).env("HF_ENDPOINT", &endpoint));
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(said.matches("that everyone may read org/name cannot be noted").count(), 1, "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert!(report["notices"].to_string().contains("\"kind\":\"not-noted\""), "{report}");
}

#[test]
fn a_hub_leaves_out_what_it_cannot_serve_and_says_so() {
    use std::os::unix::ffi::OsStrExt as _;
    let (root, home) = (folder(), folder());
    make_repository(root.path());
    let place = root.path().join("models/org/name/main");
    std::fs::write(place.join(std::ffi::OsStr::from_bytes(b"\xff.bin")), "x")
        .expect("a name that is no text");
    let (mut hub, endpoint) = hub(home.path(), root.path());
    pull(home.path(), &endpoint, &[]);
    let warning = hub.event_among("warning");
    assert_eq!(warning["kind"], "left-out", "{warning}");
    assert!(warning["text"].as_str().expect("words").contains("not UTF-8"), "{warning}");
}

#[test]
fn a_hub_that_does_not_say_who_may_read_it_is_not_taken_for_one_that_says_no() {
    let home = folder();
    let hub = ScriptedHub::start(|asked| {
        let path = asked.target.split('?').next().unwrap_or_default();
        if path.contains("/tree/") {
            let (oid, hash) = ("a".repeat(40), "0123456789abcdef".repeat(4));
            let row = json!({"type": "file", "path": "model.bin", "size": 9, "oid": oid, "xetHash": hash});
            return Answer::ok(json!([row]).to_string());
        }
        let anonymous = asked.header("authorization").is_none();
        match usual(asked, &[]) {
            Some(answer) => answer,
            None if path.contains("/xet-read-token/") && anonymous => Answer::new(400, "not now"),
            None => Answer::new(404, ""),
        }
    });
    let words = ["pull", "org/name", "--json", "--peer", "127.0.0.1:9", "--dry-run"];
    let output = run(command(home.path(), &words).env("HF_ENDPOINT", hub.endpoint()).env("HF_TOKEN", "hf_x"));
    let said = text(&output.stderr);
    assert!(said.contains("the Hub could not be asked whether everyone may read it"), "{said}");
    assert!(!said.contains("is not readable by everyone"), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!(report["notices"][0]["kind"], "unasked", "{report}");
}

#[test]
fn a_file_that_changed_under_a_server_is_named_when_it_is_asked_for() {
    let (root, home, other) = (folder(), folder(), folder());
    make_repository(root.path());
    let (_hub, endpoint) = hub(home.path(), root.path());
    pull(home.path(), &endpoint, &[]);
    let words = ["serve", "--no-http", "--json", "--listen", "127.0.0.1:0"];
    let mut server = Server::start(command(home.path(), &words).env("HF_ENDPOINT", &endpoint));
    let address = server.event("listening")["addrs"][0].as_str().expect("an address").to_owned();
    server.event("indexed");
    let snapshots = home.path().join(".cache/huggingface/hub/models--org--name/snapshots");
    let commit = std::fs::read_dir(snapshots).expect("a cache").flatten().next().expect("a commit");
    let blob = std::fs::canonicalize(commit.path().join("model.safetensors")).expect("a file");
    let size = std::fs::metadata(&blob).expect("a file").len();
    std::fs::remove_file(&blob).expect("ours");
    std::fs::write(&blob, vec![7; usize::try_from(size).expect("small")]).expect("written");
    pull(other.path(), &endpoint, &["--peer", &address]);
    let warning = server.event_among("warning");
    assert_eq!(warning["kind"], "changed", "{warning}");
    assert!(warning["text"].as_str().expect("words").contains("changed since it was hashed"), "{warning}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_daemon_that_cannot_note_its_pulls_says_that_they_do_not_outlive_it() {
    let (root, home) = (folder(), folder());
    make_repository(root.path());
    let (_hub, endpoint) = hub(home.path(), root.path());
    std::fs::create_dir_all(home.path().join(".cache/zest/pulls.json/taken")).expect("made");
    let words = ["serve", "--json", "--listen", "127.0.0.1:0", "--http-port", "0"];
    let mut server = Server::start(command(home.path(), &words).env("HF_ENDPOINT", &endpoint));
    server.event("listening");
    pull(home.path(), &endpoint, &[]);
    let warning = server.event_among("warning");
    assert_eq!(warning["kind"], "not-noted", "{warning}");
    assert!(warning["text"].as_str().expect("words").contains("after a restart"), "{warning}");
    assert_eq!(server.stop(), Some(0));
}
