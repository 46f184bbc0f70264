//! BEP 11: the difference since the last message, a minute apart, fifty at once, and only of peers that others may learn.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use zest_core::link::{ExtHandshake, Extension};
use zest_core::node::Direction;
use zest_core::pex::*;
use zest_core::wire::pex::PEX_PEERS_MAX;
use zest_core::wire::xet::Dialect;
use zest_core::{Duration, Instant, LinkId};

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn peer(n: u16) -> SocketAddr {
    let [a, b] = n.to_be_bytes();
    SocketAddr::from(([198, 51, a, b], 6881))
}

/// What a remote says that speaks this extension or not, and listens there or nowhere.
fn hello(ut_pex: Option<u8>, listen_port: Option<u16>) -> ExtHandshake {
    ExtHandshake { listen_port, ..ExtHandshake::empty(Dialect::Chunk) }.with(Extension::UtPex, ut_pex)
}

struct World {
    pex: Pex,
    now: Instant,
    /// Links to those who only listen.
    listeners: BTreeMap<SocketAddr, LinkId>,
    next: u64,
    told: Vec<(Instant, LinkId, Vec<SocketAddr>, Vec<SocketAddr>)>,
    found: Vec<(LinkId, SocketAddr)>,
}

impl World {
    fn new() -> Self {
        let (listeners, told, found) = (BTreeMap::new(), vec![], vec![]);
        Self { pex: Pex::new([7; 32]), now: Instant(1_000_000), listeners, next: 0, told, found }
    }

    fn handle(&mut self, event: Event<'_>) {
        self.pex.handle(self.now, event);
        self.pex.check_invariants();
        while let Some(action) = self.pex.poll_action() {
            match action {
                Action::Send { link, added, dropped } => {
                    assert!(added.len() <= PEX_PEERS_MAX && dropped.len() <= PEX_PEERS_MAX);
                    assert!(!(added.is_empty() && dropped.is_empty()), "nothing is not told");
                    let added = added.into_iter().map(|(addr, _)| addr).collect();
                    self.told.push((self.now, link, added, dropped));
                }
                Action::Found { addr, link, .. } => self.found.push((link, addr)),
            }
        }
    }

    /// A link to somebody who speaks the extension and does not listen.
    fn link(&mut self, n: u64, addr: SocketAddr) {
        let (link, direction) = (LinkId(n), Direction::Inbound);
        let hello = hello(Some(4), None);
        self.handle(Event::Introduced { link, addr, direction, hello: &hello, allow: true });
    }

    /// A link to somebody who listens and does not speak the extension.
    fn listener(&mut self, addr: SocketAddr, allow: bool) {
        let link = LinkId(1_000_000 + self.next);
        self.next += 1;
        self.listeners.insert(addr, link);
        let hello = hello(None, None);
        self.handle(Event::Introduced { link, addr, direction: Direction::Outbound, hello: &hello, allow });
    }

    fn peer(&mut self, addr: SocketAddr) {
        self.listener(addr, true);
    }

    fn gone(&mut self, addr: SocketAddr) {
        let link = self.listeners.remove(&addr).unwrap();
        self.handle(Event::LinkDown { link });
    }

    fn pass(&mut self, s: u64) {
        let end = self.now + Duration::from_secs(s);
        while let Some((at, _)) = self.pex.poll_timeout().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            self.handle(Event::Timer);
        }
        self.now = end;
    }

    fn all_told(&self, n: u64) -> Vec<SocketAddr> {
        let of_link = self.told.iter().filter(|(_, link, ..)| *link == LinkId(n));
        of_link.flat_map(|(_, _, added, _)| added.clone()).collect()
    }
}

#[test]
fn each_link_is_told_what_is_new_and_what_is_gone() {
    let mut world = World::new();
    for n in 1..=3 {
        world.link(n.into(), peer(n));
        world.peer(peer(n));
    }
    world.pass(5);
    assert_eq!(world.all_told(1), [peer(2), peer(3)], "soon, and not of itself");
    assert_eq!(world.told.len(), 3);
    world.gone(peer(3));
    world.handle(Event::LinkDown { link: LinkId(3) });
    world.peer(peer(4));
    world.pass(50);
    assert_eq!(world.told.len(), 3, "not within the minute");
    world.pass(30);
    let last: Vec<_> =
        world.told[3..].iter().map(|(_, link, added, gone)| (link.0, added.clone(), gone.clone())).collect();
    assert!(last.contains(&(1, vec![peer(4)], vec![peer(3)])) && last.len() == 2, "{last:?}");
    world.pass(600);
    assert_eq!(world.told.len(), 5, "no news, no message");
}

#[test]
fn a_peer_is_where_it_says_it_listens_and_stays_while_one_link_to_it_does() {
    let mut world = World::new();
    world.link(1, peer(1));
    let at = |port| SocketAddr::new(peer(2).ip(), port);
    for (link, port) in [(2, 50_001), (3, 50_002)] {
        let (link, direction, hello) = (LinkId(link), Direction::Inbound, hello(None, Some(6881)));
        world.handle(Event::Introduced { link, addr: at(port), direction, hello: &hello, allow: true });
        let again = ExtHandshake { listen_port: Some(7777), ..hello };
        world.handle(Event::Introduced { link, addr: at(port), direction, hello: &again, allow: true });
    }
    world.pass(5);
    assert_eq!(world.all_told(1), [at(6881)], "what it says first counts, and one address is one peer");
    world.handle(Event::LinkDown { link: LinkId(2) });
    world.pass(600);
    assert_eq!(world.told.len(), 1, "there is another link to it");
    world.handle(Event::LinkDown { link: LinkId(3) });
    world.pass(600);
    assert_eq!(world.told[1].3, [at(6881)]);
}

#[test]
fn who_came_and_went_within_a_minute_is_not_told_of() {
    let mut world = World::new();
    world.link(1, peer(1));
    world.peer(peer(2));
    world.gone(peer(2));
    world.pass(600);
    assert!(world.told.is_empty());
    world.peer(peer(2));
    world.pass(0);
    assert_eq!(world.all_told(1), [peer(2)], "the first news need not wait");
}

#[test]
fn a_long_list_goes_out_fifty_a_minute() {
    let mut world = World::new();
    world.link(1, peer(0xffff));
    for n in 0..120 {
        world.peer(peer(n));
    }
    world.pass(200);
    let sizes: Vec<usize> = world.told.iter().map(|(_, _, added, _)| added.len()).collect();
    assert_eq!(sizes, [50, 50, 20]);
    for pair in world.told.windows(2) {
        assert!(pair[1].0.since(pair[0].0) >= PEX_EVERY);
    }
    for n in 0..120 {
        world.gone(peer(n));
    }
    world.pass(200);
    let gone: Vec<usize> = world.told[3..].iter().map(|(_, _, _, gone)| gone.len()).collect();
    assert_eq!(gone, [50, 50, 20]);
}

#[test]
fn peers_that_others_may_not_learn_of_stay_with_us() {
    let mut world = World::new();
    world.link(1, addr("198.51.100.1:6881"));
    world.link(2, addr("192.168.1.2:6881"));
    world.handle(Event::Own { addr: addr("203.0.113.5:6881") });
    for text in ["127.0.0.1:5", "[::1]:5", "0.0.0.0:5", "203.0.113.5:6881", "203.0.113.9:0", "224.0.0.1:5"] {
        world.peer(addr(text));
    }
    world.listener(peer(1), false);
    world.peer(peer(2));
    world.listener(peer(2), false);
    world.peer(addr("192.168.1.9:6881"));
    world.peer(addr("[fe80::9]:6881"));
    world.pass(600);
    assert_eq!(world.all_told(1), [], "the far one learns nothing of our site");
    assert_eq!(world.all_told(2), [addr("192.168.1.9:6881")], "the near one does");
    // An address that turns out to be our own is withdrawn.
    world.peer(peer(3));
    world.pass(600);
    world.handle(Event::Own { addr: peer(3) });
    world.pass(600);
    assert_eq!(world.told.last().unwrap().3, [peer(3)]);
}

#[test]
fn what_a_remote_tells_is_believed_within_bounds() {
    let mut world = World::new();
    world.link(1, peer(1));
    world.peer(peer(2));
    world.handle(Event::Own { addr: peer(3) });
    let mut added: Vec<(SocketAddr, u8)> = vec![(peer(1), 0), (peer(2), 0), (peer(3), 0), (peer(4), 0)];
    for text in ["127.0.0.1:5", "10.0.0.1:5", "[fe80::1]:5", "0.0.0.0:5", "198.51.100.9:0"] {
        added.push((addr(text), 0));
    }
    world.handle(Event::Received { link: LinkId(1), added: &added });
    assert_eq!(world.found, [(LinkId(1), peer(4))], "not itself, not known ones, not us, not our own site");
    world.handle(Event::Received { link: LinkId(9), added: &added });
    assert_eq!(world.found.len(), 1, "a link we do not know");

    let many: Vec<(SocketAddr, u8)> = (100..400).map(|n| (peer(n), 0)).collect();
    world.handle(Event::Received { link: LinkId(1), added: &many });
    assert_eq!(world.found.len(), 1 + PEX_PEERS_MAX, "a message counts fifty");
    for _ in 0..1000 {
        world.handle(Event::Received { link: LinkId(1), added: &many });
    }
    assert_eq!(world.found.len(), 1 + PEX_PEERS_MAX, "a flood counts nothing");
    world.pass(HEARD_EVERY.as_secs());
    world.handle(Event::Received { link: LinkId(1), added: &many });
    assert_eq!(world.found.len(), 1 + 2 * PEX_PEERS_MAX);
    world.pass(86_400);
    for _ in 0..10 {
        world.handle(Event::Received { link: LinkId(1), added: &many });
    }
    assert!(world.found.len() <= 1 + 4 * PEX_PEERS_MAX, "a day of silence is not saved up");
}

#[test]
fn tables_are_bounded_and_a_churning_swarm_does_not_grow_them() {
    let mut world = World::new();
    for n in 0..2 * LINKS_MAX as u64 {
        world.link(n, peer(n as u16));
    }
    for n in 0..100 {
        world.handle(Event::Own { addr: peer(n) });
    }
    for n in 0..1000 {
        world.peer(peer(n));
        if n >= 200 {
            world.gone(peer(n - 200));
        }
        if n % 100 == 0 {
            world.now = world.now + Duration::from_secs(61);
            world.handle(Event::Timer);
        }
    }
    world.handle(Event::Timer);
}

#[test]
fn the_same_events_give_the_same_messages() {
    let run = || {
        let mut world = World::new();
        for n in 0..40 {
            world.link(n, peer(n as u16));
            world.peer(peer(n as u16));
            world.pass(n % 7);
        }
        world.now = Instant(0);
        world.handle(Event::Timer);
        world.now = Instant(1 << 50);
        world.handle(Event::Timer);
        world.told
    };
    assert_eq!(run(), run());
    assert!(!run().is_empty());
}
