//! What strangers say of peers makes nobody a weapon: who fetches nothing dials nobody on their word, and who does dials few,
//! each address once a minute, and no port of a well-known service.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use zest_core::node::{Action, Config, Event, Found, JobSpec, Node};
use zest_core::{Duration, FileId, Instant, JobId, PeerId};
use zest_xet::Hash;

const STRANGERS: [Found; 3] = [Found::Tracker, Found::Pex, Found::Dht];

struct World {
    node: Node,
    now: Instant,
    /// When which address was dialled.
    dials: Vec<(Instant, SocketAddr)>,
    /// Dials fail after this long.
    refused_after: Duration,
    failing: Vec<(Instant, SocketAddr)>,
}

impl World {
    fn idle() -> Self {
        let node = Node::new(Config::new([7; 32], PeerId(*b"-ZT0500-abcdefghijkl")));
        let refused_after = Duration::from_millis(1);
        Self { node, now: Instant(1_000_000), dials: vec![], refused_after, failing: vec![] }
    }

    fn fetching() -> Self {
        let mut world = Self::idle();
        world.job(1);
        world
    }

    fn job(&mut self, n: u32) {
        let file = Hash::from_bytes([n as u8; 32]);
        let spec = JobSpec::new(file, 1 << 30, FileId(n));
        self.handle(Event::JobAdded { job: JobId(n), spec });
    }

    fn handle(&mut self, event: Event) {
        self.node.handle(self.now, event);
        self.node.check_invariants();
        while let Some(action) = self.node.poll_action() {
            if let Action::Dial { addr, .. } = action {
                self.dials.push((self.now, addr));
                self.failing.push((self.now + self.refused_after, addr));
            }
        }
    }

    fn find(&mut self, addr: SocketAddr, how: Found) {
        self.handle(Event::PeerFound { addr, how });
    }

    /// Time passes; dials fail when their time has come.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let failing = self.failing.iter().copied().min();
            let timer = self.node.poll_timeout().map(|(at, _)| at);
            let Some(at) = failing.map(|(at, _)| at).into_iter().chain(timer).min().filter(|at| *at <= end)
            else {
                break;
            };
            self.now = self.now.max(at);
            if let Some(first) = failing.filter(|(at, _)| *at <= self.now) {
                self.failing.retain(|one| *one != first);
                self.handle(Event::DialFailed { addr: first.1 });
            } else {
                self.handle(Event::Timer);
            }
        }
        self.now = end;
    }

    /// Most dials within any second.
    fn busiest_second(&self) -> usize {
        let within = |from: Instant| {
            self.dials.iter().filter(|(at, _)| (from..from + Duration::from_secs(1)).contains(at)).count()
        };
        self.dials.iter().map(|(at, _)| within(*at)).max().unwrap_or(0)
    }

    /// Most dials of one address within any minute.
    fn busiest_minute(&self) -> usize {
        let mut times: BTreeMap<IpAddr, Vec<Instant>> = BTreeMap::new();
        self.dials.iter().for_each(|(at, addr)| times.entry(addr.ip()).or_default().push(*at));
        let most = |times: &Vec<Instant>| {
            let within = |from: Instant| {
                times.iter().filter(|at| (from..from + Duration::from_secs(60)).contains(at)).count()
            };
            times.iter().map(|at| within(*at)).max().unwrap_or(0)
        };
        times.values().map(most).max().unwrap_or(0)
    }
}

/// An address of the internet, each in a network of its own.
fn at(n: u32, port: u16) -> SocketAddr {
    SocketAddr::from(([45, (n >> 8) as u8, n as u8, 7], port))
}

#[test]
fn who_fetches_nothing_dials_nobody_on_a_strangers_word() {
    let mut world = World::idle();
    for n in 0..500 {
        world.find(at(n, 6881), STRANGERS[n as usize % 3]);
    }
    world.pass(Duration::from_secs(300));
    assert_eq!(world.dials.len(), 0, "dials, of 500 addresses");
    // The user's word and a neighbour's are another matter.
    world.find(at(1, 6881), Found::Named);
    world.find("192.168.1.9:6881".parse().unwrap(), Found::Lan);
    assert_eq!(world.dials.len(), 2);
}

#[test]
fn a_victim_that_many_name_is_dialled_once_a_minute() {
    let mut world = World::fetching();
    let victim = at(9, 0).ip();
    for second in 0..300u16 {
        for how in STRANGERS {
            for n in 0..16 {
                world.find(SocketAddr::new(victim, 2000 + second * 64 + n), how);
            }
        }
        world.pass(Duration::from_secs(1));
    }
    assert!((4..=6).contains(&world.dials.len()), "{} dials in 300 s", world.dials.len());
    assert_eq!(world.busiest_minute(), 1);
}

#[test]
fn lists_of_dead_addresses_cost_two_dials_a_second() {
    for refused_after in [Duration::from_micros(100), Duration::from_secs(10)] {
        let mut world = World { refused_after, ..World::fetching() };
        for n in 0..400 {
            world.find(at(n, 6881), if n % 2 == 0 { Found::Tracker } else { Found::Pex });
        }
        world.pass(Duration::from_secs(60));
        let (dials, busiest) = (world.dials.len(), world.busiest_second());
        println!("{dials} dials in 60 s, {busiest} in the busiest second");
        assert!(busiest <= 2, "{busiest} dials within a second");
        assert!(dials >= 24, "and those who answer are found: {dials} dials in a minute");
        assert_eq!(world.busiest_minute(), 1);
    }
}

#[test]
fn the_dht_is_no_way_round() {
    let mut world = World::fetching();
    for n in 0..400 {
        world.find(at(n, 6881), Found::Dht);
    }
    world.pass(Duration::from_secs(60));
    assert!(world.busiest_second() <= 4, "{} dials within a second", world.busiest_second());
    assert_eq!(world.busiest_minute(), 1);
}

#[test]
fn ports_of_well_known_services_are_nobodys_peers() {
    let mut world = World::fetching();
    let ports = [1, 22, 25, 53, 80, 110, 143, 443, 445, 853, 993, 1023, 3306, 3389, 5432, 6379, 8080, 11211];
    for (n, port) in ports.into_iter().enumerate() {
        for how in [Found::Lan, Found::Tracker, Found::Pex, Found::Dht] {
            world.find(at(n as u32, port), how);
        }
    }
    world.pass(Duration::from_secs(300));
    assert_eq!(world.dials.len(), 0);
    // What the user names is the user's business.
    world.find(at(1, 443), Found::Named);
    assert_eq!(world.dials.len(), 1);
}

#[test]
fn a_job_that_begins_later_dials_those_who_are_found_then() {
    let mut world = World::idle();
    world.find(at(1, 6881), Found::Pex);
    world.job(1);
    world.find(at(2, 6881), Found::Pex);
    world.pass(Duration::from_secs(2));
    let dialled: Vec<SocketAddr> = world.dials.iter().map(|(_, addr)| *addr).collect();
    assert_eq!(dialled, [at(2, 6881)]);
    // It is over: what is left of the list is left alone.
    for n in 3..60 {
        world.find(at(n, 6881), Found::Tracker);
    }
    world.handle(Event::JobRemoved { job: JobId(1) });
    let before = world.dials.len();
    world.pass(Duration::from_secs(20));
    assert_eq!(world.dials.len(), before);
    // The next one takes it up again, if it comes soon.
    world.job(2);
    world.pass(Duration::from_secs(5));
    assert!(world.dials.len() >= before + 8);
    world.handle(Event::JobRemoved { job: JobId(2) });
    world.pass(Duration::from_secs(60));
    assert_eq!(world.node.poll_timeout().map(|(_, why)| why), None, "nothing is kept in mind of it");
}

#[test]
fn who_only_looks_around_dials_without_a_job() {
    let mut world = World::idle();
    world.handle(Event::Seeking { on: true });
    world.find(at(1, 6881), Found::Dht);
    assert_eq!(world.dials.len(), 1);
    world.handle(Event::Seeking { on: false });
    world.find(at(2, 6881), Found::Dht);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.dials.len(), 1);
}

#[test]
fn full_of_one_ways_addresses_there_is_room_for_anothers() {
    let mut world = World::fetching();
    for n in 0..1200 {
        world.find(at(n, 6881), Found::Pex);
    }
    let honest = at(9999, 6881);
    world.find(honest, Found::Tracker);
    world.pass(Duration::from_secs(2));
    assert!(world.dials.iter().any(|(_, addr)| *addr == honest), "not among {} dials", world.dials.len());
}
