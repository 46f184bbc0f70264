//! One file, or one folder, of a repository with a quarter of a million others.

use crate::common::{command, folder, run, text};
use crate::scripted_hub::{Answer, Asked, COMMIT, ScriptedHub};
use serde_json::json;

/// Git's id of an empty file.
const EMPTY: &str = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";

/// A dataset that would fill 270 pages, of which nobody may ask for the first.
fn answer(asked: &Asked) -> Answer {
    let path = asked.target.split('?').next().unwrap_or_default();
    let row =
        |path: &str, size: usize, oid: &str| json!({"type": "file", "path": path, "size": size, "oid": oid});
    if path.contains("/revision/") {
        return Answer::ok(format!(r#"{{"sha":"{COMMIT}","private":false,"gated":false}}"#));
    }
    if path.ends_with(&format!("/paths-info/{COMMIT}")) {
        let form: serde_json::Value = serde_json::from_slice(&asked.body).expect("JSON");
        assert_eq!(form["paths"], json!(["data/00042.txt"]));
        // Git's id of "42\n".
        return Answer::ok(
            json!([row("data/00042.txt", 3, "d81cc0710eb6cf9efd5b920a8453e1e07157b6cd")]).to_string(),
        );
    }
    if path.ends_with(&format!("/tree/{COMMIT}/data/small")) {
        return Answer::ok(
            json!([row("data/small/a.txt", 0, EMPTY), row("data/small/b.bin", 0, EMPTY)]).to_string(),
        );
    }
    if path.ends_with("/data/00042.txt") {
        return match path.contains("resolve-cache") {
            true => Answer::ok("42\n"),
            false => Answer::new(307, "").header("Location", "/api/resolve-cache/datasets/data/00042.txt"),
        };
    }
    Answer::new(500, "this would be dear")
}

#[test]
fn one_named_file_costs_four_requests() {
    let home = folder();
    let hub = ScriptedHub::start(answer);
    let arguments = ["pull", "datasets/org/name", "data/00042.txt", "--json"];
    let output = run(command(home.path(), &arguments).env("HF_ENDPOINT", hub.endpoint()));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let asked: Vec<String> = hub.asked().into_iter().map(|asked| asked.target).collect();
    assert!(asked.len() <= 4, "{asked:?}");
}

#[test]
fn a_pattern_with_a_literal_folder_lists_that_folder_alone() {
    let home = folder();
    let hub = ScriptedHub::start(answer);
    let arguments = ["pull", "datasets/org/name", "--include", "data/small/*.txt", "--json"];
    let output = run(command(home.path(), &arguments).env("HF_ENDPOINT", hub.endpoint()));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!(report["files"].as_array().map(Vec::len), Some(1), "{report}");
    assert_eq!(hub.asked().len(), 2, "{:?}", hub.asked());
}
