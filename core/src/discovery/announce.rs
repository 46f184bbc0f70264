//! Announcing seeded files in the DHT: what goes next.

use super::plan::{ANNOUNCE_PACKETS, ASKED_LIFE, DHT_PERIOD, RESERVE_PACKETS, WEIGHT_ASKED, WEIGHT_LEAD};
use super::swarm::Seeding;
use super::{Action, Discovery, OPS_MAX};
use crate::{InfoHash, Instant};

/// Questions to the DHT that announcing leaves to those who look for peers: 4. Ours.
const OPS_RESERVE: usize = 4;

impl Discovery {
    pub(super) fn asked(&mut self, now: Instant, hash: InfoHash) {
        if let Some(seeding) = self.swarms.get_mut(&hash).and_then(|swarm| swarm.seeding.as_mut()) {
            seeding.asked = Some(now);
        }
    }

    /// Announces what is most overdue, as far as the budget goes.
    pub(super) fn pump_announces(&mut self, now: Instant) {
        self.announce_wake = loop {
            if !self.dht_up || self.ops.len() >= OPS_MAX - OPS_RESERVE {
                // The end of a question calls again.
                break None;
            }
            let ready = self.bucket.ready_at(now, ANNOUNCE_PACKETS + RESERVE_PACKETS);
            if ready > now {
                break Some(ready).filter(|_| self.seeds_something());
            }
            let Some(hash) = self.most_overdue(now) else {
                break self
                    .swarms
                    .values()
                    .filter(|s| !s.near)
                    .filter_map(|s| s.seeding)
                    .filter(|s| s.op.is_none())
                    .map(|s| s.next)
                    .min();
            };
            let taken = self.bucket.take(now, ANNOUNCE_PACKETS);
            debug_assert!(taken, "what is ready can be taken");
            let op = self.new_op(now, hash, ANNOUNCE_PACKETS);
            let spread = self.pause(DHT_PERIOD / 10);
            if let Some(seeding) = self.swarms.get_mut(&hash).and_then(|swarm| swarm.seeding.as_mut()) {
                seeding.last = Some(now);
                seeding.vain = false;
                seeding.next = now + DHT_PERIOD + spread;
                seeding.op = Some(op);
            }
            self.actions.push_back(Action::DhtAnnounce { op, swarm: hash, port: self.port });
        };
    }

    pub(super) fn seeds_something(&self) -> bool {
        self.groups.values().any(|group| !group.seeded.is_empty())
    }

    /// Of the seeded files whose period is over, the one with the largest product of weight and time since.
    fn most_overdue(&self, now: Instant) -> Option<InfoHash> {
        let due = self.swarms.iter().filter_map(|(hash, swarm)| {
            let seeding = swarm.seeding.filter(|s| !swarm.near && s.op.is_none() && s.next <= now)?;
            Some((urgency(now, &seeding), *hash))
        });
        // The smaller hash wins a tie, so that equal states give equal plans.
        due.max_by_key(|(urgency, hash)| (*urgency, core::cmp::Reverse(*hash))).map(|(_, hash)| hash)
    }
}

fn urgency(now: Instant, seeding: &Seeding) -> u128 {
    let age = match seeding.last {
        Some(last) => now.since(last),
        // Who was never announced waits as if two periods were over.
        None => now.since(seeding.since) + 2 * DHT_PERIOD,
    };
    let weight = if seeding.lead {
        WEIGHT_LEAD
    } else if seeding.asked.is_some_and(|at| now.since(at) < ASKED_LIFE) {
        WEIGHT_ASKED
    } else {
        1
    };
    age.as_micros() * u128::from(weight)
}
