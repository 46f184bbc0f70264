//! A peer without our extension can give no chunk list, but chunks: it is used as soon as the list comes from elsewhere.

use std::sync::Arc;
use std::time::Duration;
use zest_hub_server::Service;
use zest_tests::known::Known;
use zest_tests::peer::{Opening, Reply, Script, honest, in_time};
use zest_tests::speak::{self, Ask};
use zest_tests::{Machine, Site, assert_same_files, noise};

const BYTES: usize = 1_500_000;

async fn site() -> (Site, Arc<Known>) {
    let mut site = Site::new();
    let known = Arc::new(Known::new(noise(37, BYTES)));
    site.add("org/model", "model.safetensors", &known.bytes);
    site.open().await;
    (site, known)
}

fn no_origin(site: &Site) {
    site.faults().set_cdn_off(true);
    site.faults().set_cas_off(true);
}

/// Answers chunk requests alone.
fn chunks_only(known: &Arc<Known>) -> Script {
    let known = known.clone();
    Script::plain(move |ask| match ask {
        Ask::Chunk { .. } => honest(&known, ask),
        _ => Reply::Nothing,
    })
}

/// Knows the list and has no chunk.
fn list_only(known: &Arc<Known>) -> Script {
    let known = known.clone();
    Script::zest(move |ask| match ask {
        Ask::Manifest { .. } => honest(&known, ask),
        Ask::Interest { file } => Reply::Bytes(speak::have(file, known.manifest.len(), &[])),
        Ask::Chunk { req, hash } => Reply::Bytes(speak::not_found(*req, hash)),
        _ => Reply::Nothing,
    })
}

#[tokio::test]
async fn with_the_list_of_an_earlier_pull() {
    let (site, known) = site().await;
    let machine = Machine::new(&site.endpoint()).await;
    machine.pull_from("org/model", &[]).await.expect("the first pull");
    // The weights are thrown away; what is known of them stays in zest's own cache.
    std::fs::remove_dir_all(&machine.env.hub_cache).expect("the cache can be removed");
    let machine = machine.restarted().await;
    no_origin(&site);

    let peer = chunks_only(&known).start().await;
    let report = in_time(machine.pull_from("org/model", std::slice::from_ref(&peer.address))).await;
    let report = report.expect("the peer has everything");
    assert_same_files(&report.path, &site.folder("org/model"));
    assert_eq!((report.from_peers, report.peers_banned), (BYTES as u64, 0));
    let only_chunks =
        peer.asks().into_iter().all(|ask| !matches!(ask, Ask::Manifest { .. } | Ask::Interest { .. }));
    assert!(only_chunks, "it is asked for nothing it does not know");
}

#[tokio::test]
async fn with_the_list_of_another_peer() {
    let (site, known) = site().await;
    no_origin(&site);
    let (plain, list) = (chunks_only(&known).start().await, list_only(&known).start().await);
    let machine = Machine::new(&site.endpoint()).await;
    let report =
        in_time(machine.pull_from("org/model", &[plain.address.clone(), list.address.clone()])).await;
    let report = report.expect("both together have everything");
    assert_same_files(&report.path, &site.folder("org/model"));
    assert_eq!((report.from_peers, report.peers_banned), (BYTES as u64, 0));
    assert_eq!(plain.data_asks() as u32, known.manifest.len(), "each chunk is asked for once");
}

#[tokio::test]
async fn under_the_name_that_ccbt_gives_the_extension() {
    let (site, known) = site().await;
    no_origin(&site);
    let mut ccbt = chunks_only(&known);
    ccbt.opening = Opening::Full(b"d1:e8:disabled1:md11:ut_metadatai3e3:xeti7eee".to_vec(), Vec::new());
    let (ccbt, list) = (ccbt.start().await, list_only(&known).start().await);
    let machine = Machine::new(&site.endpoint()).await;
    let report = in_time(machine.pull_from("org/model", &[ccbt.address.clone(), list.address.clone()])).await;
    assert_eq!(report.expect("both together have everything").from_peers, BYTES as u64);
}

#[tokio::test]
async fn a_lie_of_it_is_found_too() {
    let (site, known) = site().await;
    site.faults().set_latency(Service::Cdn, Duration::from_millis(400));
    let liar = Script::plain(|ask| match ask {
        Ask::Chunk { req, .. } => Reply::Bytes(speak::chunk(*req, &[0; 9000])),
        _ => Reply::Nothing,
    });
    let (liar, list) = (liar.start().await, list_only(&known).start().await);
    let machine = Machine::new(&site.endpoint()).await;
    let report = in_time(machine.pull_from("org/model", &[liar.address.clone(), list.address.clone()])).await;
    let report = report.expect("the CDN is healthy");
    assert_same_files(&report.path, &site.folder("org/model"));
    assert_eq!((report.from_peers, report.peers_banned), (0, 1));
}

#[tokio::test]
async fn without_a_list_it_is_not_asked_and_the_cdn_gives_all() {
    let (site, known) = site().await;
    let peer = chunks_only(&known).start().await;
    let machine = Machine::new(&site.endpoint()).await;
    let report = in_time(machine.pull_from("org/model", std::slice::from_ref(&peer.address))).await;
    assert_eq!(report.expect("the CDN is healthy").from_cdn, BYTES as u64);
    assert_eq!(peer.data_asks(), 0, "no hash is known to ask for");
}

#[tokio::test]
async fn an_answer_in_another_layout_than_was_asked_in_is_passed_over() {
    // The 13+n layout for a chunk: its bytes cannot be told from a xorb range, so they are skipped and come from elsewhere.
    let (site, known) = site().await;
    site.faults().set_latency(Service::Cdn, Duration::from_millis(300));
    let odd = {
        let known = known.clone();
        Script::plain(move |ask| match ask {
            Ask::Chunk { req, hash } => {
                Reply::Bytes(speak::range(*req, 0, known.chunk(hash).expect("its chunk")))
            }
            _ => Reply::Nothing,
        })
    };
    let (odd, list) = (odd.start().await, list_only(&known).start().await);
    let machine = Machine::new(&site.endpoint()).await;
    let report = in_time(machine.pull_from("org/model", &[odd.address.clone(), list.address.clone()])).await;
    let report = report.expect("the CDN is healthy");
    assert_same_files(&report.path, &site.folder("org/model"));
    assert_eq!((report.from_cdn, report.bad_chunks), (BYTES as u64, 0));
}
