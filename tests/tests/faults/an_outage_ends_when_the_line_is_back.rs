//! The line to the Hub breaks in the middle of a pull, or is not there when it begins. The pull waits as long as its user does, says
//! so, asks little meanwhile, and ends well; nothing that was held is fetched again.

use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use zest_runtime_tokio::{CancelToken, Progress, PullErrorKind, Service, pull};
use zest_tests::program::{Host, Pulling};
use zest_tests::relay::{Line, Relay};
use zest_tests::{Machine, Site, assert_same_files, noise};

const REPO: &str = "lab/outage";
/// Bytes of the sample's weights, and per second of the CDN.
const BYTES: usize = 6_000_000;
const CDN_BYTES_S: u64 = 1_500_000;

async fn site() -> (Site, Relay) {
    let mut site = Site::new();
    site.add(REPO, "model.safetensors", &noise(3, BYTES)).add(REPO, "config.json", b"{}");
    let endpoint = site.open().await;
    site.faults().set_cdn_rate(Some(CDN_BYTES_S));
    let relay = Relay::to(endpoint.trim_start_matches("http://").parse().expect("an address")).await;
    (site, relay)
}

/// Waits until the progress is so.
async fn until(seen: &mut watch::Receiver<Progress>, is: impl Fn(&Progress) -> bool) {
    seen.wait_for(|progress| is(progress)).await.expect("the pull goes on");
}

/// Pulls through the relay, and makes the line so in the middle, for so long.
async fn broken(line: Line, seconds: u64, with_peer: bool) {
    broken_for(line, seconds, with_peer, true).await;
}

async fn broken_for(line: Line, seconds: u64, with_peer: bool, xet: bool) {
    let (site, relay) = site().await;
    let mut machine = Machine::new(&relay.endpoint()).await;
    machine.env.disable_xet = !xet;
    // Slow enough that it is not done before the line is back.
    let peer = Machine::with(&site.endpoint(), |config| config.upload_bytes_s = Some(400_000)).await;
    let mut options = machine.options(REPO);
    if with_peer {
        peer.pull_from(REPO, &[]).await.expect("the peer has it");
        options.peers = vec![peer.address()];
    }
    let (progress, mut seen) = watch::channel(Progress::default());
    let pulling = pull(machine.engine(), options, progress, CancelToken::new());
    let breaking = async {
        until(&mut seen, |progress| progress.bytes_done > BYTES as u64 / 4).await;
        relay.set(line);
        let began = Instant::now();
        // The length of the outage.
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        if !with_peer {
            assert!(seen.borrow().bytes_done < BYTES as u64, "it cannot be done yet");
        }
        let (tries, elapsed) = (relay.tries(), began.elapsed().as_secs());
        relay.set(Line::Good);
        // What was under way when the line broke, and about one a second from then on.
        assert!(u64::from(tries) <= 16 + 2 * elapsed, "{tries} tries in {elapsed} s");
    };
    let (report, ()) = tokio::join!(pulling, breaking);
    let report = report.expect("it ends well");
    assert_same_files(&report.path, &site.folder(REPO));
    let wire = report.cdn_wire_bytes;
    // Chunks that were on their way when the connections broke, eight of them.
    assert!(wire <= BYTES as u64 + 8 * (128 << 10) + 100_000, "{wire} bytes from the CDN for {BYTES}");
}

#[tokio::test]
async fn a_line_that_is_cut_for_eight_seconds_costs_eight_seconds() {
    broken(Line::Cut, 8, false).await;
}

#[tokio::test]
async fn a_line_that_swallows_everything_for_a_while_is_left_for_a_new_connection() {
    broken(Line::Mute, 4, false).await;
}

#[tokio::test]
async fn a_cdn_that_trickles_is_left_for_a_new_connection() {
    broken(Line::Trickles, 2, false).await;
}

#[tokio::test]
async fn a_log_in_page_in_place_of_everything_is_an_outage_like_another() {
    broken(Line::Page, 3, false).await;
}

#[tokio::test]
async fn files_outside_xet_come_well_through_a_log_in_page_and_a_cut() {
    broken_for(Line::Page, 3, false, false).await;
    broken_for(Line::Cut, 3, false, false).await;
}

#[tokio::test]
async fn a_log_in_page_does_not_hide_what_is_cached() {
    let (site, relay) = site().await;
    let machine = Machine::new(&relay.endpoint()).await;
    machine.pull_from(REPO, &[]).await.expect("the line is good");
    relay.set(Line::Page);
    let report = machine.pull_from(REPO, &[]).await.expect("all of it is here");
    assert_same_files(&report.path, &site.folder(REPO));
    let notice = report.notices.iter().find(|notice| notice.kind == "hub-gone").expect("it is said");
    assert!(notice.text.contains("web page"), "{}", notice.text);
}

#[tokio::test]
async fn a_hub_that_says_nothing_is_asked_once_where_all_is_cached() {
    let (site, relay) = site().await;
    let mut machine = Machine::new(&relay.endpoint()).await;
    machine.env.etag_timeout = Duration::from_secs(1);
    machine.pull_from(REPO, &[]).await.expect("the line is good");
    let before = relay.tries();
    relay.set(Line::Mute);
    let report = machine.pull_from(REPO, &[]).await.expect("all of it is here");
    assert_same_files(&report.path, &site.folder(REPO));
    assert!(report.notices.iter().any(|notice| notice.kind == "hub-gone"), "it is said");
    assert!(relay.tries() <= before + 1, "{} connections", relay.tries() - before);
}

#[tokio::test]
async fn a_peer_gives_meanwhile() {
    broken(Line::Cut, 2, true).await;
}

#[tokio::test]
async fn what_a_peer_brought_first_is_not_fetched_again_after_an_outage() {
    let (site, relay) = site().await;
    let machine = Machine::new(&relay.endpoint()).await;
    let peer = Machine::with(&site.endpoint(), |config| config.upload_bytes_s = Some(400_000)).await;
    peer.pull_from(REPO, &[]).await.expect("the peer has it");
    let mut options = machine.options(REPO);
    options.peers = vec![peer.address()];
    site.faults().set_cdn_off(true);
    let (progress, mut seen) = watch::channel(Progress::default());
    let pulling = pull(machine.engine(), options, progress, CancelToken::new());
    let breaking = async {
        until(&mut seen, |progress| progress.from_peers > BYTES as u64 / 12).await;
        site.faults().set_cdn_off(false);
        until(&mut seen, |progress| progress.bytes_done > BYTES as u64 * 2 / 3).await;
        relay.set(Line::Cut);
        tokio::time::sleep(Duration::from_secs(1)).await;
        relay.set(Line::Good);
    };
    let (report, ()) = tokio::join!(pulling, breaking);
    let report = report.expect("it ends well");
    assert_same_files(&report.path, &site.folder(REPO));
    let wire = report.cdn_wire_bytes;
    assert!(wire <= BYTES as u64 + 8 * (128 << 10) + 100_000, "{wire} bytes from the CDN for {BYTES}");
}

#[tokio::test]
async fn a_hub_that_is_not_there_at_first_is_waited_for_and_named() {
    not_there_at_first(Line::Cut).await;
}

#[tokio::test]
async fn a_hub_behind_a_log_in_page_is_waited_for_and_named() {
    not_there_at_first(Line::Page).await;
}

async fn not_there_at_first(line: Line) {
    let (site, relay) = site().await;
    relay.set(line);
    let machine = Machine::new(&relay.endpoint()).await;
    let (progress, mut seen) = watch::channel(Progress::default());
    let pulling = pull(machine.engine(), machine.options(REPO), progress, CancelToken::new());
    let healing = async {
        let long_out = |progress: &Progress| {
            progress
                .outages
                .iter()
                .any(|out| out.service == Service::Hub && out.for_ >= Duration::from_secs(2))
        };
        until(&mut seen, long_out).await;
        assert!(relay.tries() <= 12, "{} tries", relay.tries());
        relay.set(Line::Good);
        until(&mut seen, |progress| progress.outages.is_empty()).await;
    };
    let (report, ()) = tokio::join!(pulling, healing);
    assert_same_files(&report.expect("it ends well").path, &site.folder(REPO));
}

#[tokio::test]
async fn a_cas_that_answers_503_for_a_while_is_waited_for_and_named() {
    let (site, relay) = site().await;
    site.faults().set_cas_off(true);
    let machine = Machine::new(&relay.endpoint()).await;
    let (progress, mut seen) = watch::channel(Progress::default());
    let pulling = pull(machine.engine(), machine.options(REPO), progress, CancelToken::new());
    let healing = async {
        until(&mut seen, |progress| progress.outages.iter().any(|out| out.service == Service::Cas)).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        site.faults().set_cas_off(false);
    };
    let (report, ()) = tokio::join!(pulling, healing);
    assert_same_files(&report.expect("it ends well").path, &site.folder(REPO));
}

#[tokio::test]
async fn what_ended_a_pull_is_not_said_to_answer_again() {
    let (site, relay) = site().await;
    site.faults().set_cas_off(true);
    let machine =
        Machine::with(&relay.endpoint(), |config| config.give_up_after = Duration::from_secs(3)).await;
    let (progress, seen) = watch::channel(Progress::default());
    let outcome = pull(machine.engine(), machine.options(REPO), progress, CancelToken::new()).await;
    assert_eq!(outcome.expect_err("there is no CAS").kind(), PullErrorKind::Network);
    assert_eq!(seen.borrow().outages.iter().map(|out| out.service).collect::<Vec<_>>(), [Service::Cas]);
}

#[tokio::test]
async fn the_user_says_when_it_is_enough() {
    let (_site, relay) = site().await;
    relay.set(Line::Cut);
    let machine =
        Machine::with(&relay.endpoint(), |config| config.give_up_after = Duration::from_secs(2)).await;
    let error = machine.pull(machine.options(REPO)).await.expect_err("there is no line");
    assert_eq!(error.kind(), PullErrorKind::Network, "{error}");
}

/// What the program must not lose: what is on its way when it dies, eight connections of the CDN with a chunk each.
const WINDOW: u64 = 8 * (128 << 10);

/// Kills the real program inside an outage, twice, and once after it. Gives what came in all.
async fn killed(xet: bool) -> u64 {
    let (site, relay) = site().await;
    let host = Host::default();
    let command = || {
        let words = ["pull", "--json", "--no-p2p", REPO].map(str::to_owned);
        let mut command = host.command(&relay.endpoint(), &words);
        if !xet {
            command.env("HF_HUB_DISABLE_XET", "1");
        }
        command
    };
    let reached = async |bytes: u64| {
        while relay.carried() < bytes {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let tried = async |tries: u32| {
        while relay.tries() < tries {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let pulling = Pulling::start(command());
    reached(BYTES as u64 / 4).await;
    relay.set(Line::Cut);
    tried(3).await;
    pulling.kill();
    // The next one begins inside the outage, and dies there.
    let before = relay.tries();
    let pulling = Pulling::start(command());
    tried(before + 3).await;
    pulling.kill();
    let pulling = Pulling::start(command());
    tried(relay.tries() + 1).await;
    relay.set(Line::Good);
    reached(BYTES as u64 * 3 / 4).await;
    pulling.kill();
    let report = tokio::task::spawn_blocking({
        let command = command();
        move || Pulling::start(command).report()
    });
    let report = report.await.expect("no panic");
    assert_same_files(Path::new(report["path"].as_str().expect("a path")), &site.folder(REPO));
    assert!(report["bytes"]["from_disk"].as_u64().expect("a number") > BYTES as u64 / 2, "{report}");
    relay.carried()
}

/// How long a chunk is in the xorb that a peer brought first is known from the stream that went over it, also after a kill: without, all
/// that lies behind it is fetched again.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_killed_in_an_outage_beside_a_peer_loses_no_more() {
    let (site, relay) = site().await;
    let peer = Machine::with(&site.endpoint(), |config| config.upload_bytes_s = Some(400_000)).await;
    peer.pull_from(REPO, &[]).await.expect("the peer has it");
    let host = Host::default();
    let words = ["pull", "--json", REPO, "--peer", &peer.address().to_string()].map(str::to_owned);
    let command = |words: &[String]| host.command(&relay.endpoint(), words);
    // The first chunks are the peer's.
    site.faults().set_latency(zest_hub_server::Service::Cdn, Duration::from_millis(800));
    let pulling = Pulling::start(command(&words));
    while relay.carried() < BYTES as u64 * 2 / 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    relay.set(Line::Mute);
    // The line says nothing for so long, and the peer goes on.
    tokio::time::sleep(Duration::from_secs(2)).await;
    pulling.kill();
    relay.set(Line::Good);
    // Without the peer, so that the CDN gives whatever is not known to be here.
    let again = command(&words[..3]);
    let report = tokio::task::spawn_blocking(move || Pulling::start(again).report());
    let report = report.await.expect("no panic");
    assert_same_files(Path::new(report["path"].as_str().expect("a path")), &site.folder(REPO));
    let (carried, most) = (relay.carried(), BYTES as u64 + 2 * WINDOW + 100_000);
    assert!(carried <= most, "{carried} bytes for {BYTES}: {report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_killed_inside_an_outage_and_after_it_loses_what_was_on_its_way() {
    for xet in [true, false] {
        let carried = killed(xet).await;
        // One cut and one kill met bytes that were on their way; heads and listings come with each of the four runs.
        let most = BYTES as u64 + 2 * WINDOW + 100_000;
        assert!(carried <= most, "{carried} bytes for {BYTES}, xet: {xet}");
    }
}
