//! Machines that share no local network in the eyes of zest: each in a network namespace of its own, with a public
//! address in a subnet of its own. They meet through a tracker, through the DHT, and from behind a NAT.

use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use zest_tests::finding::{Manner, Tracker, holds};
use zest_tests::netns::{self, Machine, Switch};
use zest_tests::program::{Pulling, Running};
use zest_tests::{Site, assert_same_files, noise};

/// Bytes of the model.
const MODEL: u64 = 6_000_000;
/// What the CDN gives, in bytes/s: half a minute for the model, if nobody else has it.
const CDN_BYTES_S: u64 = 200_000;

/// A hub, and a switch that plays the internet: whoever is at it reaches everybody at it.
struct Internet {
    switch: Switch,
    site: Site,
    endpoint: String,
}

impl Internet {
    async fn new() -> Self {
        let switch = Switch::new(Ipv4Addr::new(45, 1, 0, 1), 8);
        let mut site = Site::new();
        site.add("org/model", "model.safetensors", &noise(12, MODEL as usize));
        let endpoint = site.open_at((switch.address(), 0).into()).await;
        Self { switch, site, endpoint }
    }

    /// A machine whose address is in nobody else's subnet.
    fn machine(&self, name: &str, subnet: u8) -> Machine {
        self.switch.machine(name, Ipv4Addr::new(45, subnet, 0, 2))
    }

    /// A machine that has the model. Afterwards the CDN is slow.
    async fn owner(&self, name: &str, subnet: u8) -> Machine {
        let owner = self.machine(name, subnet);
        self.fill(&owner).await;
        owner
    }

    async fn fill(&self, owner: &Machine) {
        let report = pull(owner.zest(&self.endpoint, "pull org/model --json --no-p2p")).await;
        assert_eq!(report["bytes"]["from_cdn"], MODEL, "{report}");
        self.site.faults().set_cdn_rate(Some(CDN_BYTES_S));
    }

    /// Fails unless the machine has the model, nearly all of it from peers.
    fn check(&self, name: &str, report: &Value) {
        println!("{name}: {} s, {}, {} peers", report["elapsed_s"], report["bytes"], report["peers"]);
        assert_same_files(
            Path::new(report["path"].as_str().expect("a path")),
            &self.site.folder("org/model"),
        );
        let from_peers = report["bytes"]["from_peers"].as_u64().expect("a number");
        assert!(from_peers >= MODEL * 8 / 10, "{name} gets nearly all of it from peers: {report}");
    }
}

async fn pull(command: Command) -> Value {
    tokio::task::spawn_blocking(move || Pulling::start(command).report())
        .await
        .expect("a pull that ends well")
}

/// Starts a `zest seed` and waits until it shares so many files.
async fn seed(command: Command, files: u64) -> Running {
    let seeding = tokio::task::spawn_blocking(move || {
        let mut running = Running::start(command);
        running.event("listening");
        assert_eq!(running.event("indexed")["files_shared"], files);
        running
    });
    seeding.await.expect("it starts")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_through_a_tracker() {
    if !netns::enter("three_through_a_tracker") {
        return;
    }
    let net = Internet::new().await;
    let tracker = Tracker::start_at(net.switch.address(), Manner::Honest);
    let a = net.owner("a", 2).await;
    let (b, c) = (net.machine("b", 3), net.machine("c", 4));
    let words = format!("--tracker {} --no-dht --no-lan --json", tracker.http);
    let seeding = seed(a.zest(&net.endpoint, &format!("seed {words}")), 1).await;
    let before = net.site.stats();
    let words = format!("pull org/model {words}");
    let (from_b, from_c) =
        tokio::join!(pull(b.zest(&net.endpoint, &words)), pull(c.zest(&net.endpoint, &words)));
    net.check("b", &from_b);
    net.check("c", &from_c);
    let cdn_bytes = net.site.stats().since(&before).cdn_bytes;
    assert!(cdn_bytes <= MODEL / 2, "the CDN sent {cdn_bytes} to both");
    tokio::task::spawn_blocking(move || seeding.stop()).await.expect("it stops");
    // Each came once, and its farewell was the last that was heard of it.
    let mut last: BTreeMap<String, bool> = BTreeMap::new();
    for request in tracker.http_log.all() {
        let text = String::from_utf8_lossy(&request);
        let id = text.split("peer_id=").nth(1).and_then(|rest| rest.split('&').next()).expect("a peer id");
        last.insert(id.to_owned(), holds(&request, b"event=stopped"));
    }
    assert_eq!(last.len(), 3, "{last:?}");
    assert!(last.values().all(|stopped| *stopped), "{last:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_through_the_dht_with_one_bootstrap_node() {
    if !netns::enter("five_through_the_dht_with_one_bootstrap_node") {
        return;
    }
    let net = Internet::new().await;
    let (boot, a) = (net.machine("boot", 2), net.owner("a", 3).await);
    let others = [net.machine("b", 4), net.machine("c", 5), net.machine("d", 6)];
    // The bootstrap node has nothing, and nobody to start from.
    let words = format!("--bootstrap {} --no-lan --json", boot.at(6881));
    let _boot = seed(boot.zest(&net.endpoint, &format!("seed {words}")), 0).await;
    let _a = seed(a.zest(&net.endpoint, &format!("seed {words}")), 1).await;
    let before = net.site.stats();
    let commands =
        others.each_ref().map(|other| other.zest(&net.endpoint, &format!("pull org/model {words}")));
    let [b, c, d] = commands.map(|command| tokio::spawn(pull(command)));
    for (name, report) in [("b", b), ("c", c), ("d", d)] {
        net.check(name, &report.await.expect("a report"));
    }
    let cdn_bytes = net.site.stats().since(&before).cdn_bytes;
    assert!(cdn_bytes <= MODEL / 2, "the CDN sent {cdn_bytes} to three");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_behind_a_nat_that_lets_nobody_in() {
    if !netns::enter("one_behind_a_nat_that_lets_nobody_in") {
        return;
    }
    if !netns::has("one_behind_a_nat_that_lets_nobody_in", "nft") {
        return;
    }
    let net = Internet::new().await;
    let tracker = Tracker::start_at(net.switch.address(), Manner::Honest);
    let a = net.owner("a", 2).await;
    let (home, inside) = (Ipv4Addr::new(45, 3, 0, 2), Ipv4Addr::new(192, 168, 1, 5));
    let (b, _router) = Machine::behind_nat(&net.switch, "b", inside, home);
    let words = format!("--tracker {} --bootstrap {} --no-lan --json", tracker.http, a.at(6881));
    let _a = seed(a.zest(&net.endpoint, &format!("seed {words}")), 1).await;
    let report = pull(b.zest(&net.endpoint, &format!("pull org/model {words}"))).await;
    net.check("b", &report);

    // Now b has it and a third machine wants it. It cannot reach b, and takes it from a.
    let seeding = seed(b.zest(&net.endpoint, &format!("seed {words}")), 1).await;
    let outside = SocketAddr::from((home, 6881));
    TcpStream::connect_timeout(&outside, Duration::from_millis(500)).expect_err("nobody is let in");
    let c = net.machine("c", 4);
    let report = pull(c.zest(&net.endpoint, &format!("pull org/model {words}"))).await;
    net.check("c", &report);
    tokio::task::spawn_blocking(move || seeding.stop()).await.expect("it stops");
}
