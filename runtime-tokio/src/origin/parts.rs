//! Of a block of which most is here already only those parts are streamed that hold a chunk that is not: a repaired file costs its
//! wrong chunks, not the xorbs around them.
//!
//! Where in the xorb a chunk begins the file's list does not tell. The CAS does, asked for the bytes of the file that are wanted,
//! and the address that it gives is good for just these.

use super::OriginFile;
use crate::jobs::JobFile;
use std::ops::Range;
use zest_xet::{Manifest, Plan};

/// Bytes between two parts below which they are streamed as one: 256 KiB, about what an ordinary line brings while one more
/// question is answered.
const GAP_BYTES: u64 = 256 << 10;
/// Parts of one block, at most: 16. Each is a question and an answer.
const PARTS_MAX: usize = 16;

/// What is streamed at once.
pub(super) struct Part {
    /// Chunk numbers in the xorb, end excluded.
    pub(super) chunks: Range<u32>,
    /// Bytes of the serialised xorb, end excluded.
    pub(super) bytes: Range<u64>,
    pub(super) url: String,
}

/// A part before anybody was asked where it lies: chunk numbers in the xorb, and the bytes of the file that they are.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    chunks: Range<u32>,
    bytes: Range<u64>,
}

/// The parts of a block to stream in place of `rest`; `None` if that is as good, or nobody says where they lie.
pub(super) async fn of_block(
    origin: &OriginFile,
    file: &JobFile,
    (plan, block): (&Plan, u32),
    rest: &Part,
    lacks: impl Fn(u32) -> bool,
) -> Option<Vec<Part>> {
    let manifest = file.manifest.get().filter(|manifest| manifest.len() == plan.chunks)?;
    let runs = runs(plan, block, manifest, rest.chunks.start, lacks);
    let cost: u64 = runs.iter().map(|run| run.bytes.end - run.bytes.start + GAP_BYTES).sum();
    if runs.is_empty() || runs.len() > PARTS_MAX || cost >= rest.bytes.end - rest.bytes.start {
        return None;
    }
    let mut parts: Vec<Part> = Vec::with_capacity(runs.len());
    for run in runs {
        let found = origin.layout_of(file, run.bytes.clone()).await;
        let found = found.inspect_err(|why| tracing::debug!(why = why.text, "the CAS tells no part")).ok()?;
        let [place] = &found.blocks[..] else { return None };
        let same = found.terms.iter().all(|term| term.block == 0)
            && place.xorb == plan.blocks[block as usize].xorb
            && place.chunks.start <= run.chunks.start
            && place.chunks.end >= run.chunks.end
            && place.chunks.start >= parts.last().map_or(rest.chunks.start, |part| part.chunks.end)
            && place.chunks.end <= rest.chunks.end;
        if !same {
            return None;
        }
        let (chunks, bytes, url) = (place.chunks.clone(), place.bytes.clone(), place.url.clone());
        parts.push(Part { chunks, bytes, url });
    }
    let bytes = parts.iter().map(|part| part.bytes.end - part.bytes.start).sum::<u64>();
    (bytes < rest.bytes.end - rest.bytes.start).then_some(parts)
}

/// Runs of chunks from `from` on that are lacking, each within one term, since the CAS is asked for neighbours in the file.
fn runs(plan: &Plan, block: u32, manifest: &Manifest, from: u32, lacks: impl Fn(u32) -> bool) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut seen = from;
    for &at in &plan.blocks[block as usize].terms {
        let term = &plan.terms[at as usize];
        let mut last: Option<Run> = None;
        // What two terms have in common is fetched with the first, for both.
        for chunk in term.chunks.start.max(seen)..term.chunks.end {
            if !plan.places(block, chunk).any(|(_, index)| lacks(index)) {
                continue;
            }
            let index = term.first_index + (chunk - term.chunks.start);
            let start = manifest.offset(index);
            let end = start + u64::from(manifest.chunk(index).len);
            match &mut last {
                Some(run) if start - run.bytes.end <= GAP_BYTES => {
                    (run.chunks.end, run.bytes.end) = (chunk + 1, end);
                }
                _ => runs.extend(last.replace(Run { chunks: chunk..chunk + 1, bytes: start..end })),
            }
        }
        runs.extend(last);
        seen = seen.max(term.chunks.end);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use zest_xet::{ChunkRef, Fetch, FetchRange, Hash, Reconstruction, Term, file_hash};

    const LEN: u32 = 100_000;

    /// Ten chunks of a xorb, then two of them once more, as a file of chunks of one length.
    fn laid_out() -> (Plan, Manifest) {
        let xorb = Hash::from_bytes([7; 32]);
        let term = |chunks: Range<u32>| {
            let unpacked_len = u64::from(chunks.end - chunks.start) * u64::from(LEN);
            Term { xorb, chunks, unpacked_len }
        };
        let range = FetchRange { chunks: 0..10, bytes: 0..1_000_080 };
        let fetch = Fetch { url: "here".to_owned(), ranges: vec![range] };
        let from = Reconstruction {
            offset_into_first_range: 0,
            terms: vec![term(0..10), term(4..6)],
            fetches: BTreeMap::from([(xorb, vec![fetch])]),
        };
        let numbers = (0..10).chain(4..6);
        let list: Vec<ChunkRef> =
            numbers.map(|n| ChunkRef { hash: Hash::from_bytes([n; 32]), len: LEN }).collect();
        let size = list.len() as u64 * u64::from(LEN);
        let manifest = Manifest::prove(file_hash(&list), size, list).expect("it is its own hash");
        (Plan::new(&from, size).expect("lawful"), manifest)
    }

    /// First chunk and the one after the last, of each run.
    fn lacking(from: u32, indices: &[u32]) -> Vec<(u32, u32)> {
        let (plan, manifest) = laid_out();
        let runs = runs(&plan, 0, &manifest, from, |index| indices.contains(&index));
        for run in &runs {
            let bytes = |chunk: u32| u64::from(chunk) * u64::from(LEN);
            assert_eq!(run.bytes, bytes(run.chunks.start)..bytes(run.chunks.end));
        }
        runs.into_iter().map(|run| (run.chunks.start, run.chunks.end)).collect()
    }

    #[test]
    fn neighbours_and_what_is_little_apart_are_one_run() {
        assert_eq!(lacking(0, &[3]), [(3, 4)]);
        assert_eq!(lacking(0, &[3, 4, 6]), [(3, 7)], "one chunk between is less than a question");
        assert_eq!(lacking(0, &[0, 9]), [(0, 1), (9, 10)]);
        assert_eq!(lacking(2, &[0, 9]), [(9, 10)], "what lies before is passed already");
        assert_eq!(lacking(0, &[]), []);
    }

    #[test]
    fn a_chunk_that_lies_at_two_places_is_fetched_once() {
        assert_eq!(lacking(0, &[10]), [(4, 5)], "wanted at its second place alone");
        assert_eq!(lacking(0, &[4, 10]), [(4, 5)]);
        assert_eq!(lacking(0, &[0, 11]), [(0, 1), (5, 6)]);
    }
}
