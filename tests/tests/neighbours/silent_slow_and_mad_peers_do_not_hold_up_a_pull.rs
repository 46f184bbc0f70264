//! Peers that say nothing, too little, too slowly or nonsense: the pull ends with the right bytes from the CDN.

use std::sync::Arc;
use std::time::Duration;
use zest_hub_server::Service;
use zest_runtime_tokio::PullReport;
use zest_tests::known::Known;
use zest_tests::peer::{Opening, Peer, Reply, Script, honest, in_time};
use zest_tests::speak::{self, Ask};
use zest_tests::{Machine, Site, assert_same_files, noise};

const BYTES: usize = 1_000_000;

struct Outcome {
    machine: Machine,
    peer: Peer,
    report: PullReport,
    _site: Site,
}

/// Pulls beside the peer that this script makes; the right bytes must land.
async fn beside(script: impl FnOnce(&Arc<Known>) -> Script) -> Outcome {
    let mut site = Site::new();
    let known = Arc::new(Known::new(noise(17, BYTES)));
    site.add("org/model", "model.safetensors", &known.bytes);
    site.open().await;
    // Time for the peer to do its worst before the CDN is done.
    site.faults().set_latency(Service::Cdn, Duration::from_millis(300));
    let peer = script(&known).start().await;
    let machine = Machine::new(&site.endpoint()).await;
    let report = in_time(machine.pull_from("org/model", std::slice::from_ref(&peer.address))).await;
    let report = report.expect("the CDN is healthy");
    assert_same_files(&report.path, &site.folder("org/model"));
    assert_eq!(report.from_peers + report.from_cdn, BYTES as u64, "each byte once");
    Outcome { machine, peer, report, _site: site }
}

/// Nothing it did can be called a lie.
async fn of_no_use(script: impl FnOnce(&Arc<Known>) -> Script) {
    let outcome = beside(script).await;
    assert_eq!((outcome.report.from_peers, outcome.report.bad_chunks), (0, 0));
    assert_eq!(outcome.machine.engine().stats().await.banned, 0);
    assert!(outcome.peer.connections() >= 1, "it was tried");
}

/// It broke the protocol: closed and shut out.
async fn shut_out(script: impl FnOnce(&Arc<Known>) -> Script) {
    let outcome = beside(script).await;
    in_time(outcome.peer.all_closed()).await;
    assert_eq!(outcome.machine.engine().stats().await.banned, 1);
    assert_eq!(outcome.peer.connections(), 1, "it is not dialled again");
}

#[tokio::test]
async fn silence_before_the_handshake() {
    of_no_use(|_| Script::opening(Opening::Silence)).await;
}

#[tokio::test]
async fn silence_after_the_handshake() {
    of_no_use(|_| Script::opening(Opening::Handshake)).await;
}

#[tokio::test]
async fn silence_after_the_extension_handshake() {
    of_no_use(|_| Script::zest(|_| Reply::Nothing)).await;
}

#[tokio::test]
async fn silence_after_the_availability() {
    of_no_use(|known| {
        let known = known.clone();
        Script::zest(move |ask| match ask {
            Ask::Interest { .. } => honest(&known, ask),
            _ => Reply::Nothing,
        })
    })
    .await;
}

#[tokio::test]
async fn silence_after_the_manifest() {
    of_no_use(|known| Script::lying(known, |_, _| Reply::Nothing)).await;
}

#[tokio::test]
async fn silence_after_some_chunks() {
    let outcome = beside(|known| {
        let left = std::sync::atomic::AtomicU32::new(3);
        Script::lying(known, move |req, bytes| {
            use std::sync::atomic::Ordering::Relaxed;
            match left.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1)) {
                Ok(_) => Reply::Bytes(speak::chunk(req, bytes)),
                Err(_) => Reply::Nothing,
            }
        })
    })
    .await;
    assert!(outcome.report.from_peers > 0, "what it gave counts");
}

#[tokio::test]
async fn one_byte_at_a_time() {
    of_no_use(|known| {
        Script::lying(known, |req, bytes| {
            Reply::Trickle(speak::chunk(req, bytes), Duration::from_millis(100))
        })
    })
    .await;
}

#[tokio::test]
async fn an_opening_one_byte_at_a_time() {
    of_no_use(|known| {
        let mut script = Script::honest(known);
        script.opening = Opening::Raw(vec![19]);
        script
    })
    .await;
}

#[tokio::test]
async fn garbage_instead_of_a_handshake() {
    // Whoever answers there is no peer; that is no reason to remember it for ever, but nothing comes of it.
    let outcome = beside(|_| Script::opening(Opening::Raw(noise(3, 5000)))).await;
    in_time(outcome.peer.all_closed()).await;
    assert_eq!(outcome.report.from_peers, 0);
}

#[tokio::test]
async fn an_http_server() {
    let answer = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec();
    let outcome = beside(|_| Script::opening(Opening::Raw(answer))).await;
    in_time(outcome.peer.all_closed()).await;
}

#[tokio::test]
async fn a_handshake_for_another_swarm() {
    let outcome =
        beside(|_| Script::opening(Opening::Raw(speak::handshake([9; 20], *b"-SC0100-000000000000")))).await;
    in_time(outcome.peer.all_closed()).await;
    assert_eq!(outcome.report.from_peers, 0);
}

fn full(dict: &[u8], after: Vec<u8>) -> impl FnOnce(&Arc<Known>) -> Script {
    let dict = dict.to_vec();
    move |known| Script { opening: Opening::Full(dict, after), ..Script::honest(known) }
}

/// Oddities that must not keep an honest peer from being used.
async fn used_all_the_same(dict: &[u8], after: Vec<u8>) {
    let outcome = beside(full(dict, after)).await;
    assert_eq!(outcome.report.from_peers, BYTES as u64, "the peer is good and the CDN is slow");
    assert_eq!(outcome.machine.engine().stats().await.banned, 0);
}

#[tokio::test]
async fn unknown_messages_are_passed_over() {
    let mut after = Vec::new();
    for id in (0..=255).filter(|&id| id != 20) {
        after.extend(speak::frame(id, &[id; 9]));
    }
    // Keep-alives, and unknown types and ids of the extensions.
    after.extend([0; 8]);
    for kind in [0, 5, 10, 40, 255] {
        after.extend(speak::ext(speak::UT_XET, &[kind; 50]));
        after.extend(speak::ext(speak::ZEST, &[kind.max(99); 50]));
        after.extend(speak::ext(200, &[kind; 50]));
    }
    used_all_the_same(speak::DICT_ZEST, after).await;
}

#[tokio::test]
async fn a_bitfield_and_a_second_extension_handshake_are_passed_over() {
    let after = [speak::frame(5, &[0xff; 30_000]), speak::ext(0, speak::DICT_ZEST)].concat();
    used_all_the_same(speak::DICT_ZEST, after).await;
}

#[tokio::test]
async fn what_stands_behind_broken_bencode_is_lost_and_no_more() {
    used_all_the_same(b"d1:md6:ut_xeti7e4:zesti9ee1:xiTruee", Vec::new()).await;
}

#[tokio::test]
async fn deep_bencode_is_read_no_further_than_its_limit() {
    let deep = [&b"d1:md6:ut_xeti7e4:zesti9ee1:x"[..], &b"l".repeat(7000), &b"e".repeat(7000), b"e"].concat();
    used_all_the_same(&deep, Vec::new()).await;
}

#[tokio::test]
async fn deep_bencode_first_makes_a_peer_useless_and_harms_nobody() {
    let deep = [&b"d1:a"[..], &b"d1:a".repeat(4000)].concat();
    let outcome = beside(full(&deep[..16_000], Vec::new())).await;
    assert_eq!(outcome.report.from_peers, 0);
}

#[tokio::test]
async fn lengths_that_point_into_themselves_are_no_bencode() {
    for dict in [
        &b"d1:m99999999999999999999:x"[..],
        b"d1:md6:ut_xeti99999999999999999999eee",
        b"d-1:me",
        b"d1:mi-0ee",
    ] {
        let outcome = beside(full(dict, Vec::new())).await;
        assert_eq!(outcome.report.from_peers, 0);
    }
}

#[tokio::test]
async fn an_extension_handshake_beyond_its_limit_is_a_fault() {
    let long = [&b"d1:m"[..], &b"l".repeat(20_000)].concat();
    shut_out(full(&long, Vec::new())).await;
}

#[tokio::test]
async fn extension_handshakes_without_end_are_a_fault() {
    shut_out(full(speak::DICT_ZEST, speak::ext(0, speak::DICT_ZEST).repeat(100))).await;
}

#[tokio::test]
async fn useless_chatter_without_end_closes_the_link() {
    let outcome = beside(full(speak::DICT_ZEST, speak::frame(5, &[0; 60_000]).repeat(30))).await;
    in_time(outcome.peer.all_closed()).await;
    assert_eq!(outcome.report.bad_chunks, 0);
}

#[tokio::test]
async fn a_slot_in_an_unknown_state_is_a_fault() {
    shut_out(full(speak::DICT_ZEST, speak::ext(speak::ZEST, &[8, 7, 0, 0]))).await;
}

#[tokio::test]
async fn availability_runs_that_overflow_are_a_fault() {
    let mut have = vec![6];
    have.extend([1; 32]);
    have.extend([0, 0, 0, 9, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x7f, 1]);
    shut_out(full(speak::DICT_ZEST, speak::ext(speak::ZEST, &have))).await;
}

#[tokio::test]
async fn an_address_where_nobody_listens() {
    let mut site = Site::new();
    site.add("org/model", "model.safetensors", &noise(17, BYTES));
    site.open().await;
    let machine = Machine::new(&site.endpoint()).await;
    // Port 1 of loopback: refused at once.
    let report = in_time(machine.pull_from("org/model", &["127.0.0.1:1".to_owned()]))
        .await
        .expect("the CDN is healthy");
    assert_same_files(&report.path, &site.folder("org/model"));
}
