//! Caches and folders that zest did not make: without listings, without links, without what belongs beside them.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use zest_tests::program::Host;
use zest_tests::rows::Rows;

fn pull(host: &Host, hub: &str, words: &[&str], variables: &[(&str, &str)]) -> Output {
    let words: Vec<String> =
        ["pull", "--json", "org/name"].iter().chain(words).map(|&word| word.to_owned()).collect();
    host.command(hub, &words).envs(variables.iter().copied()).output().expect("zest starts")
}

fn report(output: &Output) -> (Value, PathBuf) {
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert!(output.status.success(), "{report}");
    let path = PathBuf::from(report["path"].as_str().expect("a path"));
    (report, path)
}

fn has_notice(report: &Value, kind: &str) -> bool {
    report["notices"].as_array().expect("notices").iter().any(|notice| notice["kind"] == kind)
}

fn cache(host: &Host) -> PathBuf {
    host.home().join(".cache/huggingface/hub/models--org--name")
}

fn right(folder: &Path, files: &[(&str, &[u8])]) {
    for (name, data) in files {
        let got = fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(got, *data, "{name}");
    }
}

/// A closed port of loopback.
const NOBODY: &str = "http://127.0.0.1:9";
const OFFLINE: [(&str, &str); 1] = [("HF_HUB_OFFLINE", "1")];
const FILES: [(&str, &[u8]); 3] = [("config.json", b"{}\n"), ("sub/a.txt", b"same"), ("sub/b.txt", b"same")];

#[test]
fn a_snapshot_without_its_listing_is_used_when_nobody_can_be_asked() {
    let (hub, host) = (Rows::start(), Host::default());
    hub.commit('1', &FILES);
    report(&pull(&host, &hub.endpoint(), &[], &[]));
    fs::remove_dir_all(cache(&host).join("trees")).expect("older clients keep none");
    for (endpoint, variables) in [(hub.endpoint(), &OFFLINE[..]), (NOBODY.to_owned(), &[])] {
        let (report, path) = report(&pull(&host, &endpoint, &["--no-p2p"], variables));
        right(&path, &FILES);
        assert!(has_notice(&report, "no-listing"), "{report}");
    }
    // Links copied as files: their hashes are not known, and they are used all the same.
    let snapshot = cache(&host).join("snapshots").join("1".repeat(40));
    for (name, data) in FILES {
        fs::remove_file(snapshot.join(name)).expect("a link");
        fs::write(snapshot.join(name), data).expect("write");
    }
    right(&report(&pull(&host, NOBODY, &[], &OFFLINE)).1, &FILES);
    right(&report(&pull(&host, NOBODY, &["config.json"], &OFFLINE)).1, &FILES[..1]);
    // What is not there is not claimed to be.
    assert_eq!(pull(&host, NOBODY, &["other.json"], &OFFLINE).status.code(), Some(5));
    fs::remove_file(snapshot.join("config.json")).expect("ours");
    std::os::unix::fs::symlink("../../blobs/gone", snapshot.join("config.json")).expect("a dangling link");
    assert_eq!(pull(&host, NOBODY, &[], &OFFLINE).status.code(), Some(5));
}

#[test]
fn a_wrong_file_of_a_snapshot_without_its_listing_is_found_by_its_blobs_name() {
    let (hub, host) = (Rows::start(), Host::default());
    hub.commit('1', &FILES);
    let (_, path) = report(&pull(&host, &hub.endpoint(), &[], &[]));
    fs::remove_dir_all(cache(&host).join("trees")).expect("older clients keep none");
    fs::write(fs::canonicalize(path.join("config.json")).expect("a link"), b"{]\n").expect("write");
    assert_eq!(pull(&host, NOBODY, &[], &OFFLINE).status.code(), Some(6));
}

#[test]
fn a_stray_file_in_a_folders_place_is_moved_aside() {
    let (hub, host) = (Rows::start(), Host::default());
    hub.commit('1', &FILES);
    let snapshot = cache(&host).join("snapshots").join("1".repeat(40));
    fs::create_dir_all(&snapshot).expect("make");
    fs::write(snapshot.join("sub"), b"stray").expect("write");
    let (report, path) = report(&pull(&host, &hub.endpoint(), &[], &[]));
    right(&path, &FILES);
    assert!(has_notice(&report, "cache"), "{report}");
}

#[test]
fn files_of_one_content_come_in_one_run_without_links() {
    let (hub, host) = (Rows::start(), Host::default());
    hub.commit('1', &FILES);
    let without = [("HF_HUB_DISABLE_SYMLINKS", "1")];
    let (_, path) = report(&pull(&host, &hub.endpoint(), &[], &without));
    right(&path, &FILES);
    assert!(FILES.iter().all(|(name, _)| fs::symlink_metadata(path.join(name)).expect("there").is_file()));
    assert_eq!(hub.take_fetched().len(), 2, "one content is fetched once");
    report(&pull(&host, &hub.endpoint(), &[], &without));
    report(&pull(&host, &hub.endpoint(), &[], &[]));
    assert_eq!(hub.take_fetched(), Vec::<String>::new());
    let left = fs::read_dir(cache(&host).join("blobs")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "nothing is left beside them");
}

#[test]
fn a_local_folder_that_is_complete_needs_no_cache_and_no_hub() {
    let (hub, host) = (Rows::start(), Host::default());
    hub.commit('1', &FILES);
    let local = host.home().join("local");
    let words = ["--local-dir", local.to_str().expect("Unicode")];
    report(&pull(&host, &hub.endpoint(), &words, &[]));
    let other = Host::default();
    for endpoint in [&hub.endpoint(), NOBODY] {
        right(&report(&pull(&other, endpoint, &words, &OFFLINE)).1, &FILES);
    }
    // As an older client leaves it: notes without a listing.
    fs::remove_dir_all(local.join(".cache/huggingface/trees")).expect("a listing");
    let (found, path) = report(&pull(&other, NOBODY, &words, &OFFLINE));
    right(&path, &FILES);
    assert!(has_notice(&found, "no-listing"), "{found}");
    fs::remove_file(local.join("sub/a.txt")).expect("ours");
    assert_eq!(pull(&other, NOBODY, &words, &OFFLINE).status.code(), Some(5));
}
