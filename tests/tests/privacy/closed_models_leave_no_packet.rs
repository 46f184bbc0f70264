//! A gated model on the wire: everything that leaves the network card of a machine which pulls and seeds it is looked at,
//! with every way of finding peers switched on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use zest_core::InfoHash;
use zest_tests::capture::{Capture, Carries, Frame};
use zest_tests::finding::{Manner, Tracker, names};
use zest_tests::known::{Known, xorbs_of};
use zest_tests::netns::{self, Machine, Switch};
use zest_tests::program::{Pulling, Running};
use zest_tests::{Site, TOKEN, noise};

/// What the CDN gives while an open model is pulled, in bytes/s: that takes about three seconds, and a multicast message goes out
/// after 1.25 s at the latest.
const CDN_BYTES_S: u64 = 500_000;

/// Everything by which a model can be spoken of: the swarms and hashes of its file and of its xorbs.
pub(crate) struct Names {
    pub(crate) swarms: Vec<InfoHash>,
    hashes: Vec<zest_xet::Hash>,
}

impl Names {
    pub(crate) async fn of(site: &Site, repo: &str, bytes: Vec<u8>) -> Self {
        let known = Known::new(bytes);
        let (xorbs, _) = xorbs_of(site, repo, &known).await;
        let mut swarms: Vec<InfoHash> = xorbs.iter().map(|xorb| InfoHash::of_xorb(&xorb.hash)).collect();
        swarms.push(InfoHash::of_file(&known.file()));
        let mut hashes: Vec<zest_xet::Hash> = xorbs.iter().map(|xorb| xorb.hash).collect();
        hashes.push(known.file());
        hashes.extend(known.manifest.chunks().iter().map(|chunk| chunk.hash));
        Self { swarms, hashes }
    }

    pub(crate) fn are_in(&self, frame: &Frame) -> bool {
        // In a URL a byte may be written as itself or with a percent sign.
        let decoded = percent_decoded(&frame.bytes);
        let forms = [&frame.bytes, &decoded];
        let swarm = |swarm: &InfoHash| forms.iter().any(|bytes| names(bytes, swarm));
        self.swarms.iter().any(swarm) || self.hashes.iter().any(|hash| frame.contains(hash.as_bytes()))
    }
}

fn percent_decoded(bytes: &[u8]) -> Vec<u8> {
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// An office with a way out: a hub, a tracker, a node of the DHT, and one machine that is watched.
struct Office {
    site: Site,
    endpoint: String,
    hub: SocketAddr,
    tracker: Tracker,
    boot: Running,
    machine: Machine,
    open: Names,
    closed: Names,
}

async fn office() -> Office {
    let switch = Switch::new(Ipv4Addr::new(192, 168, 7, 1), 24);
    let mut site = Site::new();
    let contents = [noise(41, 1_500_000), noise(42, 1_600_000)];
    site.add("org/open", "model.safetensors", &contents[0]);
    site.add("org/closed", "model.safetensors", &contents[1]);
    let endpoint = site.open_at((switch.address(), 0).into()).await;
    // What they are called is asked while everybody may know.
    let [open, closed] = contents;
    let open = Names::of(&site, "org/open", open).await;
    let closed = Names::of(&site, "org/closed", closed).await;
    site.restrict("org/closed", "gated");
    let hub = endpoint.strip_prefix("http://").and_then(|hub| hub.parse().ok()).expect("an address");
    let tracker = Tracker::start_at(switch.address(), Manner::Honest);
    let other = switch.machine("other", Ipv4Addr::new(192, 168, 7, 2));
    let boot = other.zest(&endpoint, &format!("seed --json --no-lan --bootstrap {}", other.at(6881)));
    let boot = in_background(move || {
        let mut boot = Running::start(boot);
        boot.event("indexed");
        boot
    });
    let boot = boot.await;
    let machine = switch.machine("watched", Ipv4Addr::new(192, 168, 7, 3));
    // Whatever it wants to send anywhere, it sends.
    machine.route_all(switch.address());
    Office { site, endpoint, hub, tracker, boot, machine, open, closed }
}

pub(crate) async fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it does not panic")
}

impl Office {
    /// `zest` on the watched machine, with every way of finding peers.
    fn zest(&self, words: &str) -> Command {
        let (http, udp) = (&self.tracker.http, &self.tracker.udp);
        let ways = format!("-t {http} -t {udp} --bootstrap 192.168.7.2:6881 --json");
        let mut command = self.machine.zest(&self.endpoint, &format!("{words} {ways}"));
        command.env("HF_TOKEN", TOKEN);
        command
    }

    async fn pull(&self, repo: &str) -> serde_json::Value {
        let command = self.zest(&format!("pull {repo}"));
        in_background(|| Pulling::start(command).report()).await
    }

    /// What of these frames the watched machine sent to somebody else than the hub.
    fn told<'a>(&self, frames: &'a [Frame]) -> Vec<&'a Frame> {
        let to_hub = |frame: &Frame| matches!(frame.carries, Carries::Tcp(_, to) if to == self.hub);
        let told = |frame: &&Frame| {
            frame.is_from(&self.machine) && frame.carries != Carries::Housekeeping && !to_hub(frame)
        };
        frames.iter().filter(told).collect()
    }

    fn peers_and_trackers(&self) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        (self.tracker.http_log.all(), self.tracker.udp_log.all())
    }
}

pub(crate) fn is_multicast(frame: &Frame) -> bool {
    match frame.carries {
        Carries::Udp(_, to) => match to.ip() {
            IpAddr::V4(ip) => ip.is_multicast(),
            IpAddr::V6(ip) => ip.is_multicast(),
        },
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_of_one_names_it_to_the_hub_alone() {
    if !netns::enter("a_pull_of_one_names_it_to_the_hub_alone") {
        return;
    }
    let office = office().await;
    let capture = Capture::start();
    let report = office.pull("org/closed").await;
    assert_eq!((&report["shareable"], &report["bytes"]["from_cdn"]), (&false.into(), &1_600_000.into()));
    let frames = capture.stop();
    let from_machine = frames.iter().filter(|frame| frame.is_from(&office.machine)).count();
    let told = office.told(&frames);
    println!("{from_machine} frames came from the machine, {} of them not to the hub", told.len());
    assert!(from_machine > 10, "the capture sees the machine");
    assert!(told.is_empty(), "nobody else hears anything: {told:?}");
    let (http, udp) = office.peers_and_trackers();
    assert_eq!((http.len(), udp.len()), (0, 0), "no tracker heard of us");
    // What the capture would have seen: the same pull of a model that anybody may read. It takes long enough for the network to
    // hear of it, too.
    office.site.faults().set_cdn_rate(Some(CDN_BYTES_S));
    let capture = Capture::start();
    let report = office.pull("org/open").await;
    assert_eq!(report["shareable"], true, "{report}");
    let frames = capture.stop();
    let told = office.told(&frames);
    println!("of the open model {} frames went elsewhere", told.len());
    let naming =
        |test: &dyn Fn(&Frame) -> bool| told.iter().any(|frame| test(frame) && office.open.are_in(frame));
    assert!(naming(&is_multicast), "the network heard of it");
    assert!(naming(&|frame| matches!(frame.carries, Carries::Tcp(..))), "a tracker heard of it");
    assert!(
        naming(&|frame| matches!(frame.carries, Carries::Udp(_, to) if to.port() == 6881)),
        "the DHT heard of it"
    );
    drop(office.boot);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seed_that_has_one_names_only_the_others() {
    if !netns::enter("a_seed_that_has_one_names_only_the_others") {
        return;
    }
    let office = office().await;
    for repo in ["org/closed", "org/open"] {
        office.pull(repo).await;
    }
    let capture = Capture::start();
    let command = office.zest("seed");
    let logs =
        [("an announce over HTTP", &office.tracker.http_log), ("one over UDP", &office.tracker.udp_log)];
    let logs = logs.map(|(what, log)| (what, log.clone(), log.all().len()));
    in_background(move || {
        let mut seeding = Running::start(command);
        assert_eq!(seeding.event("indexed")["files_shared"], 1);
        for (what, log, before) in logs {
            log.wait(what, |log| log.len() > before);
        }
        seeding.stop();
    })
    .await;
    let frames = capture.stop();
    let told = office.told(&frames);
    println!("{} frames went to others than the hub", told.len());
    assert!(told.iter().any(|frame| office.open.are_in(frame)), "the open model is announced");
    for frame in &told {
        assert!(!office.closed.are_in(frame), "{frame:?}");
        assert!(!frame.contains(TOKEN.as_bytes()), "{frame:?}");
    }
    let _site_outlives_them = (&office.site, &office.boot);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_model_of_a_hub_that_not_everybody_knows_is_named_on_this_network_alone() {
    if !netns::enter("an_open_model_of_a_hub_that_not_everybody_knows_is_named_on_this_network_alone") {
        return;
    }
    let office = office().await;
    office.site.faults().set_cdn_rate(Some(CDN_BYTES_S));
    let capture = Capture::start();
    for words in ["pull org/open", "pull org/open --force-download"] {
        let mut command = office.zest(words);
        command.env_remove("ZEST_PUBLIC_MIRRORS");
        let report = in_background(|| Pulling::start(command).report()).await;
        assert_eq!(report["shareable"], true, "{report}");
    }
    let mut command = office.zest("seed");
    command.env_remove("ZEST_PUBLIC_MIRRORS");
    in_background(move || {
        let mut seeding = Running::start(command);
        assert_eq!(seeding.event("indexed")["files_shared"], 1);
        seeding.has_said("status");
        seeding.stop();
    })
    .await;
    let frames = capture.stop();
    let naming: Vec<&Frame> =
        office.told(&frames).into_iter().filter(|frame| office.open.are_in(frame)).collect();
    println!("{} frames name it", naming.len());
    assert!(naming.iter().any(|frame| is_multicast(frame)), "this network hears of it");
    for frame in naming {
        assert!(is_multicast(frame), "nobody else does: {frame:?}");
    }
    let _site_outlives_them = (&office.site, &office.boot);
}
