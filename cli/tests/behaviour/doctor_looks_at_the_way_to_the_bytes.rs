//! `zest doctor` tries what a pull would need, and says of each fault what helps.

use crate::common::{NOBODY, command, folder, hub, run, text};
use crate::scripted_hub::{Answer, Asked, ScriptedHub, usual};
use crate::serve_gives_a_neighbour_what_hub_gave_us::{make_repository, pull};
use serde_json::{Value, json};
use std::path::Path;

/// Everything that was looked at, by name.
fn examine(home: &Path, endpoint: &str, words: &[&str], variables: &[(&str, &str)]) -> (Value, Option<i32>) {
    let mut command = command(home, &[&["doctor", "--json", "--wait", "0"], words].concat());
    let output = run(command.env("HF_ENDPOINT", endpoint).envs(variables.iter().copied()));
    let first = text(&output.stdout).lines().next().expect("a document").to_owned();
    let report: Value = serde_json::from_str(&first).expect("JSON");
    let mut by_name = json!({});
    for check in report["checks"].as_array().expect("checks") {
        by_name[check["name"].as_str().expect("a name")] = check.clone();
    }
    (by_name, output.status.code())
}

#[test]
fn the_way_to_the_bytes_is_tried_with_what_the_hub_gave() {
    let (root, home) = (folder(), folder());
    make_repository(root.path());
    let (_hub, endpoint) = hub(home.path(), root.path());
    let (before, code) = examine(home.path(), &endpoint, &[], &[]);
    assert_eq!((&before["CAS"]["state"], code), (&"ok".into(), Some(0)), "{before}");
    assert!(before["CAS"]["text"].as_str().expect("words").contains("zest doctor ORG/NAME"), "{before}");
    pull(home.path(), &endpoint, &[]);
    for words in [&[][..], &["org/name"]] {
        let (checks, code) = examine(home.path(), &endpoint, words, &[]);
        let says = |name: &str, word: &str| {
            assert_eq!(checks[name]["state"], "ok", "{checks}");
            assert!(checks[name]["text"].as_str().expect("words").contains(word), "{name}: {checks}");
        };
        says("CAS", "answers in");
        says("CDN", "sends after");
        says("clock", "as the Hub's");
        says("file system", "symbolic links, hard links");
        says("sync", "1 MiB is durable after");
        assert_eq!(code, Some(0), "{checks}");
    }
}

/// A Hub whose clock went wrong, with a CAS where nobody is.
fn wrong_hub(asked: &Asked) -> Answer {
    let path = asked.target.split('?').next().unwrap_or_default();
    let answer = if path.contains("/xet-read-token/") {
        Answer::ok(json!({"casUrl": NOBODY, "accessToken": "t", "exp": 4_000_000_000_u64}).to_string())
    } else if path.contains("/tree/") {
        let (oid, hash) = ("a".repeat(40), "0123456789abcdef".repeat(4));
        let row = json!({"type": "file", "path": "model.bin", "size": 9, "oid": oid, "xetHash": hash});
        Answer::ok(json!([row]).to_string())
    } else {
        usual(asked, &[]).unwrap_or_else(|| Answer::new(404, ""))
    };
    answer.header("date", "Sat, 01 Jan 2000 00:00:00 GMT")
}

#[test]
fn a_wrong_clock_a_closed_cas_and_missing_certificates_are_named_with_what_helps() {
    let home = folder();
    let hub = ScriptedHub::start(wrong_hub);
    let nowhere = home.path().join("ca.pem");
    let variables = [("SSL_CERT_FILE", nowhere.to_str().expect("UTF-8"))];
    let (checks, code) = examine(home.path(), &hub.endpoint(), &["org/name"], &variables);
    for (name, word, fix) in [
        ("clock", "ahead of the Hub's", "timedatectl"),
        ("CAS", "127.0.0.1:9", "let HTTPS to that address through"),
        ("certificates", "ca.pem", "unset SSL_CERT_FILE"),
    ] {
        assert_eq!(checks[name]["state"], "fail", "{name}: {checks}");
        assert!(checks[name]["text"].as_str().expect("words").contains(word), "{name}: {checks}");
        assert!(checks[name]["fix"].as_str().expect("what helps").contains(fix), "{name}: {checks}");
    }
    assert_eq!(checks["Hub"]["state"], "ok", "{checks}");
    assert_eq!(code, Some(1), "{checks}");
}
