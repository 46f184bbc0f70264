//! Proofs of files that nobody chunked: noted by identity, found by the next process, gone with the first change.

mod common;

use std::fs;

use common::{World, files, noise};
use zest_store::{Catalog, Identity, StoreError};

#[test]
fn a_proof_is_found_by_the_next_process_and_ends_with_the_files_state() {
    let world = World::new();
    for (entry, data) in files() {
        let path = world.dir.path().join("file");
        fs::write(&path, &data).unwrap();
        let identity = || Identity::of(&fs::metadata(&path).unwrap());
        assert!(!world.catalog.is_proven(&identity(), &entry));
        let mut read = 0;
        world
            .catalog
            .prove(&path, &entry, &mut |bytes| {
                read += bytes;
                true
            })
            .unwrap();
        assert_eq!(read, data.len() as u64, "read once");
        let next = Catalog::open(&world.dir.path().join("zest")).unwrap();
        assert!(next.is_proven(&identity(), &entry), "{}", entry.path);
        let other = common::large("file", b"something else");
        assert!(!next.is_proven(&identity(), &other));
        fs::rename(&path, world.dir.path().join("away")).unwrap();
        fs::write(&path, &data).unwrap();
        assert!(!next.is_proven(&identity(), &entry), "a new file of the same bytes is read again");
    }
}

#[test]
fn what_is_wrong_cut_off_or_given_up_is_not_noted() {
    let world = World::new();
    let data = noise(5, 2_000_000);
    let entry = common::large("model.bin", &data);
    let path = world.dir.path().join("file");
    let prove = |go_on: bool| world.catalog.prove(&path, &entry, &mut |_| go_on);
    fs::write(&path, noise(6, 2_000_000)).unwrap();
    assert!(matches!(prove(true), Err(StoreError::WrongContent { algorithm: "sha256", .. })));
    fs::write(&path, &data[1..]).unwrap();
    assert!(matches!(prove(true), Err(StoreError::WrongSize { .. })));
    fs::write(&path, &data).unwrap();
    assert!(prove(false).is_err());
    assert!(!world.catalog.is_proven(&Identity::of(&fs::metadata(&path).unwrap()), &entry));
    assert_eq!(prove(true).unwrap(), Identity::of(&fs::metadata(&path).unwrap()));
    fs::remove_file(&path).unwrap();
    std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(prove(true).is_err(), "a pipe holds nobody up");
}
