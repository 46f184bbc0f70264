//! The parts in which a swarm shares the origin's work under `spare-origin`: which blocks belong together, whether a part is
//! still needed, and whose it is by lot.

use super::job::Job;
use super::peer::Peer;
use crate::{Duration, JobId, PeerId};
use zest_xet::Hash;

/// A line on which a file comes quickly: 100 MB/s. Ours.
const QUICK_BYTES_S: u64 = 100_000_000;

/// A node's score for a unit: the first 8 bytes of SHA-1(xorb hash ‖ peer id), big-endian.
#[must_use]
pub fn score(xorb: &Hash, peer_id: &PeerId) -> u64 {
    use sha1::Digest as _;
    let mut sha = sha1::Sha1::new();
    sha.update(xorb.as_bytes());
    sha.update(peer_id.0);
    let digest: [u8; 20] = sha.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// Who says that it has fetched a unit, is linked and has given nothing yet, is waited for so long until it says what it gives: 1 s. Ours.
const DONE_SHOWS: Duration = Duration::from_secs(1);

impl Job {
    /// Whether the block is a unit of its own.
    pub(crate) fn stands_alone(&self, block: u32) -> bool {
        self.lists.manifest.is_some() || self.origin.blocks[block as usize].block.whole
    }

    /// The first block of those that only the whole file proves; its number stands for all of them.
    pub(crate) fn group(&self) -> Option<u32> {
        (0..self.origin.blocks.len() as u32).find(|block| !self.stands_alone(*block))
    }

    /// The unit a block belongs to.
    pub(crate) fn unit_of(&self, block: u32) -> u32 {
        if self.stands_alone(block) { block } else { self.group().unwrap_or(block) }
    }

    /// Blocks of a unit.
    pub(crate) fn blocks_of(&self, unit: u32) -> impl Iterator<Item = u32> + '_ {
        let alone = self.stands_alone(unit);
        let end = if alone { unit + 1 } else { self.origin.blocks.len() as u32 };
        (unit..end).filter(move |block| alone || !self.stands_alone(*block))
    }

    /// Chunks of a unit.
    pub(super) fn indices_of(&self, unit: u32) -> impl Iterator<Item = u32> + '_ {
        self.blocks_of(unit).flat_map(|block| self.origin.blocks[block as usize].indices())
    }

    /// Chunks of a unit, and how many of them are held here or at peers that count.
    pub(crate) fn near(&self, unit: u32) -> (u32, u32) {
        // Without a manifest the group is of use to others only once the whole file is proven.
        let others = (self.stands_alone(unit) || self.supply.has_seeds()).then(|| self.supply.parts());
        let seeds = self.supply.has_seeds();
        let count =
            |first, end| if seeds { end - first } else { self.sets.held.count_in(first, end, others) };
        let (all, near) = self.count(unit, count);
        // What its owner tells of while it streams is on its way, and no proof that the rest is.
        let told = if self.stands_alone(unit) { self.told_of(unit) } else { 0 };
        (all, near.max(told.min(all.saturating_sub(1))))
    }

    /// How long a claim to a unit is believed of which nothing new turns up; `teller`: who told of it, if it is still linked.
    pub(super) fn believes(&self, id: JobId, unit: u32, done: bool, teller: Option<&Peer>) -> Duration {
        let by = self.claims.units.get(&unit).and_then(|standing| standing.told_by);
        // Who has all of it says on the same link, a moment before or after, that it gives it; chunk by chunk, where those are known.
        let given_nothing = || teller.is_none_or(|peer| !peer.word.useful);
        let has_some = |peer: &Peer| {
            let has = peer.jobs.get(&id).map(|with| &with.has);
            has.is_some_and(|has| self.indices_of(unit).any(|index| has.may_have(index)))
        };
        let shows = || {
            self.lists.manifest.is_some() && teller.is_some_and(|peer| !peer.word.denied && has_some(peer))
        };
        if done && by.is_some_and(|by| by.own) && given_nothing() && !shows() {
            return DONE_SHOWS;
        }
        if self.lists.manifest.is_some() || unit as usize >= self.origin.blocks.len() {
            // Whom we gave way to shows something soon, of whatever part: it stops nobody's stream to do nothing.
            let vain = !done
                && by.is_some_and(|by| by.own && by.instead_of_ours)
                && given_nothing()
                && teller.is_none_or(|peer| peer.told_nothing(id));
            return if vain { self.claims.idle(done) / 2 } else { self.claims.idle(done) };
        }
        let wire = |block: u32| self.origin.blocks[block as usize].block.wire_bytes;
        let long = self.claims.idle_unseen(done, self.blocks_of(unit).map(wire).sum());
        let Some(by) = by else { return long };
        let short = self.claims.idle(done);
        if by.own {
            // Its first chunk is offered as soon as it is there.
            let counts = || teller.is_some_and(Peer::counts);
            let offers = || counts() && self.unproven.is_offered(unit, by.link);
            let silent = by.offers && self.stands_alone(unit) && !offers();
            return if silent { short } else { long };
        }
        // Whom nothing proves yet holds up the whole file by a quarter of the time that it takes on a quick line, unless its owner may be
        // somebody we are not linked with, of whose stream nothing is seen before its end.
        let all: u64 = (0..self.origin.blocks.len() as u32).map(wire).sum();
        let quarter = Duration::from_micros(all.saturating_mul(1_000_000) / (4 * QUICK_BYTES_S));
        if by.useful || self.claims.far { long } else { long.min(short.max(quarter)) }
    }

    /// Whether nothing of the unit has to come from the origin any more.
    pub(crate) fn is_there(&self, unit: u32) -> bool {
        let (all, near) = self.near(unit);
        near >= all
    }

    /// Whether the unit is held here.
    pub(crate) fn is_held(&self, unit: u32) -> bool {
        let (all, held) = self.count(unit, |first, end| self.sets.held.count_in(first, end, None));
        held >= all
    }

    /// Chunks of a unit in all, and those that `some` counts in a run.
    fn count(&self, unit: u32, some: impl Fn(u32, u32) -> u32) -> (u32, u32) {
        let runs = self.blocks_of(unit).flat_map(|block| &self.origin.blocks[block as usize].block.runs);
        runs.fold((0, 0), |(all, counted), run| {
            (all + run.count, counted + some(run.first, run.first + run.count))
        })
    }
}
