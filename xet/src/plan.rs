//! How a file is laid out in xorbs, and what one has to fetch for it.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::ops::Range;

use crate::CHUNK_BYTES_MAX;
use crate::hash::Hash;
use crate::reconstruction::{FetchRange, Reconstruction, Term};

/// The layout of one whole file: a pure function of its [`Reconstruction`].
///
/// Two numberings meet here: a chunk's *index* counts the chunks of the file, its *number in the xorb* those of the
/// xorb. Nothing in a plan is proven; a wrong one makes chunks fail their check, it cannot smuggle bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Bytes of the file.
    pub size: u64,
    /// Chunks of the file.
    pub chunks: u32,
    /// Runs of chunks in file order; together they are the file.
    pub terms: Vec<PlanTerm>,
    /// What to fetch, in order of first use.
    pub blocks: Vec<PlanBlock>,
}

/// A run of chunks that are neighbours both in the file and in a xorb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanTerm {
    /// The xorb.
    pub xorb: Hash,
    /// Chunk numbers in the xorb, end excluded.
    pub chunks: Range<u32>,
    /// File chunk index of `chunks.start`.
    pub first_index: u32,
    /// Where the run begins in the file.
    pub offset: u64,
    /// Bytes of the run.
    pub len: u64,
    /// Index of the block that serves it.
    pub block: u32,
}

/// A byte range of a serialised xorb to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanBlock {
    /// The xorb.
    pub xorb: Hash,
    /// Chunk numbers in the xorb, end excluded.
    pub chunks: Range<u32>,
    /// Bytes of the serialised xorb, end excluded.
    pub bytes: Range<u64>,
    /// Where to get it, for a while.
    pub url: String,
    /// Indices of the terms served by this block, by `chunks.start`, then by index.
    pub terms: Vec<u32>,
}

/// A reconstruction that does not describe the whole file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// No terms. Empty files have no reconstruction.
    #[error("reconstruction of a file of {size} bytes has no terms")]
    Empty {
        /// Bytes of the file.
        size: u64,
    },
    /// The answer to a request for a part of the file.
    #[error("reconstruction begins {offset} bytes into its first term: it is not that of the whole file")]
    Partial {
        /// Bytes to leave out of the first term.
        offset: u64,
    },
    /// A term whose length its chunks cannot have.
    #[error("term {term} of chunks {start}..{end} has {len} bytes unpacked")]
    TermLength {
        /// Position among the terms.
        term: u32,
        /// First chunk.
        start: u32,
        /// Chunk after the last.
        end: u32,
        /// Its bytes.
        len: u64,
    },
    /// Terms that do not add up to the file.
    #[error("terms 0 to {term} have {sum} bytes, the file has {size}")]
    Size {
        /// The last term added: the one that goes past the end, or the last of all.
        term: u32,
        /// Sum of the lengths.
        sum: u64,
        /// Bytes of the file.
        size: u64,
    },
    /// More chunks or terms than a file can have here.
    #[error("reconstruction has more than 2^32 - 1 chunks")]
    Count,
    /// A term that no fetch range contains.
    #[error("term {term} needs chunks {start}..{end} of xorb {xorb}, no fetch range contains them")]
    Uncovered {
        /// Position among the terms.
        term: u32,
        /// The xorb.
        xorb: Hash,
        /// First chunk.
        start: u32,
        /// Chunk after the last.
        end: u32,
    },
}

impl Plan {
    /// Makes the plan of a file of `size` bytes. Each term is served by the smallest fetch range that contains it;
    /// ranges that serve none are dropped.
    ///
    /// # Errors
    /// Says which check failed and for which term.
    pub fn new(from: &Reconstruction, size: u64) -> Result<Self, PlanError> {
        if from.terms.is_empty() {
            return Err(PlanError::Empty { size });
        }
        if from.offset_into_first_range != 0 {
            return Err(PlanError::Partial { offset: from.offset_into_first_range });
        }
        let mut ranges: BTreeMap<Hash, Ranges<'_>> = BTreeMap::new();
        for (xorb, fetches) in &from.fetches {
            let all =
                fetches.iter().flat_map(|fetch| fetch.ranges.iter().map(|range| (range, fetch.url.as_str())));
            ranges.insert(*xorb, Ranges::new(all.collect()));
        }

        let mut plan =
            Self { size, chunks: 0, terms: Vec::with_capacity(from.terms.len()), blocks: Vec::new() };
        let mut offset = 0u64;
        for (at, term) in from.terms.iter().enumerate() {
            // There are no more terms than chunks, and those are counted in 32 bits.
            let at = u32::try_from(at).map_err(|_| PlanError::Count)?;
            let count = check_term(at, term)?;
            let block = match ranges.get_mut(&term.xorb).and_then(|ranges| ranges.smallest(&term.chunks)) {
                Some(candidate) => candidate.block_in(&mut plan.blocks, term.xorb),
                None => {
                    let Range { start, end } = term.chunks;
                    return Err(PlanError::Uncovered { term: at, xorb: term.xorb, start, end });
                }
            };
            plan.blocks[block as usize].terms.push(at);
            plan.terms.push(PlanTerm {
                xorb: term.xorb,
                chunks: term.chunks.clone(),
                first_index: plan.chunks,
                offset,
                len: term.unpacked_len,
                block,
            });
            plan.chunks = plan.chunks.checked_add(count).ok_or(PlanError::Count)?;
            // A term has less than 2^32 · 2^17 bytes, and the sum so far is at most `size`.
            offset = offset.saturating_add(term.unpacked_len);
            if offset > size {
                return Err(PlanError::Size { term: at, sum: offset, size });
            }
        }
        if offset != size {
            return Err(PlanError::Size { term: plan.terms.len() as u32 - 1, sum: offset, size });
        }
        for block in &mut plan.blocks {
            // Stable: terms with the same start stay in file order.
            block.terms.sort_by_key(|&term| plan.terms[term as usize].chunks.start);
        }
        plan.check_invariants();
        Ok(plan)
    }

    /// Where chunk number `chunk` of the xorb, fetched with block `block`, belongs in the file: pairs of term and
    /// file chunk index. Usually one, several when the file repeats data, none for a chunk the file does not use.
    ///
    /// # Panics
    /// When there is no such block.
    pub fn places(&self, block: u32, chunk: u32) -> impl Iterator<Item = (u32, u32)> {
        let terms = &self.blocks[block as usize].terms;
        let begun = terms.partition_point(|&term| self.terms[term as usize].chunks.start <= chunk);
        terms[..begun].iter().filter_map(move |&at| {
            let term = &self.terms[at as usize];
            term.chunks.contains(&chunk).then(|| (at, term.first_index + (chunk - term.chunks.start)))
        })
    }

    /// The term that holds file chunk `index`.
    ///
    /// # Panics
    /// When `index` is not below [`Plan::chunks`].
    #[must_use]
    pub fn term_of_index(&self, index: u32) -> u32 {
        assert!(index < self.chunks, "chunk {index} of a file of {} chunks", self.chunks);
        self.terms.partition_point(|term| term.first_index <= index) as u32 - 1
    }

    /// Asserts what every plan promises.
    pub fn check_invariants(&self) {
        let (mut index, mut offset) = (0, 0);
        for (at, term) in self.terms.iter().enumerate() {
            let block = &self.blocks[term.block as usize];
            assert!(term.first_index == index && term.offset == offset, "terms follow one another");
            assert!(term.xorb == block.xorb, "term {at} is served by a block of its xorb");
            let inside = block.chunks.start <= term.chunks.start && term.chunks.end <= block.chunks.end;
            assert!(inside, "term {at} lies inside its block");
            index += term.chunks.end - term.chunks.start;
            offset += term.len;
        }
        assert!(index == self.chunks && offset == self.size, "terms add up to the file");
        let served: usize = self.blocks.iter().map(|block| block.terms.len()).sum();
        assert_eq!(served, self.terms.len(), "every term belongs to one block");
    }
}

/// Chunks of a term, after checking its range and length.
fn check_term(at: u32, term: &Term) -> Result<u32, PlanError> {
    let Range { start, end } = term.chunks;
    let count = end.saturating_sub(start);
    let len = term.unpacked_len;
    if count == 0 || len < u64::from(count) || len > u64::from(count) * CHUNK_BYTES_MAX as u64 {
        return Err(PlanError::TermLength { term: at, start, end, len });
    }
    Ok(count)
}

/// The fetch ranges of one xorb, sorted by first chunk.
struct Ranges<'a> {
    candidates: Vec<Candidate<'a>>,
}

struct Candidate<'a> {
    range: &'a FetchRange,
    url: &'a str,
    /// Greatest end among this and all earlier ones: where a search backwards may stop.
    end_max: u32,
    /// Its block in the plan, once a term uses it.
    block: Option<u32>,
}

impl<'a> Ranges<'a> {
    fn new(mut all: Vec<(&'a FetchRange, &'a str)>) -> Self {
        all.retain(|(range, _)| !range.chunks.is_empty() && !range.bytes.is_empty());
        all.sort_by_key(|(range, _)| (range.chunks.start, Reverse(range.chunks.end)));
        let mut end_max = 0;
        let candidates = all.into_iter().map(|(range, url)| {
            end_max = range.chunks.end.max(end_max);
            Candidate { range, url, end_max, block: None }
        });
        Ranges { candidates: candidates.collect() }
    }

    /// The smallest range that contains `chunks`; of equal ones the same every time.
    fn smallest(&mut self, chunks: &Range<u32>) -> Option<&mut Candidate<'a>> {
        let begun = self.candidates.partition_point(|candidate| candidate.range.chunks.start <= chunks.start);
        let mut best: Option<(u32, usize)> = None;
        for (at, candidate) in self.candidates[..begun].iter().enumerate().rev() {
            let found = &candidate.range.chunks;
            // Going back, starts only get smaller: what contains `chunks` from here on is at least this long.
            let length_min = chunks.end - found.start;
            if candidate.end_max < chunks.end || best.is_some_and(|(length, _)| length <= length_min) {
                break;
            }
            let length = found.end - found.start;
            if found.end >= chunks.end && best.is_none_or(|(best, _)| length < best) {
                best = Some((length, at));
            }
        }
        best.map(|(_, at)| &mut self.candidates[at])
    }
}

impl Candidate<'_> {
    /// Index of this range's block, added to `blocks` on first use.
    fn block_in(&mut self, blocks: &mut Vec<PlanBlock>, xorb: Hash) -> u32 {
        *self.block.get_or_insert_with(|| {
            blocks.push(PlanBlock {
                xorb,
                chunks: self.range.chunks.clone(),
                bytes: self.range.bytes.clone(),
                url: self.url.into(),
                terms: Vec::new(),
            });
            // No more blocks than terms, which are counted in 32 bits.
            blocks.len() as u32 - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconstruction::Fetch;
    use alloc::string::ToString;
    use alloc::vec;

    fn xorb(name: u8) -> Hash {
        Hash::from_bytes([name; 32])
    }

    fn term(name: u8, chunks: Range<u32>) -> Term {
        let unpacked_len = u64::from(chunks.end - chunks.start) * 1000;
        Term { xorb: xorb(name), chunks, unpacked_len }
    }

    fn fetch(url: &str, ranges: &[Range<u32>]) -> Fetch {
        let range = |chunks: &Range<u32>| {
            let bytes = u64::from(chunks.start) * 900..u64::from(chunks.end) * 900;
            FetchRange { chunks: chunks.clone(), bytes }
        };
        Fetch { url: url.to_string(), ranges: ranges.iter().map(range).collect() }
    }

    /// A file that uses chunks of xorb 1 twice, and a stretch of xorb 2 in between.
    fn sample() -> Reconstruction {
        Reconstruction {
            offset_into_first_range: 0,
            terms: vec![term(1, 0..10), term(2, 100..110), term(1, 5..7), term(1, 20..21), term(1, 5..6)],
            fetches: BTreeMap::from([
                (xorb(1), vec![fetch("a", &[0..10, 20..21]), fetch("unused", &[30..35, 35..40])]),
                (xorb(2), vec![fetch("whole", &[0..200, 0..300]), fetch("part", &[90..120, 100..112])]),
            ]),
        }
    }

    #[test]
    fn terms_and_blocks_are_laid_out_in_file_order() {
        let plan = Plan::new(&sample(), 24_000).unwrap();
        assert_eq!(plan.chunks, 24);
        let terms: Vec<_> =
            plan.terms.iter().map(|term| (term.first_index, term.offset, term.len, term.block)).collect();
        assert_eq!(
            terms,
            [
                (0, 0, 10_000, 0),
                (10, 10_000, 10_000, 1),
                (20, 20_000, 2000, 0),
                (22, 22_000, 1000, 2),
                (23, 23_000, 1000, 0)
            ]
        );
        let blocks: Vec<_> = plan
            .blocks
            .iter()
            .map(|block| (block.url.as_str(), block.chunks.clone(), block.bytes.clone(), &block.terms[..]))
            .collect();
        assert_eq!(
            blocks,
            [
                ("a", 0..10, 0..9000, &[0, 2, 4][..]),
                ("part", 100..112, 90_000..100_800, &[1]),
                ("a", 20..21, 18_000..18_900, &[3]),
            ]
        );
    }

    #[test]
    fn repeated_chunks_have_several_places() {
        let plan = Plan::new(&sample(), 24_000).unwrap();
        let places = |block, chunk| plan.places(block, chunk).collect::<Vec<_>>();
        assert_eq!(places(0, 0), [(0, 0)]);
        assert_eq!(places(0, 5), [(0, 5), (2, 20), (4, 23)]);
        assert_eq!(places(0, 6), [(0, 6), (2, 21)]);
        assert_eq!(places(0, 10), []);
        assert_eq!(places(1, 109), [(1, 19)]);
        assert_eq!(places(1, 111), [], "fetched with the range, not used by the file");
        for index in 0..plan.chunks {
            let term = plan.term_of_index(index);
            let at = &plan.terms[term as usize];
            let chunk = at.chunks.start + (index - at.first_index);
            assert!(plan.places(at.block, chunk).any(|place| place == (term, index)));
        }
    }

    #[test]
    fn the_smallest_range_that_contains_a_term_serves_it() {
        let fetches = [0..100, 10..60, 10..20, 15..90, 18..19, 40..41];
        let fetches = vec![fetch("u", &fetches)];
        for (chunks, want) in [
            (0..1, 0..100),
            (10..12, 10..20),
            (18..19, 18..19),
            (16..21, 10..60),
            (16..70, 15..90),
            (14..70, 0..100),
            (40..42, 10..60),
        ] {
            let from = Reconstruction {
                offset_into_first_range: 0,
                terms: vec![term(1, chunks.clone())],
                fetches: BTreeMap::from([(xorb(1), fetches.clone())]),
            };
            let plan = Plan::new(&from, u64::from(chunks.end - chunks.start) * 1000).unwrap();
            assert_eq!(plan.blocks[0].chunks, want, "for {chunks:?}");
        }
    }

    #[test]
    fn reconstructions_of_something_else_are_refused() {
        let refuse = |size, change: &dyn Fn(&mut Reconstruction)| {
            let mut changed = sample();
            change(&mut changed);
            Plan::new(&changed, size).unwrap_err()
        };
        assert_eq!(refuse(24_000, &|r| r.terms.clear()), PlanError::Empty { size: 24_000 });
        assert_eq!(refuse(24_000, &|r| r.offset_into_first_range = 1), PlanError::Partial { offset: 1 });
        assert_eq!(refuse(24_001, &|_| {}), PlanError::Size { term: 4, sum: 24_000, size: 24_001 });
        assert_eq!(refuse(19_999, &|_| {}), PlanError::Size { term: 1, sum: 20_000, size: 19_999 });
        assert_eq!(
            refuse(24_000, &|r| r.terms[1].unpacked_len = 9),
            PlanError::TermLength { term: 1, start: 100, end: 110, len: 9 }
        );
        assert_eq!(
            refuse(24_000, &|r| r.terms[1].unpacked_len = u64::MAX),
            PlanError::TermLength { term: 1, start: 100, end: 110, len: u64::MAX }
        );
        #[allow(clippy::reversed_empty_ranges)]
        let reversed = refuse(24_000, &|r| r.terms[1].chunks = 110..100);
        assert_eq!(reversed, PlanError::TermLength { term: 1, start: 110, end: 100, len: 10_000 });
        assert_eq!(
            refuse(24_000, &|r| r.terms[3].chunks = 21..22),
            PlanError::Uncovered { term: 3, xorb: xorb(1), start: 21, end: 22 }
        );
        assert_eq!(
            refuse(24_000, &|r| drop(r.fetches.remove(&xorb(2)))),
            PlanError::Uncovered { term: 1, xorb: xorb(2), start: 100, end: 110 }
        );
    }
}
