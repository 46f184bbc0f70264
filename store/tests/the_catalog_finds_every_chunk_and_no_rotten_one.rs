//! Chunks, xorb ranges and chunk lists come back byte for byte; a copy that changed is found before it is
//! served.

mod common;

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use common::{COMMIT, COMMIT_2, LOCAL, World, land, large, large_by, manifest, noise, repo};
use zest_store::{
    Access, Catalog, Endpoint, FileId, HfCache, Identity, Indexed, Located, Place, RepoId, RepoType,
    StoreError,
};
use zest_xet::{Encoder, Hash, MANIFEST_RECORD_BYTES, Rule, SchemeChoice, chunk_hash, xorb_hash};

impl World {
    fn publish(&self, name: &str, data: &[u8], terms: Option<&[(Hash, std::ops::Range<u32>)]>) -> PathBuf {
        let path = land(&self.cache, &repo(), COMMIT, &large(name, data), data);
        let place = Place {
            hub: Some(Endpoint::public()),
            path: path.clone(),
            repo: repo(),
            commit: COMMIT.to_owned(),
        };
        self.catalog.publish(&manifest(data), &place, None, terms).unwrap();
        fs::canonicalize(path).unwrap()
    }

    fn zest(&self) -> PathBuf {
        self.dir.path().join("zest")
    }
}

fn read(catalog: &Catalog, located: &Located) -> Vec<u8> {
    let mut bytes = vec![0; located.len as usize];
    catalog.open_file(located.file).unwrap().read_exact_at(&mut bytes, located.offset).unwrap();
    bytes
}

/// Changes one byte of a read-only file in place, as rot or a careless program does.
fn flip(path: &Path, at: u64) {
    let mut permissions = fs::metadata(path).unwrap().permissions();
    let before = permissions.clone();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    fs::set_permissions(path, permissions).unwrap();
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    fs::set_permissions(path, before).unwrap();
}

#[test]
fn every_chunk_of_every_file_is_found_and_hashes_right() {
    let world = World::new();
    // Zeros repeat one chunk many times; the last file shares most of the first one's.
    let mut tuned = noise(1, 700_000);
    tuned[650_000] ^= 1;
    let files = [noise(1, 700_000), vec![0; 1_000_000], noise(2, 10), tuned];
    for (i, data) in files.iter().enumerate() {
        world.publish(&format!("{i}.bin"), data, None);
    }
    for catalog in [&world.catalog, &Catalog::open(&world.zest()).unwrap()] {
        assert_eq!(catalog.files().len(), 4);
        for data in &files {
            for chunk in manifest(data).chunks() {
                let located = catalog.locate(&chunk.hash, Access::Own).unwrap();
                assert_eq!(located.len, chunk.len);
                assert_eq!(chunk_hash(&read(catalog, &located)), chunk.hash);
            }
            let on_disk = catalog.manifest(&manifest(data).file(), Access::Own).unwrap();
            let mut records = vec![0; on_disk.count as usize * MANIFEST_RECORD_BYTES];
            let file = catalog.open_file(on_disk.records).unwrap();
            file.read_exact_at(&mut records, on_disk.records_offset).unwrap();
            let mut expected = Vec::new();
            manifest(data).write_records(0..on_disk.count, &mut expected);
            assert_eq!(records, expected, "the range on disk is the wire's payload");
            assert_eq!(on_disk.size, data.len() as u64);
        }
        assert!(catalog.locate(&chunk_hash(b"unknown"), Access::Own).is_none());
        assert!(catalog.manifest(&chunk_hash(b"unknown"), Access::Own).is_none());
        assert!(catalog.open_file(FileId(4_000)).is_none() && catalog.open_file(FileId(u32::MAX)).is_none());
    }
}

#[test]
fn a_changed_copy_is_dropped_before_a_byte_of_it_is_served() {
    let world = World::new();
    let data = noise(1, 500_000);
    let path = world.publish("a.bin", &data, None);
    let chunk = manifest(&data).chunk(2);
    let located = world.catalog.locate(&chunk.hash, Access::Own).unwrap();
    flip(&path, 1);
    assert!(world.catalog.open_file(located.file).is_none(), "even though the descriptor was open");
    assert!(world.catalog.locate(&chunk.hash, Access::Own).is_none());
    assert!(world.catalog.files()[0].paths.is_empty());
    let reopened = Catalog::open(&world.zest()).unwrap();
    assert!(reopened.locate(&chunk.hash, Access::Own).is_none(), "dropped on disk as well");
    // Repaired, it is found by the indexer and served again.
    let dir = world.cache.partial_dir(&repo(), &large("a.bin", &data)).unwrap();
    let finished = common::fetch(&dir, &data);
    world.cache.land_xet(&repo(), COMMIT, &large("a.bin", &data), finished, true).unwrap();
    world.cache.write_tree(&repo(), COMMIT, &[large("a.bin", &data)]).unwrap();
    let tasks = world.catalog.unindexed(&world.cache);
    assert_eq!(tasks.len(), 1);
    assert!(matches!(world.catalog.index(&tasks[0]).unwrap(), Indexed::Published(_, Rule::Current)));
    assert!(world.catalog.locate(&chunk.hash, Access::Own).is_some());
}

#[test]
fn a_second_name_that_is_given_knowingly_keeps_a_copy_and_nothing_else_does() {
    let world = World::new();
    let data = noise(1, 500_000);
    let path = world.publish("a.bin", &data, None);
    let (entry, hash) = (large("a.bin", &data), manifest(&data).file());
    let located = world.catalog.locate(&manifest(&data).chunk(2).hash, Access::Own).unwrap();
    let identity = || Identity::of(&fs::metadata(&path).unwrap());
    world.catalog.note_proven(&identity(), &entry);
    // A server that has begun before and has the file open.
    let server = Catalog::open(&world.zest()).unwrap();
    let theirs = server.locate(&located.hash, Access::Own).unwrap();
    let names = |name: &str| world.dir.path().join(name);
    let before = identity();
    world.catalog.through(&path, || fs::hard_link(&path, names("one"))).unwrap();
    assert_ne!(identity(), before, "a second name changes the state of a file");
    for (catalog, located) in [(&world.catalog, &located), (&server, &theirs)] {
        assert_eq!(chunk_hash(&read(catalog, located)), located.hash);
        assert!(catalog.is_unchanged(&hash) && catalog.is_proven(&identity(), &entry));
        assert_eq!(catalog.files()[0].paths, std::slice::from_ref(&path));
    }
    // Bytes that change meanwhile are no second name, even if the time of the change is set back.
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let changed = world.catalog.through(&path, || {
        flip(&path, 1);
        Ok(())
    });
    changed.unwrap();
    assert!(!world.catalog.is_unchanged(&hash) && world.catalog.open_file(located.file).is_none());
    flip(&path, 1);
    fs::File::open(&path).unwrap().set_modified(modified).unwrap();
    assert!(!server.is_unchanged(&hash) && server.open_file(theirs.file).is_none());
    assert!(!world.catalog.is_proven(&identity(), &entry));
}

#[test]
fn a_name_that_another_program_gives_has_a_copy_read_again() {
    let world = World::new();
    let data = noise(1, 500_000);
    let path = world.publish("a.bin", &data, None);
    world.cache.write_tree(&repo(), COMMIT, &[large("a.bin", &data)]).unwrap();
    let located = world.catalog.locate(&manifest(&data).chunk(2).hash, Access::Own).unwrap();
    fs::hard_link(&path, world.dir.path().join("one")).unwrap();
    assert!(!world.catalog.is_unchanged(&manifest(&data).file()));
    assert!(world.catalog.open_file(located.file).is_none());
    let tasks = world.catalog.unindexed(&world.cache);
    assert!(matches!(world.catalog.index(&tasks[0]).unwrap(), Indexed::Published(_, Rule::Current)));
    assert!(world.catalog.open_file(located.file).is_some());
}

#[test]
fn truncated_replaced_and_removed_copies_are_not_served() {
    for change in ["truncate", "replace", "remove"] {
        let world = World::new();
        let data = noise(1, 500_000);
        let path = world.publish("a.bin", &data, None);
        let chunk = manifest(&data).chunk(0);
        assert!(world.catalog.locate(&chunk.hash, Access::Own).is_some());
        match change {
            "truncate" => fs::File::options().write(true).open(&path).unwrap().set_len(100).unwrap(),
            "replace" => {
                fs::write(path.with_extension("new"), &data).unwrap();
                fs::rename(path.with_extension("new"), &path).unwrap();
            }
            _ => fs::remove_file(&path).unwrap(),
        }
        assert!(world.catalog.locate(&chunk.hash, Access::Own).is_none(), "{change}");
        assert!(
            world.catalog.load_manifest(&manifest(&data).file(), Access::Own).is_some(),
            "the list stays"
        );
    }
}

#[test]
fn a_second_copy_serves_when_the_first_is_gone() {
    let world = World::new();
    let data = noise(1, 500_000);
    let first = world.publish("a.bin", &data, None);
    let other = HfCache::open(&world.dir.path().join("other"), LOCAL).unwrap();
    let path = land(&other, &repo(), COMMIT_2, &large("a.bin", &data), &data);
    let place = Place { hub: Some(Endpoint::public()), path, repo: repo(), commit: COMMIT_2.to_owned() };
    world.catalog.publish(&manifest(&data), &place, None, None).unwrap();
    assert_eq!(world.catalog.files()[0].paths.len(), 2);
    flip(&first, 9);
    let chunk = manifest(&data).chunk(1);
    let located = world.catalog.locate(&chunk.hash, Access::Own).unwrap();
    assert_eq!(chunk_hash(&read(&world.catalog, &located)), chunk.hash);
    assert_eq!(world.catalog.files()[0].paths.len(), 1);
}

#[test]
fn a_damaged_chunk_list_is_ignored_and_made_anew() {
    let world = World::new();
    let data = noise(1, 500_000);
    world.publish("a.bin", &data, None);
    world.cache.write_tree(&repo(), COMMIT, &[large("a.bin", &data)]).unwrap();
    let name = manifest(&data).file().to_string();
    flip(&world.zest().join("files").join(&name[..2]).join(&name), 140);
    let catalog = Catalog::open(&world.zest()).unwrap();
    assert!(catalog.files().is_empty());
    let tasks = catalog.unindexed(&world.cache);
    assert!(matches!(catalog.index(&tasks[0]).unwrap(), Indexed::Published(..)));
    assert!(catalog.locate(&manifest(&data).chunk(3).hash, Access::Own).is_some());
}

#[test]
fn files_that_plain_hf_fetched_are_indexed_by_either_rule() {
    let world = World::new();
    let (new, old) = (noise(1, 3_000_000), noise(5, 3_000_000));
    assert_ne!(
        common::chunks(&old, Rule::Old),
        common::chunks(&old, Rule::Current),
        "the rules differ on this sample"
    );
    let entries = [large("new.bin", &new), large_by("old.bin", &old, Rule::Old)];
    for (entry, data) in entries.iter().zip([&new, &old]) {
        // As hf does it: blob in the store under its xet hash, links, tree.
        let hash = entry.xet_hash.unwrap();
        world.cache.partial_dir(&repo(), entry).unwrap();
        fs::write(world.cache.final_blob_path(&repo(), entry), data).unwrap();
        assert!(hash != Hash::ZERO);
        world.cache.link(&repo(), COMMIT, entry).unwrap();
    }
    world.cache.write_tree(&repo(), COMMIT, &entries).unwrap();
    let mut rules = Vec::new();
    for task in world.catalog.unindexed(&world.cache) {
        assert!(!task.known && task.repos == [(repo(), COMMIT.to_owned())]);
        match world.catalog.index(&task).unwrap() {
            Indexed::Published(_, rule) => rules.push((task.file, rule)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(rules.len(), 2);
    assert!(rules.contains(&(entries[0].xet_hash.unwrap(), Rule::Current)));
    assert!(rules.contains(&(entries[1].xet_hash.unwrap(), Rule::Old)));
    assert!(world.catalog.unindexed(&world.cache).is_empty());
    for chunk in common::chunks(&old, Rule::Old) {
        let located = world.catalog.locate(&chunk.hash, Access::Own).unwrap();
        assert_eq!(chunk_hash(&read(&world.catalog, &located)), chunk.hash);
    }
}

#[test]
fn without_tree_files_the_links_tell_what_is_what() {
    let world = World::new();
    let data = noise(1, 500_000);
    land(&world.cache, &repo(), COMMIT, &large("a.bin", &data), &data);
    let tasks = world.catalog.unindexed(&world.cache);
    assert_eq!((tasks.len(), &tasks[0].repos[..]), (1, &[(repo(), COMMIT.to_owned())][..]));
    // A blob that nobody refers to is indexed for our own use.
    fs::remove_dir_all(world.cache.snapshot_dir(&repo(), COMMIT)).unwrap();
    let tasks = world.catalog.unindexed(&world.cache);
    assert!(tasks.len() == 1 && tasks[0].repos.is_empty());
    assert!(matches!(world.catalog.index(&tasks[0]).unwrap(), Indexed::Published(..)));
    assert!(world.catalog.locate(&manifest(&data).chunk(0).hash, Access::Own).is_some());
}

#[test]
fn a_blob_with_the_wrong_bytes_is_never_published_and_hashed_only_once() {
    let world = World::new();
    let data = noise(1, 500_000);
    land(&world.cache, &repo(), COMMIT, &large("a.bin", &data), &data);
    let blob = world.cache.final_blob_path(&repo(), &large("a.bin", &data));
    flip(&blob, 250_000);
    let tasks = world.catalog.unindexed(&world.cache);
    assert!(matches!(world.catalog.index(&tasks[0]).unwrap(), Indexed::Mismatch { .. }));
    assert!(world.catalog.files().is_empty());
    assert!(world.catalog.unindexed(&world.cache).is_empty());
    assert!(Catalog::open(&world.zest()).unwrap().unindexed(&world.cache).is_empty());
    // Once it is changed back, it is looked at again.
    flip(&blob, 250_000);
    let tasks = world.catalog.unindexed(&world.cache);
    assert!(matches!(world.catalog.index(&tasks[0]).unwrap(), Indexed::Published(..)));
}

#[test]
fn publishing_a_file_of_another_size_is_refused() {
    let world = World::new();
    let path = world.dir.path().join("f");
    fs::write(&path, b"short").unwrap();
    let place = Place { hub: Some(Endpoint::public()), path, repo: repo(), commit: COMMIT.to_owned() };
    let result = world.catalog.publish(&manifest(&noise(1, 9_999)), &place, None, None);
    assert!(matches!(result, Err(StoreError::WrongSize { expected: 9_999, actual: 5, .. })), "{result:?}");
}

#[test]
fn xorb_ranges_are_put_together_from_files() {
    let world = World::new();
    let (a, b) = (noise(1, 900_000), noise(2, 900_000));
    let (first, second) = (manifest(&a), manifest(&b));
    let xorb = chunk_hash(b"some xorb");
    let (n, m) = (first.len(), second.len());
    // The xorb holds all of `a` and goes on with `b` without its first two chunks, which are elsewhere.
    let elsewhere = chunk_hash(b"another xorb");
    world.publish("a.bin", &a, Some(&[(xorb, 0..n)]));
    world.publish("b.bin", &b, Some(&[(elsewhere, 40..42), (xorb, n..n + m - 2)]));
    let expected: Vec<Hash> =
        first.chunks().iter().chain(&second.chunks()[2..]).map(|chunk| chunk.hash).collect();
    for catalog in [&world.catalog, &Catalog::open(&world.zest()).unwrap()] {
        for (from, to) in [(0, n + m - 2), (n - 1, n + 1), (3, 4), (n, n + 2)] {
            let located = catalog.xorb_range(&xorb, from..to, Access::Own).unwrap();
            let hashes: Vec<Hash> = located.iter().map(|located| located.hash).collect();
            assert_eq!(hashes, expected[from as usize..to as usize]);
            assert!(located.iter().all(|located| chunk_hash(&read(catalog, located)) == located.hash));
        }
        assert_eq!(catalog.xorb_range(&elsewhere, 40..42, Access::Own).unwrap().len(), 2);
        assert!(catalog.xorb_range(&elsewhere, 39..42, Access::Own).is_none());
        assert!(catalog.xorb_range(&xorb, 0..n + m - 1, Access::Own).is_none(), "beyond what is known");
        assert!(catalog.xorb_range(&xorb, 3..3, Access::Own).is_none());
        assert!(catalog.xorb_range(&xorb, 0..u32::MAX, Access::Own).is_none());
        assert!(catalog.xorb_range(&xorb, 0..1, Access::Share).is_none());
    }
}

#[test]
fn hints_and_terms_given_once_are_kept_when_the_file_is_published_again() {
    let world = World::new();
    let data = noise(1, 500_000);
    let manifest = manifest(&data);
    let xorb = chunk_hash(b"x");
    let path = world.publish("a.bin", &data, Some(&[(xorb, 0..manifest.len())]));
    let hints: Vec<u32> = (0..manifest.len()).collect();
    let place = |commit: &str| Place {
        hub: Some(Endpoint::public()),
        path: path.clone(),
        repo: repo(),
        commit: commit.to_owned(),
    };
    world.catalog.publish(&manifest, &place(COMMIT_2), Some(&hints), None).unwrap();
    world.catalog.publish(&manifest, &place(COMMIT), None, None).unwrap();
    for catalog in [&world.catalog, &Catalog::open(&world.zest()).unwrap()] {
        assert_eq!(catalog.load_hints(&manifest.file()), Some(hints.clone()));
        assert!(catalog.xorb_range(&xorb, 0..1, Access::Own).is_some());
        assert!(catalog.locate(&manifest.chunk(0).hash, Access::Own).is_some());
        assert_eq!(catalog.files()[0].commits.len(), 2);
        assert_eq!(catalog.chunks(), manifest.len() as usize, "no chunk twice in the index");
    }
}

#[test]
fn the_caches_of_the_original_are_checked_and_shared_only_as_far_as_public_files_go() {
    let world = World::new();
    let data = noise(1, 600_000);
    let manifest = manifest(&data);
    let mut encoder = Encoder::new();
    let (mut packed, mut ends) = (Vec::new(), vec![0u64]);
    for index in 0..manifest.len() {
        let at = manifest.offset(index) as usize;
        let chunk = &data[at..at + manifest.chunk(index).len as usize];
        encoder.encode(chunk, SchemeChoice::Auto, &mut packed);
        ends.push(packed.len() as u64);
    }
    let xorb = xorb_hash(manifest.chunks());
    let dir = world.zest().join("xorbs").join(&xorb.to_string()[..2]);
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(xorb.to_string()), &packed).unwrap();
    fs::write(dir.join(format!("{xorb}.2")), &packed[ends[2] as usize..ends[4] as usize]).unwrap();
    let wrong = chunk_hash(b"not this one");
    let wrong_dir = world.zest().join("xorbs").join(&wrong.to_string()[..2]);
    fs::create_dir_all(&wrong_dir).unwrap();
    fs::write(wrong_dir.join(wrong.to_string()), &packed).unwrap();
    let chunk = manifest.chunk(1);
    let plain = chunk.hash.to_plain_hex();
    let chunks = world.zest().join("chunks").join(&plain[..2]);
    fs::create_dir_all(&chunks).unwrap();
    let at = manifest.offset(1) as usize;
    fs::write(chunks.join(&plain), &data[at..at + chunk.len as usize]).unwrap();

    let catalog = Catalog::open(&world.zest()).unwrap();
    let whole = catalog.original_xorb(&xorb, 0..manifest.len(), Access::Own).unwrap();
    assert_eq!(
        (whole.first, whole.count, whole.offset, whole.len),
        (0, manifest.len(), 0, packed.len() as u64)
    );
    let inner = catalog.original_xorb(&xorb, 3..5, Access::Own).unwrap();
    assert_eq!((inner.count, inner.offset, inner.len), (2, ends[3], ends[5] - ends[3]));
    let part = catalog.original_xorb(&xorb, 2..9, Access::Own).unwrap();
    assert_eq!((part.first, part.count, part.offset, part.len), (2, 2, 0, ends[4] - ends[2]));
    let mut bytes = vec![0; part.len as usize];
    catalog.open_file(part.file).unwrap().read_exact_at(&mut bytes, part.offset).unwrap();
    assert_eq!(bytes, packed[ends[2] as usize..ends[4] as usize]);
    assert!(catalog.original_xorb(&wrong, 0..1, Access::Own).is_none(), "not the xorb it is named after");
    let located = catalog.locate(&chunk.hash, Access::Own).unwrap();
    assert_eq!(chunk_hash(&read(&catalog, &located)), chunk.hash);

    // No note says whose they are: not for strangers.
    assert!(catalog.original_xorb(&xorb, 0..2, Access::Share).is_none());
    assert!(catalog.locate(&chunk.hash, Access::Share).is_none());
    let public = RepoId::new(RepoType::Model, "lab/public").unwrap();
    let path = land(&world.cache, &public, COMMIT, &large("a.bin", &data), &data);
    let place = Place {
        hub: Some(Endpoint::public()),
        path: path.clone(),
        repo: public.clone(),
        commit: COMMIT.to_owned(),
    };
    catalog.publish(&manifest, &place, None, None).unwrap();
    assert!(catalog.original_xorb(&xorb, 0..2, Access::Share).is_none());
    catalog.prove_public(&Endpoint::public(), &public, COMMIT, SystemTime::now()).unwrap();
    assert!(catalog.original_xorb(&xorb, 0..2, Access::Share).is_some());
    // The public file itself may be gone by now; that its chunks are public stays true.
    fs::remove_file(fs::canonicalize(&path).unwrap()).unwrap();
    assert!(catalog.original_xorb(&xorb, 0..2, Access::Share).is_some());
    assert!(catalog.locate(&chunk.hash, Access::Share).is_some());
    assert!(catalog.locate(&manifest.chunk(0).hash, Access::Share).is_none());
    // Changed after it was checked.
    fs::write(dir.join(xorb.to_string()), b"garbage").unwrap();
    assert!(catalog.open_file(whole.file).is_none());
    assert!(catalog.original_xorb(&xorb, 0..2, Access::Own).is_none());
}
