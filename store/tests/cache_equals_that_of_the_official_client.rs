//! The trees below were written by huggingface_hub 2.4.0 (umask 022) for a repository of this shape, in its
//! three variants.

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::{COMMIT, LOCAL, MOVED, SHARED, files, listing, pull, repo};
use zest_store::{HfCache, LocalDir, Presence, TreeEntry, format_tree};

/// Modes below are those under this umask.
fn set_umask() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
}

/// The part that all variants share: tag, locks, ref, tree, folders.
fn base(files: &[(TreeEntry, Vec<u8>)]) -> BTreeMap<String, String> {
    let tree: Vec<TreeEntry> = files.iter().map(|(entry, _)| entry.clone()).collect();
    let mut out = BTreeMap::new();
    let mut dir = |name: &str| drop(out.insert(name.to_owned(), "dir".to_owned()));
    [".locks", ".locks/models--lab--tiny", "models--lab--tiny"].into_iter().for_each(&mut dir);
    ["blobs", "refs", "trees", "snapshots"]
        .into_iter()
        .for_each(|name| dir(&format!("models--lab--tiny/{name}")));
    let snapshot = format!("models--lab--tiny/snapshots/{COMMIT}");
    ["", "/sub dir", "/sub dir/deeper"].into_iter().for_each(|name| dir(&format!("{snapshot}{name}")));
    out.insert("CACHEDIR.TAG".to_owned(), "644 191".to_owned());
    out.insert("models--lab--tiny/refs/main".to_owned(), "644 40".to_owned());
    let len = format_tree(&tree).len();
    out.insert(format!("models--lab--tiny/trees/{COMMIT}.json"), format!("600 {len}"));
    for entry in &tree {
        out.insert(format!(".locks/models--lab--tiny/{}.lock", entry.etag()), "664 0".to_owned());
    }
    out
}

fn pointers(out: &mut BTreeMap<String, String>, files: &[(TreeEntry, Vec<u8>)]) {
    for (entry, _) in files {
        let ups = "../".repeat(2 + entry.path.matches('/').count());
        let link = format!("-> {ups}blobs/{}", entry.etag());
        out.insert(format!("models--lab--tiny/snapshots/{COMMIT}/{}", entry.path), link);
    }
}

#[test]
fn with_the_shared_store() {
    set_umask();
    let dir = tempfile::tempdir().unwrap();
    let files = files();
    let root = dir.path().join("home/hub");
    pull(&HfCache::open(&root, SHARED).unwrap(), &repo(), COMMIT, &files);

    let mut expected = base(&files);
    pointers(&mut expected, &files);
    expected.insert("blobs".to_owned(), "dir".to_owned());
    expected.insert("blobs/.huggingface-shared-blobs".to_owned(), "444 2".to_owned());
    for (entry, data) in &files {
        let blob = format!("models--lab--tiny/blobs/{}", entry.etag());
        let Some(hash) = entry.xet_hash.map(|hash| hash.to_string()) else {
            expected.insert(blob, format!("644 {}", data.len()));
            continue;
        };
        let shared = format!("blobs/{}/{hash}", &hash[..2]);
        expected.insert(format!("blobs/{}", &hash[..2]), "dir".to_owned());
        expected.insert(format!("{shared}.refs"), format!("666 {}", blob.len() + 1));
        expected.insert(format!("{shared}.lock"), "666 0".to_owned());
        assert_eq!(fs::read_to_string(root.join(format!("{shared}.refs"))).unwrap(), format!("{blob}\n"));
        expected.insert(blob, format!("-> ../../{shared}"));
        expected.insert(shared, format!("444 {}", data.len()));
    }
    assert_eq!(listing(&root), expected);
    assert_eq!(fs::read(root.join("blobs/.huggingface-shared-blobs")).unwrap(), b"1\n");
    for (entry, data) in &files {
        let path = root.join("models--lab--tiny/snapshots").join(COMMIT).join(&entry.path);
        assert_eq!(&fs::read(path).unwrap(), data, "{}", entry.path);
    }
}

#[test]
fn without_the_shared_store() {
    set_umask();
    let dir = tempfile::tempdir().unwrap();
    let files = files();
    pull(&HfCache::open(dir.path(), LOCAL).unwrap(), &repo(), COMMIT, &files);
    let mut expected = base(&files);
    pointers(&mut expected, &files);
    for (entry, data) in &files {
        expected.insert(format!("models--lab--tiny/blobs/{}", entry.etag()), format!("644 {}", data.len()));
    }
    assert_eq!(listing(dir.path()), expected);
}

#[test]
fn without_symlinks() {
    set_umask();
    let dir = tempfile::tempdir().unwrap();
    let files = files();
    pull(&HfCache::open(dir.path(), MOVED).unwrap(), &repo(), COMMIT, &files);
    let mut expected = base(&files);
    for (entry, data) in &files {
        let name = format!("models--lab--tiny/snapshots/{COMMIT}/{}", entry.path);
        expected.insert(name, format!("644 {}", data.len()));
    }
    assert_eq!(listing(dir.path()), expected);
}

#[test]
fn in_a_local_folder() {
    set_umask();
    let dir = tempfile::tempdir().unwrap();
    let files = files();
    let cache = HfCache::open(&dir.path().join("hub"), SHARED).unwrap();
    pull(&cache, &repo(), COMMIT, &files);
    let root = dir.path().join("out");
    let local = LocalDir::open(&root).unwrap();
    let tree: Vec<TreeEntry> = files.iter().map(|(entry, _)| entry.clone()).collect();
    local.write_tree(COMMIT, &tree).unwrap();
    for (entry, data) in &files {
        let _lock = local.try_lock(entry).unwrap().unwrap();
        assert_eq!(local.presence(COMMIT, entry), Presence::Missing);
        if entry.xet_hash.is_some() {
            let finished = common::fetch(&local.partial_dir(entry).unwrap(), data);
            local.land_xet(COMMIT, entry, finished).unwrap();
        } else {
            local.copy_from(COMMIT, entry, &cache.snapshot_dir(&repo(), COMMIT).join(&entry.path)).unwrap();
        }
        assert_eq!(local.presence(COMMIT, entry), Presence::Complete(root.join(&entry.path)));
        assert_eq!(local.presence(common::COMMIT_2, entry), Presence::Linkable);
    }
    let notes = ".cache/huggingface";
    let mut expected = BTreeMap::new();
    for name in [".cache", notes, ".cache/huggingface/download", ".cache/huggingface/trees"] {
        expected.insert(name.to_owned(), "dir".to_owned());
    }
    for name in ["sub dir", "sub dir/deeper"] {
        expected.insert(name.to_owned(), "dir".to_owned());
        expected.insert(format!("{notes}/download/{name}"), "dir".to_owned());
    }
    expected.insert(format!("{notes}/CACHEDIR.TAG"), "644 191".to_owned());
    expected.insert(format!("{notes}/.gitignore"), "644 1".to_owned());
    expected.insert(format!("{notes}/trees/{COMMIT}.json"), format!("600 {}", format_tree(&tree).len()));
    let mut found = listing(&root);
    for (entry, data) in &files {
        expected.insert(entry.path.clone(), format!("644 {}", data.len()));
        expected.insert(format!("{notes}/download/{}.lock", entry.path), "664 0".to_owned());
        let name = format!("{notes}/download/{}.metadata", entry.path);
        let text = fs::read_to_string(root.join(&name)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], [COMMIT, entry.etag()]);
        assert!(lines[2].parse::<f64>().unwrap() > 1.7e9);
        assert!(found.remove(&name).is_some_and(|what| what.starts_with("644 ")));
    }
    assert_eq!(found, expected);
}
