//! Two machines that know nothing of each other find each other through a DHT, a tracker or the network they share, and a
//! model goes from one to the other without the Hub's storage.

use serde_json::Value;
use std::path::Path;
use zest_core::InfoHash;
use zest_tests::finding::{Boot, Ear, Manner, Tracker, chunks_from_peers, holds, names};
use zest_tests::known::Known;
use zest_tests::program::{Host, Pulling, Running};
use zest_tests::{Site, assert_same_files, noise};

/// The model's large file, which stands for all of it.
fn shard() -> Vec<u8> {
    noise(21, 3_000_000)
}

async fn site() -> (Site, InfoHash) {
    let mut site = Site::new();
    site.add("org/model", "model.safetensors", &shard());
    site.add("org/model", "config.json", b"{\"layers\": 1}");
    site.open().await;
    (site, InfoHash::of_file(&Known::new(shard()).file()))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it does not panic")
}

/// Host `a` has the model from the Hub, whose storage is then switched off, and seeds it.
async fn seeder(site: &Site, a: &Host, flags: &[&str], lan: bool) -> Running {
    let words = ["pull", "org/model", "--json", "--no-p2p"].map(str::to_owned);
    let pulling = Pulling::start(a.command(&site.endpoint(), &words));
    blocking(|| pulling.report()).await;
    site.faults().set_cas_off(true);
    site.faults().set_cdn_off(true);
    let words = [&["seed"], flags].concat();
    let seeding = a.finder(&site.endpoint(), &words, lan);
    blocking(|| {
        let mut seeding = Running::start(seeding);
        seeding.event("indexed");
        seeding
    })
    .await
}

async fn pull(site: &Site, b: &Host, flags: &[&str], lan: bool) -> Value {
    let words = [&["pull", "org/model"], flags].concat();
    let command = b.finder(&site.endpoint(), &words, lan);
    let report = blocking(|| Pulling::start(command).report()).await;
    assert_same_files(Path::new(report["path"].as_str().expect("a path")), &site.folder("org/model"));
    report
}

fn assert_from_peers(report: &Value) {
    assert_eq!(chunks_from_peers(report), shard().len() as u64, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_dht_with_one_node_to_start_from() {
    let (site, swarm) = site().await;
    let (a, b) = (Host::default(), Host::default());
    let boot = std::sync::Arc::new(Boot::start());
    let node = boot.addr.to_string();
    let seeding = seeder(&site, &a, &["--bootstrap", &node], false).await;
    let announced = boot.clone();
    blocking(move || announced.wait_for_announce(&swarm)).await;
    assert_from_peers(&pull(&site, &b, &["--bootstrap", &node], false).await);
    // What it learned of the DHT is there at the next start, without a node to start from.
    let stopped = blocking(|| seeding.stop()).await;
    assert!(stopped["bytes_given"].as_u64() > Some(shard().len() as u64), "{stopped}");
    let table = a.home().join(".cache/zest/dht");
    let saved =
        zest_core::dht::Saved::parse(&std::fs::read(table).expect("a saved table")).expect("a sound one");
    assert!(saved.addrs().any(|addr| addr == b.address()), "the other node is in it: {saved:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_tracker_over_http_and_over_udp() {
    let (site, swarm) = site().await;
    let tracker = Tracker::start(Manner::Honest);
    let (a, b, c) = (Host::default(), Host::default(), Host::default());
    let seeding = seeder(&site, &a, &["--no-dht", "-t", &tracker.http, "-t", &tracker.udp], false).await;
    let (http, udp) = (tracker.http_log.clone(), tracker.udp_log.clone());
    blocking(move || {
        http.wait("an announcement over HTTP", |log| log.iter().any(|bytes| names(bytes, &swarm)));
        udp.wait("an announcement over UDP", |log| log.iter().any(|bytes| names(bytes, &swarm)));
    })
    .await;
    assert_from_peers(&pull(&site, &b, &["--no-dht", "-t", &tracker.http], false).await);
    let said =
        |event: &[u8]| tracker.http_log.all().iter().any(|bytes| names(bytes, &swarm) && holds(bytes, event));
    assert!(
        said(b"event=started") && said(b"event=completed") && said(b"event=stopped"),
        "{:?}",
        tracker.http_log
    );
    assert_from_peers(&pull(&site, &c, &["--no-dht", "-t", &tracker.udp], false).await);
    blocking(|| seeding.stop()).await;
    // Event 3 of BEP 15, at its place.
    let farewell = |bytes: &Vec<u8>| bytes.len() >= 98 && bytes[83] == 3 && names(bytes, &swarm);
    assert!(tracker.udp_log.all().iter().any(farewell), "the seeder said good-bye");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_the_network_they_share() {
    let Some(ear) = Ear::open() else {
        eprintln!("skipped: the loopback interface of this machine cannot multicast");
        return;
    };
    let (site, swarm) = site().await;
    let (a, b) = (Host::default(), Host::default());
    let seeding = seeder(&site, &a, &["--no-dht"], true).await;
    let heard = ear.log.clone();
    blocking(move || {
        heard.wait("a multicast message", |log| log.iter().any(|bytes| names(bytes, &swarm)));
    })
    .await;
    assert_from_peers(&pull(&site, &b, &["--no-dht"], true).await);
    blocking(|| seeding.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_the_program_shows_who_has_what() {
    let (site, swarm) = site().await;
    let (a, b) = (Host::default(), Host::default());
    let tracker = Tracker::start(Manner::Honest);
    let seeding = seeder(&site, &a, &["--no-dht", "-t", &tracker.http], false).await;
    let http = tracker.http_log.clone();
    blocking(move || http.wait("an announcement", |log| log.iter().any(|bytes| names(bytes, &swarm)))).await;
    let command = b.finder(&site.endpoint(), &["peers", "org/model", "--no-dht", "-t", &tracker.http], false);
    let shown = blocking(|| Pulling::start(command).report()).await;
    let peer = &shown["peers"][0];
    assert_eq!(peer["addr"], a.address().to_string(), "{shown}");
    assert_eq!((peer["how"].as_str(), peer["bytes"].as_u64()), (Some("tracker"), Some(shard().len() as u64)));
    assert_eq!(peer["files"][0]["path"], "model.safetensors");
    assert_eq!(peer["files"][0]["chunks"], peer["files"][0]["of"]);
    blocking(|| seeding.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mute_tracker_keeps_nobody_waiting() {
    let (site, swarm) = site().await;
    let tracker = Tracker::start(Manner::Mute);
    let host = Host::default();
    // A pull of a second or so: the trackers are asked while it lasts.
    site.faults().set_cdn_rate(Some(3_000_000));
    let report = pull(&site, &host, &["--no-dht", "-t", &tracker.http, "-t", &tracker.udp], false).await;
    assert_eq!(report["bytes"]["from_cdn"], report["bytes"]["total"], "{report}");
    // A pull that waited for them would have lived to ask again.
    let asked = tracker.http_log.all().iter().filter(|bytes| names(bytes, &swarm)).count();
    assert_eq!((asked, tracker.udp_log.all().len()), (1, 1), "each was asked once");
}
