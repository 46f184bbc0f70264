//! One row of the table of exit codes (docs/using.md) after the other, each with a Hub or a disk that brings it about.

use crate::common::{command, folder, run, text};
use crate::scripted_hub::{Answer, Asked, COMMIT, ListedFile, ScriptedHub, usual};
use std::path::Path;
use std::process::Output;

/// Bytes of the scripted model's file.
const SIZE: usize = 8;

/// A Hub with one file, whose resolve call answers as told.
fn hub_with(path: &'static str, resolve: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> ScriptedHub {
    let files = [ListedFile::new(path, SIZE)];
    ScriptedHub::start(move |asked| usual(asked, &files).unwrap_or_else(|| resolve(asked)))
}

fn pull(home: &Path, hub: &ScriptedHub, more: &[&str]) -> Output {
    let arguments = [&["pull", "org/name", "--no-p2p"], more].concat();
    run(command(home, &arguments).env("HF_ENDPOINT", hub.endpoint()))
}

fn said(output: &Output) -> String {
    text(&output.stderr).to_owned()
}

#[test]
fn plain_bytes_that_are_wrong_too_few_or_too_many_exit_with_6() {
    for body in [&b"12345678"[..], b"123", b"1234567890 and more"] {
        let home = folder();
        let hub = hub_with("config.json", move |_| Answer::ok(body));
        let output = pull(home.path(), &hub, &[]);
        assert_eq!(output.status.code(), Some(6), "{body:?}: {}", said(&output));
        assert!(!said(&output).contains("make room"), "{}", said(&output));
    }
}

#[test]
fn a_gate_exits_with_3_wherever_it_stands() {
    let home = folder();
    let hub = hub_with("config.json", |_| Answer::new(401, "").header("X-Error-Code", "GatedRepo"));
    let output = pull(home.path(), &hub, &[]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let refused = hub.asked().iter().filter(|asked| asked.target.contains("/resolve/")).count();
    assert_eq!(refused, 1, "a refusal is not asked for again");
}

#[test]
fn a_token_that_cannot_be_one_exits_with_3_and_is_not_sent() {
    let home = folder();
    let hub = ScriptedHub::start(|_| Answer::new(500, ""));
    let output = run(command(home.path(), &["pull", "org/name"])
        .envs([("HF_ENDPOINT", hub.endpoint().as_str()), ("HF_TOKEN", "Bearer hf_x")]));
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert_eq!(hub.asked().len(), 0);
}

#[test]
fn what_is_not_there_exits_with_4() {
    let home = folder();
    let hub = ScriptedHub::start(|_| Answer::new(404, "").header("X-Error-Code", "RevisionNotFound"));
    let output = pull(home.path(), &hub, &["--revision", "v9"]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    let hub = hub_with("config.json", |_| Answer::new(404, ""));
    let output = pull(home.path(), &hub, &["other.json"]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
}

#[test]
fn something_that_is_no_hub_exits_with_1_and_names_the_setting() {
    let home = folder();
    for page in ["<html>log in to the network</html>", "[{]"] {
        let hub = ScriptedHub::start(move |_| Answer::ok(page).header("Content-Type", "text/html"));
        let output = pull(home.path(), &hub, &[]);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("HF_ENDPOINT"), "{}", said(&output));
    }
}

#[test]
fn a_setting_that_cannot_work_exits_with_2() {
    let home = folder();
    for endpoint in ["ftp://hub.example", "http://"] {
        let output = run(command(home.path(), &["pull", "org/name"]).env("HF_ENDPOINT", endpoint));
        assert_eq!(output.status.code(), Some(2), "{endpoint}: {}", said(&output));
    }
}

#[test]
fn a_folder_where_the_file_belongs_exits_with_8_and_nobody_is_told_to_make_room() {
    let home = folder();
    let snapshot = home.path().join(".cache/huggingface/hub/models--org--name/snapshots").join(COMMIT);
    std::fs::create_dir_all(snapshot.join("config.json/below")).expect("made");
    let mut file = ListedFile::new("config.json", 0);
    // Git's id of an empty file.
    file.oid = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391".to_owned();
    let hub = ScriptedHub::start(move |asked| {
        usual(asked, std::slice::from_ref(&file)).unwrap_or_else(|| Answer::ok(""))
    });
    let output = pull(home.path(), &hub, &[]);
    assert_eq!(output.status.code(), Some(8), "{}", said(&output));
    assert!(!said(&output).contains("make room"), "{}", said(&output));
}
