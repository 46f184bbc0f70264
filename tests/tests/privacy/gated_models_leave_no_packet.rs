//! A gated and a private model are pulled and seeded beside a public one, with every way of finding peers switched on. What
//! goes to the DHT, to trackers and to the network names the public one, and never the others.

use zest_core::InfoHash;
use zest_tests::finding::{Boot, Ear, Log, Manner, Tracker, holds, names};
use zest_tests::known::{Known, xorbs_of};
use zest_tests::program::{Host, Pulling, Running};
use zest_tests::{Site, TOKEN, noise};

/// Every name under which a file could be spoken of.
async fn swarms(site: &Site, repo: &str, bytes: Vec<u8>) -> Vec<InfoHash> {
    let known = Known::new(bytes);
    let (xorbs, _) = xorbs_of(site, repo, &known).await;
    xorbs.iter().map(|xorb| InfoHash::of_xorb(&xorb.hash)).chain([InfoHash::of_file(&known.file())]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_one_datagram_or_request_names_them() {
    let mut site = Site::new();
    let contents = [noise(31, 2_000_000), noise(32, 2_100_000), noise(33, 2_200_000)];
    for (repo, content) in ["org/open", "org/gated", "org/private"].into_iter().zip(&contents) {
        site.add(repo, "model.safetensors", content);
    }
    site.open().await;
    // What they are called is asked while everybody may know.
    let open = swarms(&site, "org/open", contents[0].clone()).await;
    let mut secret = swarms(&site, "org/gated", contents[1].clone()).await;
    secret.extend(swarms(&site, "org/private", contents[2].clone()).await);
    site.restrict("org/gated", "gated").restrict("org/private", "private");
    site.close().await;
    site.open().await;

    let (boot, tracker, ear) = (Boot::start(), Tracker::start(Manner::Honest), Ear::open());
    let host = Host::default();
    let node = boot.addr.to_string();
    let ways = ["--bootstrap", &node, "-t", &tracker.http, "-t", &tracker.udp];
    for repo in ["org/open", "org/gated", "org/private"] {
        let mut command = host.finder(&site.endpoint(), &[&["pull", repo], &ways[..]].concat(), true);
        command.env("HF_TOKEN", TOKEN);
        let report = tokio::task::spawn_blocking(|| Pulling::start(command).report())
            .await
            .expect("it does not panic");
        assert_eq!(report["shareable"], repo == "org/open", "{report}");
    }
    let mut command = host.finder(&site.endpoint(), &[&["seed"], &ways[..]].concat(), true);
    command.env("HF_TOKEN", TOKEN);
    let mut logs: Vec<(&str, Log)> = vec![
        ("the DHT", boot.log.clone()),
        ("the tracker over HTTP", tracker.http_log.clone()),
        ("the tracker over UDP", tracker.udp_log.clone()),
    ];
    logs.extend(ear.as_ref().map(|ear| ("the network", ear.log.clone())));
    let file = *open.last().expect("the file's own");
    let heard = logs.clone();
    tokio::task::spawn_blocking(move || {
        let mut seeding = Running::start(command);
        let indexed = seeding.event("indexed");
        assert_eq!(indexed["files_shared"], 1, "{indexed}");
        for (what, log) in &heard {
            log.wait(what, |log| log.iter().any(|bytes| names(bytes, &file)));
        }
        boot_hears_of(&heard[0].1, &file);
        seeding.stop();
    })
    .await
    .expect("it does not panic");
    for (what, log) in &logs {
        assert!(log.names(&file), "{what} heard of the public model");
        for swarm in &secret {
            assert!(!log.names(swarm), "{what} heard of a model that is not public");
        }
        assert!(!log.all().iter().any(|bytes| holds(bytes, TOKEN.as_bytes())), "{what} saw the token");
    }
}

/// The announcement is the last thing a node does for a file.
fn boot_hears_of(log: &Log, swarm: &InfoHash) {
    log.wait("an announcement in the DHT", |log| {
        log.iter().any(|bytes| holds(bytes, b"announce_peer") && names(bytes, swarm))
    });
}
