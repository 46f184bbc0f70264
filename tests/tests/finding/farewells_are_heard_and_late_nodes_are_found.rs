//! Who leaves says so at every tracker that answers, though it takes a new connection or its time; and who is started before the
//! node it was to start from is found all the same.

use std::net::UdpSocket;
use zest_core::InfoHash;
use zest_tests::finding::{Boot, Manner, Tracker, holds, names};
use zest_tests::known::Known;
use zest_tests::program::{Host, Pulling, Running};
use zest_tests::{Kind, Site, noise, on_every_runtime};

on_every_runtime!(a_seed_box_is_heard_at_all_of_several_trackers);

fn shard() -> Vec<u8> {
    noise(29, 1_000_000)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it does not panic")
}

/// Host `a` has the model; its swarm.
async fn fetched(a: &Host) -> (Site, InfoHash) {
    let mut site = Site::new();
    site.add("org/model", "model.safetensors", &shard());
    site.open().await;
    let words = ["pull", "org/model", "--json", "--no-p2p"].map(str::to_owned);
    let pulling = Pulling::start(a.command(&site.endpoint(), &words));
    blocking(|| pulling.report()).await;
    (site, InfoHash::of_file(&Known::new(shard()).file()))
}

/// Event 3 of BEP 15, at its place.
fn is_farewell(bytes: &[u8], swarm: &InfoHash) -> bool {
    bytes.len() >= 98 && bytes[83] == 3 && names(bytes, swarm)
}

/// Begins what gives, waits until trackers know of it, and ends it: all of them have heard that it left.
async fn heard_at_all(seeding: impl FnOnce(&[&str]) -> std::process::Command, swarm: InfoHash) {
    let (slow, quick) = (Tracker::start(Manner::Slow), Tracker::start(Manner::Honest));
    // One that never answers: nobody waits for it, and it is in nobody's way.
    let mute = Tracker::start(Manner::Mute);
    let flags = ["-t", &slow.udp, "-t", &slow.http, "-t", &mute.udp, "-t", &mute.http, "-t", &quick.udp];
    let command = seeding(&flags);
    let logs = [slow.udp_log.clone(), slow.http_log.clone(), quick.udp_log.clone()];
    blocking(move || {
        let mut running = Running::start(command);
        running.event("indexed");
        for log in &logs {
            log.wait("an announcement", |log| log.iter().any(|bytes| names(bytes, &swarm)));
        }
        // What was noted as heard is answered; a status after that knows of it.
        let works = |status: &serde_json::Value| {
            let trackers = status["discovery"]["trackers"].as_array().cloned().unwrap_or_default();
            trackers.iter().filter(|tracker| tracker["works"] == true).count() == 3
        };
        while !works(&running.event("status")) {}
        running.stop();
    })
    .await;
    for udp in [&slow.udp_log, &quick.udp_log] {
        assert!(udp.all().iter().any(|bytes| is_farewell(bytes, &swarm)), "good-bye over UDP");
    }
    let stopped = |bytes: &Vec<u8>| names(bytes, &swarm) && holds(bytes, b"event=stopped");
    assert!(slow.http_log.all().iter().any(stopped), "good-bye over HTTP");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seeder_is_heard_at_all_of_several_trackers() {
    let a = Host::default();
    let (site, swarm) = fetched(&a).await;
    let start = |flags: &[&str]| a.finder(&site.endpoint(), &[&["seed", "--no-dht"], flags].concat(), false);
    heard_at_all(start, swarm).await;
}

async fn a_seed_box_is_heard_at_all_of_several_trackers(kind: Kind) {
    let a = Host::default();
    let (site, swarm) = fetched(&a).await;
    let runtime = match kind {
        Kind::Tokio => "tokio",
        Kind::Glommio => "glommio",
    };
    let words = ["--runtime", runtime, "--cache-mem", "16Mi", "--no-dht"];
    let start = |flags: &[&str]| a.seed_box(&site.endpoint(), &[&words[..], flags].concat(), false);
    heard_at_all(start, swarm).await;
}

/// The announcement of a seeder that nobody heard is made again, not left for a quarter of an hour.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_after_a_seeder_hears_of_what_it_has() {
    let a = Host::default();
    let (site, swarm) = fetched(&a).await;
    // The place is taken, and nobody answers there yet.
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let node = socket.local_addr().expect("it is bound").to_string();
    let seeding = a.finder(&site.endpoint(), &["seed", "--bootstrap", &node], false);
    blocking(move || {
        let mut seeding = Running::start(seeding);
        seeding.event("indexed");
        let mut buffer = [0; 2048];
        // It looks for a place for its file, waits for an answer, and asks once more for anybody at all.
        let mut asked = false;
        loop {
            let len = socket.recv(&mut buffer).expect("a datagram");
            match holds(&buffer[..len], b"get_peers") {
                true => asked |= names(&buffer[..len], &swarm),
                false if asked => break,
                false => {}
            }
        }
        let boot = Boot::start_on(socket);
        boot.wait_for_announce(&swarm);
        seeding.stop();
    })
    .await;
}
