//! Joining the network, and keeping a table that is worth asking.

use super::addr::{Family, is_usable};
use super::calls::{Key, Why};
use super::client::Running;
use super::event::Action;
use super::krpc::Query;
use super::limits::{
    JOIN_PAUSE, JOIN_PAUSE_WANTED, K, PROBE_AGAIN, PROBE_SPACING, SELF_LOOKUP, SELF_LOOKUP_SPREAD,
    SMALL_NETWORK,
};
use super::persist::Saved;
use super::reach::Reach;
use super::table::Table;
use super::vote::Vote;
use super::{Dht, NodeId};
use crate::node::rng::Rng;
use crate::{Duration, Instant};
use alloc::vec::Vec;
use core::net::SocketAddr;

/// What a node has in one family.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) family: Family,
    pub(crate) enabled: bool,
    pub(crate) table: Table,
    pub(crate) vote: Vote,
    pub(crate) reach: Reach,
    pub(crate) routers: Vec<SocketAddr>,
    /// When somebody last answered.
    pub(crate) heard_at: Option<Instant>,
    /// When the table has to be looked at.
    pub(crate) upkeep_at: Option<Instant>,
    /// Earliest time of the next probe.
    probe_at: Instant,
    /// When our own id is looked up again.
    pub(crate) own_at: Instant,
    /// Pause until then while the network stays out of reach.
    pause: Duration,
    /// The next bucket to be filled after such a lookup.
    fill: Option<u32>,
}

impl Side {
    pub(crate) fn new(family: Family, enabled: bool, rng: &mut Rng) -> Self {
        Self {
            family,
            enabled,
            table: Table::new(NodeId::random(rng)),
            vote: Vote::default(),
            reach: Reach::new(),
            routers: Vec::new(),
            heard_at: None,
            upkeep_at: None,
            probe_at: Instant::ZERO,
            own_at: Instant::ZERO,
            pause: JOIN_PAUSE.0,
            fill: None,
        }
    }

    /// There is somebody to ask.
    pub(crate) fn has_route(&self) -> bool {
        self.enabled && !(self.table.is_empty() && self.routers.is_empty())
    }

    pub(crate) fn upkeep_no_later(&mut self, at: Instant) {
        if self.has_route() && self.upkeep_at.is_none_or(|old| old > at) {
            self.upkeep_at = Some(at);
        }
    }
}

impl Dht {
    pub(super) fn bootstrap(&mut self, addr: SocketAddr) {
        let (now, max) = (self.now, self.limits.routers as usize);
        let side = self.side(Family::of(addr));
        if !side.enabled || !is_usable(addr) || side.routers.contains(&addr) || side.routers.len() >= max {
            return;
        }
        side.routers.push(addr);
        side.table.forget_addr(addr);
        if side.table.len() < K {
            side.own_at = now;
            side.upkeep_no_later(now);
        }
        let (family, limits) = (side.family, &self.limits);
        // Lookups that began with less get the new one too.
        for (key, running) in &mut self.lookups {
            if let Running::Lookup(lookup) = running
                && key.family() == family
                && self.sides[family as usize].table.len() < K
            {
                lookup.add_router(addr, limits);
            }
        }
        self.pump_all();
        self.upkeep(family);
        self.start_waiting();
    }

    pub(super) fn hint(&mut self, addr: SocketAddr) {
        if is_usable(addr) {
            self.meet(None, addr);
        }
    }

    pub(super) fn restore(&mut self, saved: &Saved) {
        let now = self.now;
        for (family, (id, nodes)) in Family::ALL.into_iter().zip(&saved.families) {
            let limits = &self.limits;
            let side = &mut self.sides[family as usize];
            if !side.enabled || nodes.is_empty() {
                continue;
            }
            // The old id stays ours, unless we know better by now.
            if side.table.is_empty() && side.vote.decided().is_none_or(|ip| id.fits(ip)) {
                side.table.rebase(*id, limits);
            }
            for (id, addr) in nodes {
                if Family::of(*addr) == family && !side.routers.contains(addr) {
                    side.table.restore(now, *id, *addr, limits);
                }
            }
            side.own_at = now;
            side.upkeep_no_later(now);
        }
        self.start_waiting();
    }

    /// Others see us there. Our id has to follow from the address.
    pub(super) fn told(&mut self, family: Family, voter: SocketAddr, told: SocketAddr) {
        let now = self.now;
        let side = &mut self.sides[family as usize];
        if Family::of(told) != family {
            return;
        }
        let Some((ip, port)) = side.vote.cast(voter, told, &self.limits) else { return };
        side.reach.restart();
        side.reach.online(now);
        if !side.table.own().fits(ip) {
            let id = NodeId::for_address(ip, &mut self.rng);
            side.table.rebase(id, &self.limits);
            side.own_at = now;
            side.upkeep_no_later(now);
            // A lookup for the id that was is of no use.
            self.lookups.remove(&Key::Own(family));
        }
        self.actions.push_back(Action::ExternalAddr { ip, port });
    }

    pub(super) fn upkeep(&mut self, family: Family) {
        let now = self.now;
        let side = self.side(family);
        let small = side.table.len() < SMALL_NETWORK;
        side.reach.tick(now, small);
        let own = Key::Own(family);
        if side.has_route() && side.own_at <= now && !self.lookups.contains_key(&own) {
            // Set anew when it ends.
            let target = self.id(family);
            self.side(family).own_at = now + SELF_LOOKUP;
            self.open_lookup(own, target);
        }
        let next = self.probe(family);
        let side = self.side(family);
        let next = if side.fill.is_some() { Some(now) } else { next };
        let at = next.map_or(side.own_at, |at| at.max(side.probe_at).min(side.own_at));
        // Whatever cannot be done at once is tried again a little later.
        let at = if at <= now { now + PROBE_SPACING } else { at };
        side.upkeep_at = side.has_route().then_some(at);
    }

    /// Sends at most one query: to the node that has been silent longest, or for a bucket that has places free. Gives
    /// the time of the next.
    fn probe(&mut self, family: Family) -> Option<Instant> {
        let now = self.now;
        let side = &mut self.sides[family as usize];
        let (first, second) = side.table.due();
        let mut next = first.map(|(at, ..)| at);
        if side.probe_at > now {
            return next;
        }
        let asked = if let Some((_, id, addr)) = first.filter(|(at, ..)| *at <= now) {
            side.table.probed(now, &id);
            next = Some(second.map_or(now + PROBE_AGAIN, |at| at.min(now + PROBE_AGAIN)));
            self.ask(addr, Some(id), &Query::Ping, Why::Probe)
        } else if let Some(bucket) = side.fill {
            let thin = side.table.next_thin(bucket);
            side.fill = thin.map(|bucket| bucket + 1);
            let target = thin.map(|bucket| side.table.own().random_near(bucket, true, &mut self.rng));
            let node =
                target.and_then(|target| Some((target, *side.table.closest(&target, 1, true).first()?)));
            node.is_some_and(|(target, (id, addr))| {
                self.ask(addr, Some(id), &Query::FindNode { target }, Why::Probe)
            })
        } else {
            false
        };
        if asked {
            self.side(family).probe_at = now + PROBE_SPACING;
        }
        next
    }

    /// A wish came to nothing because nobody answered: somebody is looked for at once and often, until one does.
    pub(super) fn in_vain(&mut self) {
        self.vain = true;
        let soon = self.now + JOIN_PAUSE_WANTED;
        for side in &mut self.sides {
            side.own_at = side.own_at.min(soon);
            side.upkeep_no_later(soon);
        }
    }

    /// Somebody answered. If wishes came to nothing before, they are worth making again.
    pub(super) fn answered(&mut self) {
        if core::mem::take(&mut self.vain) {
            self.actions.push_back(Action::Reached);
        }
    }

    pub(super) fn own_lookup_ended(&mut self, family: Family, answered: u32) {
        let now = self.now;
        let spread = Duration::from_millis(self.rng.below(SELF_LOOKUP_SPREAD.as_millis() as u32).into());
        let wanted = self.vain && answered == 0;
        let side = self.side(family);
        if side.table.good() < K {
            side.own_at = now + if wanted { side.pause.min(JOIN_PAUSE_WANTED) } else { side.pause };
            side.pause = (side.pause * 2).min(JOIN_PAUSE.1);
        } else {
            side.own_at = now + SELF_LOOKUP + spread;
            side.pause = JOIN_PAUSE.0;
        }
        if answered > 0 {
            side.fill = Some(0);
        } else {
            // Nobody is where we knew them: bootstrap nodes are asked again.
            side.heard_at = None;
        }
        let soon = now + PROBE_SPACING;
        side.upkeep_no_later(soon);
    }

    /// The machine slept, or its clock leapt. What was under way is asked again, nobody is blamed, and all of it at the
    /// usual pace: the table is looked through one node per second.
    pub(super) fn awake(&mut self) {
        let now = self.now;
        self.queries.drain(now);
        for call in self.calls.clear() {
            match call.why {
                Why::Step(key) => {
                    if let Some(Running::Lookup(lookup)) = self.lookups.get_mut(&key) {
                        lookup.again(now, call.id.is_none(), call.slow, call.to);
                    }
                }
                Why::Announce(key) if !call.slow => self.announce_answered(key, false),
                Why::Announce(_) | Why::Probe => {}
            }
        }
        for side in &mut self.sides {
            side.vote.clear();
            side.reach.restart();
            side.heard_at = None;
            side.own_at = now;
            side.probe_at = now;
            side.upkeep_no_later(now);
        }
        self.storage.sweep(now);
        if !self.lookups.is_empty() {
            self.pace_at = Some(now);
        }
    }
}
