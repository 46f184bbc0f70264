//! Repositories and revisions are taken out of a cache, and what others use stays.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use zest_store::{CacheOptions, HfCache, RepoId, RepoType, Unfinished};

const FIRST: &str = "1111111111111111111111111111111111111111";
const SECOND: &str = "2222222222222222222222222222222222222222";

fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn link(from: &Path, to: &str) {
    fs::create_dir_all(from.parent().unwrap()).unwrap();
    symlink(to, from).unwrap();
}

/// Two repositories: `lab/a` with two revisions that share one file, and `lab/b`; both use a blob of the shared store.
fn cache(root: &Path) -> HfCache {
    let xet = format!("ab{}", "0".repeat(62));
    put(&root.join("blobs/.huggingface-shared-blobs"), "1\n");
    put(&root.join(format!("blobs/ab/{xet}")), "shared bytes");
    let users = format!("models--lab--a/blobs/{0}\nmodels--lab--b/blobs/{0}\n", "e".repeat(64));
    put(&root.join(format!("blobs/ab/{xet}.refs")), &users);
    for repo in ["models--lab--a", "models--lab--b"] {
        link(&root.join(repo).join("blobs").join("e".repeat(64)), &format!("../../blobs/ab/{xet}"));
    }
    let a = root.join("models--lab--a");
    put(&a.join("blobs").join("c".repeat(40)), "both");
    put(&a.join("blobs").join("d".repeat(40)), "first alone");
    put(&a.join("refs/main"), SECOND);
    put(&a.join("refs/refs/pr/1"), FIRST);
    for (commit, name, blob) in [
        (FIRST, "both.json", "c".repeat(40)),
        (FIRST, "sub/old.json", "d".repeat(40)),
        (SECOND, "both.json", "c".repeat(40)),
        (SECOND, "model.bin", "e".repeat(64)),
    ] {
        let up = if name.contains('/') { "../../../" } else { "../../" };
        link(&a.join("snapshots").join(commit).join(name), &format!("{up}blobs/{blob}"));
    }
    let b = root.join("models--lab--b");
    put(&b.join("refs/main"), FIRST);
    link(&b.join("snapshots").join(FIRST).join("model.bin"), &format!("../../blobs/{}", "e".repeat(64)));
    HfCache::open(root, CacheOptions::default()).unwrap()
}

fn repo(name: &str) -> RepoId {
    RepoId::new(RepoType::Model, name).unwrap()
}

fn all(cache: &HfCache, name: &str) -> BTreeSet<String> {
    cache.commits(&repo(name)).into_iter().collect()
}

#[test]
fn what_a_cache_takes_is_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let usage = cache.usage_of(&repo("lab/a"));
    assert_eq!(usage.bytes, 4 + 11 + 12);
    let first = &usage.revisions[0];
    assert_eq!((first.commit.as_str(), first.files, first.bytes), (FIRST, 2, 15));
    assert_eq!(first.refs, ["refs/pr/1"]);
    assert_eq!(usage.revisions[1].refs, ["main"]);
}

#[test]
fn a_revision_goes_with_what_it_alone_uses() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let commits = BTreeSet::from([FIRST.to_owned()]);
    let told = cache.remove(&repo("lab/a"), &commits, true).unwrap();
    assert_eq!((told.revisions, told.files, told.bytes), (1, 1, 11));
    assert_eq!(all(&cache, "lab/a").len(), 2, "a dry run removes nothing");
    assert_eq!(cache.remove(&repo("lab/a"), &commits, false).unwrap(), told, "what was said is what happens");
    assert_eq!(all(&cache, "lab/a"), BTreeSet::from([SECOND.to_owned()]));
    assert_eq!(cache.refs(&repo("lab/a")).into_keys().collect::<Vec<_>>(), ["main"]);
    let left = cache.snapshot_dir(&repo("lab/a"), SECOND);
    assert_eq!(fs::read_to_string(left.join("both.json")).unwrap(), "both");
    assert_eq!(fs::read_to_string(left.join("model.bin")).unwrap(), "shared bytes");
}

#[test]
fn a_repository_goes_and_a_blob_that_another_uses_stays_until_that_goes_too() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let removed = cache.remove(&repo("lab/a"), &all(&cache, "lab/a"), false).unwrap();
    assert_eq!((removed.revisions, removed.bytes), (2, 15));
    assert!(!dir.path().join("models--lab--a").exists());
    let b = cache.snapshot_dir(&repo("lab/b"), FIRST).join("model.bin");
    assert_eq!(fs::read_to_string(&b).unwrap(), "shared bytes");
    let removed = cache.remove(&repo("lab/b"), &all(&cache, "lab/b"), false).unwrap();
    assert_eq!((removed.files, removed.bytes), (1, 12));
    assert!(cache.stored_blobs().is_empty());
}

#[test]
fn pruning_takes_what_nothing_leads_to_and_what_was_not_finished() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let blobs = dir.path().join("models--lab--a/blobs");
    fs::remove_file(dir.path().join("models--lab--a/refs/refs/pr/1")).unwrap();
    put(&blobs.join(format!("{}.1234abcd.incomplete", "f".repeat(40))), "half");
    put(&blobs.join("9".repeat(40)), "left by somebody who was killed");
    let orphan = dir.path().join(format!("blobs/cd/cd{}", "0".repeat(62)));
    put(&orphan, "nobody's");
    let told = cache.prune(true).unwrap();
    let removed = cache.prune(false).unwrap();
    assert_eq!((removed.revisions, removed.files), (1, 3));
    assert_eq!(told, removed, "what is said is what happens");
    assert!(orphan.exists(), "without a list of users nobody knows that there are none");
    put(&orphan.with_extension("refs"), "models--lab--gone/blobs/x\n");
    assert_eq!(cache.prune(false).unwrap().bytes, 8);
    assert!(!orphan.exists());
    let mut left: Vec<String> =
        fs::read_dir(&blobs).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["c".repeat(40), "e".repeat(64)]);
    assert!(cache.prune(false).unwrap() == zest_store::Removed::default(), "a second time there is nothing");
}

#[test]
fn what_an_interrupted_pull_left_in_the_shared_store_is_counted_and_pruned() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    assert_eq!(cache.unfinished_shared(), Unfinished::default());
    let stem = dir.path().join(format!("blobs/cd/cd{}", "0".repeat(62)));
    put(&stem.with_extension("zest-partial"), &"x".repeat(70_000));
    put(&stem.with_extension("zest-journal"), "notes");
    let counted = cache.unfinished_shared();
    assert!(counted.on_disk >= 70_005, "{counted:?}");
    assert_eq!(counted.came, 0, "nobody has noted what it is");
    let of_repos: Unfinished = cache.usage().iter().map(|repo| repo.unfinished).sum();
    assert_eq!(of_repos, Unfinished::default(), "it is of no repository");
    let removed = cache.prune(false).unwrap();
    assert_eq!((removed.files, removed.bytes), (2, counted.on_disk));
    assert_eq!(cache.unfinished_shared(), Unfinished::default());
}

#[test]
fn a_file_that_somebody_is_fetching_stays() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let etag = "d".repeat(40);
    let path = dir.path().join(format!(".locks/models--lab--a/{etag}.lock"));
    put(&path, "");
    let held = fs::File::open(&path).unwrap();
    held.lock().unwrap();
    let removed = cache.remove(&repo("lab/a"), &all(&cache, "lab/a"), false).unwrap();
    assert_eq!(removed.kept.len(), 1, "{:?}", removed.kept);
    assert!(dir.path().join("models--lab--a/blobs").join(etag).exists());
}
