//! Default deny: a stranger sees nothing without an unexpired proof, and this machine sees everything.

mod common;

use std::time::{Duration, SystemTime};

use common::{COMMIT, COMMIT_2, World, land, manifest, noise, repo};
use zest_store::{
    Access, Catalog, Commit, Endpoint, PROOF_LASTS, PROOF_LASTS_AT_MOST, Place, RepoId, RepoType,
};
use zest_xet::Hash;

const HOUR: Duration = Duration::from_secs(3_600);
/// Of a test's disk: what a proof looks like there.
const NOTE: &str = "models--lab--tiny";

impl World {
    fn publish(&self, repo: &RepoId, commit: &str, data: &[u8]) {
        let path = land(&self.cache, repo, commit, &common::large("model.bin", data), data);
        let place =
            Place { hub: Some(Endpoint::public()), path, repo: repo.clone(), commit: commit.to_owned() };
        let xorb = Hash::from_bytes([7; 32]);
        let manifest = manifest(data);
        self.catalog.publish(&manifest, &place, None, Some(&[(xorb, 0..manifest.len())])).unwrap();
    }

    fn reopened(&self) -> Catalog {
        Catalog::open(&self.dir.path().join("zest")).unwrap()
    }
}

/// Everything a stranger could ask for, and whether it is given.
fn seen(catalog: &Catalog, data: &[u8], access: Access) -> [bool; 5] {
    let manifest = manifest(data);
    let xorb = Hash::from_bytes([7; 32]);
    [
        catalog.locate(&manifest.chunk(1).hash, access).is_some(),
        catalog.manifest(&manifest.file(), access).is_some(),
        catalog.load_manifest(&manifest.file(), access).is_some(),
        catalog.data(&manifest.file(), access).is_some(),
        catalog.xorb_range(&xorb, 1..3, access).is_some(),
    ]
}

#[test]
fn without_a_proof_nothing_is_shared() {
    let world = World::new();
    let data = noise(1, 500_000);
    world.publish(&repo(), COMMIT, &data);
    assert_eq!(seen(&world.catalog, &data, Access::Share), [false; 5]);
    assert_eq!(seen(&world.catalog, &data, Access::Own), [true; 5]);
    assert!(world.catalog.files()[0].public_until.is_none());
    assert_eq!(world.catalog.public_until(&Endpoint::public(), &repo(), COMMIT), None);
}

#[test]
fn a_proof_opens_its_commit_alone_and_outlives_the_process() {
    let world = World::new();
    let (data, private) = (noise(1, 500_000), noise(2, 500_000));
    world.publish(&repo(), COMMIT, &data);
    world.publish(&RepoId::new(RepoType::Model, "lab/private").unwrap(), COMMIT, &private);
    world.catalog.prove_public(&Endpoint::public(), &repo(), COMMIT_2, SystemTime::now()).unwrap();
    assert_eq!(seen(&world.catalog, &data, Access::Share), [false; 5], "another commit's proof");
    let dataset = RepoId::new(RepoType::Dataset, &repo().name).unwrap();
    world.catalog.prove_public(&Endpoint::public(), &dataset, COMMIT, SystemTime::now()).unwrap();
    assert_eq!(seen(&world.catalog, &data, Access::Share), [false; 5], "a dataset of the same name");
    world.catalog.prove_public(&Endpoint::public(), &repo(), COMMIT, SystemTime::now()).unwrap();
    for catalog in [&world.catalog, &world.reopened()] {
        assert_eq!(seen(catalog, &data, Access::Share), [true; 5]);
        assert_eq!(seen(catalog, &private, Access::Share)[..4], [false; 4]);
        assert!(catalog.public_until(&Endpoint::public(), &repo(), COMMIT).is_some());
    }
}

#[test]
fn an_expired_or_revoked_proof_closes_it_again() {
    let world = World::new();
    let data = noise(1, 500_000);
    world.publish(&repo(), COMMIT, &data);
    world
        .catalog
        .prove_public(&Endpoint::public(), &repo(), COMMIT, SystemTime::now() - PROOF_LASTS)
        .unwrap();
    assert_eq!(seen(&world.catalog, &data, Access::Share), [false; 5]);
    assert_eq!(seen(&world.reopened(), &data, Access::Share), [false; 5]);
    assert_eq!(world.catalog.public_until(&Endpoint::public(), &repo(), COMMIT), None);
    world.catalog.prove_public(&Endpoint::public(), &repo(), COMMIT, SystemTime::now()).unwrap();
    assert_eq!(seen(&world.catalog, &data, Access::Share), [true; 5]);
    world.catalog.revoke_public(&Endpoint::public(), &repo(), COMMIT).unwrap();
    assert_eq!(seen(&world.catalog, &data, Access::Share), [false; 5]);
    assert_eq!(seen(&world.reopened(), &data, Access::Share), [false; 5]);
}

#[test]
fn a_file_that_is_in_a_public_commit_too_is_public() {
    let world = World::new();
    let data = noise(1, 500_000);
    let private = RepoId::new(RepoType::Model, "lab/private").unwrap();
    world.publish(&private, COMMIT, &data);
    world.catalog.prove_public(&Endpoint::public(), &repo(), COMMIT_2, SystemTime::now()).unwrap();
    assert_eq!(seen(&world.catalog, &data, Access::Share), [false; 5]);
    // The same bytes turn up in the public one: its listing is what makes them public, once the Hub was asked whose it is.
    let entry = common::large("model.bin", &data);
    world.cache.write_tree(&repo(), COMMIT_2, std::slice::from_ref(&entry)).unwrap();
    world.cache.link(&repo(), COMMIT_2, &entry).unwrap();
    let tasks = world.catalog.unindexed(&world.cache);
    assert!(tasks.len() == 1 && tasks[0].known, "{tasks:?}");
    world.catalog.index(&tasks[0]).unwrap();
    assert_eq!(
        seen(&world.catalog, &data, Access::Share),
        [false; 5],
        "found in a cache: nobody says whose it is"
    );
    let file = [manifest(&data).file()];
    world.catalog.attribute(&Endpoint::public(), &repo(), COMMIT_2, &file).unwrap();
    assert_eq!(seen(&world.catalog, &data, Access::Share), [true; 5]);
    assert_eq!(seen(&world.reopened(), &data, Access::Share), [true; 5]);
}

#[test]
fn a_shared_chunk_of_a_private_file_is_given_from_the_public_one() {
    let world = World::new();
    let base = noise(1, 900_000);
    let mut tuned = base.clone();
    tuned[850_000] ^= 1;
    let private = RepoId::new(RepoType::Model, "lab/private").unwrap();
    world.publish(&private, COMMIT, &tuned);
    world.publish(&repo(), COMMIT, &base);
    world.catalog.prove_public(&Endpoint::public(), &repo(), COMMIT, SystemTime::now()).unwrap();
    let public_file = world.catalog.data(&manifest(&base).file(), Access::Share).unwrap();
    for chunk in manifest(&tuned).chunks() {
        let in_base = manifest(&base).chunks().contains(chunk);
        let located = world.catalog.locate(&chunk.hash, Access::Share);
        assert_eq!(located.map(|located| located.file), in_base.then_some(public_file));
        assert!(world.catalog.locate(&chunk.hash, Access::Own).is_some());
    }
}

#[test]
fn another_process_sees_a_proof_and_a_file_without_reopening() {
    let world = World::new();
    let data = noise(1, 500_000);
    let other = world.reopened();
    world.publish(&repo(), COMMIT, &data);
    world.catalog.prove_public(&Endpoint::public(), &repo(), COMMIT, SystemTime::now()).unwrap();
    assert!(other.public_until(&Endpoint::public(), &repo(), COMMIT).is_some());
    assert!(other.files().is_empty());
    other.refresh();
    assert_eq!(seen(&other, &data, Access::Share), [true; 5]);
}

/// The noted proof of a commit.
fn note(world: &World) -> std::path::PathBuf {
    let proofs = world.dir.path().join("zest/proofs");
    let hubs: Vec<_> = std::fs::read_dir(proofs).unwrap().flatten().collect();
    assert_eq!(hubs.len(), 1, "one Hub");
    hubs[0].path().join(NOTE).join(format!("{COMMIT}.json"))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn what_was_taken_back_stays_so_whatever_lies_on_the_disk() {
    let world = World::new();
    let data = noise(1, 500_000);
    world.publish(&repo(), COMMIT, &data);
    world.catalog.prove_public(&Endpoint::public(), &repo(), COMMIT, SystemTime::now()).unwrap();
    let noted = std::fs::read(note(&world)).unwrap();
    world.catalog.revoke_public(&Endpoint::public(), &repo(), COMMIT).unwrap();
    // A disk that would not let it be removed.
    std::fs::write(note(&world), &noted).unwrap();
    assert_eq!(world.catalog.public_until(&Endpoint::public(), &repo(), COMMIT), None);
    assert_eq!(world.catalog.stretch_public(&Endpoint::public(), &repo(), COMMIT), None);
    assert_eq!(seen(&world.catalog, &data, Access::Share), [false; 5]);
    world.catalog.refresh();
    assert_eq!(seen(&world.catalog, &data, Access::Share), [false; 5]);
    assert!(!note(&world).exists(), "it is removed as soon as the disk lets it");
    // The repository is open again, as another answer says.
    world.catalog.prove_public(&Endpoint::public(), &repo(), COMMIT, SystemTime::now()).unwrap();
    world.catalog.refresh();
    assert_eq!(seen(&world.catalog, &data, Access::Share), [true; 5]);
}

#[test]
fn a_disk_that_takes_no_notes_keeps_nothing_open_and_closes_nothing() {
    let world = World::new();
    let data = noise(1, 500_000);
    world.publish(&repo(), COMMIT, &data);
    world.catalog.prove_public(&Endpoint::public(), &repo(), COMMIT, SystemTime::now()).unwrap();
    let public = world.dir.path().join("zest/proofs");
    std::fs::rename(&public, world.dir.path().join("zest/elsewhere")).unwrap();
    std::fs::write(&public, b"not a folder").unwrap();
    world.catalog.revoke_public(&Endpoint::public(), &repo(), COMMIT).unwrap_err();
    assert_eq!(seen(&world.catalog, &data, Access::Share), [false; 5]);
    world.catalog.prove_public(&Endpoint::public(), &repo(), COMMIT, SystemTime::now()).unwrap_err();
    assert_eq!(seen(&world.catalog, &data, Access::Share), [true; 5]);
    world.catalog.refresh();
    assert_eq!(
        seen(&world.catalog, &data, Access::Share),
        [true; 5],
        "it was never noted, so nobody removed it"
    );
    world.catalog.revoke_repo(&Endpoint::public(), &repo()).unwrap_err();
    assert_eq!(seen(&world.catalog, &data, Access::Share), [false; 5]);
}

#[test]
fn another_process_takes_it_back_for_all() {
    let world = World::new();
    let data = noise(1, 500_000);
    world.publish(&repo(), COMMIT, &data);
    world.catalog.prove_public(&Endpoint::public(), &repo(), COMMIT, SystemTime::now()).unwrap();
    let other = world.reopened();
    assert_eq!(seen(&other, &data, Access::Share), [true; 5]);
    world.catalog.revoke_repo(&Endpoint::public(), &repo()).unwrap();
    other.refresh();
    assert_eq!(seen(&other, &data, Access::Share), [false; 5]);
}

#[test]
fn an_answer_counts_for_half_a_day_and_for_a_day_while_nobody_can_be_asked() {
    let world = World::new();
    let data = noise(1, 500_000);
    world.publish(&repo(), COMMIT, &data);
    let ago = |time: Duration| SystemTime::now() - time;
    world.catalog.prove_public(&Endpoint::public(), &repo(), COMMIT, ago(PROOF_LASTS + HOUR)).unwrap();
    for catalog in [&world.catalog, &world.reopened()] {
        assert_eq!(seen(catalog, &data, Access::Share), [false; 5]);
        assert!(catalog.stretch_public(&Endpoint::public(), &repo(), COMMIT).is_some());
        assert_eq!(seen(catalog, &data, Access::Share), [true; 5]);
    }
    assert_eq!(seen(&world.reopened(), &data, Access::Share), [false; 5], "each process has to have tried");
    world.catalog.prove_public(&Endpoint::public(), &repo(), COMMIT, ago(PROOF_LASTS_AT_MOST)).unwrap();
    assert_eq!(world.catalog.stretch_public(&Endpoint::public(), &repo(), COMMIT), None);
    assert_eq!(seen(&world.catalog, &data, Access::Share), [false; 5]);
}

#[test]
fn proofs_dated_far_ahead_are_worth_no_more_than_others() {
    let world = World::new();
    let data = noise(1, 500_000);
    world.publish(&repo(), COMMIT, &data);
    world.catalog.prove_public(&Endpoint::public(), &repo(), COMMIT, SystemTime::now()).unwrap();
    let now = seconds(SystemTime::now());
    let year = 365 * 24 * 3600;
    let with = |noted: String| {
        std::fs::write(note(&world), noted).unwrap();
        world.reopened().public_until(&Endpoint::public(), &repo(), COMMIT).map(|until| seconds(until) - now)
    };
    let half_a_day = PROOF_LASTS.as_secs();
    assert_eq!(
        with(format!(
            "{{\"format\":2,\"hub\":\"https://huggingface.co\",\"asked\":{now},\"until\":{}}}",
            now + year
        )),
        Some(half_a_day)
    );
    assert_eq!(
        with(format!(
            "{{\"format\":2,\"hub\":\"https://huggingface.co\",\"asked\":{now},\"until\":{}}}",
            u64::MAX
        )),
        Some(half_a_day)
    );
    assert_eq!(
        with(format!(
            "{{\"format\":2,\"hub\":\"https://huggingface.co\",\"asked\":{0},\"until\":{0}}}",
            now + year
        )),
        None
    );
    assert_eq!(
        with(format!(
            "{{\"format\":2,\"hub\":\"https://huggingface.co\",\"asked\":{0},\"until\":{0}}}",
            u64::MAX
        )),
        None
    );
    // Another Hub's word in this one's place.
    let other = "https://other.example";
    assert_eq!(with(format!("{{\"format\":2,\"hub\":\"{other}\",\"asked\":{now},\"until\":{now}}}")), None);
    let hour = now + 3600;
    assert_eq!(with(format!("{{\"format\":2,\"hub\":\"{other}\",\"asked\":{now},\"until\":{hour}}}")), None);
    // Asked in an hour, and good for another.
    let hub = "https://huggingface.co";
    let ahead = format!("{{\"format\":2,\"hub\":\"{hub}\",\"asked\":{hour},\"until\":{}}}", hour + 3600);
    assert_eq!(with(ahead), None);
    world
        .catalog
        .prove_public(&Endpoint::public(), &repo(), COMMIT, SystemTime::now() + Duration::from_secs(year))
        .unwrap();
    assert_eq!(seen(&world.reopened(), &data, Access::Share), [false; 5]);
}

/// As an earlier version left it: who may have it is noted, and not on whose word.
#[test]
fn notes_that_do_not_say_whose_word_they_are_prove_nothing() {
    let world = World::new();
    let data = noise(1, 500_000);
    world.publish(&repo(), COMMIT, &data);
    let now = seconds(SystemTime::now());
    let zest = world.dir.path().join("zest");
    let old = zest.join("public").join(NOTE);
    std::fs::create_dir_all(&old).unwrap();
    std::fs::write(
        old.join(format!("{COMMIT}.json")),
        format!("{{\"format\":1,\"until\":{}}}", now + 86_400),
    )
    .unwrap();
    // And of the file that it is in this repository, but not whose.
    let name = manifest(&data).file().to_string();
    let places = zest.join("places").join(&name[..2]).join(format!("{name}.json"));
    let text = std::fs::read_to_string(&places).unwrap();
    let noted = text.replace("\"hub\":\"https://huggingface.co\",", "");
    assert_ne!(text, noted);
    std::fs::write(&places, noted).unwrap();
    let upgraded = world.reopened();
    assert_eq!(seen(&upgraded, &data, Access::Own), [true; 5]);
    assert_eq!(seen(&upgraded, &data, Access::Near), [false; 5]);
    assert_eq!(upgraded.files()[0].commits[0].hub, None);
    // The public Hub's answer about that commit says whose it is.
    upgraded.attribute(&Endpoint::public(), &repo(), COMMIT, &[manifest(&data).file()]).unwrap();
    upgraded.prove_public(&Endpoint::public(), &repo(), COMMIT, SystemTime::now()).unwrap();
    assert_eq!(seen(&upgraded, &data, Access::Share), [true; 5]);
    // Programs of that version are told when it is over.
    upgraded.revoke_public(&Endpoint::public(), &repo(), COMMIT).unwrap();
    assert!(!old.join(format!("{COMMIT}.json")).exists());
}

impl World {
    /// Lands and publishes a file of another Hub.
    fn publish_of(&self, hub: &Endpoint, repo: &RepoId, commit: &str, data: &[u8]) {
        let path = land(&self.cache, repo, commit, &common::large("model.bin", data), data);
        let place = Place { hub: Some(hub.clone()), path, repo: repo.clone(), commit: commit.to_owned() };
        let xorb = Hash::from_bytes([7; 32]);
        let manifest = manifest(data);
        self.catalog.publish(&manifest, &place, None, Some(&[(xorb, 0..manifest.len())])).unwrap();
    }
}

#[test]
fn what_a_hub_shows_that_not_everybody_knows_stays_among_those_who_speak_of_it() {
    let world = World::new();
    let data = noise(1, 500_000);
    let intranet = Endpoint::new("http://hub.lab:8080");
    world.publish_of(&intranet, &repo(), COMMIT, &data);
    world.catalog.prove_public(&intranet, &repo(), COMMIT, SystemTime::now()).unwrap();
    assert_eq!(seen(&world.catalog, &data, Access::Share), [false; 5]);
    assert_eq!(seen(&world.catalog, &data, Access::Near), [true; 5]);
    let shelf = world.catalog.shelf(None).unwrap();
    let chunk = manifest(&data).chunk(1).hash;
    let now = seconds(SystemTime::now());
    assert_eq!(shelf.places(&chunk, Access::Share, now).count(), 0);
    assert_eq!(shelf.places(&chunk, Access::Near, now).count(), 1);
    let status = &world.catalog.files()[0];
    assert!(status.public_until.is_none() && status.near_until.is_some());
    // A process that is configured for another Hub does not speak of this one.
    world.catalog.speak_for(&Endpoint::public(), &[]);
    assert_eq!(seen(&world.catalog, &data, Access::Near), [false; 5]);
    world.catalog.speak_for(&intranet, &[]);
    assert_eq!(seen(&world.catalog, &data, Access::Near), [true; 5]);
    // Unless the user vouches for it.
    world.catalog.speak_for(&Endpoint::public(), std::slice::from_ref(&intranet));
    assert_eq!(seen(&world.catalog, &data, Access::Share), [true; 5]);
}

#[test]
fn one_hubs_word_about_a_repository_is_nothing_to_another() {
    let world = World::new();
    let data = noise(1, 500_000);
    let (private, liar) =
        (Endpoint::new("https://hub.example"), Endpoint::new("https://answers-everything.example"));
    world.publish_of(&private, &repo(), COMMIT, &data);
    world.catalog.prove_public(&liar, &repo(), COMMIT, SystemTime::now()).unwrap();
    for own in [&private, &liar] {
        world.catalog.speak_for(own, std::slice::from_ref(&liar));
        assert_eq!(seen(&world.catalog, &data, Access::Near), [false; 5]);
    }
}

#[test]
fn a_listing_of_one_hub_never_lifts_the_restriction_of_another() {
    let world = World::new();
    let data = noise(1, 500_000);
    let file = manifest(&data).file();
    let gated = RepoId::new(RepoType::Model, "org/gated").unwrap();
    let mirror = Endpoint::new("https://mirror.example");
    // Fetched with a token from a gated repository of the public Hub.
    world.publish(&gated, COMMIT, &data);
    // The mirror lists the same hash in a repository of its own that everybody may read, and it is linked from disk.
    world.catalog.prove_public(&mirror, &repo(), COMMIT_2, SystemTime::now()).unwrap();
    let of = Commit { hub: Some(mirror.clone()), repo: repo(), commit: COMMIT_2.to_owned() };
    world.catalog.speak_for(&mirror, std::slice::from_ref(&mirror));
    assert!(!world.catalog.may_be_given(&file, &of));
    world.publish_of(&mirror, &repo(), COMMIT_2, &data);
    for catalog in [&world.catalog, &world.reopened()] {
        catalog.speak_for(&mirror, std::slice::from_ref(&mirror));
        assert_eq!(seen(catalog, &data, Access::Near), [false; 5]);
        assert!(!catalog.may_be_given(&file, &of));
    }
    // The public Hub itself says that anybody may have that hash: in another repository of its own.
    let open = RepoId::new(RepoType::Model, "org/open").unwrap();
    world.publish(&open, COMMIT_2, &data);
    world.catalog.prove_public(&Endpoint::public(), &open, COMMIT_2, SystemTime::now()).unwrap();
    assert_eq!(seen(&world.catalog, &data, Access::Share), [true; 5]);
    assert!(world.catalog.may_be_given(&file, &of));
    // And takes it back.
    world.catalog.revoke_repo(&Endpoint::public(), &open).unwrap();
    assert_eq!(seen(&world.catalog, &data, Access::Near), [false; 5]);
}

#[test]
fn what_nobody_knows_the_origin_of_is_not_given_on_the_word_of_a_hub_that_not_everybody_knows() {
    let world = World::new();
    let data = noise(1, 500_000);
    let file = manifest(&data).file();
    let gated = RepoId::new(RepoType::Model, "org/gated").unwrap();
    let mirror = Endpoint::new("https://mirror.example");
    // Fetched by another program, and found in the cache.
    let entry = common::large("model.bin", &data);
    land(&world.cache, &gated, COMMIT, &entry, &data);
    world.cache.write_tree(&gated, COMMIT, std::slice::from_ref(&entry)).unwrap();
    for task in world.catalog.unindexed(&world.cache) {
        world.catalog.index(&task).unwrap();
    }
    assert_eq!(world.catalog.files()[0].commits[0].hub, None);
    world.publish_of(&mirror, &repo(), COMMIT_2, &data);
    world.catalog.prove_public(&mirror, &repo(), COMMIT_2, SystemTime::now()).unwrap();
    assert_eq!(seen(&world.catalog, &data, Access::Near), [false; 5]);
    let of = Commit { hub: Some(mirror.clone()), repo: repo(), commit: COMMIT_2.to_owned() };
    assert!(!world.catalog.may_be_given(&file, &of));
    // What a Hub does not show to everyone is not given, although the bytes were here before.
    world.catalog.attribute(&mirror, &gated, COMMIT, &[file]).unwrap();
    assert_eq!(seen(&world.catalog, &data, Access::Near), [true; 5], "it was that Hub's own");
    let of = Commit { hub: Some(Endpoint::public()), repo: gated, commit: COMMIT_2.to_owned() };
    world.catalog.note_owner(&file, &of).unwrap();
    for catalog in [&world.catalog, &world.reopened()] {
        assert_eq!(seen(catalog, &data, Access::Near), [false; 5]);
    }
}

#[test]
fn whoever_watches_hears_of_every_withdrawal_and_of_nothing_else() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    let world = World::new();
    let hub = Endpoint::public();
    let heard = Arc::new(AtomicU32::new(0));
    let (ear, catalog) = (Arc::downgrade(&heard), &world.catalog);
    catalog.watch_withdrawals(move || ear.upgrade().map(|heard| heard.fetch_add(1, Relaxed)).is_some());
    catalog.prove_public(&hub, &repo(), COMMIT, SystemTime::now()).unwrap();
    catalog.prove_public(&hub, &repo(), COMMIT_2, SystemTime::now()).unwrap();
    assert_eq!(heard.load(Relaxed), 0);
    catalog.revoke_public(&hub, &repo(), COMMIT).unwrap();
    assert_eq!(heard.load(Relaxed), 1);
    catalog.revoke_repo(&hub, &repo()).unwrap();
    assert!(heard.load(Relaxed) >= 2);
}

#[test]
fn what_the_user_denies_is_shared_by_no_process_and_allowing_it_again_proves_nothing() {
    let world = World::new();
    let (data, private) = (noise(1, 500_000), noise(2, 500_000));
    let closed = RepoId::new(RepoType::Model, "lab/private").unwrap();
    let upper = RepoId::new(RepoType::Model, &repo().name.to_uppercase()).unwrap();
    world.publish(&repo(), COMMIT, &data);
    world.publish(&closed, COMMIT, &private);
    world.catalog.prove_public(&Endpoint::public(), &repo(), COMMIT, SystemTime::now()).unwrap();
    let (running, heard) = (world.reopened(), std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0)));
    running.watch_withdrawals({
        let heard = heard.clone();
        move || heard.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 100
    });
    let before = running.look_at_denials();
    assert_eq!(seen(&running, &data, Access::Share), [true; 5]);
    assert!(world.catalog.deny(&upper).unwrap(), "a name counts whatever its case");
    assert_eq!(seen(&world.catalog, &data, Access::Share), [false; 5]);
    assert_eq!(seen(&world.catalog, &data, Access::Own), [true; 5]);
    let of = Commit { hub: Some(Endpoint::public()), repo: repo(), commit: COMMIT.to_owned() };
    assert!(!world.catalog.may_be_given(&manifest(&data).file(), &of));
    // A process that ran before.
    assert_eq!(running.look_at_denials(), before + 1);
    assert_eq!(heard.load(std::sync::atomic::Ordering::Relaxed), 1, "announcements end");
    // And one that begins after; another answer of the Hub changes nothing.
    for catalog in [&running, &world.reopened()] {
        catalog.prove_public(&Endpoint::public(), &repo(), COMMIT, SystemTime::now()).unwrap();
        assert_eq!(seen(catalog, &data, Access::Share), [false; 5]);
        assert_eq!(catalog.denied(), Some(vec![upper.clone()]));
    }
    assert!(world.catalog.allow(&repo()).unwrap() && !world.catalog.allow(&closed).unwrap());
    running.look_at_denials();
    for catalog in [&world.catalog, &running, &world.reopened()] {
        assert_eq!(seen(catalog, &data, Access::Share), [true; 5]);
        assert_eq!(seen(catalog, &private, Access::Share)[..4], [false; 4], "nobody said that it is public");
    }
}

#[test]
fn nothing_is_shared_while_nobody_can_read_what_is_denied() {
    let world = World::new();
    let data = noise(1, 500_000);
    world.publish(&repo(), COMMIT, &data);
    world.catalog.prove_public(&Endpoint::public(), &repo(), COMMIT, SystemTime::now()).unwrap();
    std::fs::write(world.dir.path().join("zest/denied"), "no folder").unwrap();
    assert_eq!(seen(&world.reopened(), &data, Access::Share), [false; 5]);
    assert_eq!(world.reopened().denied(), None);
}
