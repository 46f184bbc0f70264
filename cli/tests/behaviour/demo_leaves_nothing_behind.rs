//! The demo as a stranger runs it, on a small model: it ends well, peers give everything, and the temporary folder
//! and the home folder are as empty afterwards as before.

use crate::common::{command, folder, run, text};
use std::ffi::OsString;
use std::path::Path;

fn entries(dir: &Path) -> Vec<OsString> {
    std::fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect()
}

#[test]
fn the_demo_ends_with_a_p2p_ratio_of_one_and_empty_folders() {
    let (home, temporary) = (folder(), folder());
    // The endpoint and the proxy must not be looked at: nobody listens there.
    let output = run(command(home.path(), &["demo", "--size-mb", "12", "--json"])
        .env("TMPDIR", temporary.path())
        .env("HTTP_PROXY", crate::common::NOBODY));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));

    let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!(value["node_b"]["p2p_ratio"], 1.0, "{value}");
    assert_eq!(value["node_b"]["hub_cdn_bytes"], 0, "{value}");
    assert_eq!(value["node_a"]["from_peers"], 0, "{value}");
    assert!(value["node_b"]["chunks_proven"].as_u64() > Some(100), "{value}");
    let files = value["sample"]["files"].as_u64().expect("a number");
    assert_eq!(value["checked"]["files_equal"].as_u64(), Some(2 * files), "{value}");
    assert_eq!(value["checked"]["files_verified"].as_u64(), Some(2 * files), "{value}");

    assert_eq!(entries(temporary.path()), Vec::<OsString>::new());
    assert_eq!(entries(home.path()), Vec::<OsString>::new());
}
