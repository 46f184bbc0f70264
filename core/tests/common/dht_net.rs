//! A network of many [`Dht`] machines in virtual time: latency, loss, NAT and churn, all from one seed.
//!
//! It stands alone, so that behaviour tests, the large run and later the simulator can share it. Each host is one machine
//! with one address. A host behind NAT gets a datagram only from an address it has itself sent to within the last two
//! minutes.

#![allow(dead_code, reason = "every test uses another part")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use zest_core::dht::{Action, Config, Dht, Event, LookupId, Outcome, is_local};
use zest_core::{Duration, InfoHash, Instant};

/// How long a NAT keeps a hole open: 120 s (RFC 4787 asks for at least that).
pub(crate) const NAT_HOLE: Duration = Duration::from_secs(120);

/// Numbers for the world itself; the machines have their own seeds.
#[derive(Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    pub(crate) fn chance(&mut self, of_1000: u64) -> bool {
        self.below(1000) < of_1000
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next() as u8)
    }
}

/// How long a datagram takes.
#[derive(Clone, Copy)]
pub(crate) enum Latency {
    /// Always the same.
    Fixed(Duration),
    /// Hosts lie on a square; 10 ms and up to 110 ms across it, so that a round trip takes 100 ms on average.
    Square,
}

pub(crate) struct Host {
    pub(crate) dht: Dht,
    pub(crate) addr: SocketAddr,
    pub(crate) alive: bool,
    deaf: bool,
    /// Hosts behind a NAT: whom they have sent to, and when.
    nat: Option<HashMap<IpAddr, Instant>>,
    place: (u32, u32),
    wake: Option<Instant>,
    pub(crate) sent: u64,
    /// Of these, the questions for peers of a key and the announcements of one.
    pub(crate) sent_for_keys: u64,
    pub(crate) received: u64,
    pub(crate) born: Instant,
}

impl Host {
    pub(crate) fn behind_nat(&self) -> bool {
        self.nat.is_some()
    }
}

/// What became of a wish.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) started: Instant,
    pub(crate) first: Option<Instant>,
    pub(crate) peers: Vec<SocketAddr>,
    pub(crate) done: Option<(Instant, Outcome)>,
}

/// What happens next: small, because there are hundreds of thousands in the queue.
#[derive(Clone, Copy)]
enum What {
    /// The datagram at this place of `under_way` arrives.
    Datagram(u32),
    /// This host wants to be woken.
    Wake(u32),
}

struct Item {
    at: Instant,
    order: u64,
    what: What,
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Item {}
impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Item {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

pub(crate) struct Net {
    pub(crate) now: Instant,
    pub(crate) hosts: Vec<Host>,
    pub(crate) dice: Dice,
    pub(crate) latency: Latency,
    /// Datagrams of a thousand that get lost.
    pub(crate) loss_of_1000: u64,
    /// `check_invariants` after every n-th event.
    pub(crate) check_every: u64,
    pub(crate) found: BTreeMap<(usize, LookupId), Found>,
    pub(crate) other_actions: Vec<(usize, Action)>,
    /// Every action as text, if wanted.
    pub(crate) trace: Option<Vec<String>>,
    pub(crate) events: u64,
    pub(crate) datagrams: u64,
    pub(crate) bytes: u64,
    by_addr: HashMap<SocketAddr, usize>,
    queue: BinaryHeap<Reverse<Item>>,
    under_way: Vec<Option<(SocketAddr, SocketAddr, Vec<u8>)>>,
    /// Places of it that are free.
    free: Vec<u32>,
    order: u64,
    wishes: u64,
}

impl Net {
    pub(crate) fn new(seed: u64, latency: Latency) -> Self {
        Self {
            now: Instant::ZERO,
            hosts: Vec::new(),
            dice: Dice::new(seed),
            latency,
            loss_of_1000: 0,
            check_every: 1,
            found: BTreeMap::new(),
            other_actions: Vec::new(),
            trace: None,
            events: 0,
            datagrams: 0,
            bytes: 0,
            by_addr: HashMap::new(),
            queue: BinaryHeap::new(),
            under_way: Vec::new(),
            free: Vec::new(),
            order: 0,
            wishes: 0,
        }
    }

    /// `count` hosts on one loopback address, 50 µs apart, all of which know the first and only that.
    pub(crate) fn loopback(seed: u64, count: usize) -> Self {
        let mut net = Self::new(seed, Latency::Fixed(Duration::from_micros(50)));
        for n in 0..count {
            let host = net.add(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 10_000 + n as u16), false);
            if n > 0 {
                net.handle(host, Event::Bootstrap { addr: net.hosts[0].addr });
            }
            net.run(Duration::from_millis(100));
        }
        net
    }

    /// A host with a seed of its own.
    pub(crate) fn add(&mut self, addr: SocketAddr, nat: bool) -> usize {
        let seed = self.dice.bytes();
        self.add_with(addr, nat, Config { v6: addr.is_ipv6(), v4: addr.is_ipv4(), ..Config::new(seed) })
    }

    pub(crate) fn add_with(&mut self, addr: SocketAddr, nat: bool, config: Config) -> usize {
        let place = (self.dice.below(1 << 16) as u32, self.dice.below(1 << 16) as u32);
        let host = Host {
            dht: Dht::new(config),
            addr,
            alive: true,
            deaf: false,
            nat: nat.then(HashMap::new),
            place,
            wake: None,
            sent: 0,
            sent_for_keys: 0,
            received: 0,
            born: self.now,
        };
        self.hosts.push(host);
        assert!(self.by_addr.insert(addr, self.hosts.len() - 1).is_none(), "{addr} is taken");
        self.hosts.len() - 1
    }

    /// An address of the internet that nobody has, in a /24 of its own.
    pub(crate) fn public_addr(&mut self) -> SocketAddr {
        loop {
            let net = self.dice.below(1 << 24) as u32;
            let ip = Ipv4Addr::from_bits(net << 8 | 7);
            let addr = SocketAddr::new(ip.into(), 6881);
            if (1..224).contains(&ip.octets()[0]) && !is_local(ip.into()) && !self.by_addr.contains_key(&addr)
            {
                return addr;
            }
        }
    }

    /// Whether a stranger's datagram would get there.
    pub(crate) fn is_reachable(&self, addr: SocketAddr) -> bool {
        let host = self.by_addr.get(&addr).map(|host| &self.hosts[*host]);
        host.is_some_and(|host| host.alive && host.nat.is_none())
    }

    /// A host that sleeps neither hears anything nor is woken.
    pub(crate) fn asleep(&mut self, host: usize, asleep: bool) {
        self.hosts[host].alive = !asleep;
        self.hosts[host].wake = None;
    }

    /// The line of this host is down: nothing gets there.
    pub(crate) fn deaf(&mut self, host: usize, deaf: bool) {
        self.hosts[host].deaf = deaf;
    }

    /// The host is gone without a word.
    pub(crate) fn kill(&mut self, host: usize) {
        self.hosts[host].alive = false;
        // Its memory goes with it.
        self.hosts[host].dht = Dht::new(Config::new([0; 32]));
        self.hosts[host].nat = None;
    }

    pub(crate) fn get(&mut self, host: usize, info_hash: InfoHash) -> LookupId {
        let id = self.wish(host);
        self.handle(host, Event::Get { id, info_hash });
        id
    }

    pub(crate) fn announce(&mut self, host: usize, info_hash: InfoHash, port: u16) -> LookupId {
        let id = self.wish(host);
        let port = port.try_into().expect("a port");
        self.handle(host, Event::Announce { id, info_hash, port, implied: false });
        id
    }

    fn wish(&mut self, host: usize) -> LookupId {
        self.wishes += 1;
        let id = LookupId(self.wishes);
        let found = Found { started: self.now, first: None, peers: Vec::new(), done: None };
        self.found.insert((host, id), found);
        id
    }

    pub(crate) fn result(&self, host: usize, id: LookupId) -> &Found {
        &self.found[&(host, id)]
    }

    /// Runs until the wish is answered, or five minutes have passed.
    pub(crate) fn wait(&mut self, host: usize, id: LookupId) -> Found {
        let end = self.now + Duration::from_secs(300);
        while self.found[&(host, id)].done.is_none() && self.now < end && self.step(end) {}
        self.result(host, id).clone()
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Lets one event happen, if there is one before `end`.
    pub(crate) fn step(&mut self, end: Instant) -> bool {
        if self.queue.peek().is_none_or(|Reverse(item)| item.at > end) {
            return false;
        }
        let Some(Reverse(item)) = self.queue.pop() else { return false };
        self.now = self.now.max(item.at);
        match item.what {
            What::Wake(host) => {
                let host = host as usize;
                if self.hosts[host].alive && self.hosts[host].wake == Some(item.at) {
                    self.hosts[host].wake = None;
                    let due = self.hosts[host].dht.poll_timeout().map(|(at, _)| at);
                    if due.is_some_and(|at| at <= self.now) {
                        self.handle(host, Event::Timer);
                    } else {
                        self.wake_at(host, due);
                    }
                }
            }
            What::Datagram(place) => {
                let (from, to, bytes) = self.under_way[place as usize].take().expect("it was sent");
                self.free.push(place);
                let Some(&host) = self.by_addr.get(&to) else { return true };
                let now = self.now;
                let receiver = &mut self.hosts[host];
                let holes = receiver.nat.as_ref();
                let open =
                    holes.is_none_or(|nat| nat.get(&from.ip()).is_some_and(|at| now.since(*at) <= NAT_HOLE));
                if receiver.alive && !receiver.deaf && open {
                    receiver.received += 1;
                    self.handle(host, Event::Datagram { from, bytes });
                }
            }
        }
        true
    }

    pub(crate) fn handle(&mut self, host: usize, event: Event) {
        self.events += 1;
        let now = self.now;
        self.hosts[host].dht.handle(now, event);
        while let Some(action) = self.hosts[host].dht.poll_action() {
            if let Some(trace) = &mut self.trace {
                trace.push(format!("{} {host} {action:?}", now.0));
            }
            match action {
                Action::SendTo { to, bytes } => self.send(host, to, bytes),
                Action::Peers { id, peers } => {
                    let found = self.found.get_mut(&(host, id)).expect("a wish of this host");
                    assert!(found.done.is_none(), "nothing follows the end");
                    found.first.get_or_insert(now);
                    found.peers.extend(peers);
                }
                Action::Done { id, outcome } => {
                    let found = self.found.get_mut(&(host, id)).expect("a wish of this host");
                    assert!(found.done.replace((now, outcome)).is_none(), "a wish ends once");
                }
                other => self.other_actions.push((host, other)),
            }
        }
        if self.check_every > 0 && self.events.is_multiple_of(self.check_every) {
            self.hosts[host].dht.check_invariants();
        }
        let due = self.hosts[host].dht.poll_timeout().map(|(at, _)| at.max(now));
        self.wake_at(host, due);
    }

    /// Sees to it that the host is woken then. Whoever is woken too early looks again.
    fn wake_at(&mut self, host: usize, due: Option<Instant>) {
        let Some(at) = due else { return };
        if self.hosts[host].wake.is_none_or(|set| at < set) {
            self.hosts[host].wake = Some(at);
            self.push(at, What::Wake(host as u32));
        }
    }

    /// A datagram of a stranger who is no host.
    pub(crate) fn inject(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let now = self.now;
        self.push_datagram(now, from, to, bytes);
    }

    fn send(&mut self, host: usize, to: SocketAddr, bytes: Vec<u8>) {
        let now = self.now;
        self.datagrams += 1;
        self.bytes += bytes.len() as u64;
        let sender = &mut self.hosts[host];
        sender.sent += 1;
        sender.sent_for_keys += u64::from(is_about_a_key(&bytes));
        if let Some(nat) = &mut sender.nat {
            nat.insert(to.ip(), now);
            if nat.len() > 512 {
                nat.retain(|_, at| now.since(*at) <= NAT_HOLE);
            }
        }
        let (from, place) = (sender.addr, sender.place);
        let Some(&receiver) = self.by_addr.get(&to) else { return };
        if self.loss_of_1000 > 0 && self.dice.chance(self.loss_of_1000) {
            return;
        }
        let takes = self.one_way(place, self.hosts[receiver].place);
        self.push_datagram(now + takes, from, to, bytes);
    }

    fn one_way(&mut self, a: (u32, u32), b: (u32, u32)) -> Duration {
        match self.latency {
            Latency::Fixed(time) => time,
            Latency::Square => {
                let across = |a: u32, b: u32| u64::from(a.abs_diff(b)).pow(2);
                let way = (across(a.0, b.0) + across(a.1, b.1)).isqrt();
                Duration::from_micros(10_000 + way * 77_000 / (1 << 16) + self.dice.below(2_000))
            }
        }
    }

    fn push_datagram(&mut self, at: Instant, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.under_way.push(None);
            self.under_way.len() as u32 - 1
        });
        self.under_way[place as usize] = Some((from, to, bytes));
        self.push(at, What::Datagram(place));
    }

    fn push(&mut self, at: Instant, what: What) {
        self.order += 1;
        self.queue.push(Reverse(Item { at, order: self.order, what }));
    }
}

/// The value below which `of_1000` thousandths lie.
pub(crate) fn quantile<T: Copy + Ord>(values: &[T], of_1000: usize) -> Option<T> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get((sorted.len() * of_1000 / 1000).min(sorted.len().saturating_sub(1))).copied()
}

pub(crate) fn key(n: u64) -> InfoHash {
    InfoHash(Dice::new(n ^ 0x6b65_7973).bytes())
}

/// Whether a datagram asks for the peers of a key, or announces one.
pub(crate) fn is_about_a_key(datagram: &[u8]) -> bool {
    let names: [&[u8]; 2] = [b"1:q9:get_peers", b"1:q13:announce_peer"];
    names.iter().any(|name| datagram.windows(name.len()).any(|part| part == *name))
}

/// Hands one event to a machine that stands alone, and takes what it sends.
pub(crate) fn feed(dht: &mut Dht, now: Instant, event: Event) -> Vec<(SocketAddr, Vec<u8>)> {
    dht.handle(now, event);
    let mut sent = Vec::new();
    while let Some(action) = dht.poll_action() {
        if let Action::SendTo { to, bytes } = action {
            sent.push((to, bytes));
        }
    }
    dht.check_invariants();
    sent
}

pub(crate) fn datagram(from: SocketAddr, bytes: impl Into<Vec<u8>>) -> Event {
    Event::Datagram { from, bytes: bytes.into() }
}
