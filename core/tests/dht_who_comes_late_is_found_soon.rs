//! A bootstrap node that starts after those who need it is found within ten seconds, and what was asked in vain is known to
//! have been.

#[path = "common/dht_net.rs"]
mod dht_net;

use dht_net::*;
use std::net::{Ipv4Addr, SocketAddr};
use zest_core::Duration;
use zest_core::dht::{Action, Event};

const TEN: Duration = Duration::from_secs(10);

fn here(port: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)
}

/// A host whose only bootstrap node is not there yet; it wants something at once.
fn early(seed: u64) -> (Net, usize) {
    let mut net = Net::new(seed, Latency::Fixed(Duration::from_millis(20)));
    let host = net.add(here(10_001), false);
    net.handle(host, Event::Bootstrap { addr: here(10_000) });
    (net, host)
}

fn reached(net: &Net, host: usize) -> usize {
    net.other_actions.iter().filter(|(who, action)| (*who, action) == (host, &Action::Reached)).count()
}

#[test]
fn a_bootstrap_node_is_found_within_ten_seconds_whenever_it_starts() {
    for after in [3, 8, 17, 40, 100, 333, 1200] {
        for wants in ["peers", "to announce"] {
            let (mut net, host) = early(after);
            let wish = match wants {
                "peers" => net.get(host, key(1)),
                _ => net.announce(host, key(1), 6881),
            };
            net.run(Duration::from_secs(after));
            assert!(net.result(host, wish).done.is_some(), "a wish that nobody hears is not held up");
            let _boot = net.add(here(10_000), false);
            net.run(TEN);
            let stats = net.hosts[host].dht.stats();
            assert!(stats.replies_in > 0, "{wants}, after {after} s: nobody was found within ten seconds");
            assert_eq!(reached(&net, host), 1, "{wants}, after {after} s");
        }
    }
}

#[test]
fn it_is_said_once_and_only_after_something_came_to_nothing() {
    let (mut net, host) = early(7);
    net.get(host, key(1));
    net.get(host, key(2));
    net.run(Duration::from_secs(60));
    net.add(here(10_000), false);
    net.run(Duration::from_secs(600));
    assert_eq!(reached(&net, host), 1);
    let quiet = Net::loopback(8, 4);
    assert!(quiet.other_actions.iter().all(|(_, action)| *action != Action::Reached));
}
