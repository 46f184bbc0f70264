//! `zest serve` tells its own network what it has. What is handed over to it is looked for in the DHT all the same.

use std::time::Duration;
use zest_runtime_tokio::{DhtConfig, DiscoveryConfig, EngineConfig};
use zest_tests::peer::in_time;
use zest_tests::{Machine, Site, noise};

const BYTES: usize = 1_500_000;

fn through(bootstrap: &str, catalog_near: bool) -> impl FnOnce(&mut EngineConfig) {
    let dht = DhtConfig { port: None, bootstrap: vec![bootstrap.to_owned()], table: None };
    let discovery =
        DiscoveryConfig { dht: Some(dht), announce_all: true, catalog_near, ..DiscoveryConfig::default() };
    move |config| {
        config.discovery = Some(discovery);
        config.give_up_after = Duration::from_secs(3);
    }
}

/// Whether a stranger that knows the DHT alone gets what a machine of this kind has in its cache.
async fn is_told(catalog_near: bool) -> bool {
    let mut site = Site::new();
    site.add("org/model", "model.safetensors", &noise(41, BYTES));
    site.add("org/wanted", "model.safetensors", &noise(42, BYTES));
    site.open().await;
    // The first node of the DHT has nobody to start from, and nothing to give.
    let first = Machine::with(&site.endpoint(), through("127.0.0.1:9", false)).await;
    let udp = first.engine().discovery().await.and_then(|found| found.udp_port).expect("the DHT has a port");
    let bootstrap = format!("127.0.0.1:{udp}");
    let daemon = Machine::with(&site.endpoint(), through(&bootstrap, catalog_near)).await;
    in_time(daemon.pull(daemon.options("org/model"))).await.expect("the CDN has it");
    let owner = Machine::with(&site.endpoint(), through(&bootstrap, false)).await;
    in_time(owner.pull(owner.options("org/wanted"))).await.expect("the CDN has it");
    for machine in [&daemon, &owner] {
        machine.index().await;
    }
    site.faults().set_cdn_off(true);
    // Handed over: nobody is named, and the CDN has nothing. The owner announces it as soon as it has looked at its catalog.
    in_time(async { while daemon.pull(daemon.options("org/wanted")).await.is_err() {} }).await;
    let stranger = Machine::with(&site.endpoint(), through(&bootstrap, false)).await;
    stranger.pull(stranger.options("org/model")).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_has_is_not_announced_and_what_it_wants_is_found() {
    assert!(!is_told(true).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_who_says_so_announces_it() {
    assert!(is_told(false).await);
}
