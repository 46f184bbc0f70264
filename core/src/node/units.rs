//! The parts in which a swarm shares the origin's work under `spare-origin`: which blocks belong together, whether a part is
//! still needed, and whose it is by lot.

use super::claims::CLAIM_MAX;
use super::job::Job;
use crate::{Duration, PeerId};
use zest_xet::Hash;

/// A node's score for a unit: the first 8 bytes of SHA-1(xorb hash ‖ peer id).
pub(crate) fn score(xorb: &Hash, peer_id: &PeerId) -> u64 {
    use sha1::Digest as _;
    let mut sha = sha1::Sha1::new();
    sha.update(xorb.as_bytes());
    sha.update(peer_id.0);
    let digest: [u8; 20] = sha.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// How long a unit of this job takes at this rate.
pub(crate) fn unit_time(job: &Job, bytes_s: u64) -> Duration {
    let bytes = job.spec.size / (job.blocks.len() as u64).max(1);
    Duration::from_micros(
        (bytes.saturating_mul(1_000_000) / bytes_s.max(1)).min(CLAIM_MAX.as_micros() as u64),
    )
}

impl Job {
    /// Whether the block is a unit of its own.
    pub(crate) fn stands_alone(&self, block: u32) -> bool {
        self.manifest.is_some() || self.blocks[block as usize].block.whole
    }

    /// The first block of those that only the whole file proves; its number stands for all of them.
    pub(crate) fn group(&self) -> Option<u32> {
        (0..self.blocks.len() as u32).find(|block| !self.stands_alone(*block))
    }

    /// The unit a block belongs to.
    pub(crate) fn unit_of(&self, block: u32) -> u32 {
        if self.stands_alone(block) { block } else { self.group().unwrap_or(block) }
    }

    /// Blocks of a unit.
    pub(crate) fn blocks_of(&self, unit: u32) -> impl Iterator<Item = u32> + '_ {
        let alone = self.stands_alone(unit);
        let end = if alone { unit + 1 } else { self.blocks.len() as u32 };
        (unit..end).filter(move |block| alone || !self.stands_alone(*block))
    }

    /// Chunks of a unit, by index in the file.
    fn indices_of(&self, unit: u32) -> impl Iterator<Item = u32> + '_ {
        self.blocks_of(unit).flat_map(|block| self.blocks[block as usize].indices())
    }

    /// Whether nothing of the unit has to come from the origin any more.
    pub(crate) fn is_there(&self, unit: u32) -> bool {
        // Without a manifest the group is of use to others only once the whole file is proven.
        let alone = self.stands_alone(unit);
        let there = |index: u32| {
            self.held.contains(index) || ((alone || self.supply.has_seeds()) && self.supply.has(index))
        };
        self.indices_of(unit).all(there)
    }

    /// Whether the unit is held here.
    pub(crate) fn is_held(&self, unit: u32) -> bool {
        self.indices_of(unit).all(|index| self.held.contains(index))
    }
}
