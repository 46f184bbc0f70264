//! A node that nobody asks anything of: one packet per second at most, in a small network, in a large table, alone.

#[path = "common/dht_net.rs"]
mod dht_net;

use dht_net::*;
use zest_core::Duration;
use zest_core::dht::Event;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn in_a_network_of_sixty() {
    let mut net = Net::loopback(1, 60);
    net.check_every = 20;
    net.run(Duration::from_secs(1800));
    let before: Vec<u64> = net.hosts.iter().map(|host| host.sent + host.received).collect();
    net.run(HOUR);
    let worst = net.hosts.iter().zip(before).map(|(host, was)| host.sent + host.received - was).max();
    let worst = worst.expect("there are hosts");
    println!("{:.2} packets/s at the busiest node", worst as f64 / 3600.0);
    assert!(worst <= 3600, "{worst} packets in an hour");
}

#[test]
fn without_a_network() {
    // Its only bootstrap node does not answer.
    let mut net = Net::loopback(2, 1);
    net.handle(0, Event::Bootstrap { addr: "127.0.0.1:1".parse().unwrap() });
    net.run(Duration::from_secs(60));
    assert!(net.hosts[0].sent >= 3, "it tries");
    net.run(HOUR);
    assert!(net.hosts[0].sent <= 40, "{} datagrams into the void", net.hosts[0].sent);
    let nobody = Net::loopback(3, 1);
    assert_eq!(nobody.hosts[0].dht.poll_timeout(), None, "and without one it need not wake at all");
}
