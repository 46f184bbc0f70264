//! A repository that the Hub shows to nobody any more is given to nobody any more: in that moment, whoever in the process
//! hears of it, and whatever the disk says.

use std::time::{Duration, SystemTime};
use zest_hub_server::LoggedRequest;
use zest_runtime_tokio::PullErrorKind;
use zest_store::{Endpoint, RepoId, RepoType, Token};
use zest_tests::caller::Caller;
use zest_tests::known::Known;
use zest_tests::peer::in_time;
use zest_tests::speak::{self, DICT_ZEST, UT_XET};
use zest_tests::{Kind, Machine, Site, TOKEN, noise, on_every_runtime};

on_every_runtime!(
    a_refusal_counts_though_the_disk_cannot_note_it,
    a_refusal_that_a_pull_meets_counts_for_all_that_was_public,
    an_outage_is_no_refusal,
    a_name_that_is_not_in_it_says_nothing_of_the_rest,
);

struct World {
    site: Site,
    known: Known,
    machine: Machine,
    repo: RepoId,
    commit: String,
}

/// A machine that has pulled an open model and gives it.
async fn world(kind: Kind) -> World {
    let mut site = Site::new();
    let known = Known::new(noise(71, 800_000));
    site.add("org/open", "model.safetensors", &known.bytes);
    let endpoint = site.open().await;
    let machine = Machine::new(&endpoint).await.seed_on(kind).await;
    let report = machine.pull_from("org/open", &[]).await.expect("the Hub gives it");
    machine.refresh();
    let repo = RepoId::new(RepoType::Model, "org/open").expect("a good name");
    let world = World { site, known, machine, repo, commit: report.commit };
    assert!(world.is_given().await, "it is public");
    world
}

impl World {
    /// The noted answer is old enough to be asked for again.
    fn age(&self) {
        let asked = SystemTime::now() - Duration::from_secs(11 * 3600 + 1800);
        let hub = Endpoint::new(&self.site.endpoint());
        self.machine.store().catalog.prove_public(&hub, &self.repo, &self.commit, asked).expect("noted");
    }

    /// Whether a stranger gets a chunk of it.
    async fn is_given(&self) -> bool {
        let mut caller = Caller::dial(&self.machine.address(), b"-SC0100-curious00000", DICT_ZEST).await;
        let chunk = self.known.manifest.chunk(2).hash;
        caller.send(&speak::ext(UT_XET, &[&[1, 0, 0, 0, 1][..], chunk.as_bytes()].concat())).await;
        let (_, body) = caller.message().await.expect("an answer");
        body[0] == 2
    }
}

/// From now on nothing can be written or removed where the answers of Hubs are noted.
fn break_notes(machine: &Machine) {
    for name in ["public", "proofs"] {
        let dir = machine.env.zest_cache.join(name);
        if dir.is_dir() {
            std::fs::rename(&dir, machine.env.zest_cache.join("elsewhere")).expect("moved away");
        }
        std::fs::write(dir, b"not a folder").expect("in its place");
    }
}

async fn a_refusal_counts_though_the_disk_cannot_note_it(kind: Kind) {
    let world = world(kind).await;
    world.age();
    break_notes(&world.machine);
    world.site.restrict("org/open", "private");
    let progress = world.machine.index().await;
    assert_eq!((progress.public, progress.not_public), (0, 1));
    assert!(!world.is_given().await, "the Hub said no");
}

async fn a_refusal_that_a_pull_meets_counts_for_all_that_was_public(kind: Kind) {
    let world = world(kind).await;
    world.site.restrict("org/open", "gated");
    // Somebody who may read it learns nothing from the files they get; they are told that it is gated.
    let mut options = world.machine.options("org/open");
    options.env.token = Token::new(TOKEN);
    assert!(!world.machine.pull(options).await.expect("the token opens it").shareable);
    assert!(!world.is_given().await, "what is gated is not given");
    // It is open again, and asked for anew.
    world.site.restrict("org/open", "public");
    world.machine.index().await;
    assert!(world.is_given().await, "it is public again");
    // Somebody who may not is refused, and the pull never gets to a commit.
    world.site.restrict("org/open", "private");
    let error = world.machine.pull_from("org/open", &[]).await.expect_err("it is private");
    assert!(matches!(error.kind(), PullErrorKind::Auth | PullErrorKind::NotFound), "{error}");
    assert!(!world.is_given().await, "what is refused to a pull is not given");
}

async fn an_outage_is_no_refusal(kind: Kind) {
    let mut world = world(kind).await;
    world.age();
    world.site.close().await;
    let progress = world.machine.index().await;
    assert!(progress.hub_error.is_some(), "it says why it could not ask");
    assert!(world.is_given().await, "nobody said no");
}

async fn a_name_that_is_not_in_it_says_nothing_of_the_rest(kind: Kind) {
    let world = world(kind).await;
    // The whole list is not asked for where a part is enough, so it has to be asked again.
    let trees = world.machine.env.hub_cache.join("models--org--open/trees");
    std::fs::remove_dir_all(trees).expect("the kept list can be removed");
    let mut options = world.machine.options("org/open");
    options.include = vec!["no-such-folder/*".to_owned()];
    world.site.log_requests(100);
    let outcome = world.machine.pull(options).await;
    let asked = world.site.take_requests();
    println!("{:?}", outcome.map(|report| report.files.len()));
    let refused = |request: &LoggedRequest| request.path.contains("no-such-folder");
    assert!(asked.iter().any(refused), "the Hub was asked for it: {asked:?}");
    assert!(world.is_given().await, "of the others it has said nothing");
}

#[tokio::test]
async fn a_pull_that_is_refused_takes_nothing_from_peers_either() {
    let world = world(Kind::Tokio).await;
    let other = Machine::new(&world.site.endpoint()).await;
    other.pull_from("org/open", &[]).await.expect("the Hub gives it");
    // The answer and the file list are noted, the file is gone, and by now nobody may read it.
    std::fs::remove_dir_all(other.env.hub_cache.join("blobs")).expect("the files can be removed");
    world.site.restrict("org/open", "private");
    let mut options = other.options("org/open");
    options.revision.clone_from(&world.commit);
    options.peers = vec![world.machine.address()];
    let error = in_time(other.pull(options)).await.expect_err("the Hub refuses it");
    assert!(matches!(error.kind(), PullErrorKind::Auth | PullErrorKind::NotFound), "{error}");
    let hub = Endpoint::new(&world.site.endpoint());
    assert_eq!(other.store().catalog.public_until(&hub, &world.repo, &world.commit), None);
}
