//! A listing may name what cannot be stored here, or what no listing should name. That costs those files; all others land.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use zest_tests::program::Host;
use zest_tests::rows::{Rows, git_id, row};

fn pull(host: &Host, hub: &Rows, words: &[&str]) -> Output {
    let words: Vec<String> =
        ["pull", "--json", "org/name"].iter().chain(words).map(|&word| word.to_owned()).collect();
    host.command(&hub.endpoint(), &words).output().expect("zest starts")
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

fn folder(output: &Output) -> PathBuf {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    PathBuf::from(document(output)["path"].as_str().expect("a path"))
}

fn cache(host: &Host) -> PathBuf {
    host.home().join(".cache/huggingface/hub/models--org--name")
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn what_cannot_be_stored_is_named_at_the_end_and_everything_else_lands() {
    let (hub, host) = (Rows::start(), Host::default());
    let good: [(&str, &[u8]); 4] = [
        ("config.json", b"{}\n"),
        ("a\\b.txt", b"backslash"),
        ("A: x", b"colon"),
        ("sub/.git/config", b"git"),
    ];
    hub.commit('1', &good);
    let long = "n".repeat(300);
    for (path, oid) in [("../evil", git_id(b"x")), (&long, git_id(b"x")), ("hashless", "zz".into())] {
        hub.add_row(row(path, &oid, 1));
    }
    let output = pull(&host, &hub, &[]);
    let error = document(&output)["error"]["message"].as_str().expect("a message").to_owned();
    assert_eq!(output.status.code(), Some(8), "{error}");
    for bad in ["../evil", &long, "hashless", "3 of 7 files"] {
        assert!(error.contains(bad), "{bad} in {error}");
    }
    // For programs as a list.
    let listed = document(&output)["error"]["files"].as_array().expect("a list").clone();
    let kinds: Vec<_> = listed.iter().map(|file| (file["path"].as_str(), file["kind"].as_str())).collect();
    let kind = |path| kinds.iter().find(|(p, _)| *p == Some(path)).expect("it is listed").1;
    assert_eq!((kinds.len(), kind("../evil"), kind(&long)), (3, Some("place"), Some("place")), "{listed:?}");
    assert!(listed.iter().all(|file| file["message"].is_string()), "{listed:?}");
    let snapshot = cache(&host).join("snapshots").join("1".repeat(40));
    for (name, data) in good {
        assert_eq!(read(&snapshot, name), data);
    }
    assert!(!cache(&host).join("snapshots/evil").exists());
    // What is not asked for is not judged.
    folder(&pull(&host, &hub, &["config.json"]));
    folder(&pull(&host, &hub, &["--exclude", "../evil", "--exclude", "n*", "--exclude", "hashless"]));
    assert_eq!(pull(&host, &hub, &["../evil"]).status.code(), Some(8));
    assert_eq!(pull(&host, &hub, &["not there"]).status.code(), Some(4));
    let _ = hub.take_fetched();
    assert_eq!(pull(&host, &hub, &[]).status.code(), Some(8), "it does not count as complete");
    assert_eq!(hub.take_fetched(), Vec::<String>::new(), "and nothing is fetched twice");
    // A local folder has no room for a git folder.
    let local = host.home().join("local");
    let output = pull(
        &host,
        &hub,
        &["--local-dir", local.to_str().expect("Unicode"), "--include", "*.json", "--include", "sub/*"],
    );
    let error = document(&output)["error"]["message"].as_str().expect("a message").to_owned();
    assert!(output.status.code() == Some(8) && error.contains("sub/.git/config"), "{error}");
    assert_eq!(read(&local, "config.json"), b"{}\n");
}

#[test]
fn wrong_bytes_of_one_file_are_exit_code_6_and_cost_no_other() {
    let (hub, host) = (Rows::start(), Host::default());
    hub.commit('1', &[("good", b"good")]);
    hub.add_row(row("gone", &git_id(b"x"), 1));
    assert_eq!(pull(&host, &hub, &["--exclude", "gone"]).status.code(), Some(0));
    assert_eq!(pull(&host, &hub, &[]).status.code(), Some(4), "listed, and the Hub does not have it");
    hub.commit('2', &[("good", b"good"), ("other", b"other")]);
    hub.add_row(row("liar", &git_id(b"not this"), 8));
    let output = pull_with_liar(&host, &hub);
    assert_eq!(output.status.code(), Some(6), "{}", String::from_utf8_lossy(&output.stdout));
    let snapshot = cache(&host).join("snapshots").join("2".repeat(40));
    assert_eq!((read(&snapshot, "good"), read(&snapshot, "other")), (b"good".to_vec(), b"other".to_vec()));
}

/// The Hub gives bytes under `liar` that have its length and not its hash.
fn pull_with_liar(host: &Host, hub: &Rows) -> Output {
    hub.give("liar", b"all lies");
    pull(host, hub, &[])
}

#[test]
fn the_longest_names_have_notes_in_a_local_folder() {
    let (hub, host) = (Rows::start(), Host::default());
    let (long, dir) = ("l".repeat(255), format!("{}/f", "d".repeat(255)));
    hub.commit('1', &[(&long, b"long"), (&dir, b"deep")]);
    let local = host.home().join("local");
    let words = ["--local-dir", local.to_str().expect("Unicode")];
    folder(&pull(&host, &hub, &words));
    assert_eq!((read(&local, &long), read(&local, &dir)), (b"long".to_vec(), b"deep".to_vec()));
    let _ = hub.take_fetched();
    folder(&pull(&host, &hub, &words));
    assert_eq!(hub.take_fetched(), Vec::<String>::new());
}

#[test]
fn files_become_folders_and_folders_files_unless_they_are_the_users() {
    let (hub, host) = (Rows::start(), Host::default());
    let local = host.home().join("local");
    let words = ["--local-dir", local.to_str().expect("Unicode")];
    hub.commit('1', &[("data", b"one"), ("more/a/b", b"two")]);
    folder(&pull(&host, &hub, &words));
    hub.commit('2', &[("data/train.csv", b"1,2"), ("more", b"three")]);
    folder(&pull(&host, &hub, &words));
    assert_eq!((read(&local, "data/train.csv"), read(&local, "more")), (b"1,2".to_vec(), b"three".to_vec()));
    // The user's own files stay.
    fs::write(local.join("data/mine"), b"precious").expect("write");
    fs::remove_file(local.join("more")).expect("ours");
    fs::write(local.join("more"), b"also mine").expect("write");
    hub.commit('3', &[("data", b"one"), ("more/a", b"two"), ("other", b"lands")]);
    let output = pull(&host, &hub, &words);
    let error = document(&output)["error"]["message"].as_str().expect("a message").to_owned();
    assert_eq!(output.status.code(), Some(8), "{error}");
    assert!(error.contains("2 of 3 files"), "{error}");
    let kept = [
        ("data/mine", &b"precious"[..]),
        ("data/train.csv", b"1,2"),
        ("more", b"also mine"),
        ("other", b"lands"),
    ];
    for (name, data) in kept {
        assert_eq!(read(&local, name), data, "{name}");
    }
}

#[test]
fn a_ref_of_the_past_does_not_stand_in_the_way() {
    let (hub, host) = (Rows::start(), Host::default());
    hub.commit('1', &[("f", b"f")]);
    let refs = cache(&host).join("refs");
    fs::create_dir_all(refs.join("main")).expect("make");
    fs::write(refs.join("main/x"), "2".repeat(40)).expect("write");
    folder(&pull(&host, &hub, &[]));
    assert_eq!(fs::read_to_string(refs.join("main")).expect("a file"), "1".repeat(40));
    // And a branch below one that is a file.
    folder(&pull(&host, &hub, &["--revision", "main/x"]));
    assert_eq!(fs::read_to_string(refs.join("main/x")).expect("a file"), "1".repeat(40));
}

#[test]
fn a_commit_that_the_hub_names_and_lacks_is_told_as_such() {
    let (hub, host) = (Rows::start(), Host::default());
    hub.lose_commit();
    let output = pull(&host, &hub, &[]);
    let error = document(&output)["error"].clone();
    assert_eq!(output.status.code(), Some(4), "{error}");
    let text = error["message"].as_str().expect("a message");
    assert!(text.contains("main") && text.contains(&"1".repeat(40)), "{text}");
    assert!(error["hint"].as_str().expect("a hint").contains("again"), "{error}");
}
