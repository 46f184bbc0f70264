//! Every kind of wrong answer: the pull ends with the right bytes, the liar is closed, shut out and not dialled again.

use std::sync::Arc;
use std::time::Duration;
use zest_hub_server::Service;
use zest_runtime_tokio::PullReport;
use zest_tests::known::Known;
use zest_tests::peer::{Peer, Reply, Script, honest, in_time};
use zest_tests::speak::{self, Ask};
use zest_tests::{Machine, Site, assert_same_files, noise};

const BYTES: usize = 2_000_000;

/// A site with one file, whose CDN gives the peers a head start.
async fn site() -> (Site, Arc<Known>) {
    let mut site = Site::new();
    let known = Known::new(noise(7, BYTES));
    site.add("org/model", "model.safetensors", &known.bytes);
    site.add("org/other", "model.safetensors", &noise(8, 300_000));
    site.open().await;
    site.faults().set_latency(Service::Cdn, Duration::from_millis(400));
    (site, Arc::new(known))
}

/// Pulls beside this peer; the right bytes must land, and nothing may stay linked to it.
async fn pull_beside(script: Script) -> (Site, Machine, Peer, PullReport) {
    let (site, known) = site().await;
    pull_from(site, &known, script).await
}

async fn pull_from(site: Site, _known: &Arc<Known>, script: Script) -> (Site, Machine, Peer, PullReport) {
    let peer = script.start().await;
    let machine = Machine::new(&site.endpoint()).await;
    let report = in_time(machine.pull_from("org/model", std::slice::from_ref(&peer.address))).await;
    let report = report.expect("the CDN is healthy");
    assert_same_files(&report.path, &site.folder("org/model"));
    assert_eq!(report.from_peers + report.from_cdn, BYTES as u64, "each byte once");
    (site, machine, peer, report)
}

/// The liar must be banned, and a later pull must not dial it.
async fn is_shut_out((site, machine, peer, report): (Site, Machine, Peer, PullReport)) -> PullReport {
    in_time(peer.all_closed()).await;
    assert_eq!(report.peers_banned, 1);
    let stats = machine.engine().stats().await;
    assert_eq!((stats.banned, stats.peers), (1, 0));
    let again = in_time(machine.pull_from("org/other", std::slice::from_ref(&peer.address))).await;
    assert_same_files(&again.expect("a pull without the liar").path, &site.folder("org/other"));
    assert_eq!(peer.connections(), 1, "it is not dialled again");
    report
}

/// Pulls beside an otherwise honest peer that tells this lie for each chunk.
async fn chunk_lie(lie: impl Fn(u32, &[u8]) -> Reply + Send + Sync + 'static) -> PullReport {
    let (site, known) = site().await;
    let script = Script::lying(&known, lie);
    is_shut_out(pull_from(site, &known, script).await).await
}

#[tokio::test]
async fn a_flipped_bit() {
    let report = chunk_lie(|req, bytes| {
        let mut bytes = bytes.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        Reply::Bytes(speak::chunk(req, &bytes))
    })
    .await;
    assert!(report.bad_chunks >= 1);
    assert_eq!(report.from_peers, 0, "nothing it sent counts");
}

#[tokio::test]
async fn a_flipped_bit_after_many_good_chunks() {
    let sent = std::sync::atomic::AtomicU32::new(0);
    let report = chunk_lie(move |req, bytes| {
        let mut bytes = bytes.to_vec();
        if sent.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 10 {
            bytes[0] ^= 1;
        }
        Reply::Bytes(speak::chunk(req, &bytes))
    })
    .await;
    assert!(report.bad_chunks >= 1);
}

#[tokio::test]
async fn a_short_chunk() {
    let report = chunk_lie(|req, bytes| Reply::Bytes(speak::chunk(req, &bytes[..bytes.len() - 1]))).await;
    assert!(report.bad_chunks >= 1);
}

#[tokio::test]
async fn a_chunk_of_one_byte() {
    let report = chunk_lie(|req, bytes| Reply::Bytes(speak::chunk(req, &bytes[..1]))).await;
    assert!(report.bad_chunks >= 1);
}

#[tokio::test]
async fn a_long_chunk() {
    chunk_lie(|req, bytes| Reply::Bytes(speak::chunk(req, &[bytes, b"x"].concat()))).await;
}

#[tokio::test]
async fn a_chunk_of_sixty_megabytes() {
    // Only the head goes out: it must be enough.
    chunk_lie(|req, _| {
        let len = 60u32 << 20;
        let frame =
            [&(len + 11).to_be_bytes()[..], &[20, 1, 2], &req.to_be_bytes(), &len.to_be_bytes()].concat();
        Reply::Bytes(frame)
    })
    .await;
}

#[tokio::test]
async fn a_length_field_that_contradicts_its_frame() {
    chunk_lie(|req, bytes| Reply::Bytes(speak::chunk_claiming(req, bytes.len() as u32 - 5, bytes))).await;
}

#[tokio::test]
async fn another_chunk_than_was_asked_for() {
    let (site, known) = site().await;
    let other = known.manifest.chunk(0).hash;
    let known_too = known.clone();
    let script = Script::lying(&known, move |req, bytes| {
        let first = known_too.chunk(&other).expect("its own chunk");
        let len = bytes.len().min(first.len());
        Reply::Bytes(speak::chunk(req, if bytes == first { &bytes[1..] } else { &first[..len] }))
    });
    is_shut_out(pull_from(site, &known, script).await).await;
}

#[tokio::test]
async fn a_frame_beyond_all_limits() {
    let (site, known) = site().await;
    let mut script = Script::honest(&known);
    script.opening =
        zest_tests::peer::Opening::Full(speak::DICT_ZEST.to_vec(), u32::MAX.to_be_bytes().to_vec());
    is_shut_out(pull_from(site, &known, script).await).await;
}

#[tokio::test]
async fn a_control_frame_beyond_its_limit() {
    let (site, known) = site().await;
    let mut script = Script::honest(&known);
    let bitfield = [&(70_000u32 << 4).to_be_bytes()[..], &[20, 3, 4]].concat();
    script.opening = zest_tests::peer::Opening::Full(speak::DICT_ZEST.to_vec(), bitfield);
    is_shut_out(pull_from(site, &known, script).await).await;
}

/// A peer whose manifest is a lie; chunks would be honest.
async fn manifest_lie(lie: impl Fn(&Known, u32, u32) -> Vec<u8> + Send + Sync + 'static) -> PullReport {
    let (site, known) = site().await;
    let true_one = known.clone();
    let script = Script::zest(move |ask| match ask {
        Ask::Manifest { req, first, .. } => Reply::Bytes(lie(&true_one, *req, *first)),
        other => honest(&true_one, other),
    });
    is_shut_out(pull_from(site, &known, script).await).await
}

#[tokio::test]
async fn a_manifest_with_one_wrong_hash() {
    manifest_lie(|known, req, _| {
        let mut records = known.records();
        records[3] ^= 1;
        let total = known.manifest.len();
        speak::manifest_part(req, known.manifest.size(), total, 0, total, &records)
    })
    .await;
}

#[tokio::test]
async fn a_manifest_with_a_wrong_length() {
    manifest_lie(|known, req, _| {
        let mut records = known.records();
        records[35] ^= 1;
        let total = known.manifest.len();
        speak::manifest_part(req, known.manifest.size(), total, 0, total, &records)
    })
    .await;
}

#[tokio::test]
async fn a_manifest_of_another_size() {
    manifest_lie(|known, req, _| {
        let total = known.manifest.len();
        speak::manifest_part(req, u64::MAX, total, 0, total, &known.records())
    })
    .await;
}

#[tokio::test]
async fn a_manifest_with_an_absurd_total() {
    manifest_lie(|known, req, first| {
        let records = &known.records()[..36];
        speak::manifest_part(req, known.manifest.size(), u32::MAX, first, 1, records)
    })
    .await;
}

#[tokio::test]
async fn a_manifest_that_never_ends() {
    // More records than any file of this size has, sent as long as they are asked for.
    let report = manifest_lie(|known, req, first| {
        let records = known.records()[..36].repeat(1000);
        speak::manifest_part(req, known.manifest.size(), BYTES as u32, first, 1000, &records)
    })
    .await;
    assert_eq!(report.from_peers, 0);
}

#[tokio::test]
async fn a_manifest_part_that_was_not_asked_for() {
    manifest_lie(|known, req, _| {
        let total = known.manifest.len();
        speak::manifest_part(req, known.manifest.size(), total, 3, total - 3, &known.records()[3 * 36..])
    })
    .await;
}

#[tokio::test]
async fn availability_of_four_billion_chunks_takes_no_memory() {
    let (site, known) = site().await;
    let true_one = known.clone();
    let script = Script::zest(move |ask| match ask {
        Ask::Interest { file } => {
            let lie = [
                speak::have(file, u32::MAX, &[(1, u32::MAX - 1)]),
                speak::have(file, u32::MAX, &[(0, u32::MAX)]),
            ];
            Reply::Bytes(lie.concat())
        }
        other => honest(&true_one, other),
    });
    let (.., report) = pull_from(site, &known, script).await;
    assert_eq!(report.bad_chunks, 0);
}

#[tokio::test]
async fn a_peer_that_claims_to_have_everything_and_finds_nothing() {
    let (site, known) = site().await;
    let true_one = known.clone();
    let script = Script::zest(move |ask| match ask {
        Ask::Chunk { req, hash } => Reply::Bytes(speak::not_found(*req, hash)),
        other => honest(&true_one, other),
    });
    let (_site, machine, _peer, report) = pull_from(site, &known, script).await;
    // That is no lie that can be proven: files go away. It is only of no use.
    assert_eq!((report.from_peers, report.from_cdn), (0, BYTES as u64));
    assert_eq!(machine.engine().stats().await.banned, 0);
}

#[tokio::test]
async fn an_answer_nobody_asked_for_ends_the_link() {
    let (site, known) = site().await;
    let mut script = Script::honest(&known);
    let unasked = speak::chunk(0xDEAD_BEEF, &[1; 5000]);
    script.opening = zest_tests::peer::Opening::Full(speak::DICT_ZEST.to_vec(), unasked);
    let (.., peer, report) = pull_from(site, &known, script).await;
    in_time(peer.all_closed()).await;
    assert_eq!(report.bad_chunks, 0);
}

#[tokio::test]
async fn an_answer_given_twice_ends_the_link_and_counts_once() {
    let (_site, _machine, peer, report) = {
        let (site, known) = site().await;
        let script = Script::lying(&known, |req, bytes| Reply::Bytes(speak::chunk(req, bytes).repeat(2)));
        pull_from(site, &known, script).await
    };
    in_time(peer.all_closed()).await;
    assert!(report.bad_chunks == 0 && report.from_peers > 0);
}

#[tokio::test]
async fn a_reset_in_the_middle_of_a_chunk() {
    let (_site, machine, peer, report) = {
        let (site, known) = site().await;
        let script = Script::lying(&known, |req, bytes| {
            let frame = speak::chunk(req, bytes);
            Reply::Reset(frame[..frame.len() / 2].to_vec())
        });
        pull_from(site, &known, script).await
    };
    in_time(peer.all_closed()).await;
    assert_eq!((report.from_peers, report.bad_chunks), (0, 0));
    assert_eq!(machine.engine().stats().await.banned, 0, "an unplugged cable is no lie");
}

#[tokio::test]
async fn an_extension_handshake_that_is_no_dictionary() {
    let mut script = Script::zest(|_| Reply::Nothing);
    script.opening = zest_tests::peer::Opening::Full(b"i42e".to_vec(), Vec::new());
    is_shut_out(pull_beside(script).await).await;
}
