//! Foreign things in places of the cache: repaired where nothing can be lost, reported where it could.

mod common;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::{COMMIT, LOCAL, MOVED, SHARED, fetch, files, land, noise, repo};
use zest_store::{CacheOptions, HfCache, LocalDir, Presence, StoreError, TreeEntry};

fn setup(options: CacheOptions) -> (tempfile::TempDir, HfCache, TreeEntry, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let cache = HfCache::open(dir.path(), options).unwrap();
    let (entry, data) = files().swap_remove(2);
    (dir, cache, entry, data)
}

fn blob(cache: &HfCache, entry: &TreeEntry) -> PathBuf {
    cache.root().join("models--lab--tiny/blobs").join(entry.etag())
}

fn pointer(cache: &HfCache, entry: &TreeEntry) -> PathBuf {
    cache.snapshot_dir(&repo(), COMMIT).join(&entry.path)
}

fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// The content of the one file that was moved aside into a folder.
fn displaced(dir: &Path) -> Vec<u8> {
    let mut files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let found =
        files.find(|path| path.to_str().unwrap().ends_with(".displaced")).expect("a file moved aside");
    fs::read(found).unwrap()
}

#[test]
fn a_directory_in_place_of_a_blob_is_reported_and_nothing_is_lost() {
    for (options, make) in [
        (LOCAL, blob as fn(&HfCache, &TreeEntry) -> PathBuf),
        (SHARED, blob),
        (SHARED, pointer),
        (MOVED, pointer),
    ] {
        let (_dir, cache, entry, data) = setup(options);
        let place = make(&cache, &entry);
        put(&place.join("mine.txt"), b"precious");
        assert_eq!(cache.presence(&repo(), COMMIT, &entry), Presence::Missing);
        let dir = cache.partial_dir(&repo(), &entry).unwrap();
        let error = cache.land_xet(&repo(), COMMIT, &entry, fetch(&dir, &data), false).unwrap_err();
        assert!(matches!(&error, StoreError::Foreign { path, .. } if *path == place), "{error}");
        assert_eq!(fs::read(place.join("mine.txt")).unwrap(), b"precious");
        // Once it is gone, what was fetched is still there: landed already, or in the partial file.
        fs::remove_dir_all(&place).unwrap();
        match cache.presence(&repo(), COMMIT, &entry) {
            Presence::Linkable => drop(cache.link(&repo(), COMMIT, &entry).unwrap()),
            _ => drop(cache.land_xet(&repo(), COMMIT, &entry, fetch(&dir, &data), false).unwrap()),
        }
        assert_eq!(fs::read(pointer(&cache, &entry)).unwrap(), data);
    }
}

#[test]
fn a_file_of_the_wrong_size_is_moved_aside() {
    let (_dir, cache, entry, data) = setup(LOCAL);
    put(&blob(&cache, &entry), b"not ours");
    assert_eq!(cache.presence(&repo(), COMMIT, &entry), Presence::Missing);
    land(&cache, &repo(), COMMIT, &entry, &data);
    assert_eq!(fs::read(pointer(&cache, &entry)).unwrap(), data);
    assert_eq!(displaced(blob(&cache, &entry).parent().unwrap()), b"not ours");

    let (_dir, cache, entry, data) = setup(SHARED);
    let shared = cache.final_blob_path(&repo(), &entry);
    cache.partial_dir(&repo(), &entry).unwrap();
    put(&shared, b"cut off");
    put(&pointer(&cache, &entry), b"the user's edit");
    assert_eq!(cache.presence(&repo(), COMMIT, &entry), Presence::Missing);
    land(&cache, &repo(), COMMIT, &entry, &data);
    assert_eq!(fs::read(pointer(&cache, &entry)).unwrap(), data);
    assert_eq!(displaced(shared.parent().unwrap()), b"cut off");
    assert_eq!(displaced(blob(&cache, &entry).parent().unwrap()), b"the user's edit");
}

#[test]
fn dangling_links_are_replaced_and_their_targets_left_alone() {
    let (dir, cache, entry, data) = setup(SHARED);
    for place in [blob(&cache, &entry), pointer(&cache, &entry)] {
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        symlink(dir.path().join("nowhere"), place).unwrap();
    }
    assert_eq!(cache.presence(&repo(), COMMIT, &entry), Presence::Missing);
    land(&cache, &repo(), COMMIT, &entry, &data);
    assert_eq!(fs::read(pointer(&cache, &entry)).unwrap(), data);
    assert!(!dir.path().join("nowhere").exists());
}

#[test]
fn a_folder_called_blobs_that_is_not_the_store_is_not_used() {
    for content in [Some(("something", "of somebody")), Some((".huggingface-shared-blobs", "2\n"))] {
        let (dir, cache, entry, data) = setup(SHARED);
        let (name, text) = content.unwrap();
        put(&dir.path().join("blobs").join(name), text.as_bytes());
        land(&cache, &repo(), COMMIT, &entry, &data);
        assert_eq!(fs::read_dir(dir.path().join("blobs")).unwrap().count(), 1, "{name}");
        assert!(fs::symlink_metadata(blob(&cache, &entry)).unwrap().is_file());
        assert_eq!(cache.presence(&repo(), COMMIT, &entry), Presence::Complete(pointer(&cache, &entry)));
    }
}

#[test]
fn what_is_not_what_the_hub_named_does_not_land() {
    let (_dir, cache, ..) = setup(SHARED);
    let entry = common::small("config.json", b"{}\n");
    for (bytes, text) in [(&b"{]\n"[..], "has git blob id"), (b"{}", "is 2 bytes long, expected 3")] {
        let (mut file, temp) = cache.temp_file(&repo(), &entry).unwrap();
        file.write_all(bytes).unwrap();
        let error = cache.land_small(&repo(), COMMIT, &entry, &temp).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
        assert!(!temp.exists());
        assert_eq!(cache.presence(&repo(), COMMIT, &entry), Presence::Missing);
    }
    // A large file that came by plain HTTP is checked by its sha256.
    let data = noise(9, 50_000);
    let entry = common::large("model.bin", &data);
    let (mut file, temp) = cache.temp_file(&repo(), &entry).unwrap();
    file.write_all(&data).unwrap();
    assert_eq!(fs::read(cache.land_small(&repo(), COMMIT, &entry, &temp).unwrap()).unwrap(), data);
}

#[test]
fn a_forced_pull_replaces_a_rotten_blob_for_all_its_users() {
    let (_dir, cache, entry, data) = setup(SHARED);
    land(&cache, &repo(), COMMIT, &entry, &data);
    let shared = cache.final_blob_path(&repo(), &entry);
    let mut rotten = data.clone();
    rotten[1_000] ^= 1;
    fs::remove_file(&shared).unwrap();
    fs::write(&shared, &rotten).unwrap();
    let dir = cache.partial_dir(&repo(), &entry).unwrap();
    cache.land_xet(&repo(), COMMIT, &entry, fetch(&dir, &data), false).unwrap();
    assert_eq!(fs::read(&shared).unwrap(), rotten, "unasked, a blob of the right size is believed");
    cache.land_xet(&repo(), COMMIT, &entry, fetch(&dir, &data), true).unwrap();
    assert_eq!(fs::read(pointer(&cache, &entry)).unwrap(), data);
    assert!(cache.partials().is_empty());
}

#[test]
fn a_local_folder_refuses_its_own_bookkeeping_and_keeps_directories() {
    let dir = tempfile::tempdir().unwrap();
    let local = LocalDir::open(dir.path()).unwrap();
    let (good, data) = files().swap_remove(2);
    for path in
        [".git/hooks/post-checkout", "sub/.GIT/config", ".cache/huggingface/download/x.metadata", "../x"]
    {
        let entry = TreeEntry { path: path.into(), ..good.clone() };
        assert!(matches!(local.partial_dir(&entry), Err(StoreError::Name(_))), "{path}");
        assert_eq!(local.presence(COMMIT, &entry), Presence::Missing);
    }
    put(&dir.path().join(&good.path).join("mine.txt"), b"precious");
    let finished = fetch(&local.partial_dir(&good).unwrap(), &data);
    assert!(matches!(local.land_xet(COMMIT, &good, finished), Err(StoreError::Foreign { .. })));
    assert_eq!(fs::read(dir.path().join(&good.path).join("mine.txt")).unwrap(), b"precious");
}

#[test]
fn a_local_file_without_a_note_is_hashed_before_it_is_believed() {
    let dir = tempfile::tempdir().unwrap();
    let local = LocalDir::open(dir.path()).unwrap();
    let (entry, mut data) = files().swap_remove(2);
    put(&dir.path().join(&entry.path), &data);
    assert_eq!(local.presence(COMMIT, &entry), Presence::Linkable);
    local.link(COMMIT, &entry).unwrap();
    assert!(matches!(local.presence(COMMIT, &entry), Presence::Complete(_)));
    data[7] ^= 1;
    let other = tempfile::tempdir().unwrap();
    put(&other.path().join(&entry.path), &data);
    assert_eq!(LocalDir::open(other.path()).unwrap().presence(COMMIT, &entry), Presence::Missing);
}

#[test]
fn a_copy_in_the_place_of_our_link_becomes_one_with_the_stores_blob_once_nobody_is_at_it() {
    let (_dir, cache, entry, data) = setup(SHARED);
    let unite = || cache.unite(&repo(), COMMIT, &entry, |_| true).unwrap();
    assert_eq!(unite(), Some(false), "nothing is there");
    land(&cache, &repo(), COMMIT, &entry, &data);
    assert_eq!(unite(), Some(false), "one copy");
    let blob = blob(&cache, &entry);
    let link = fs::read_link(&blob).unwrap();
    // As a client that was given the file puts its own in place.
    let place = |content: &[u8]| {
        fs::remove_file(&blob).unwrap();
        put(&blob, content);
    };
    place(&data);
    let lock = cache.try_lock(&repo(), &entry).unwrap().unwrap();
    assert_eq!(unite(), None, "it may still be at it");
    drop(lock);
    let unproven = cache.unite(&repo(), COMMIT, &entry, |_| false).unwrap();
    assert_eq!(
        (unproven, fs::read_link(&blob).is_ok()),
        (Some(false), false),
        "what may be wrong takes no place"
    );
    let mut reader = fs::File::open(&blob).unwrap();
    assert_eq!((unite(), fs::read_link(&blob).unwrap()), (Some(true), link));
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut read).unwrap();
    assert!(read == data && fs::read(pointer(&cache, &entry)).unwrap() == data, "who reads it goes on");
    // What is another name of the same file costs nothing, and what has another size is something else.
    fs::remove_file(&blob).unwrap();
    fs::hard_link(cache.final_blob_path(&repo(), &entry), &blob).unwrap();
    assert_eq!(unite(), Some(false));
    place(b"not ours");
    assert_eq!((unite(), fs::read(&blob).unwrap()), (Some(false), b"not ours".to_vec()));
    // Without a store there is one copy at most.
    let (_dir, cache, entry, data) = setup(LOCAL);
    land(&cache, &repo(), COMMIT, &entry, &data);
    assert_eq!(cache.unite(&repo(), COMMIT, &entry, |_| true).unwrap(), Some(false));
}
