//! Policy `fastest` where many fetch the same and the origin is the bottleneck: then its work is shared as under
//! `spare-origin`, because that is faster for all.
//!
//! The peers are not slower than the origin there, only short of what nobody has yet. A node that then streams all it can
//! from the origin takes from others what they would have given it a moment later.

use super::job::Job;
use super::peer::Peer;
use super::units::score;
use super::{Node, Policy};
use crate::{Instant, JobId};
use alloc::vec::Vec;

/// Peers that fetch the same file, from which on its origin may be shared: 3. Ours.
const MANY: usize = 3;
/// Measurements with the origin at work before its rate is believed: 4, a second. Ours.
const MEASURED_MIN: u32 = 4;
/// The origin is shared once the peers give so many times as much as it does: 2. Ours.
const WORTH: u64 = 2;

/// What the origin gives, against what the peers give.
#[derive(Debug, Default)]
pub(crate) struct Sparing {
    /// Bytes of the origin since the last measurement.
    bytes: u64,
    /// Bytes/s of late, when it was at work.
    rate: u64,
    measured: u32,
    /// Its work is shared.
    on: bool,
}

impl Sparing {
    pub(crate) fn came(&mut self, len: u32) {
        self.bytes += u64::from(len);
    }

    /// Takes in what came for `elapsed_us`, beside `peers` bytes/s. Says whether sharing begins or ends.
    fn measure(&mut self, elapsed_us: u64, active: bool, many: bool, peers: u64) -> Option<bool> {
        let rate = core::mem::take(&mut self.bytes) * 1_000_000 / elapsed_us.max(1);
        if active || rate > 0 {
            self.rate = if self.measured == 0 { rate } else { (3 * self.rate + rate) / 4 };
            self.measured += 1;
        }
        let was = self.on;
        let enough = peers > self.rate * if was { 1 } else { WORTH };
        self.on = many && self.measured >= MEASURED_MIN && enough;
        (self.on != was).then_some(self.on)
    }
}

impl Job {
    /// Bytes of a chunk, on average.
    pub(super) fn usual_len(&self) -> u32 {
        u32::try_from(self.spec.size / u64::from(self.len().max(1))).unwrap_or(u32::MAX)
    }
}

impl Node {
    /// Whether the origin's work on this job is shared among those that fetch it.
    pub(super) fn shares_origin(&self, id: JobId) -> bool {
        self.jobs.get(&id).filter(|job| job.spec.peers).is_some_and(|job| match self.config.policy {
            Policy::SpareOrigin => !job.joined,
            Policy::Fastest => self.sparing.on && job.many,
        })
    }

    /// Whether the origin helps with what peers have, too.
    pub(super) fn origin_joins(&self, id: JobId) -> bool {
        self.jobs.get(&id).is_some_and(|job| job.joined) && !self.shares_origin(id)
    }

    /// Counts who else fetches a job's file, where that matters.
    pub(super) fn count_fetchers(&mut self, id: JobId) {
        if self.config.policy != Policy::Fastest {
            return;
        }
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let fetches =
            |peer: &&Peer| peer.counts() && peer.zest && peer.interests.contains_key(&job.spec.file);
        job.many = job.spec.peers && self.peers.values().filter(fetches).count() >= MANY;
    }

    /// Finds out anew whether the origin is worth asking beside peers that give so much together.
    pub(super) fn measure_origin(&mut self, now: Instant, elapsed_us: u64, peers: u64) {
        if self.config.policy != Policy::Fastest {
            return;
        }
        for id in self.job_order.clone() {
            self.count_fetchers(id);
        }
        let many = self.jobs.values().any(|job| job.wants() && job.many);
        let Some(begins) = self.sparing.measure(elapsed_us, self.origin_active > 0, many, peers) else {
            return;
        };
        for id in self.job_order.clone() {
            if !begins {
                self.release_claims(now, id);
                continue;
            }
            if !self.shares_origin(id) {
                continue;
            }
            // What is under way already is ours, unless somebody said before that it is theirs.
            let Some(job) = self.jobs.get(&id) else { continue };
            let active = |at: &usize| job.blocks[*at].active && !job.blocks[*at].stopping;
            for at in (0..job.blocks.len()).filter(active).collect::<Vec<_>>() {
                let Some(job) = self.jobs.get(&id) else { continue };
                let unit = job.unit_of(at as u32);
                let ours = score(&job.blocks[unit as usize].block.xorb, &self.config.peer_id);
                match job.claims.units.get(&unit) {
                    Some(known) if known.mine => {}
                    Some(known) if known.claim.is_some_and(|(theirs, _)| theirs > ours) => {
                        self.yield_unit(id, unit);
                    }
                    _ => self.claim(now, id, unit, ours),
                }
            }
            self.pass_on_soon(now, id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    /// One measurement: MB of the origin and MB/s of the peers.
    fn measure(sparing: &mut Sparing, origin: u32, peers: u64) -> Option<bool> {
        sparing.came(origin * 1_000_000);
        sparing.measure(SECOND, origin > 0, true, peers * 1_000_000)
    }

    #[test]
    fn an_origin_that_gives_less_than_half_of_what_the_peers_give_is_shared() {
        let mut sparing = Sparing::default();
        for _ in 0..3 {
            assert_eq!(measure(&mut sparing, 1, 10), None, "one second has to be believed");
        }
        assert_eq!(measure(&mut sparing, 1, 10), Some(true));
        assert_eq!(measure(&mut sparing, 0, 2), None, "it is not measured while it rests");
        assert_eq!(measure(&mut sparing, 0, 1), Some(false), "the peers alone are no faster any more");
    }

    #[test]
    fn an_origin_that_keeps_up_is_used_beside_the_peers() {
        let mut sparing = Sparing::default();
        for _ in 0..20 {
            assert_eq!(measure(&mut sparing, 6, 10), None);
        }
    }

    #[test]
    fn few_share_nothing() {
        let mut sparing = Sparing::default();
        for _ in 0..20 {
            sparing.came(1);
            assert_eq!(sparing.measure(SECOND, true, false, 10_000_000), None);
        }
        assert_eq!(measure(&mut sparing, 1, 10), Some(true));
        assert_eq!(sparing.measure(SECOND, false, false, 10_000_000), Some(false), "the others have gone");
    }
}
