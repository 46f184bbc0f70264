//! Three liars and one honest peer, no origin: every byte comes from the honest one.

use std::sync::Arc;
use zest_tests::known::Known;
use zest_tests::peer::{Peer, Reply, Script, honest, in_time};
use zest_tests::speak::{self, Ask};
use zest_tests::{Machine, Site, assert_same_files, noise};

const BYTES: usize = 3_000_000;

async fn site_without_origin() -> (Site, Arc<Known>) {
    let mut site = Site::new();
    let known = Arc::new(Known::new(noise(27, BYTES)));
    site.add("org/model", "model.safetensors", &known.bytes);
    site.open().await;
    site.faults().set_cdn_off(true);
    site.faults().set_cas_off(true);
    (site, known)
}

fn flips(known: &Arc<Known>) -> Script {
    Script::lying(known, |req, bytes| {
        let mut bytes = bytes.to_vec();
        bytes[0] ^= 1;
        Reply::Bytes(speak::chunk(req, &bytes))
    })
}

fn cuts(known: &Arc<Known>) -> Script {
    Script::lying(known, |req, bytes| Reply::Bytes(speak::chunk(req, &bytes[1..])))
}

fn forges_the_manifest(known: &Arc<Known>) -> Script {
    let known = known.clone();
    Script::zest(move |ask| match ask {
        Ask::Manifest { req, .. } => {
            let mut records = known.records();
            records.rotate_left(36);
            let total = known.manifest.len();
            Reply::Bytes(speak::manifest_part(*req, known.manifest.size(), total, 0, total, &records))
        }
        other => honest(&known, other),
    })
}

async fn pull_among(site: &Site, peers: &[Peer]) -> (Machine, zest_runtime_tokio::PullReport) {
    let machine = Machine::new(&site.endpoint()).await;
    let addresses: Vec<String> = peers.iter().map(|peer| peer.address.clone()).collect();
    let report = in_time(machine.pull_from("org/model", &addresses)).await.expect("one peer is honest");
    assert_same_files(&report.path, &site.folder("org/model"));
    assert_eq!(report.from_peers, BYTES as u64);
    (machine, report)
}

#[tokio::test]
async fn the_liars_are_shut_out_and_the_honest_one_gives_all() {
    let (site, known) = site_without_origin().await;
    let mut peers = Vec::new();
    for script in [flips(&known), cuts(&known), flips(&known), Script::honest(&known)] {
        peers.push(script.start().await);
    }
    let (machine, report) = pull_among(&site, &peers).await;
    // A liar that was never asked (the others were faster) could not lie.
    let asked = peers[..3].iter().filter(|peer| peer.data_asks() > 0).count() as u64;
    assert_eq!(report.peers_banned, asked);
    assert!(asked > 0 && report.bad_chunks >= asked);
    for liar in peers[..3].iter().filter(|peer| peer.data_asks() > 0) {
        in_time(liar.all_closed()).await;
        assert_eq!(liar.connections(), 1, "not dialled again");
    }
    assert_eq!(u64::from(machine.engine().stats().await.banned), asked);
}

#[tokio::test]
async fn a_forged_manifest_costs_its_sender_the_link_and_the_next_peer_is_asked() {
    let (site, known) = site_without_origin().await;
    let mut peers = Vec::new();
    for script in [forges_the_manifest(&known), forges_the_manifest(&known), Script::honest(&known)] {
        peers.push(script.start().await);
    }
    let (_machine, report) = pull_among(&site, &peers).await;
    assert!(report.peers_banned <= 2);
    assert_eq!(report.bad_chunks, 0);
}

#[tokio::test]
async fn a_liar_that_comes_in_by_itself_is_not_asked_for_what_it_did_not_offer() {
    // B dials A (as a leech would) and then pushes chunks that A never asked for.
    let (site, known) = site_without_origin().await;
    let peer = Script::honest(&known).start().await;
    let (machine, _) = pull_among(&site, std::slice::from_ref(&peer)).await;
    let mut caller =
        zest_tests::caller::Caller::dial(&machine.address(), b"-SC0100-incoming0000", speak::DICT_ZEST).await;
    caller.send(&speak::chunk(1, &known.bytes[..1000])).await;
    assert_eq!(caller.message().await, None, "the link is closed");
}
