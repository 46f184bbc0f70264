//! Three machines pull the same new model at the same time, all against one Hub with a slow CDN. Its xorbs are as large as in
//! production: nothing can be proven of one before it is whole, yet what one machine's stream brings is at the others' while it comes.

use zest_core::node::Policy;
use zest_runtime_tokio::{PullOptions, PullReport};
use zest_tests::{Machine, Site, assert_same_files, noise};

/// What the CDN gives to all of them together, in bytes/s: a xorb takes longer than an owner of whom nothing turns up is believed.
const CDN_BYTES_S: u64 = 16_000_000;
/// One xorb of 64 MiB, and one for the rest.
const BYTES: usize = 80_000_000;

/// One swarm at a time.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// All pull at once, each knowing the others, in engines of the usual policy, by one of their own if it is given. Returns how many copies the CDN sent.
async fn copies_for_all(usual: Policy, own: Option<Policy>) -> f64 {
    let _turn = TURN.lock().await;
    let mut site = Site::new();
    site.add("org/model", "model.safetensors", &noise(70, BYTES));
    let endpoint = site.open().await;
    site.faults().set_cdn_rate(Some(CDN_BYTES_S));
    let machine = || Machine::with(&endpoint, |config| config.policy = usual);
    let (a, b, c) = (machine().await, machine().await, machine().await);
    let (to_a, to_b, to_c) =
        ([b.address(), c.address()], [a.address(), c.address()], [a.address(), b.address()]);
    let pull = async |machine: &Machine, peers: &[String]| {
        let options = PullOptions { policy: own, peers: peers.to_vec(), ..machine.options("org/model") };
        machine.pull(options).await
    };
    let reports = tokio::join!(pull(&a, &to_a), pull(&b, &to_b), pull(&c, &to_c));
    for report in [reports.0, reports.1, reports.2] {
        let report: PullReport = report.expect("the CDN is healthy");
        println!("{} of peers, {} of the CDN", report.from_peers, report.from_cdn);
        assert_same_files(&report.path, &site.folder("org/model"));
        // What two were asked for may come twice.
        assert!(
            report.from_peers + report.from_cdn >= BYTES as u64,
            "all of it came, and it is said where from"
        );
    }
    let copies = site.stats().cdn_bytes as f64 / BYTES as f64;
    println!("the CDN sent {copies:.3} copies to three machines by {usual:?}, {own:?}");
    copies
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_the_usual_policy_the_cdn_sends_less_than_two_copies() {
    let copies = copies_for_all(Policy::Fastest, None).await;
    // Each of three begins one of only two xorbs, or both: the simulator says 1.6 as well. Without sharing it is 3.
    assert!(copies <= 2.0, "the CDN sent {copies:.3} copies");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_spares_the_origin_has_one_copy_of_it() {
    let copies = copies_for_all(Policy::SpareOrigin, None).await;
    assert!(copies <= 1.1, "the CDN sent {copies:.3} copies");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_that_spares_the_origin_does_so_in_an_engine_that_does_not() {
    let copies = copies_for_all(Policy::Fastest, Some(Policy::SpareOrigin)).await;
    assert!(copies <= 1.1, "the CDN sent {copies:.3} copies");
}
