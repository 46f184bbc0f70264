//! Whom we dial: addresses by how they became known, places for them, and how often strangers' words may move us.
//!
//! The user's word is always followed, a neighbour's while there is a place. What strangers say (trackers, other peers, the DHT)
//! is followed only while something is fetched, to few addresses a second, to each of them once a minute: whoever names an address
//! that is not its own gets no more out of us than that. Each way of finding has places of its own, so that nobody who fills
//! one of them keeps us from what the others find; and a link that gives nothing makes room within seconds.

use super::event::Direction;
use super::job::Job;
use super::peer::Peer;
use super::timers::Timer;
use super::{Action, CANDIDATES_MAX, Found, Node};
use crate::endpoint::{Scope, is_service_port, scope};
use crate::{Duration, InfoHash, Instant};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use zest_xet::Hash;

/// Dials of one address in a row, without anything useful in between, before it is given up. Ours.
const DIALS_MAX: u32 = 5;
/// Pause before the second dial of an address: 1 s, doubles. Ours.
const REDIAL: Duration = Duration::from_secs(1);
/// The longest pause before an address is dialled again that the user named, or that gave something before, while something is
/// fetched: 2 s, as for any line that may be back.
const REDIAL_LASTING: Duration = crate::outage::PROBE_MAX;
/// Pause before an address is looked at again that could not be dialled because all places were taken: 30 s. Ours.
const REDIAL_FULL: Duration = Duration::from_secs(30);
/// Of the links opened to addresses that nobody named, so many lead into one network of the internet (IPv4 /24, IPv6 /56) at
/// most: 4, a third. Ours; whoever rents one network must not be all we know.
pub const DIALS_NETWORK_MAX: usize = 4;
/// Dials within any second to addresses that trackers and other peers told of, together: 2. Ours; a list of them is anybody's word.
pub const TOLD_DIALS_PER_S: usize = 2;
/// The same for addresses from the DHT: 4. Ours; more of them are dead, and each costs its author a node near the key.
pub const DHT_DIALS_PER_S: usize = 4;
/// An address that strangers told of is dialled again after this at the earliest, whatever the port and whoever says so: 60 s.
/// Ours.
pub const TOLD_AGAIN: Duration = Duration::from_secs(60);
/// Places that each way of finding has beyond those for all: 2. Ours.
const PLACES_OWN: usize = 2;
/// A dial without an outcome holds its place for 2 s. Ours; addresses that swallow packets would keep them all otherwise.
pub const DIAL_HOLDS: Duration = Duration::from_secs(2);
/// A link that has not given anything makes room for others after 3 s. Ours; a manifest and a chunk come in one.
const IDLE: Duration = Duration::from_secs(3);
/// The same for one that has given something, or fetches what we fetch: 8 s. Ours; it may have something soon.
const IDLE_FELLOW: Duration = Duration::from_secs(8);
/// It is looked this often whether one has to make room, while somebody waits: 500 ms, in the pace of dials.
const LOOK: Duration = Duration::from_millis(500);

/// An address we may dial.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) how: Found,
    /// It gave something over a link of ours.
    fed: bool,
    dials: u32,
    pub(crate) state: Dial,
    /// Since when it is in that state.
    since: Instant,
}

/// What is done about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dial {
    /// It waits for its [`Timer::Redial`].
    Waiting,
    /// The outcome of a dial is awaited.
    Dialling,
    /// A link to it is up.
    Linked,
}

/// What strangers' words have moved us to lately.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The last dials on the word of trackers and peers, and those on the DHT's.
    last: [VecDeque<Instant>; 2],
    /// Which address was dialled when, within the last minute.
    targets: BTreeMap<Target, Instant>,
    /// Somebody wants to meet peers though nothing is fetched.
    seeking: bool,
}

/// Who is knocked at: an address, whatever the port. On loopback live unrelated processes, and nobody is far away.
type Target = (IpAddr, u16);

fn target(addr: SocketAddr) -> Target {
    (addr.ip(), if addr.ip().is_loopback() { addr.port() } else { 0 })
}

/// Which of the two allowances a dial counts against.
fn lane(how: Found) -> Option<(usize, usize)> {
    match how {
        Found::Named | Found::Lan => None,
        Found::Tracker | Found::Pex => Some((0, TOLD_DIALS_PER_S)),
        Found::Dht => Some((1, DHT_DIALS_PER_S)),
    }
}

impl Told {
    /// When an address that became known like this may be dialled, as far as the pace of all goes.
    fn pace(&self, now: Instant, how: Found) -> Instant {
        let Some((lane, per_s)) = lane(how) else { return now };
        let last = &self.last[lane];
        let before = last.len().checked_sub(per_s).map(|at| last[at] + Duration::from_secs(1));
        before.map_or(now, |at| at.max(now))
    }

    /// When this address may be dialled on a stranger's word.
    fn rest(&self, now: Instant, addr: SocketAddr, how: Found) -> Instant {
        let at = lane(how).and_then(|_| self.targets.get(&target(addr))).map(|at| *at + TOLD_AGAIN);
        at.map_or(now, |at| at.max(now))
    }

    fn dialled(&mut self, now: Instant, addr: SocketAddr, how: Found) {
        let Some((lane, per_s)) = lane(how) else { return };
        let last = &mut self.last[lane];
        last.push_back(now);
        while last.len() > per_s {
            last.pop_front();
        }
        self.targets.retain(|_, at| *at + TOLD_AGAIN > now);
        self.targets.insert(target(addr), now);
    }

    pub(super) fn check_invariants(&self) {
        let most = (TOLD_DIALS_PER_S + DHT_DIALS_PER_S) * (TOLD_AGAIN.as_secs() as usize + 1);
        assert!(self.targets.len() <= most, "targets are noted for a minute");
    }
}

/// Why an address is not dialled now.
enum Not {
    /// All places are taken, or those of its network.
    Room,
    /// It is too early.
    Before(Instant),
}

impl Node {
    pub(super) fn peer_found(&mut self, now: Instant, addr: SocketAddr, how: Found) {
        if how != Found::Named && is_service_port(addr.port()) || how > Found::Lan && !self.seeks() {
            return;
        }
        if let Some(candidate) = self.contacts.candidates.get_mut(&addr) {
            candidate.how = candidate.how.min(how);
            // It says itself that it is there: what listened before at that address was another process, perhaps.
            if how == Found::Lan && candidate.state == Dial::Waiting {
                let rested = candidate.since + REDIAL;
                if rested <= now {
                    candidate.dials = 0;
                    self.timers.cancel(Timer::Redial(addr));
                    self.redial(now, addr);
                } else {
                    self.timers.set(Timer::Redial(addr), rested);
                }
            }
            return;
        }
        if self.contacts.bans.is_banned(now, addr, None)
            || self.contacts.candidates.len() >= CANDIDATES_MAX && !self.forget_one(how)
        {
            return;
        }
        self.contacts
            .candidates
            .insert(addr, Candidate { dials: 0, state: Dial::Waiting, how, fed: false, since: now });
        self.redial(now, addr);
    }

    /// Whether there is any reason to follow a stranger's word.
    fn seeks(&self) -> bool {
        self.contacts.told.seeking || self.is_crowded()
    }

    /// Somebody wants to meet peers, or no longer does.
    pub(super) fn seeking(&mut self, now: Instant, on: bool) {
        self.contacts.told.seeking = on;
        self.dial_next(now);
    }

    /// Makes room in the list: the way of finding that has filled it most gives up an address, one that was tried if there is
    /// one. False if that would be for another of the same.
    fn forget_one(&mut self, newcomer: Found) -> bool {
        let mut waiting: BTreeMap<Found, usize> = BTreeMap::new();
        let idle = |c: &Candidate| c.state == Dial::Waiting && c.how != Found::Named;
        self.contacts
            .candidates
            .values()
            .filter(|c| idle(c))
            .for_each(|c| *waiting.entry(c.how).or_default() += 1);
        let Some((most, _)) = waiting.into_iter().max_by_key(|(_, count)| *count) else { return false };
        let of_it = self.contacts.candidates.iter().filter(|(_, c)| idle(c) && c.how == most);
        let Some((addr, dials)) = of_it.max_by_key(|(_, c)| c.dials).map(|(addr, c)| (*addr, c.dials)) else {
            return false;
        };
        if most == newcomer && dials == 0 {
            return false;
        }
        self.contacts.candidates.remove(&addr);
        self.timers.cancel(Timer::Redial(addr));
        true
    }

    /// Whether an address found like this has a place. Each way of finding has some of its own beyond those for all.
    fn has_place(&self, now: Instant, how: Found) -> bool {
        let held = |c: &&Candidate| match c.state {
            Dial::Waiting => false,
            Dial::Dialling => now.since(c.since) < DIAL_HOLDS,
            Dial::Linked => true,
        };
        let out = || self.contacts.candidates.values().filter(|c| c.how != Found::Named);
        let own = out().filter(|c| c.how == how).filter(held).count();
        let all = out().filter(held).count();
        let dialling = out().filter(|c| c.state == Dial::Dialling).count();
        dialling < 2 * self.config.dials_max && (all < self.config.dials_max || own < PLACES_OWN)
    }

    /// Networks into which enough links lead that nobody asked for.
    fn full_networks(&self) -> BTreeSet<(bool, u64)> {
        let mut links: BTreeMap<(bool, u64), usize> = BTreeMap::new();
        let out =
            self.contacts.candidates.iter().filter(|(_, c)| c.how > Found::Lan && c.state != Dial::Waiting);
        out.filter_map(|(addr, _)| network(*addr))
            .for_each(|network| *links.entry(network).or_default() += 1);
        links
            .into_iter()
            .filter(|(_, links)| *links >= DIALS_NETWORK_MAX)
            .map(|(network, _)| network)
            .collect()
    }

    /// Whether an address may be dialled now.
    fn may_dial(&self, now: Instant, addr: SocketAddr, how: Found) -> Result<(), Not> {
        if how == Found::Named {
            return Ok(());
        }
        if how > Found::Lan {
            let full = || network(addr).is_some_and(|network| self.full_networks().contains(&network));
            if full() {
                return Err(Not::Room);
            }
        }
        if !self.has_place(now, how) {
            return Err(Not::Room);
        }
        let at = self.contacts.told.rest(now, addr, how);
        if at > now { Err(Not::Before(at)) } else { Ok(()) }
    }

    /// An address turned out to be one of ours.
    pub(super) fn own_address(&mut self, now: Instant, addr: SocketAddr) {
        self.contacts.candidates.remove(&addr);
        self.timers.cancel(Timer::Redial(addr));
        self.dial_next(now);
        self.seek_all(now);
    }

    /// Dials those who wait for their first time, as far as there are places and the pace allows: the ways of finding take turns,
    /// and of one way it is by lot, so that nobody gets ahead by the address it picks.
    pub(super) fn dial_next(&mut self, now: Instant) {
        let fresh = |c: &Candidate| c.state == Dial::Waiting && c.dials == 0 && c.how != Found::Named;
        if self.peers.len() >= self.config.peers_max || !self.contacts.candidates.values().any(fresh) {
            return;
        }
        let linked_to: BTreeSet<SocketAddr> = self.peers.values().map(|peer| peer.who.addr).collect();
        loop {
            let full = self.full_networks();
            let mut ways: BTreeMap<Found, Vec<SocketAddr>> = BTreeMap::new();
            for (addr, c) in
                self.contacts.candidates.iter().filter(|(addr, c)| fresh(c) && !linked_to.contains(*addr))
            {
                let far = c.how > Found::Lan;
                let crowded = || network(*addr).is_some_and(|network| full.contains(&network));
                if !far || self.seeks() && !crowded() && self.contacts.told.rest(now, *addr, c.how) <= now {
                    ways.entry(c.how).or_default().push(*addr);
                }
            }
            let waits = !ways.is_empty();
            ways.retain(|how, _| self.has_place(now, *how));
            let places = !ways.is_empty();
            let soon = ways.keys().map(|how| self.contacts.told.pace(now, *how)).min();
            ways.retain(|how, _| self.contacts.told.pace(now, *how) <= now);
            let linked = |how: Found| {
                self.contacts.candidates.values().filter(|c| c.how == how && c.state != Dial::Waiting).count()
            };
            let Some((_, addrs)) = ways.iter().min_by_key(|(how, _)| (linked(**how), **how)) else {
                // Somebody waits for the pace, or for a place that another may have to leave.
                match soon.filter(|_| places) {
                    Some(at) => self.timers.set_no_later(Timer::Dial, at),
                    None if waits => self.timers.set_once(Timer::Dial, now + LOOK),
                    None => {}
                }
                return;
            };
            #[expect(clippy::cast_possible_truncation, reason = "at most 1,024 candidates")]
            let addr = match addrs.len() {
                1 => addrs[0],
                some => addrs[self.rng.below(some as u32) as usize],
            };
            self.timers.cancel(Timer::Redial(addr));
            self.redial(now, addr);
        }
    }

    /// The pace allows another dial, or somebody waits for a place.
    pub(super) fn dial_timer(&mut self, now: Instant) {
        self.give_way(now);
        self.dial_next(now);
    }

    /// If somebody waits for a place, the link that has been of no use for longest makes room.
    fn give_way(&mut self, now: Instant) {
        let waits = |(addr, c): (&SocketAddr, &Candidate)| {
            let fresh = c.state == Dial::Waiting && c.dials == 0 && c.how != Found::Named;
            fresh
                && !self.has_place(now, c.how)
                && self.contacts.told.pace(now, c.how) <= now
                && self.contacts.told.rest(now, *addr, c.how) <= now
        };
        if !self.seeks() || !self.contacts.candidates.iter().any(waits) {
            return;
        }
        let unneeded = |peer: &Peer| {
            let mine = peer.who.direction == Direction::Outbound && !peer.closing;
            let named = || self.contacts.candidates.get(&peer.who.addr).is_none_or(|c| c.how == Found::Named);
            let fellow = || self.jobs.values().any(|job| peer.wants.interests.contains_key(&job.spec.file));
            let patience = if peer.word.useful || fellow() { IDLE_FELLOW } else { IDLE };
            mine && !named() && now.since(peer.gave_at()) >= patience
        };
        let idle = self.peers.iter().filter(|(_, peer)| unneeded(peer));
        if let Some(link) = idle.min_by_key(|(_, peer)| peer.gave_at()).map(|(link, _)| *link) {
            self.close(link, "it gives nothing, and others wait for its place");
        }
    }

    pub(super) fn redial(&mut self, now: Instant, addr: SocketAddr) {
        if self.contacts.bans.is_banned(now, addr, None) {
            self.contacts.candidates.remove(&addr);
            return;
        }
        let Some(candidate) = self.contacts.candidates.get(&addr).copied() else { return };
        if candidate.state != Dial::Waiting {
            return;
        }
        if candidate.how > Found::Lan && !self.seeks() {
            // Nothing is fetched any more. If that changes, peers are looked for anew.
            self.contacts.candidates.remove(&addr);
            return;
        }
        let taken =
            self.peers.len() >= self.config.peers_max || self.peers.values().any(|p| p.who.addr == addr);
        let may = if taken { Err(Not::Room) } else { self.may_dial(now, addr, candidate.how) };
        let pace = self.contacts.told.pace(now, candidate.how);
        let again = match may {
            Ok(()) if pace <= now => return self.dial(now, addr, candidate.how),
            // Those who were never dialled are looked at when the pace allows, in turn.
            Ok(()) if candidate.dials > 0 => pace,
            Ok(()) | Err(Not::Room) => now + REDIAL_FULL,
            Err(Not::Before(at)) => at,
        };
        self.timers.set(Timer::Redial(addr), again);
        if candidate.dials == 0 && candidate.how != Found::Named && !taken {
            self.timers.set_no_later(Timer::Dial, pace.max(now + Duration::from_micros(1)));
        }
    }

    fn dial(&mut self, now: Instant, addr: SocketAddr, how: Found) {
        // What not everybody may hear of is named to nobody who was told of by strangers.
        let near = scope(addr.ip()) == Scope::Loopback || how <= self.expected_from();
        let named = |j: &&Job| j.spec.peers && !j.course.ended && (near || !j.spec.near);
        let swarm = self.jobs.values().find(named).map(|j| j.spec.file);
        let Some(candidate) = self.contacts.candidates.get_mut(&addr) else { return };
        candidate.state = Dial::Dialling;
        candidate.since = now;
        candidate.dials += 1;
        self.contacts.told.dialled(now, addr, how);
        // Any swarm will do: a connection serves every file that both ends share.
        let info_hash = InfoHash::of_file(&swarm.unwrap_or(Hash::ZERO));
        self.actions.push_back(Action::Dial { addr, info_hash });
    }

    pub(super) fn dial_failed(&mut self, now: Instant, addr: SocketAddr) {
        self.dial_later(now, addr);
        self.dial_next(now);
        self.seek_all(now);
    }

    /// A dial led to a link.
    pub(super) fn dial_linked(&mut self, now: Instant, addr: SocketAddr) {
        if let Some(candidate) = self.contacts.candidates.get_mut(&addr) {
            candidate.state = Dial::Linked;
            candidate.since = now;
        }
    }

    /// A link that we opened is gone. `gave`: it gave something and broke off by itself; only that earns its address new dials.
    pub(super) fn dial_over(&mut self, now: Instant, addr: SocketAddr, gave: bool) {
        if gave && let Some(candidate) = self.contacts.candidates.get_mut(&addr) {
            candidate.dials = 1;
            candidate.fed = true;
            // It is a peer, not somebody whom others would have us knock at.
            self.contacts.told.targets.remove(&target(addr));
        }
        self.dial_later(now, addr);
    }

    fn dial_later(&mut self, now: Instant, addr: SocketAddr) {
        let Some(candidate) = self.contacts.candidates.get_mut(&addr) else { return };
        candidate.state = Dial::Waiting;
        candidate.since = now;
        // It is worth waiting for as long as the user waits for something.
        let fetches = self.jobs.values().any(|job| job.spec.peers && !job.course.ended);
        let lasting = fetches && (candidate.how == Found::Named || candidate.fed);
        if (candidate.dials >= DIALS_MAX && !lasting) || self.contacts.bans.is_banned(now, addr, None) {
            self.contacts.candidates.remove(&addr);
            self.timers.cancel(Timer::Redial(addr));
        } else {
            let pause = REDIAL.saturating_mul(1 << candidate.dials.saturating_sub(1).min(5));
            let pause = if lasting { pause.min(REDIAL_LASTING) } else { pause };
            self.timers.set(Timer::Redial(addr), now + pause);
        }
    }

    /// Up to which way of finding a peer may hear of what only those hear of who are near.
    fn expected_from(&self) -> Found {
        if self.config.hub_here { Found::Named } else { Found::Lan }
    }

    /// Whether we dialled it because the user named it, or because it was heard on this network; or it came from an address that
    /// the user named.
    pub(super) fn is_expected(&self, peer: &Peer) -> bool {
        match peer.who.direction {
            Direction::Outbound => {
                self.contacts.candidates.get(&peer.who.addr).is_some_and(|c| c.how <= self.expected_from())
            }
            Direction::Inbound => {
                let ip = peer.who.addr.ip().to_canonical();
                let named = |(addr, c): (&SocketAddr, &Candidate)| {
                    c.how == Found::Named && addr.ip().to_canonical() == ip
                };
                self.contacts.candidates.iter().any(named)
            }
        }
    }

    /// Whether the outcome of a dial is awaited of somebody who may give something.
    pub(super) fn dialling_somebody_new(&self, now: Instant) -> bool {
        let awaited = |(_, candidate): &(&SocketAddr, &Candidate)| candidate.state == Dial::Dialling;
        self.contacts
            .candidates
            .iter()
            .filter(awaited)
            .any(|(addr, _)| !self.contacts.lessons.is_useless(now, *addr))
    }

    /// Whether the outcome of a dial is awaited.
    pub(super) fn dialling(&self) -> bool {
        self.contacts.candidates.values().any(|c| c.state == Dial::Dialling)
    }
}

/// The network of an address, where it is one of the internet's: /24 of IPv4, /56 of IPv6.
fn network(addr: SocketAddr) -> Option<(bool, u64)> {
    match addr.ip() {
        ip if scope(ip) < Scope::Global => None,
        IpAddr::V4(ip) => Some((false, u64::from(u32::from(ip) >> 8))),
        IpAddr::V6(ip) => Some((true, (u128::from(ip) >> 72) as u64)),
    }
}
