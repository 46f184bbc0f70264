//! The original answers with whole xorbs, unproven. We use what proves: by the xorb's root, or chunk by chunk where the
//! chunk list is known.

use std::sync::Arc;
use std::time::Duration;
use zest_hub_server::Service;
use zest_runtime_tokio::PullReport;
use zest_tests::known::{Known, Xorb, xorbs_of};
use zest_tests::peer::{Peer, Reply, Script, in_time};
use zest_tests::speak::{self, Ask};
use zest_tests::{Machine, Site, assert_same_files, noise};

const BYTES: usize = 1_500_000;

struct World {
    site: Site,
    known: Arc<Known>,
    xorbs: Arc<Vec<Xorb>>,
}

async fn world() -> World {
    let mut site = Site::new();
    let known = Arc::new(Known::new(noise(47, BYTES)));
    site.add("org/model", "model.safetensors", &known.bytes);
    site.open().await;
    let (xorbs, _) = xorbs_of(&site, "org/model", &known).await;
    World { site, known, xorbs: Arc::new(xorbs) }
}

impl World {
    /// zest 0.4 with these xorbs in its cache; `answer` makes its reply.
    fn original(&self, answer: impl Fn(u32, &Xorb, u32, u32) -> Reply + Send + Sync + 'static) -> Script {
        let xorbs = self.xorbs.clone();
        Script::original(move |ask| match ask {
            Ask::Xorb { req, xorb, start, end } => match xorbs.iter().find(|x| x.hash == *xorb) {
                Some(found) => answer(*req, found, *start, *end),
                None => Reply::Bytes(speak::not_found(*req, xorb)),
            },
            _ => Reply::Nothing,
        })
    }

    async fn pull(&self, peer: &Peer) -> (Machine, PullReport) {
        let machine = Machine::new(&self.site.endpoint()).await;
        self.pull_on(machine, peer).await
    }

    /// The same on a machine that had the file once and kept its chunk list.
    async fn pull_with_list(&self, peer: &Peer) -> (Machine, PullReport) {
        let machine = Machine::new(&self.site.endpoint()).await;
        machine.pull_from("org/model", &[]).await.expect("the first pull");
        std::fs::remove_dir_all(&machine.env.hub_cache).expect("the cache can be removed");
        self.pull_on(machine.restarted().await, peer).await
    }

    async fn pull_on(&self, machine: Machine, peer: &Peer) -> (Machine, PullReport) {
        let pull = machine.pull_from("org/model", std::slice::from_ref(&peer.address));
        let report = in_time(pull).await.expect("the pull ends well");
        assert_same_files(&report.path, &self.site.folder("org/model"));
        assert_eq!(report.from_peers + report.from_cdn, BYTES as u64, "each byte once");
        (machine, report)
    }

    fn slow_cdn(&self) {
        self.site.faults().set_latency(Service::Cdn, Duration::from_millis(500));
    }
}

/// The whole xorb whatever range was asked for, as the original does.
fn whole(req: u32, xorb: &Xorb, _start: u32, _end: u32) -> Reply {
    Reply::Bytes(speak::range(req, 0, &xorb.bytes))
}

fn flipped(xorb: &Xorb, chunk: usize) -> Vec<u8> {
    let mut bytes = xorb.bytes.clone();
    let last = xorb.chunks[chunk].1 - 1;
    bytes[last] ^= 1;
    bytes
}

#[tokio::test]
async fn a_whole_xorb_is_used_when_its_root_proves() {
    let world = world().await;
    world.site.faults().set_cdn_off(true);
    let peer = world.original(whole).start().await;
    let (_, report) = world.pull(&peer).await;
    assert_eq!((report.from_peers, report.peers_banned, report.bad_chunks), (BYTES as u64, 0, 0));
    let asked = peer.asks().iter().filter(|ask| matches!(ask, Ask::Xorb { .. })).count();
    assert_eq!(asked, world.xorbs.len(), "each xorb once");
    assert!(
        !peer.asks().iter().any(|ask| matches!(ask, Ask::Chunk { .. })),
        "37-byte requests are lost on it"
    );
}

#[tokio::test]
async fn nothing_but_type_bytes_it_knows_reaches_it() {
    let world = world().await;
    world.slow_cdn();
    let peer = world.original(whole).start().await;
    world.pull_with_list(&peer).await;
    for ask in peer.asks() {
        if let Ask::Other(20, body) = &ask {
            assert_eq!(body[0], 0, "an extension handshake and nothing else: {ask:?}");
        }
    }
    // Its first frame decides whether it goes on: 68 bytes of handshake, then 20 ‖ 0.
    assert_eq!(peer.received()[72..74], [20, 0]);
}

#[tokio::test]
async fn a_flipped_byte_costs_it_the_link_and_the_cdn_gives_the_bytes() {
    let world = world().await;
    world.slow_cdn();
    let script = world.original(|req, xorb, _, _| Reply::Bytes(speak::range(req, 0, &flipped(xorb, 3))));
    let peer = script.start().await;
    let (machine, report) = world.pull(&peer).await;
    assert_eq!(report.from_cdn, BYTES as u64, "a root proves all or nothing");
    assert_eq!(report.peers_banned, 1);
    in_time(peer.all_closed()).await;
    assert_eq!(machine.engine().stats().await.banned, 1);
    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn a_broken_chunk_header_costs_it_the_link() {
    let world = world().await;
    world.slow_cdn();
    let script = world.original(|req, xorb, _, _| {
        let mut bytes = xorb.bytes.clone();
        bytes[0] = 9;
        Reply::Bytes(speak::range(req, 0, &bytes))
    });
    let peer = script.start().await;
    let (_, report) = world.pull(&peer).await;
    assert_eq!((report.from_cdn, report.peers_banned), (BYTES as u64, 1));
}

#[tokio::test]
async fn chunks_without_end_are_cut_off() {
    let world = world().await;
    world.slow_cdn();
    // 20,000 chunks of one byte: more than any xorb has.
    let script = world.original(|req, _, _, _| {
        Reply::Bytes(speak::range(req, 0, &[0, 1, 0, 0, 0, 1, 0, 0, 7].repeat(20_000)))
    });
    let peer = script.start().await;
    let (_, report) = world.pull(&peer).await;
    assert_eq!((report.from_cdn, report.peers_banned), (BYTES as u64, 1));
}

#[tokio::test]
async fn a_range_that_begins_at_the_end_of_all_numbers_harms_nobody() {
    let world = world().await;
    world.slow_cdn();
    let script = world.original(|req, xorb, _, _| Reply::Bytes(speak::range(req, u32::MAX, &xorb.bytes)));
    let peer = script.start().await;
    let (_, report) = world.pull(&peer).await;
    assert_eq!(report.from_cdn, BYTES as u64);
}

#[tokio::test]
async fn a_part_without_a_list_proves_nothing_and_nobody_is_blamed() {
    let world = world().await;
    world.slow_cdn();
    let script = world.original(|req, xorb, _, _| {
        let half = xorb.chunks.len() as u32 / 2;
        Reply::Bytes(speak::range(req, 0, xorb.range(0, half)))
    });
    let peer = script.start().await;
    let (_, report) = world.pull(&peer).await;
    assert_eq!((report.from_cdn, report.peers_banned), (BYTES as u64, 0));
}

#[tokio::test]
async fn with_the_list_a_part_is_proven_chunk_by_chunk() {
    let world = world().await;
    world.slow_cdn();
    let script = world.original(|req, xorb, _, _| {
        let half = xorb.chunks.len() as u32 / 2;
        Reply::Bytes(speak::range(req, 0, xorb.range(0, half)))
    });
    let peer = script.start().await;
    let (_, report) = world.pull_with_list(&peer).await;
    let half: u64 = world.known.manifest.chunks()[..world.xorbs[0].chunks.len() / 2]
        .iter()
        .map(|c| u64::from(c.len))
        .sum();
    assert_eq!((report.from_peers, report.peers_banned), (half, 0), "the first half of the only xorb");
}

#[tokio::test]
async fn with_the_list_a_lie_is_found_at_its_chunk() {
    let world = world().await;
    world.slow_cdn();
    let script = world.original(|req, xorb, _, _| Reply::Bytes(speak::range(req, 0, &flipped(xorb, 3))));
    let peer = script.start().await;
    let (_, report) = world.pull_with_list(&peer).await;
    let chunk = u64::from(world.known.manifest.chunk(3).len);
    assert_eq!(report.peers_banned, 1);
    assert!(report.from_cdn >= chunk, "the bad one came from the CDN");
    in_time(peer.all_closed()).await;
}

#[tokio::test]
async fn not_found_for_everything_leaves_it_to_the_cdn() {
    let world = world().await;
    let peer =
        world.original(|req, xorb, _, _| Reply::Bytes(speak::not_found(req, &xorb.hash))).start().await;
    let (_, report) = world.pull(&peer).await;
    assert_eq!((report.from_cdn, report.peers_banned), (BYTES as u64, 0));
}

#[tokio::test]
async fn a_reset_in_the_middle_of_a_xorb_leaves_it_to_the_cdn() {
    let world = world().await;
    world.slow_cdn();
    let script = world.original(|req, xorb, _, _| {
        let frame = speak::range(req, 0, &xorb.bytes);
        Reply::Reset(frame[..frame.len() / 2].to_vec())
    });
    let peer = script.start().await;
    let (_, report) = world.pull(&peer).await;
    assert_eq!((report.from_cdn, report.peers_banned), (BYTES as u64, 0));
}
