//! Which chunk a peer is asked for.

use super::BitSet;
use super::job::Job;
use super::peer::Has;
use super::rng::Rng;
use core::ops::Range;

/// Chunks looked at to find a rare one. Ours; the rarest of 16 is among the rarest tenth of all, nearly always.
const LOOKED_AT: u32 = 16;

/// The next chunk to ask a peer for: of what nobody is at, the rarest of a few; then, from the far end, what blocks under
/// way will give. Where every peer has all, chunks go in order, as the disk likes it.
pub(super) fn pick(
    job: &Job,
    has: &Has,
    cursor: &mut Option<u32>,
    rng: &mut Rng,
    skip: impl Fn(u32) -> bool,
) -> Option<u32> {
    let set = may_have(has)?;
    let all = 0..job.sets.open.len();
    let start = cursor.unwrap_or(0);
    let found = match job.supply.has_parts() {
        true => rarest(job, set, all, rng, &skip),
        false => free(job, set, start..all.end, &skip).or_else(|| free(job, set, all, &skip)),
    };
    if let Some(index) = found {
        *cursor = Some(index + 1);
        return Some(index);
    }
    let mut before = job.sets.open.len();
    loop {
        let index = job.sets.open.prev(before, set)?;
        if !skip(index) {
            return Some(index);
        }
        before = index;
    }
}

/// The same of the job's front alone, and only what nobody is at: blocks under way begin with it.
pub(super) fn pick_of_front(job: &Job, has: &Has, rng: &mut Rng, skip: impl Fn(u32) -> bool) -> Option<u32> {
    let set = may_have(has)?;
    let first = free(job, set, job.front.range(), &skip)?;
    match job.supply.has_parts() {
        true => rarest(job, set, first..job.front.range().end, rng, &skip),
        false => Some(first),
    }
}

/// What a peer may have; `None` within if that is all, and without if it is nothing.
fn may_have(has: &Has) -> Option<Option<&BitSet>> {
    match has {
        Has::None => None,
        Has::Maybe | Has::All => Some(None),
        Has::Guess(set) | Has::Some(set) => Some(Some(set)),
    }
}

/// The first chunk of a range that may be asked for and nobody is at.
fn free(job: &Job, set: Option<&BitSet>, within: Range<u32>, skip: &impl Fn(u32) -> bool) -> Option<u32> {
    let mut at = within.start;
    loop {
        let index = job.sets.open.next_in(at, within.end, set, Some(&job.sets.covered))?;
        if !skip(index) {
            return Some(index);
        }
        at = index + 1;
    }
}

/// The rarest of a few of them, looked at from a random place between the first and the last that could be had, and of
/// equals any: neighbours who hear of the same news must not all ask for the same chunk.
fn rarest(
    job: &Job,
    set: Option<&BitSet>,
    within: Range<u32>,
    rng: &mut Rng,
    skip: &impl Fn(u32) -> bool,
) -> Option<u32> {
    let free = |at| free(job, set, at..within.end, skip);
    let (first, last) = (free(within.start).unwrap_or(0), job.sets.open.prev(within.end, set).unwrap_or(0));
    let start = first + rng.below(last.saturating_sub(first) + 1);
    let mut best: Option<(u16, u32)> = None;
    let mut equals = 0;
    let (mut at, mut wrapped) = (start, false);
    for _ in 0..LOOKED_AT {
        let next = match free(at) {
            Some(index) => Some(index),
            None if !wrapped => {
                wrapped = true;
                free(first)
            }
            None => None,
        };
        let Some(index) = next.filter(|index| !wrapped || *index < start) else { break };
        let count = job.supply.count(index);
        let rarer = best.is_none_or(|(least, _)| count < least);
        equals = if rarer { 1 } else { equals + u32::from(best.is_some_and(|(least, _)| count == least)) };
        if rarer || (best.is_some_and(|(least, _)| count == least) && rng.below(equals) == 0) {
            best = Some((count, index));
        }
        at = index + 1;
    }
    best.map(|(_, index)| index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{JobSpec, Policy};
    use crate::{FileId, Instant};
    use alloc::sync::Arc;
    use alloc::vec::Vec;
    use zest_xet::{ChunkRef, Hash, Manifest, file_hash};

    const LEN: u32 = 1_000;

    /// A job of so many chunks that all are missing and known, of which the first `front` come first.
    fn job(chunks: u32, front: u32) -> Job {
        let chunk = |n: u32| {
            let mut hash = [0; 32];
            hash[..4].copy_from_slice(&n.to_le_bytes());
            ChunkRef { hash: Hash::from_bytes(hash), len: LEN }
        };
        let list: Vec<ChunkRef> = (0..chunks).map(chunk).collect();
        let (file, size) = (file_hash(&list), u64::from(chunks * LEN));
        let front = u64::from(front * LEN);
        let spec = JobSpec { origin: false, front, ..JobSpec::new(file, size, FileId(0)) };
        let mut job = Job::new(Instant::ZERO, spec, Policy::Fastest);
        job.lists.manifest = Some(Arc::new(Manifest::prove(file, size, list).unwrap()));
        job.set_len(chunks);
        job.measure_front();
        job
    }

    fn set(len: u32, of: impl IntoIterator<Item = u32>) -> BitSet {
        let mut set = BitSet::empty(len);
        for index in of {
            set.insert(index);
        }
        set
    }

    fn rng(seed: u8) -> Rng {
        Rng::new([seed; 32])
    }

    #[test]
    fn where_everybody_has_all_chunks_go_in_order_and_round() {
        let mut job = job(4, 0);
        job.supply.add(&Has::All);
        let mut cursor = Some(2);
        let mut next = || pick(&job, &Has::All, &mut cursor, &mut rng(1), |_| false);
        assert_eq!([next(), next(), next()], [Some(2), Some(3), Some(0)]);
    }

    #[test]
    fn the_rarest_of_what_a_peer_has_comes_first() {
        let mut job = job(12, 0);
        job.supply.add(&Has::Some(set(12, 0..12)));
        job.supply.add(&Has::Some(set(12, (0..12).filter(|index| *index != 7))));
        for seed in 0..50 {
            let picked = |has: &Has| pick(&job, has, &mut None, &mut rng(seed), |_| false);
            assert_eq!(picked(&Has::Some(set(12, 0..12))), Some(7));
            assert_ne!(picked(&Has::Some(set(12, 0..7))), Some(7), "this one has it not");
        }
    }

    #[test]
    fn of_equals_neighbours_take_different_ones() {
        let mut job = job(12, 0);
        job.supply.add(&Has::Some(set(12, 0..12)));
        let picked = |seed| pick(&job, &Has::Some(set(12, 0..12)), &mut None, &mut rng(seed), |_| false);
        let different: alloc::collections::BTreeSet<_> = (0..50).map(picked).collect();
        assert!(different.len() > 6, "{different:?}");
    }

    #[test]
    fn what_blocks_under_way_will_give_comes_last_and_from_the_far_end() {
        let mut job = job(6, 0);
        job.supply.add(&Has::All);
        job.sets.covered = set(6, [0, 1, 3, 5]);
        let mut cursor = None;
        for (index, why) in
            [(2, "free"), (4, "free"), (5, "covered, the last"), (3, "covered"), (1, "covered")]
        {
            assert_eq!(pick(&job, &Has::All, &mut cursor, &mut rng(1), |_| false), Some(index), "{why}");
            assert!(job.take(index));
        }
    }

    #[test]
    fn of_the_front_only_what_nobody_is_at_is_asked_for() {
        let mut job = job(9, 3);
        job.supply.add(&Has::All);
        job.sets.covered = set(9, [0]);
        let next = |job: &Job| pick_of_front(job, &Has::All, &mut rng(1), |_| false);
        assert_eq!(next(&job), Some(1));
        assert!(job.take(1) && job.take(2));
        assert_eq!(next(&job), None, "the block under way begins with it");
    }

    #[test]
    fn nothing_is_asked_of_who_has_nothing_or_was_asked_for_all_of_it() {
        let mut job = job(3, 3);
        job.supply.add(&Has::Some(set(3, [1])));
        let has = Has::Some(set(3, [1]));
        assert_eq!(pick(&job, &Has::None, &mut None, &mut rng(1), |_| false), None);
        assert_eq!(pick(&job, &has, &mut None, &mut rng(1), |_| false), Some(1));
        assert_eq!(pick(&job, &has, &mut None, &mut rng(1), |index| index == 1), None);
        assert_eq!(pick_of_front(&job, &has, &mut rng(1), |index| index == 1), None);
        assert_eq!(
            pick(&job, &Has::Maybe, &mut None, &mut rng(1), |index| index != 2),
            Some(2),
            "ask and see"
        );
    }
}
