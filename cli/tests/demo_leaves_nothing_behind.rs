//! The demo as a stranger runs it, on a small model: it ends well, peers give everything, and the temporary folder
//! and the home folder are as empty afterwards as before.

use std::path::Path;
use std::process::Command;

fn entries(dir: &Path) -> Vec<std::ffi::OsString> {
    std::fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect()
}

#[test]
fn the_demo_ends_with_a_p2p_ratio_of_one_and_empty_folders() {
    let (home, temporary) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("another folder"));
    let output = Command::new(env!("CARGO_BIN_EXE_zest"))
        .args(["demo", "--size-mb", "12", "--json"])
        .env_clear()
        .env("HOME", home.path())
        .env("TMPDIR", temporary.path())
        // Must not be looked at: nobody listens there.
        .env("HF_ENDPOINT", "http://127.0.0.1:9")
        .env("HTTP_PROXY", "http://127.0.0.1:9")
        .output()
        .expect("zest starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");

    let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!(value["node_b"]["p2p_ratio"], 1.0, "{value}");
    assert_eq!(value["node_b"]["hub_cdn_bytes"], 0, "{value}");
    assert_eq!(value["node_a"]["from_peers"], 0, "{value}");
    assert!(value["node_b"]["chunks_proven"].as_u64() > Some(100), "{value}");
    let files = value["sample"]["files"].as_u64().expect("a number");
    assert_eq!(value["checked"]["files_equal"].as_u64(), Some(2 * files), "{value}");
    assert_eq!(value["checked"]["files_verified"].as_u64(), Some(2 * files), "{value}");

    assert_eq!(entries(temporary.path()), Vec::<std::ffi::OsString>::new());
    assert_eq!(entries(home.path()), Vec::<std::ffi::OsString>::new());
}
