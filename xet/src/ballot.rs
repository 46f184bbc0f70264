//! What to do when the chunks of a file are all there and do not make it up: a vote for each chunk that nothing vouches for.

use crate::hash::{ChunkRef, Hash};
use crate::manifest::Manifest;
use crate::plan::Plan;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Times that chunks without a proof of their own are fetched again when the whole does not prove.
const ROUNDS_MAX: u32 = 6;

/// The votes of one file. Each chunk for which no whole xorb's hash vouches has one for every time it came.
#[derive(Debug, Clone, Default)]
pub struct Ballot {
    rounds: u32,
    /// What came for such chunks, with the times it came.
    votes: BTreeMap<u32, Vec<(ChunkRef, u32)>>,
}

/// What follows from one more vote.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// The list of leaders proves: only what differs from it is to be fetched again.
    Proven(Manifest),
    /// These are doubtful: they are to be fetched again, for another vote.
    Again(Vec<u32>),
    /// There is nothing to be doubted, or it was enough: the file cannot be proven. Which of these is wrong cannot be told.
    Hopeless(Vec<u32>),
}

impl Ballot {
    /// All chunks of a file came, as `seen`, and do not make it up.
    pub fn count(&mut self, plan: &Plan, file: Hash, seen: impl Fn(u32) -> Option<ChunkRef>) -> Verdict {
        self.rounds += 1;
        let doubtful = plan.doubtful(&seen);
        for &index in &doubtful {
            let Some(chunk) = seen(index) else { continue };
            let votes = self.votes.entry(index).or_default();
            match votes.iter_mut().find(|(other, _)| *other == chunk) {
                Some((_, count)) => *count += 1,
                None => votes.push((chunk, 1)),
            }
        }
        // A single vote says nothing.
        if self.rounds > 1 {
            let leader = |index: u32| {
                let votes = self.votes.get(&index)?;
                votes.iter().max_by_key(|(_, count)| *count).map(|(chunk, _)| *chunk)
            };
            let list = (0..plan.chunks).map(|index| leader(index).or_else(|| seen(index))).collect();
            let proven = |list| Manifest::prove(file, plan.size, list).ok();
            if let Some(manifest) = Option::<Vec<ChunkRef>>::and_then(list, proven) {
                return Verdict::Proven(manifest);
            }
        }
        match doubtful.is_empty() || self.rounds > ROUNDS_MAX {
            true => Verdict::Hopeless(doubtful),
            false => Verdict::Again(doubtful),
        }
    }

    /// Votes so far.
    #[must_use]
    pub fn rounds(&self) -> u32 {
        self.rounds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{PlanBlock, PlanTerm};
    use crate::tree::file_hash;
    use alloc::string::String;
    use alloc::vec;

    fn chunk(n: u8) -> ChunkRef {
        ChunkRef { hash: Hash::from_bytes([n; 32]), len: 1_000 }
    }

    /// A file of two chunks out of the middle of a xorb: nothing but the file's own hash proves them.
    fn plan() -> Plan {
        let (xorb, chunks) = (Hash::from_bytes([9; 32]), 3..5);
        let term = PlanTerm { xorb, chunks: chunks.clone(), first_index: 0, offset: 0, len: 2_000, block: 0 };
        let block = PlanBlock { xorb, chunks, bytes: 0..2_016, url: String::new(), terms: vec![0] };
        Plan { size: 2_000, chunks: 2, terms: vec![term], blocks: vec![block] }
    }

    #[test]
    fn what_came_most_often_leads_and_its_list_is_proven() {
        let (plan, file) = (plan(), file_hash(&[chunk(0), chunk(1)]));
        let mut ballot = Ballot::default();
        let mut came =
            |second: u8| ballot.count(&plan, file, |index| Some(chunk(if index == 0 { 0 } else { second })));
        assert!(
            matches!(came(7), Verdict::Again(doubtful) if doubtful == [0, 1]),
            "nothing vouches for either"
        );
        assert!(matches!(came(8), Verdict::Again(_)), "of equals the last one leads, and it is wrong, too");
        assert!(matches!(came(1), Verdict::Proven(manifest) if manifest.chunk(1) == chunk(1)));
    }

    #[test]
    fn a_file_that_comes_wrong_each_time_is_given_up() {
        let (plan, file) = (plan(), file_hash(&[chunk(0), chunk(1)]));
        let mut ballot = Ballot::default();
        let mut came = || ballot.count(&plan, file, |index| Some(chunk(index as u8 + 5)));
        for _ in 0..ROUNDS_MAX {
            assert!(matches!(came(), Verdict::Again(_)));
        }
        assert!(matches!(came(), Verdict::Hopeless(doubtful) if doubtful == [0, 1]));
    }
}
