//! Two machines on one switch, each in a network namespace of its own: no flag names the other, and no route leads out.

use std::net::Ipv4Addr;
use std::path::Path;
use zest_tests::netns::{self, Machine, Switch};
use zest_tests::program::{Pulling, Running};
use zest_tests::{Site, assert_same_files, noise};

/// Bytes of the model.
const MODEL: u64 = 6_000_000;
/// What the CDN gives, in bytes/s: half a minute for the model, if nobody else has it.
const CDN_BYTES_S: u64 = 200_000;

/// A switch, a hub at it, and two machines.
async fn office() -> (Site, String, [Machine; 2]) {
    let switch = Switch::new(Ipv4Addr::new(192, 168, 7, 1), 24);
    let mut site = Site::new();
    site.add("org/model", "model.safetensors", &noise(11, MODEL as usize));
    let endpoint = site.open_at((switch.address(), 0).into()).await;
    let machines =
        [("a", 2), ("b", 3)].map(|(name, last)| switch.machine(name, Ipv4Addr::new(192, 168, 7, last)));
    (site, endpoint, machines)
}

/// One has the model and serves it; the other pulls it. `words` are added to both commands.
async fn meet(words: &str) {
    let (site, endpoint, [a, b]) = office().await;
    let first = a.zest(&endpoint, "pull org/model --json --no-p2p");
    let pulled = tokio::task::spawn_blocking(move || Pulling::start(first).report()).await.expect("a pull");
    assert_eq!(pulled["bytes"]["from_cdn"], MODEL, "{pulled}");

    site.faults().set_cdn_rate(Some(CDN_BYTES_S));
    let before = site.stats();
    let serve = a.zest(&endpoint, &format!("serve --json{words}"));
    let pull = b.zest(&endpoint, &format!("pull org/model --json{words}"));
    let report = tokio::task::spawn_blocking(move || {
        let mut serve = Running::start(serve);
        serve.event("listening");
        assert_eq!(serve.event("indexed")["files_shared"], 1);
        let report = Pulling::start(pull).report();
        let given = serve.stop()["bytes_given"].as_u64().expect("a number");
        assert!(
            given >= report["bytes"]["from_peers"].as_u64().expect("a number"),
            "{given} given; {report}"
        );
        report
    });
    let report = report.await.expect("both end well");
    let cdn_bytes = site.stats().since(&before).cdn_bytes;
    println!("{} s, {}, CDN {cdn_bytes}", report["elapsed_s"], report["bytes"]);
    assert_same_files(Path::new(report["path"].as_str().expect("a path")), &site.folder("org/model"));
    let from_peers = report["bytes"]["from_peers"].as_u64().expect("a number");
    assert!(from_peers >= MODEL * 9 / 10, "nearly all of it comes from the neighbour: {report}");
    assert!(cdn_bytes <= MODEL / 5, "the CDN sent {cdn_bytes}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_them_move_a_model_and_no_flag_says_where_it_is() {
    if netns::enter("two_of_them_move_a_model_and_no_flag_says_where_it_is") {
        meet("").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_keep_to_their_network_do_too() {
    if netns::enter("two_that_keep_to_their_network_do_too") {
        meet(" --lan-only").await;
    }
}
