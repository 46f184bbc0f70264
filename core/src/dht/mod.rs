//! The mainline DHT (BEP 5, 32, 42, 43) as one machine: datagrams and wishes in, datagrams and peers out.
//!
//! One [`Dht`] is a node in both networks of BEP 32, IPv4 and IPv6: two tables and two ids (an id follows from the
//! address, BEP 42), one store, one set of limits, one timer. A wish is looked up in both at once, and nodes of one
//! family that are named in the other fill its table. A family without a socket is switched off in [`Config`].
//!
//! What it never does: believe an answer it did not ask for, keep a node that has not answered, tell or dial local
//! addresses because a stranger named them, send a reply longer than [`limits::REPLY_FACTOR`] times its request, or hold more
//! than [`Limits`] say.
//!
//! On loopback many nodes share one address. There, and only there, address *and port* stand for a node wherever a limit counts
//! addresses: nobody else can send from, or be believed to be at, such an address. Private networks are one node
//! per address, but no subnet rule.
//!
//! # Driving it
//! ```
//! use zest_core::dht::{Action, Config, Dht, Event, LookupId};
//! use zest_core::{InfoHash, Instant};
//!
//! let mut dht = Dht::new(Config::new([7; 32]));
//! dht.handle(Instant(0), Event::Bootstrap { addr: "127.0.0.1:6881".parse().unwrap() });
//! dht.handle(Instant(0), Event::Get { id: LookupId(1), info_hash: InfoHash([5; 20]) });
//! let mut sent = 0;
//! while let Some(action) = dht.poll_action() {
//!     match action {
//!         Action::SendTo { to, bytes } => sent += usize::from(to.port() == 6881 && bytes.starts_with(b"d1:a")),
//!         other => println!("{other:?}"),
//!     }
//! }
//! assert_eq!(sent, 2); // for our own id, and for the key
//! let (at, _why) = dht.poll_timeout().unwrap();
//! dht.handle(at, Event::Timer);
//! ```
//! After every `handle`, poll actions until `None`, then look at `poll_timeout` again. Time may jump: forwards (the machine
//! slept) and nothing is blamed on others; backwards and it stands still.

mod addr;
mod calls;
mod client;
mod event;
mod id;
pub mod krpc;
pub mod limits;
mod lookup;
mod persist;
mod rate;
mod reach;
mod server;
mod storage;
mod table;
mod token;
mod upkeep;
mod vote;

pub use addr::{Family, is_local};
pub use event::{Action, Event, LookupId, Outcome, Timer};
pub use id::NodeId;
pub use limits::Limits;
pub use lookup::End;
pub use persist::{SAVED_NODES_MAX, Saved, SavedError};
pub use token::TOKEN_BYTES;

use crate::node::rng::Rng;
use crate::{Duration, Instant};
use addr::{is_believable_node, is_local as local, is_usable, plain};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use calls::{Call, Calls, Key, Late, Why};
use client::{Running, Search};
use core::net::SocketAddr;
use krpc::{Body, KrpcFault, Query, Reply, Want};
use limits::{ASLEEP, LINE_UP, PROBATION, SMALL_NETWORK, SWEEP};
use rate::{Allowance, Sources};
use storage::Storage;
use token::Tokens;
use upkeep::Side;

/// What a DHT node is told once.
#[derive(Debug, Clone)]
pub struct Config {
    /// Seed of all its randomness: ids, transaction ids, token secrets. Must not be guessable.
    pub seed: [u8; 32],
    /// There is an IPv4 socket.
    pub v4: bool,
    /// There is an IPv6 socket.
    pub v6: bool,
    /// What it may hold and do.
    pub limits: Limits,
}

impl Config {
    /// Both families and the default limits.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, v4: true, v6: true, limits: Limits::default() }
    }
}

/// Numbers for a status line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Nodes in the tables, IPv4 and IPv6.
    pub nodes: [u32; 2],
    /// Whether strangers are known to reach us.
    pub open: [bool; 2],
    /// Keys and peers stored for others.
    pub stored: (u32, u32),
    /// Measured round trip.
    pub rtt: Option<Duration>,
    /// Datagrams received.
    pub datagrams_in: u64,
    /// Datagrams sent.
    pub datagrams_out: u64,
    /// Bytes of datagrams sent.
    pub bytes_out: u64,
    /// Queries of ours, of all kinds.
    pub queries_out: u64,
    /// Answers to them.
    pub replies_in: u64,
    /// Queries of ours that stayed unanswered.
    pub lost: u64,
    /// Queries of others that were answered.
    pub served: u64,
    /// Datagrams that were no message.
    pub junk: u64,
    /// Answers nobody asked for.
    pub unasked: u64,
    /// Datagrams and replies withheld because an allowance was used up.
    pub limited: u64,
}

/// A node of the DHT. See the module's documentation for how to drive it.
#[derive(Debug)]
pub struct Dht {
    limits: Limits,
    rng: Rng,
    sides: [Side; 2],
    calls: Calls,
    lookups: BTreeMap<Key, Running>,
    jobs: BTreeMap<LookupId, Search>,
    /// Jobs that have not begun.
    waiting: VecDeque<LookupId>,
    storage: Storage,
    tokens: Tokens,
    sources: Sources,
    reply_bytes: Allowance,
    queries: Allowance,
    meets: Allowance,
    /// Lookups wait for their allowance until then.
    pace_at: Option<Instant>,
    sweep_at: Option<Instant>,
    /// A key was looked up or announced, and nobody answered; nor has anybody since.
    vain: bool,
    /// The table has changed since it was last offered for saving.
    dirty: bool,
    actions: VecDeque<Action>,
    /// Time of the event being handled, in our own count.
    now: Instant,
    /// Our count is this far ahead of the caller's clock, which has jumped back as far.
    ahead: Duration,
    stats: Stats,
}

impl Dht {
    /// A node that knows nobody.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let mut rng = Rng::new(config.seed);
        let sides = [Side::new(Family::V4, config.v4, &mut rng), Side::new(Family::V6, config.v6, &mut rng)];
        Self {
            sides,
            calls: Calls::new(),
            lookups: BTreeMap::new(),
            jobs: BTreeMap::new(),
            waiting: VecDeque::new(),
            storage: Storage::default(),
            tokens: Tokens::new(Instant::ZERO, &mut rng),
            sources: Sources::new(rng.bytes32()),
            reply_bytes: Allowance::full(config.limits.reply_bytes_burst),
            queries: Allowance::full(config.limits.queries_burst),
            meets: Allowance::full(config.limits.meets_burst),
            pace_at: None,
            sweep_at: None,
            vain: false,
            dirty: false,
            actions: VecDeque::new(),
            now: Instant::ZERO,
            ahead: Duration::ZERO,
            stats: Stats::default(),
            limits: config.limits,
            rng,
        }
    }

    /// Takes one event in. Infallible: what strangers do wrong is counted and forgotten.
    pub fn handle(&mut self, now: Instant, event: Event) {
        self.clock(now);
        match event {
            Event::Datagram { from, bytes } => self.datagram(plain(from), &bytes),
            Event::Bootstrap { addr } => self.bootstrap(plain(addr)),
            Event::NodeHint { addr } => self.hint(plain(addr)),
            Event::Restore(saved) => self.restore(&saved),
            Event::Get { id, info_hash } => self.start(id, info_hash, None),
            Event::Announce { id, info_hash, port, implied } => {
                self.start(id, info_hash, Some((port, implied)))
            }
            Event::Cancel { id } => self.cancel(id),
            Event::Reachable { family, known } => self.side(family).reach.tell(known),
            Event::Timer => self.timer(),
        }
    }

    /// The next thing to do, in order. Poll until `None` after every [`Dht::handle`].
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call `handle(now, Event::Timer)`, and why. Ask again after every [`Dht::handle`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        let (at, timer) = self.next_timer()?;
        let ahead = u64::try_from(self.ahead.as_micros()).unwrap_or(u64::MAX);
        Some((Instant(at.0.saturating_sub(ahead)), timer))
    }

    /// What to write to disk, for [`Event::Restore`] at the next start.
    #[must_use]
    pub fn saved(&self) -> Saved {
        Saved {
            families: [0, 1].map(|at| {
                let table = &self.sides[at].table;
                let good = table.live().filter(|node| node.is_good());
                let nodes = good.map(|node| (node.id, node.addr)).take(SAVED_NODES_MAX);
                (*table.own(), nodes.collect())
            }),
        }
    }

    /// Our id in one family.
    #[must_use]
    pub fn id(&self, family: Family) -> NodeId {
        *self.sides[family as usize].table.own()
    }

    /// The nodes of a table, in its order.
    pub fn nodes(&self, family: Family) -> impl Iterator<Item = (NodeId, SocketAddr)> + '_ {
        self.sides[family as usize].table.live().map(|node| (node.id, node.addr))
    }

    /// Numbers for a status line.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            nodes: [0, 1].map(|at| self.sides[at].table.len() as u32),
            open: [0, 1].map(|at| self.sides[at].reach.is_open()),
            stored: (self.storage.keys() as u32, self.storage.peers() as u32),
            rtt: self.calls.rtt(),
            ..self.stats
        }
    }

    /// Panics if a promise of the machine to itself is broken. Simulation and fuzzing call it after every event.
    pub fn check_invariants(&self) {
        for side in &self.sides {
            side.table.check_invariants(&self.limits);
            side.vote.check_invariants(&self.limits);
            assert!(side.routers.len() <= self.limits.routers as usize, "few bootstrap nodes are kept");
            let strays = side.table.live().any(|n| side.routers.contains(&n.addr));
            assert!(!strays, "bootstrap nodes are not in the table");
            let family = side.family;
            assert!(side.table.live().all(|n| Family::of(n.addr) == family), "a table has one family");
            let idle = side.table.is_empty() && side.routers.is_empty();
            assert!(idle || !side.enabled || side.upkeep_at.is_some(), "a table with nodes is looked after");
        }
        self.calls.check_invariants();
        assert!(self.calls.len() <= self.limits.calls as usize, "few queries are under way");
        self.storage.check_invariants(&self.limits);
        assert!(self.storage.peers() == 0 || self.sweep_at.is_some(), "what is stored is swept");
        self.check_jobs();
    }

    /// Moves our clock. It never goes back; a leap means that the machine slept.
    fn clock(&mut self, now: Instant) {
        let ours = now + self.ahead;
        if ours < self.now {
            self.ahead += self.now - ours;
            return;
        }
        let slept = self.next_timer().is_some_and(|(due, _)| ours > due + ASLEEP);
        self.now = ours;
        if slept {
            self.awake();
        }
    }

    fn next_timer(&self) -> Option<(Instant, Timer)> {
        let upkeep = self.sides.iter().map(|side| (side.upkeep_at, Timer::Upkeep(side.family)));
        let others = [
            (self.calls.next_due(), Timer::Answer),
            (self.pace_at, Timer::Pace),
            (self.patience_at(), Timer::Patience),
            (self.sweep_at, Timer::Sweep),
        ];
        others.into_iter().chain(upkeep).filter_map(|(at, timer)| Some((at?, timer))).min()
    }

    fn timer(&mut self) {
        while let Some(late) = self.calls.pop_late(self.now) {
            match late {
                Late::Slow(call) => self.slow(&call),
                Late::Lost(call) => self.lost(&call),
            }
        }
        if self.pace_at.is_some_and(|at| at <= self.now) {
            self.pace_at = None;
            self.pump_all();
        }
        if self.patience_at().is_some_and(|at| at <= self.now) {
            self.patience_over();
        }
        for family in Family::ALL {
            if self.side(family).upkeep_at.is_some_and(|at| at <= self.now) {
                self.upkeep(family);
            }
        }
        if self.sweep_at.is_some_and(|at| at <= self.now) {
            self.sweep();
        }
    }

    fn sweep(&mut self) {
        self.storage.sweep(self.now);
        if core::mem::take(&mut self.dirty) {
            self.actions.push_back(Action::Save);
        }
        self.sweep_at = (self.storage.peers() > 0).then(|| self.now + SWEEP);
    }

    fn sweep_later(&mut self) {
        let at = self.now + SWEEP;
        self.sweep_at.get_or_insert(at);
    }

    fn side(&mut self, family: Family) -> &mut Side {
        &mut self.sides[family as usize]
    }

    fn datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        self.stats.datagrams_in += 1;
        let family = Family::of(from);
        if !is_usable(from) || !self.side(family).enabled {
            return;
        }
        // Answers we wait for pass; whoever else talks, and whatever else they say, is counted first.
        let awaited = self.calls.awaits(from);
        if !awaited && !self.sources.allow(self.now, from, &self.limits) {
            self.stats.limited += 1;
            return;
        }
        let message = krpc::parse(bytes);
        let answers = matches!(&message, Ok(message) if !matches!(message.body, Body::Query { .. }));
        if awaited && !answers && !self.sources.allow(self.now, from, &self.limits) {
            self.stats.limited += 1;
            return;
        }
        match message.map(|message| (message.tid, message.body)) {
            Ok((tid, Body::Reply(reply))) => self.reply(from, tid, &reply),
            Ok((tid, Body::Error { .. })) => self.refused(from, tid),
            Ok((tid, Body::Query { id, query, want, read_only })) => {
                self.query(from, bytes.len(), tid, id, &query, want, read_only);
            }
            Err(KrpcFault::BadQuery { tid, what }) => self.complain(from, bytes.len(), tid, 203, what),
            Err(KrpcFault::UnknownMethod { tid }) => {
                self.complain(from, bytes.len(), tid, 204, "method unknown")
            }
            Err(_) => self.stats.junk += 1,
        }
    }

    /// An answer: it counts only if its id and its address are those of a query of ours.
    fn reply(&mut self, from: SocketAddr, tid: &[u8], reply: &Reply<'_>) {
        let Some(call) = self.calls.close(tid, from, self.now) else {
            self.stats.unasked += 1;
            return;
        };
        self.stats.replies_in += 1;
        let family = Family::of(from);
        let now = self.now;
        let side = &mut self.sides[family as usize];
        side.reach.online(now);
        side.heard_at = Some(now);
        self.answered();
        let side = &mut self.sides[family as usize];
        if let Some(expected) = call.id.filter(|id| *id != reply.id) {
            side.table.forget(&expected, from);
        }
        if !side.routers.contains(&from) {
            let before = side.table.changes();
            side.table.replied(now, reply.id, from, &self.limits);
            let after = side.table.changes();
            side.upkeep_no_later((now + PROBATION).min(side.own_at).max(now));
            if before != after {
                self.dirty = true;
                self.sweep_later();
            }
        }
        if let Some(told) = reply.told.map(plain) {
            self.told(family, from, told);
        }
        match call.why {
            Why::Step(key) => self.step_answered(key, &call, reply),
            Why::Announce(key) if !call.slow => self.announce_answered(key, true),
            Why::Announce(_) | Why::Probe => {}
        }
        self.meet_named(from, reply);
        self.start_waiting();
    }

    /// An error in answer to a query of ours. Whoever can write one is alive, but we learn nothing else.
    fn refused(&mut self, from: SocketAddr, tid: &[u8]) {
        let Some(call) = self.calls.close(tid, from, self.now) else {
            self.stats.unasked += 1;
            return;
        };
        let now = self.now;
        let side = self.side(Family::of(from));
        side.reach.online(now);
        side.heard_at = Some(now);
        self.answered();
        self.step_failed(&call);
    }

    fn slow(&mut self, call: &Call) {
        if let Why::Step(key) = call.why {
            self.step_slow(key, call);
        } else if let Why::Announce(key) = call.why {
            self.announce_answered(key, false);
        }
    }

    fn lost(&mut self, call: &Call) {
        self.stats.lost += 1;
        let (now, family) = (self.now, Family::of(call.to));
        let side = self.side(family);
        // If nobody at all has answered lately, it may be our own line that is down.
        let online = side.heard_at.is_some_and(|at| at >= call.sent || now.since(at) <= LINE_UP);
        if let Some(id) = call.id.filter(|_| online) {
            let before = side.table.changes();
            side.table.failed(now, &id, call.to);
            let changed = before != side.table.changes();
            side.upkeep_no_later(now);
            if changed {
                self.dirty = true;
                self.sweep_later();
            }
        }
        if let Why::Step(_) = call.why {
            self.step_failed(call);
        }
    }

    /// Nodes named in an answer that would fill a thin place of a table are made acquaintance of.
    fn meet_named(&mut self, from: SocketAddr, reply: &Reply<'_>) {
        for (id, addr) in reply.nodes().map(|(id, addr)| (id, plain(addr))) {
            let side = &mut self.sides[Family::of(addr) as usize];
            // Whoever did not answer a moment ago is not asked again because somebody else names it.
            if side.enabled
                && is_believable_node(from, addr)
                && side.table.is_thin(&id)
                && !side.reach.contacted(self.now, addr)
                && !self.is_us(&id, addr)
            {
                self.meet(Some(id), addr);
            }
        }
    }

    /// Pings a node we do not know, if it is worth it and the allowance lasts.
    fn meet(&mut self, id: Option<NodeId>, addr: SocketAddr) {
        let side = &self.sides[Family::of(addr) as usize];
        let wanted = id.is_none_or(|id| side.table.wants(&id, addr, &self.limits));
        let (per_s, burst) = (self.limits.meets_per_s, self.limits.meets_burst);
        if wanted
            && side.enabled
            && !side.routers.contains(&addr)
            && !self.calls.awaits(addr)
            && self.meets.take(self.now, 1, per_s, burst)
        {
            self.ask(addr, id, &Query::Ping, Why::Probe);
        }
    }

    fn is_us(&self, id: &NodeId, addr: SocketAddr) -> bool {
        let side = &self.sides[Family::of(addr) as usize];
        side.table.own() == id || side.vote.decided() == Some(addr.ip())
    }

    /// Sends a query, unless too many are under way.
    fn ask(&mut self, to: SocketAddr, id: Option<NodeId>, query: &Query<'_>, why: Why) -> bool {
        if self.calls.len() >= self.limits.calls as usize {
            return false;
        }
        let tid = self.calls.open(&mut self.rng, to, id, why, self.now);
        let (side, other) = match Family::of(to) {
            Family::V4 => (&self.sides[0], &self.sides[1]),
            Family::V6 => (&self.sides[1], &self.sides[0]),
        };
        // Nodes of the other family are asked for only while we lack them: they make the answer twice as long.
        let searches = matches!(query, Query::FindNode { .. } | Query::GetPeers { .. });
        let lacking = other.enabled && other.table.len() < SMALL_NETWORK;
        let want = (lacking && searches).then_some(Want { v4: true, v6: true });
        let card = matches!(why, Why::Step(Key::Own(_)));
        let read_only = !local(to.ip()) && !side.reach.offers(card);
        let bytes = krpc::query(&tid.to_be_bytes(), side.table.own(), query, want, read_only);
        self.stats.queries_out += 1;
        self.send(to, bytes);
        true
    }

    fn send(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        let now = self.now;
        self.side(Family::of(to)).reach.contact(now, to);
        self.stats.datagrams_out += 1;
        self.stats.bytes_out += bytes.len() as u64;
        self.actions.push_back(Action::SendTo { to, bytes });
    }
}
