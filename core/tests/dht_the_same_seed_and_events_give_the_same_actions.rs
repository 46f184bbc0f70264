//! All randomness is in the seed: two runs of one network give the same datagrams at the same times, byte for byte.

#[path = "common/dht_net.rs"]
mod dht_net;

use dht_net::*;
use zest_core::Duration;
use zest_core::dht::Event;

fn story(seed: u64) -> Vec<String> {
    let mut net = Net::new(seed, Latency::Square);
    net.trace = Some(Vec::new());
    net.loss_of_1000 = 20;
    net.check_every = 20;
    for n in 0..40 {
        let addr = net.public_addr();
        let host = net.add(addr, n % 3 == 2);
        if n > 0 {
            net.handle(host, Event::Bootstrap { addr: net.hosts[0].addr });
        }
        net.run(Duration::from_secs(2));
    }
    net.run(Duration::from_secs(900));
    for n in 0..10u16 {
        let id = net.announce(usize::from(n) * 3, key(n.into()), 7000 + n);
        net.get(usize::from(n) * 3 + 1, key(u64::from(n / 2)));
        if n == 5 {
            net.handle(15, Event::Cancel { id });
            net.kill(20);
        }
        net.run(Duration::from_secs(20));
    }
    net.run(Duration::from_secs(1800));
    net.trace.expect("it was wanted")
}

#[test]
fn byte_for_byte() {
    let first = story(3);
    assert!(first.len() > 3000, "{}", first.len());
    assert!(first == story(3));
}

#[test]
fn another_seed_draws_other_ids() {
    let starts = |seed| story(seed).into_iter().take(20).collect::<Vec<_>>();
    assert_ne!(starts(3), starts(4));
}
