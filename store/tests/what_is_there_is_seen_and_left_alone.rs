//! Looking writes nothing, a complete cache is never written to, and what is there in part is completed
//! without fetching.

mod common;

use std::fs;

use common::{COMMIT, COMMIT_2, LOCAL, MOVED, SHARED, files, fingerprint, land, noise, pull, repo};
use zest_store::{
    Entry, HfCache, LocalDir, Partial, PartialSpec, Presence, RepoId, RepoType, StoreError, TreeEntry,
    Unfinished,
};

#[test]
fn a_complete_cache_is_not_written_to() {
    for options in [SHARED, LOCAL, MOVED] {
        let dir = tempfile::tempdir().unwrap();
        let files = files();
        pull(&HfCache::open(dir.path(), options).unwrap(), &repo(), COMMIT, &files);
        let before = fingerprint(dir.path());
        // A new process looks and finds everything done.
        let cache = HfCache::open(dir.path(), options).unwrap();
        assert_eq!(cache.resolve_ref(&repo(), "main").as_deref(), Some(COMMIT));
        let tree = cache.read_tree(&repo(), COMMIT).unwrap();
        cache.write_tree(&repo(), COMMIT, &tree).unwrap();
        cache.write_ref(&repo(), "main", COMMIT).unwrap();
        cache.write_ref(&repo(), COMMIT, COMMIT).unwrap();
        for entry in &tree {
            let path = cache.snapshot_dir(&repo(), COMMIT).join(&entry.path);
            assert_eq!(cache.presence(&repo(), COMMIT, entry), Presence::Complete(path.clone()));
            assert_eq!(cache.link(&repo(), COMMIT, entry).unwrap(), path);
        }
        assert_eq!(fingerprint(dir.path()), before, "{options:?}");
    }
}

#[test]
fn opening_and_asking_creates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cache = HfCache::open(&dir.path().join("not/yet"), SHARED).unwrap();
    let (entry, _) = &files()[2];
    assert_eq!(cache.presence(&repo(), COMMIT, entry), Presence::Missing);
    assert_eq!(cache.resolve_ref(&repo(), "main"), None);
    assert!(cache.read_tree(&repo(), COMMIT).is_none());
    assert!(
        cache.snapshot_files().is_empty() && cache.stored_blobs().is_empty() && cache.partials().is_empty()
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    assert!(matches!(HfCache::open(&file, SHARED), Err(StoreError::Foreign { .. })));
}

#[test]
fn a_second_commit_and_a_second_repository_take_what_the_first_fetched() {
    let dir = tempfile::tempdir().unwrap();
    let cache = HfCache::open(dir.path(), SHARED).unwrap();
    let files = files();
    pull(&cache, &repo(), COMMIT, &files);
    for (entry, data) in &files {
        assert_eq!(cache.presence(&repo(), COMMIT_2, entry), Presence::Linkable);
        let path = cache.link(&repo(), COMMIT_2, entry).unwrap();
        assert_eq!(&fs::read(&path).unwrap(), data);
    }
    let other = RepoId::new(RepoType::Dataset, "b").unwrap();
    let (entry, data) = &files[2];
    assert_eq!(cache.presence(&other, COMMIT, &files[0].0), Presence::Missing, "small files are not shared");
    assert_eq!(cache.presence(&other, COMMIT, entry), Presence::Linkable);
    assert_eq!(&fs::read(cache.link(&other, COMMIT, entry).unwrap()).unwrap(), data);
    let refs =
        fs::read_to_string(format!("{}.refs", cache.final_blob_path(&repo(), entry).display())).unwrap();
    let users = [repo().folder(), other.folder()].map(|folder| format!("{folder}/blobs/{}\n", entry.etag()));
    assert_eq!(refs, users.concat());
    // The switches of the official client hold for us too.
    let local = HfCache::open(dir.path(), LOCAL).unwrap();
    let third = RepoId::new(RepoType::Space, "c").unwrap();
    assert_eq!(local.presence(&third, COMMIT, entry), Presence::Missing);
}

#[test]
fn without_symlinks_a_blob_of_an_earlier_mode_is_copied() {
    let dir = tempfile::tempdir().unwrap();
    let (entry, data) = &files()[2];
    land(&HfCache::open(dir.path(), LOCAL).unwrap(), &repo(), COMMIT, entry, data);
    let cache = HfCache::open(dir.path(), MOVED).unwrap();
    assert_eq!(cache.presence(&repo(), COMMIT_2, entry), Presence::Linkable);
    let path = cache.link(&repo(), COMMIT_2, entry).unwrap();
    assert!(!fs::symlink_metadata(&path).unwrap().is_symlink());
    assert_eq!(&fs::read(path).unwrap(), data);
}

#[test]
fn refs_follow_branches_and_are_replaced_whole() {
    let dir = tempfile::tempdir().unwrap();
    let cache = HfCache::open(dir.path(), SHARED).unwrap();
    for revision in ["main", "v0.1", "refs/pr/1"] {
        cache.write_ref(&repo(), revision, COMMIT).unwrap();
        cache.write_ref(&repo(), revision, COMMIT_2).unwrap();
        assert_eq!(cache.resolve_ref(&repo(), revision).as_deref(), Some(COMMIT_2));
    }
    assert_eq!(cache.resolve_ref(&repo(), COMMIT).as_deref(), Some(COMMIT));
    assert_eq!(fs::read(dir.path().join("models--lab--tiny/refs/refs/pr/1")).unwrap(), COMMIT_2.as_bytes());
    assert_eq!(
        fs::read_dir(dir.path().join("models--lab--tiny")).unwrap().count(),
        1,
        "no temporary file is left"
    );
    fs::write(dir.path().join("models--lab--tiny/refs/main"), b"not a commit").unwrap();
    assert_eq!(cache.resolve_ref(&repo(), "main"), None);
    for bad in ["../../x", "/etc/passwd", "a/../../b", ""] {
        assert!(matches!(cache.write_ref(&repo(), bad, COMMIT), Err(StoreError::Name(_))), "{bad}");
        assert_eq!(cache.resolve_ref(&repo(), bad), None);
    }
    assert!(cache.write_ref(&repo(), "main", "../../../../x").is_err());
}

#[test]
fn unsafe_names_reach_no_path() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("deep/er/hub");
    let cache = HfCache::open(&root, SHARED).unwrap();
    let good = files()[2].0.clone();
    let bad_path = |path: &str| TreeEntry { path: path.into(), ..good.clone() };
    let bad_id = |id: &str| TreeEntry { lfs_sha256: Some(id.into()), ..good.clone() };
    for entry in
        [bad_path("../../../x"), bad_path("/x"), bad_path("C:\\x"), bad_id("../../../../x"), bad_id("AB")]
    {
        let refused =
            |result: Result<(), StoreError>| assert!(matches!(result, Err(StoreError::Name(_))), "{entry:?}");
        refused(cache.temp_file(&repo(), &entry).map(drop));
        refused(cache.partial_dir(&repo(), &entry).map(drop));
        refused(cache.try_lock(&repo(), &entry).map(drop));
        refused(cache.link(&repo(), COMMIT, &entry).map(drop));
        refused(cache.write_tree(&repo(), COMMIT, std::slice::from_ref(&entry)));
        assert_eq!(cache.presence(&repo(), COMMIT, &entry), Presence::Missing);
    }
    assert!(cache.temp_file(&repo(), &good).is_ok());
    assert!(cache.link(&repo(), "../../x", &good).is_err());
    let mut above: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    above.sort();
    assert_eq!(above, ["deep"]);
}

#[test]
fn of_a_file_under_way_that_is_counted_which_has_come() {
    const SIZE: u64 = 50_000_000;
    let dir = tempfile::tempdir().unwrap();
    let chunk = |index: u32, len: u32| {
        let chunk = zest_xet::ChunkRef { hash: zest_xet::chunk_hash(&index.to_be_bytes()), len };
        Entry { index, offset: u64::from(index) * 100_000, chunk, packed_len: 0 }
    };
    // In the store of all repositories, and among a repository's own.
    for (options, of_repo) in [(SHARED, false), (LOCAL, true)] {
        let cache = HfCache::open(&dir.path().join(of_repo.to_string()), options).unwrap();
        let entry = common::large("x.bin", b"whatever");
        let spec = PartialSpec { file: entry.xet_hash.unwrap(), size: SIZE };
        let partial = Partial::open(&cache.partial_dir(&repo(), &entry).unwrap(), spec).unwrap();
        partial.record_all(&[chunk(0, 70_000), chunk(7, 60_000), chunk(9, 50_000)]).unwrap();
        partial.discard(7).unwrap();
        partial.record(&chunk(0, 70_000)).unwrap();
        // While it is written, and when whoever wrote it was killed in the middle of a note.
        for killed in [false, true] {
            if killed {
                let journal = partial.path().with_extension("zest-journal");
                let mut torn = fs::File::options().append(true).open(journal).unwrap();
                std::io::Write::write_all(&mut torn, &[1; 30]).unwrap();
            }
            let counted: Unfinished = match of_repo {
                false => cache.unfinished_shared(),
                true => cache.usage().iter().map(|repo| repo.unfinished).sum(),
            };
            assert_eq!(counted.came, 120_000, "{counted:?}");
            assert!(counted.on_disk >= counted.came);
        }
    }
}

#[test]
fn leftovers_of_interrupted_pulls_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    let cache = HfCache::open(dir.path(), SHARED).unwrap();
    let data = noise(3, 300_000);
    let entry = common::large("x.bin", &data);
    drop(common::fetch(&cache.partial_dir(&repo(), &entry).unwrap(), &data));
    let partials = cache.partials();
    assert_eq!(partials.len(), 2, "data and journal");
    assert!(partials.iter().map(|partial| partial.occupied_bytes).sum::<u64>() >= 300_000);
    assert!(partials.iter().all(|partial| partial.path.starts_with(dir.path().join("blobs"))));
    assert!(cache.stored_blobs().is_empty(), "a partial file is no blob");
}

#[test]
fn leftovers_in_a_folder_of_ones_own_are_listed_and_looking_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let local = LocalDir::open(&dir.path().join("models")).unwrap();
    assert!(local.partials().is_empty() && !local.root().exists());
    let data = noise(3, 300_000);
    let entry = common::large("sub/x.bin", &data);
    drop(common::fetch(&local.partial_dir(&entry).unwrap(), &data));
    let partials = local.partials();
    assert_eq!(partials.len(), 2, "data and journal");
    assert!(partials.iter().map(|partial| partial.occupied_bytes).sum::<u64>() >= 300_000);
    assert_eq!(partials.iter().map(|partial| partial.came_bytes).sum::<u64>(), 300_000);
}
