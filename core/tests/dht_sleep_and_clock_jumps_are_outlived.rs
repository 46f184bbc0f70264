//! A laptop that slept, a line that was down, a clock that leaps: no burst, no blame, and then everything works again.

#[path = "common/dht_net.rs"]
mod dht_net;

use dht_net::*;
use zest_core::dht::{Dht, Event, Family};
use zest_core::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);

fn known(dht: &Dht) -> usize {
    dht.nodes(Family::V4).count()
}

/// A network, and one of its hosts taken out of it.
fn settled(seed: u64) -> Net {
    let mut net = Net::loopback(seed, 40);
    net.check_every = 20;
    net.run(Duration::from_secs(1200));
    net
}

#[test]
fn after_a_long_sleep_the_table_is_looked_through_one_node_per_second() {
    let mut net = settled(1);
    let before = known(&net.hosts[5].dht);
    let got = net.get(5, key(1));
    // It sleeps in the middle of a lookup: all that it sent is lost, nothing reaches it.
    net.asleep(5, true);
    net.run(HOUR * 8);
    net.asleep(5, false);
    let sent = net.hosts[5].sent;
    let woke = net.now;
    net.handle(5, Event::Timer);
    assert!(net.hosts[5].sent - sent <= 2, "nothing bursts: {}", net.hosts[5].sent - sent);
    assert_eq!(known(&net.hosts[5].dht), before, "nobody is blamed");
    net.run(Duration::from_secs(10));
    let sent = net.hosts[5].sent - sent;
    assert!(sent < 100, "{sent} datagrams in ten seconds");
    let found = net.wait(5, got);
    assert!(found.done.is_some_and(|(at, _)| at.since(woke) < Duration::from_secs(40)), "the lookup ends");
    // It is a node like any other again.
    net.run(Duration::from_secs(120));
    let announced = net.announce(5, key(2), 7005);
    assert_eq!(net.wait(5, announced).done.expect("it ends").1.announced_to, 8);
    let got = net.get(11, key(2));
    assert_eq!(net.wait(11, got).peers.len(), 1);
    assert!(known(&net.hosts[5].dht) >= 8);
}

#[test]
fn a_line_that_is_down_costs_no_node() {
    let mut net = settled(2);
    let before = known(&net.hosts[5].dht);
    net.deaf(5, true);
    // Awake all the time, and asking.
    for n in 0..30 {
        let got = net.get(5, key(n));
        assert_eq!(net.wait(5, got).peers.len(), 0);
        net.run(Duration::from_secs(120));
    }
    assert!(
        known(&net.hosts[5].dht) * 4 >= before * 3,
        "{before} before, {} after",
        known(&net.hosts[5].dht)
    );
    net.deaf(5, false);
    net.run(Duration::from_secs(600));
    let announced = net.announce(5, key(99), 7005);
    assert_eq!(net.wait(5, announced).done.expect("it ends").1.announced_to, 8);
}

#[test]
fn stored_peers_and_tokens_are_as_old_as_the_clock_says() {
    let mut net = settled(3);
    let announced = net.announce(5, key(1), 7005);
    net.wait(5, announced);
    net.run(Duration::from_secs(44 * 60));
    let got = net.get(7, key(1));
    assert_eq!(net.wait(7, got).peers.len(), 1);
    net.run(Duration::from_secs(2 * 60));
    let got = net.get(7, key(1));
    assert_eq!(net.wait(7, got).peers.len(), 0, "forgotten after 45 minutes");
    net.run(Duration::from_secs(600));
    assert!(net.hosts.iter().all(|host| host.dht.stats().stored == (0, 0)), "and swept");
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let mut net = settled(4);
    // The same machine, under a clock that is set back by ten minutes in the middle of its life, twice.
    let (mut dht, addr) = (std::mem::replace(&mut net.hosts[5].dht, lonely()), net.hosts[5].addr);
    let mut clock = net.now;
    for back in [Duration::from_secs(600), Duration::from_secs(1)] {
        clock = Instant(clock.0 - back.as_micros() as u64);
        let sent = feed(&mut dht, clock, Event::Timer);
        assert!(sent.len() <= 1, "{sent:?}");
        let (at, _) = dht.poll_timeout().expect("a table is looked after");
        assert!(at >= clock && at.since(clock) < HOUR, "it is woken by the clock that is");
        // It goes on asking in its own time.
        let mut asked = 0;
        for _ in 0..200 {
            let (at, _) = dht.poll_timeout().expect("a table is looked after");
            clock = clock.max(at);
            asked += feed(&mut dht, clock, Event::Timer).len();
        }
        assert!(asked > 20, "{asked} queries");
    }
    assert_eq!(addr.port(), 10_005);
}

fn lonely() -> Dht {
    Dht::new(zest_core::dht::Config::new([9; 32]))
}

#[test]
fn time_at_its_end_is_no_end() {
    let mut net = Net::loopback(6, 5);
    let dht = &mut net.hosts[3].dht;
    for now in [Instant(u64::MAX - 5), Instant(u64::MAX), Instant(0), Instant(u64::MAX)] {
        feed(dht, now, Event::Timer);
        feed(dht, now, Event::Get { id: zest_core::dht::LookupId(now.0), info_hash: key(1) });
    }
}
