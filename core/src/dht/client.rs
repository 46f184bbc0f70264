//! Wishes of the runtime: keys to look up and to announce, in one or both families at once.

use super::addr::{Family, is_believable, is_believable_node, plain};
use super::calls::{Call, Key, Why};
use super::event::{Action, LookupId, Outcome};
use super::krpc::{Query, Reply};
use super::limits::{K, LOOKUP_TIME_MAX, NODES_WAIT};
use super::lookup::{End, Lookup, Step};
use super::{Dht, NodeId};
use crate::{InfoHash, Instant};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::num::NonZeroU16;

/// A search that somebody asked for.
#[derive(Debug)]
pub(crate) struct Search {
    info_hash: InfoHash,
    announce: Option<(NonZeroU16, bool)>,
    /// Peers given so far.
    seen: BTreeSet<SocketAddr>,
    /// When it gives up waiting for a first node.
    patience: Instant,
    /// Lookups that still run.
    running: u32,
    outcome: Outcome,
}

/// A lookup, or the announcements at its end.
#[derive(Debug)]
pub(crate) enum Running {
    Lookup(Lookup),
    /// That many are not yet answered.
    Announcing(u32),
}

impl Dht {
    pub(super) fn start(&mut self, id: LookupId, info_hash: InfoHash, announce: Option<(NonZeroU16, bool)>) {
        if self.jobs.contains_key(&id) {
            return;
        }
        let (asked, answered, announces) = (0, 0, 0);
        let outcome = Outcome { asked, answered, peers: 0, announces, announced_to: 0, end: End::Refused };
        if self.waiting.len() >= self.limits.lookups_waiting as usize {
            self.actions.push_back(Action::Done { id, outcome });
            return;
        }
        let outcome = Outcome { end: End::NoNodes, ..outcome };
        let patience = self.now + NODES_WAIT;
        self.jobs
            .insert(id, Search { info_hash, announce, seen: BTreeSet::new(), patience, running: 0, outcome });
        self.waiting.push_back(id);
        // What others have told us needs no asking.
        for family in Family::ALL {
            let stored = self.storage.sample(self.now, &info_hash, family, usize::MAX, &mut self.rng);
            self.found(id, stored);
        }
        self.start_waiting();
    }

    pub(super) fn cancel(&mut self, id: LookupId) {
        self.waiting.retain(|other| *other != id);
        self.jobs.remove(&id);
        for family in Family::ALL {
            self.lookups.remove(&Key::Job(id, family));
        }
        self.start_waiting();
    }

    /// There is somebody to ask.
    fn has_route(&self) -> bool {
        self.sides.iter().any(|side| side.has_route())
    }

    /// When the first job in the queue gives up waiting for a node.
    pub(super) fn patience_at(&self) -> Option<Instant> {
        let first = self.waiting.front().filter(|_| !self.has_route())?;
        self.jobs.get(first).map(|job| job.patience)
    }

    pub(super) fn patience_over(&mut self) {
        while self.patience_at().is_some_and(|at| at <= self.now)
            && let Some(id) = self.waiting.pop_front()
        {
            self.end_job(id);
        }
    }

    /// Begins jobs while there is room and somebody to ask.
    pub(super) fn start_waiting(&mut self) {
        while !self.waiting.is_empty()
            && self.has_route()
            && self.jobs.len() - self.waiting.len() < self.limits.lookups as usize
            && let Some(id) = self.waiting.pop_front()
        {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            let target = NodeId::from(job.info_hash);
            let routes: Vec<Family> = self.sides.iter().filter(|s| s.has_route()).map(|s| s.family).collect();
            job.running = routes.len() as u32;
            for family in routes {
                self.open_lookup(Key::Job(id, family), target);
            }
        }
    }

    /// Starts a lookup from the closest nodes we know; with few of them the bootstrap nodes are asked too.
    pub(super) fn open_lookup(&mut self, key: Key, target: NodeId) {
        let side = &self.sides[key.family() as usize];
        let mut lookup = Lookup::new(target, self.now);
        let nodes = side.table.closest(&target, 2 * K, false);
        if side.heard_at.is_none() || side.table.good() < K {
            side.routers.iter().for_each(|addr| lookup.add_router(*addr, &self.limits));
        }
        for (id, addr) in nodes {
            lookup.offer(id, addr, &self.limits);
        }
        self.lookups.insert(key, Running::Lookup(lookup));
        self.pump(key);
    }

    pub(super) fn pump_all(&mut self) {
        let keys: Vec<Key> = self.lookups.keys().copied().collect();
        for key in keys {
            self.pump(key);
        }
    }

    /// Lets a lookup go on as far as it can.
    pub(super) fn pump(&mut self, key: Key) {
        let now = self.now;
        loop {
            let (per_s, burst) = (self.limits.queries_per_s, self.limits.queries_burst);
            let Some(Running::Lookup(lookup)) = self.lookups.get_mut(&key) else { return };
            if now.since(lookup.started) >= LOOKUP_TIME_MAX {
                return self.finish_lookup(key, End::TimedOut);
            }
            let room = self.calls.len() < self.limits.calls as usize;
            let may_ask = self.queries.has(now, per_s, burst) && room;
            match lookup.step(may_ask, &self.limits) {
                Step::Hold => {
                    let ready = self.queries.ready_at(now, per_s);
                    // If too many queries are under way, the first of them to end makes room.
                    let at = if room { ready } else { self.calls.next_due().unwrap_or(ready).max(ready) };
                    self.pace_at = Some(self.pace_at.map_or(at, |old| old.min(at)));
                    return;
                }
                Step::Ask(id, addr) => {
                    let query = match key {
                        Key::Own(_) => Query::FindNode { target: lookup.target },
                        Key::Job(..) => Query::GetPeers { info_hash: InfoHash(lookup.target.0) },
                    };
                    self.queries.take(now, 1, per_s, burst);
                    let sent = self.ask(addr, id, &query, Why::Step(key));
                    assert!(sent, "there was room for a query");
                }
                Step::Wait => return,
                Step::Done(end) => return self.finish_lookup(key, end),
            }
        }
    }

    fn lookup(&mut self, key: Key) -> Option<&mut Lookup> {
        match self.lookups.get_mut(&key)? {
            Running::Lookup(lookup) => Some(lookup),
            Running::Announcing(_) => None,
        }
    }

    pub(super) fn step_answered(&mut self, key: Key, call: &Call, reply: &Reply<'_>) {
        if self.lookup(key).is_none() {
            return;
        }
        let named: Vec<(NodeId, SocketAddr)> = reply
            .nodes()
            .map(|(id, addr)| (id, plain(addr)))
            .filter(|(id, addr)| is_believable_node(call.to, *addr) && !self.is_us(id, *addr))
            .collect();
        let limits = &self.limits;
        for (id, addr) in named {
            // A node of the other family helps the lookup of the same key there.
            let there = match key {
                Key::Own(_) => key,
                Key::Job(job, _) => Key::Job(job, Family::of(addr)),
            };
            if there.family() == Family::of(addr)
                && let Some(Running::Lookup(lookup)) = self.lookups.get_mut(&there)
                && !lookup.asks_router(addr)
            {
                lookup.offer(id, addr, limits);
            }
        }
        if let Some(Running::Lookup(lookup)) = self.lookups.get_mut(&key) {
            match call.id {
                None => {
                    if !call.slow {
                        lookup.router_free();
                    }
                    lookup.router_answered(reply.id, call.to, reply.token, &self.limits);
                }
                Some(id) if id == reply.id => lookup.answered(call.to, reply.token),
                Some(_) => lookup.failed(call.to),
            }
        }
        if let Key::Job(id, _) = key {
            let believable = |peer: &SocketAddr| is_believable(call.to, *peer);
            let peers = reply.values().map(plain).filter(believable).collect();
            self.found(id, peers);
        }
        self.pump(key);
    }

    pub(super) fn step_slow(&mut self, key: Key, call: &Call) {
        let Some(lookup) = self.lookup(key) else { return };
        match call.id {
            None => lookup.router_free(),
            Some(_) => lookup.slow(call.to),
        }
        self.pump(key);
    }

    /// Lost or refused.
    pub(super) fn step_failed(&mut self, call: &Call) {
        match call.why {
            Why::Step(key) => {
                let Some(lookup) = self.lookup(key) else { return };
                match call.id {
                    None if !call.slow => lookup.router_free(),
                    None => {}
                    Some(_) => lookup.failed(call.to),
                }
                self.pump(key);
            }
            Why::Announce(key) if !call.slow => self.announce_answered(key, false),
            Why::Announce(_) | Why::Probe => {}
        }
    }

    /// Passes new peers on.
    fn found(&mut self, id: LookupId, peers: Vec<SocketAddr>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let max = self.limits.lookup_peers as usize;
        let new: Vec<_> =
            peers.into_iter().filter(|peer| job.seen.len() < max && job.seen.insert(*peer)).collect();
        if !new.is_empty() {
            job.outcome.peers = job.seen.len() as u32;
            self.actions.push_back(Action::Peers { id, peers: new });
        }
    }

    fn finish_lookup(&mut self, key: Key, end: End) {
        let Some(Running::Lookup(lookup)) = self.lookups.remove(&key) else { return };
        let Key::Job(id, _) = key else {
            self.own_lookup_ended(key.family(), lookup.answered);
            return;
        };
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.outcome.asked += lookup.asked;
        job.outcome.answered += lookup.answered;
        job.outcome.end = job.outcome.end.min(end);
        let Some((port, implied_port)) = job.announce else {
            self.lookup_over(id);
            return;
        };
        let info_hash = job.info_hash;
        let mut open = 0;
        for (node, addr, token) in lookup.winners() {
            let query = Query::AnnouncePeer { info_hash, port: port.get(), implied_port, token: &token };
            open += u32::from(self.ask(addr, Some(node), &query, Why::Announce(key)));
        }
        if let Some(job) = self.jobs.get_mut(&id) {
            job.outcome.announces += open;
        }
        if open == 0 {
            self.lookup_over(id);
        } else {
            self.lookups.insert(key, Running::Announcing(open));
        }
    }

    /// An announcement was answered, or will not be in time.
    pub(super) fn announce_answered(&mut self, key: Key, taken: bool) {
        let (Some(Running::Announcing(open)), Key::Job(id, _)) = (self.lookups.get_mut(&key), key) else {
            return;
        };
        *open -= 1;
        let over = *open == 0;
        if let Some(job) = self.jobs.get_mut(&id) {
            job.outcome.announced_to += u32::from(taken);
        }
        if over {
            self.lookups.remove(&key);
            self.lookup_over(id);
        }
    }

    /// One family of a job is through.
    fn lookup_over(&mut self, id: LookupId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.running -= 1;
        if job.running == 0 {
            self.end_job(id);
            self.start_waiting();
        }
    }

    fn end_job(&mut self, id: LookupId) {
        if let Some(job) = self.jobs.remove(&id) {
            if job.outcome.answered == 0 {
                self.in_vain();
            }
            self.actions.push_back(Action::Done { id, outcome: job.outcome });
        }
    }

    pub(super) fn check_jobs(&self) {
        let limits = &self.limits;
        assert!(self.waiting.len() <= limits.lookups_waiting as usize, "few keys wait");
        assert!(self.jobs.len() - self.waiting.len() <= limits.lookups as usize, "few keys are looked up");
        assert!(self.waiting.iter().all(|id| self.jobs.contains_key(id)), "who waits has a job");
        for (id, job) in &self.jobs {
            assert!(job.seen.len() <= limits.lookup_peers as usize, "a job gives few peers");
            let keys = Family::ALL.map(|family| Key::Job(*id, family));
            let running = keys.iter().filter(|key| self.lookups.contains_key(key)).count();
            assert_eq!(running, job.running as usize, "a job counts its lookups");
            assert!(running > 0 || self.waiting.contains(id), "a job runs or waits");
        }
        for (key, running) in &self.lookups {
            let alive = match key {
                Key::Own(_) => true,
                Key::Job(id, _) => self.jobs.contains_key(id),
            };
            assert!(alive, "a lookup has its job");
            let calls = self.calls.iter().filter(|call| match call.why {
                Why::Step(other) | Why::Announce(other) => other == *key,
                Why::Probe => false,
            });
            match running {
                Running::Lookup(lookup) => {
                    lookup.check_invariants(limits);
                    assert!(
                        calls.count() > 0 || self.pace_at.is_some(),
                        "a lookup has something to wait for"
                    );
                }
                Running::Announcing(open) => {
                    assert_eq!(
                        calls.filter(|call| !call.slow).count(),
                        *open as usize,
                        "announcements are counted"
                    );
                }
            }
        }
    }
}
