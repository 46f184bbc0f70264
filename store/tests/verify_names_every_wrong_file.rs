//! `verify_cache` reads every byte again, and blames precisely.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use common::{COMMIT, COMMIT_2, LOCAL, SHARED, files, land, large_by, noise, pull, repo};
use zest_store::{
    Catalog, HfCache, Identity, RepoId, RepoType, TreeEntry, VerifyOutcome, VerifySummary, verify_and_note,
    verify_cache,
};
use zest_xet::Rule;

fn outcomes(cache: &HfCache) -> (VerifySummary, Vec<(String, VerifyOutcome)>) {
    let mut events = Vec::new();
    let summary = verify_cache(cache, None, &mut |event| events.push((event.path, event.outcome)));
    (summary, events)
}

#[test]
fn a_good_cache_passes_and_shared_blobs_are_read_once() {
    for options in [SHARED, LOCAL] {
        let dir = tempfile::tempdir().unwrap();
        let cache = HfCache::open(dir.path(), options).unwrap();
        let files = files();
        pull(&cache, &repo(), COMMIT, &files);
        for (entry, _) in &files {
            cache.link(&repo(), COMMIT_2, entry).unwrap();
        }
        let (summary, _) = outcomes(&cache);
        let bytes = files.iter().map(|(_, data)| data.len() as u64).sum();
        assert_eq!(summary, VerifySummary { files: 10, ok: 10, bytes, ..VerifySummary::default() });
        let other = RepoId::new(RepoType::Model, "lab/other").unwrap();
        assert_eq!(verify_cache(&cache, Some(&other), &mut |_| ()), VerifySummary::default());
    }
}

#[test]
fn rot_truncation_and_absence_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let cache = HfCache::open(dir.path(), SHARED).unwrap();
    let files = files();
    pull(&cache, &repo(), COMMIT, &files);
    let at = |index: usize| {
        fs::canonicalize(cache.snapshot_dir(&repo(), COMMIT).join(&files[index].0.path)).unwrap()
    };
    fs::write(at(0), b"{]\n").unwrap();
    let model = at(2);
    fs::set_permissions(&model, fs::Permissions::from_mode(0o644)).unwrap();
    let mut rotten = files[2].1.clone();
    rotten[300_000] ^= 0x80;
    fs::write(&model, rotten).unwrap();
    fs::remove_file(at(3)).unwrap();
    fs::write(at(4), b"longer than it was").unwrap();
    let (summary, events) = outcomes(&cache);
    assert_eq!((summary.ok, summary.wrong, summary.missing, summary.unreadable), (1, 3, 1, 0));
    let algorithm = |path: &str| match &events.iter().find(|(name, _)| name == path).unwrap().1 {
        VerifyOutcome::Wrong { algorithm, expected, actual } if expected != actual => *algorithm,
        other => panic!("{path}: {other:?}"),
    };
    assert_eq!(algorithm("config.json"), "git blob id");
    assert_eq!(algorithm("model.safetensors"), "sha256");
    assert_eq!(algorithm("sub dir/deeper/café #1.txt"), "size");
}

#[test]
fn a_file_known_by_its_xet_hash_alone_is_cut_by_both_rules() {
    let dir = tempfile::tempdir().unwrap();
    let cache = HfCache::open(dir.path(), LOCAL).unwrap();
    let data = noise(5, 3_000_000);
    for rule in [Rule::Current, Rule::Old] {
        let entry = large_by("x.bin", &data, rule);
        land(&cache, &repo(), COMMIT, &common::large("x.bin", &data), &data);
        let by_hash = TreeEntry { lfs_sha256: None, lfs_size: None, ..entry };
        cache.write_tree(&repo(), COMMIT, std::slice::from_ref(&by_hash)).unwrap();
        assert_eq!(outcomes(&cache).0.ok, 1, "{rule:?}");
        let other = TreeEntry { xet_hash: Some(zest_xet::chunk_hash(b"other")), ..by_hash };
        cache.write_tree(&repo(), COMMIT, &[other]).unwrap();
        assert!(matches!(&outcomes(&cache).1[0].1, VerifyOutcome::Wrong { algorithm: "xet hash", .. }));
    }
}

#[test]
fn what_is_found_right_is_noted_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let cache = HfCache::open(&dir.path().join("hub"), SHARED).unwrap();
    let files = files();
    pull(&cache, &repo(), COMMIT, &files);
    let at = |index: usize| {
        fs::canonicalize(cache.snapshot_dir(&repo(), COMMIT).join(&files[index].0.path)).unwrap()
    };
    let model = at(2);
    fs::set_permissions(&model, fs::Permissions::from_mode(0o644)).unwrap();
    let mut rotten = files[2].1.clone();
    rotten[300_000] ^= 0x80;
    fs::write(&model, rotten).unwrap();
    let catalog = || Catalog::open(&dir.path().join("zest")).unwrap();
    let known = |catalog: &Catalog| -> Vec<bool> {
        let is_proven = |index| {
            let identity = Identity::of(&fs::metadata(at(index)).unwrap());
            catalog.is_proven(&identity, &files[index].0)
        };
        (0..files.len()).map(is_proven).collect()
    };
    verify_cache(&cache, None, &mut |_| ());
    assert_eq!(known(&catalog()), [false; 5]);
    let summary = verify_and_note(&cache, None, &catalog(), &mut |_| ());
    assert_eq!((summary.ok, summary.wrong), (4, 1));
    assert_eq!(known(&catalog()), [true, true, false, true, true], "another process knows it, too");
}
