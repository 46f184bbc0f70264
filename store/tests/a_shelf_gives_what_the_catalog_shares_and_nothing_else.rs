//! A shelf answers as the catalog does for strangers, without looking at the disk; what was not public when it was made,
//! is not on it, and what ran out or changed since is not given.

mod common;

use std::time::{Duration, SystemTime};

use common::{COMMIT, World, land, manifest, noise, repo};
use zest_store::{Access, Endpoint, Located, PROOF_LASTS, Place, RepoId, RepoType};

const HOUR: Duration = Duration::from_secs(3_600);

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

impl World {
    fn publish(&self, repo: &RepoId, data: &[u8]) {
        let path = land(&self.cache, repo, COMMIT, &common::large("model.bin", data), data);
        let place =
            Place { hub: Some(Endpoint::public()), path, repo: repo.clone(), commit: COMMIT.to_owned() };
        self.catalog.publish(&manifest(data), &place, None, None).unwrap();
    }

    fn share(&self, repo: &RepoId) {
        self.catalog.prove_public(&Endpoint::public(), repo, COMMIT, SystemTime::now()).unwrap();
    }
}

#[test]
fn every_chunk_of_every_shared_file_is_where_the_catalog_says() {
    let world = World::new();
    // The second begins as the first does: chunks that stand in both files.
    let one = noise(1, 20_000_000);
    let two = [&one[..5_000_000], &noise(2, 1_000_000)].concat();
    let (first, second) = (repo(), RepoId::new(RepoType::Model, "org/second").unwrap());
    let closed = RepoId::new(RepoType::Model, "org/closed").unwrap();
    let three = noise(3, 300_000);
    for (repo, data) in [(&first, &one), (&second, &two), (&closed, &three)] {
        world.publish(repo, data);
    }
    world.share(&first);
    world.share(&second);
    let shelf = world.catalog.shelf(None).unwrap();
    assert_eq!(shelf.totals(), (2, 26_000_000));
    for data in [&one, &two] {
        let manifest = manifest(data);
        for index in 0..manifest.len() {
            let hash = manifest.chunk(index).hash;
            let mut places: Vec<Located> = shelf.places(&hash, Access::Share, now()).collect();
            assert!(places.contains(&world.catalog.locate(&hash, Access::Share).unwrap()), "chunk {index}");
            let file = world.catalog.data(&manifest.file(), Access::Share).unwrap();
            places.retain(|place| place.file == file);
            let place = places.first().expect("in this file too");
            assert_eq!((place.offset, place.len), (manifest.offset(index), manifest.chunk(index).len));
        }
        let (list, here) = shelf.manifest(&manifest.file(), Access::Share, now()).unwrap();
        assert_eq!(Some(list), world.catalog.manifest(&manifest.file(), Access::Share));
        assert!(here);
    }
    let secret = manifest(&three);
    assert!(shelf.manifest(&secret.file(), Access::Share, now()).is_none());
    assert_eq!(shelf.places(&secret.chunk(0).hash, Access::Share, now()).count(), 0);
}

#[test]
fn it_is_made_anew_only_when_something_changed() {
    let world = World::new();
    let data = noise(4, 400_000);
    world.publish(&repo(), &data);
    let empty = world.catalog.shelf(None).unwrap();
    assert_eq!((empty.chunks(), empty.totals()), (0, (0, 0)));
    assert!(world.catalog.shelf(Some(&empty)).is_none());
    world.share(&repo());
    let shelf = world.catalog.shelf(Some(&empty)).expect("it may be shared now");
    assert!(world.catalog.shelf(Some(&shelf)).is_none());
    assert_eq!(shelf.files().collect::<Vec<_>>(), [manifest(&data).file()]);
}

#[test]
fn what_ran_out_or_was_forgotten_is_not_given() {
    let world = World::new();
    let data = noise(5, 400_000);
    world.publish(&repo(), &data);
    world.share(&repo());
    let shelf = world.catalog.shelf(None).unwrap();
    let manifest = manifest(&data);
    let hash = manifest.chunk(1).hash;
    let later = now() + PROOF_LASTS.as_secs() + HOUR.as_secs();
    assert_eq!(
        (
            shelf.places(&hash, Access::Share, now()).count(),
            shelf.places(&hash, Access::Share, later).count()
        ),
        (1, 0)
    );
    assert!(shelf.manifest(&manifest.file(), Access::Share, later).is_none());
    shelf.forget(world.catalog.data(&manifest.file(), Access::Share).unwrap());
    assert_eq!(shelf.places(&hash, Access::Share, now()).count(), 0);
    assert_eq!(
        shelf.manifest(&manifest.file(), Access::Share, now()).map(|(_, here)| here),
        Some(false),
        "its list is"
    );
    // The file is a good one after all: the next shelf has it again.
    let next = world.catalog.shelf(Some(&shelf)).expect("a file that went is looked at again");
    assert_eq!(next.places(&hash, Access::Share, now()).count(), 1);
}

#[test]
fn what_is_taken_back_is_gone_from_shelves_that_were_made_before() {
    let world = World::new();
    let data = noise(6, 400_000);
    world.publish(&repo(), &data);
    world.share(&repo());
    let shelf = world.catalog.shelf(None).unwrap();
    let manifest = manifest(&data);
    let given = |shelf: &zest_store::Shelf| {
        (
            shelf.places(&manifest.chunk(1).hash, Access::Share, now()).count(),
            shelf.manifest(&manifest.file(), Access::Share, now()).is_some(),
        )
    };
    assert_eq!(given(&shelf), (1, true));
    world.catalog.revoke_public(&Endpoint::public(), &repo(), COMMIT).unwrap();
    assert_eq!(given(&shelf), (0, false));
    world.share(&repo());
    assert_eq!(given(&shelf), (1, true));
}
