//! Chunk lists of single xorbs, proven by the xorb's hash: what makes the chunks of a file count, and be shared, before the
//! file's own list is known.

use crate::context::Context;
use crate::jobs::JobState;
use crate::workers::{Done, Work};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use zest_core::node::{Event, FaultKind, OriginFault};
use zest_core::{JobId, LinkId};
use zest_xet::fields::{chunk_record, each};
use zest_xet::{CHUNK_BYTES_MAX, ChunkRef, MANIFEST_RECORD_BYTES, Plan, XORB_CHUNKS_MAX, xorb_hash};

/// Proven lists of a file's xorbs, by the chunks of the file.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    /// By index in the file of a run's first chunk.
    runs: BTreeMap<u32, ListedRun>,
}

#[derive(Debug)]
struct ListedRun {
    /// Where it begins in the file.
    offset: u64,
    count: u32,
    list: Arc<[ChunkRef]>,
    /// Place in `list` of the run's first chunk.
    from: usize,
}

impl Lists {
    /// What the chunk with this index in the file must be, if a list says.
    pub(crate) fn get(&self, index: u32) -> Option<ChunkRef> {
        let (run, at) = self.run_of(index)?;
        run.list.get(at).copied()
    }

    /// The same, and where it begins in the file.
    pub(crate) fn place(&self, index: u32) -> Option<(ChunkRef, u64)> {
        let (run, at) = self.run_of(index)?;
        let (chunk, before) = run.list.get(run.from..=at)?.split_last()?;
        Some((*chunk, run.offset + before.iter().map(|chunk| u64::from(chunk.len)).sum::<u64>()))
    }

    /// The run that the chunk with this index in the file lies in, and its place in that run's list.
    fn run_of(&self, index: u32) -> Option<(&ListedRun, usize)> {
        let (first, run) = self.runs.range(..=index).next_back()?;
        let at = index - first;
        (at < run.count).then(|| (run, run.from + at as usize))
    }

    /// Takes a run of the file in that begins at `offset` and whose chunks are `list[from..]`.
    pub(crate) fn add(&mut self, first: u32, count: u32, offset: u64, list: Arc<[ChunkRef]>, from: usize) {
        self.runs.insert(first, ListedRun { offset, count, list, from });
    }
}

/// The list of a block as its chunks turned out to be, if it has been seen whole.
fn seen_list(job: &JobState, plan: &Plan, block: u32) -> Option<Vec<ChunkRef>> {
    let table = job.file.table.lock().expect("no holder panics");
    plan.seen_list(block, |index| table.get(index).map(|seen| seen.chunk))
}

/// Looks whether what came for a block is a whole xorb, and leaves its list in the mailbox if so: behind its chunks, which
/// the node would ask others for if it knew the list first.
pub(crate) async fn prove_block(context: &Rc<Context>, id: JobId, job: &Rc<JobState>, block: u32) {
    if job.file.manifest.get().is_some() || job.lists.of_block(block).is_some() {
        return;
    }
    let Some(plan) = job.lists.plan() else { return };
    let Some(list) = seen_list(job, &plan, block) else { return };
    let xorb = plan.blocks[block as usize].xorb;
    let (to, proven) = tokio::sync::oneshot::channel();
    context.disk.push(Work::Task(Box::new(move || {
        let _ = to.send((xorb_hash(&list) == xorb).then_some(list));
    })));
    if let Ok(Some(list)) = proven.await {
        context.disk.mailbox.send(Done::BlockProven { job: id, block, list });
    }
}

/// A block turned out to be a whole xorb with this list.
pub(crate) fn block_proven(context: &Rc<Context>, id: JobId, block: u32, list: Vec<ChunkRef>) {
    let Some(job) = context.jobs.get(id) else { return };
    let Some(plan) = job.lists.plan() else { return };
    adopt_list(context, id, &job, &plan, block, list);
}

/// Proves the chunk list of a block's xorb that a peer sent.
pub(crate) async fn prove_records(
    context: Rc<Context>,
    id: JobId,
    block: u32,
    link: LinkId,
    records: crate::buffers::Buffer,
) {
    let Some(job) = context.jobs.get(id) else { return };
    let Some(plan) = job.lists.plan() else { return };
    let Some(xorb) = plan.blocks.get(block as usize).map(|range| range.xorb) else { return };
    let (to, proven) = tokio::sync::oneshot::channel();
    context.disk.push(Work::Task(Box::new(move || {
        let _ = to.send(read_records(records.as_ref()).filter(|list| xorb_hash(list) == xorb));
    })));
    match proven.await {
        Ok(Some(list)) => adopt_list(&context, id, &job, &plan, block, list),
        Ok(None) => {
            tracing::warn!(link = link.0, %xorb, "a peer's list of a xorb does not prove");
            context.event(Event::BlockListBad { job: id, block, link });
        }
        Err(_) => {}
    }
}

/// Records in wire form; `None` if they cannot be those of a xorb.
fn read_records(records: &[u8]) -> Option<Vec<ChunkRef>> {
    let count = records.len() / MANIFEST_RECORD_BYTES;
    if !records.len().is_multiple_of(MANIFEST_RECORD_BYTES) || !(1..=XORB_CHUNKS_MAX).contains(&count) {
        return None;
    }
    let lawful = |chunk: ChunkRef| (1..=CHUNK_BYTES_MAX as u32).contains(&chunk.len).then_some(chunk);
    each(chunk_record, records).map(lawful).collect()
}

/// Makes a proven list the measure of a block, and tells the node.
pub(crate) fn adopt_list(
    context: &Rc<Context>,
    id: JobId,
    job: &Rc<JobState>,
    plan: &Plan,
    block: u32,
    list: Vec<ChunkRef>,
) {
    let range = &plan.blocks[block as usize];
    if job.file.manifest.get().is_some() || job.lists.of_block(block).is_some() {
        return;
    }
    let list: Arc<[ChunkRef]> = list.into();
    if !fits_plan(plan, block, &list) {
        // The list is the xorb's: the layout cannot be true.
        let text = format!("the CAS described xorb {} of {} wrongly", range.xorb, job.file.file);
        context.event(Event::OriginGone { job: id, why: OriginFault::new(FaultKind::Permanent, text) });
        return;
    }
    let terms = || range.terms.iter().map(|&term| &plan.terms[term as usize]);
    job.file.set_lists(|lists| {
        for term in terms() {
            let count = term.chunks.end - term.chunks.start;
            lists.add(term.first_index, count, term.offset, list.clone(), term.chunks.start as usize);
        }
    });
    let wrong = job.file.wrong(
        terms().flat_map(|term| term.first_index..term.first_index + (term.chunks.end - term.chunks.start)),
    );
    job.lists.set_block(block, list.clone());
    job.news.notify_waiters();
    let whole = range.chunks.start == 0 && range.chunks.end as usize == list.len();
    let of_block =
        if whole { list } else { list[range.chunks.start as usize..range.chunks.end as usize].into() };
    context.event(Event::BlockListed { job: id, block, list: of_block, wrong });
}

/// Whether a xorb's list has the chunks of the block, and its terms the lengths the plan says.
fn fits_plan(plan: &Plan, block: u32, list: &[ChunkRef]) -> bool {
    let range = &plan.blocks[block as usize];
    range.chunks.end as usize <= list.len()
        && range.terms.iter().map(|&term| &plan.terms[term as usize]).all(|term| {
            let chunks = &list[term.chunks.start as usize..term.chunks.end as usize];
            chunks.iter().map(|chunk| u64::from(chunk.len)).sum::<u64>() == term.len
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use zest_xet::Hash;

    fn xorb(n: u8) -> Hash {
        Hash::from_bytes([n; 32])
    }

    #[test]
    fn a_list_answers_for_every_run_that_repeats_it_and_for_nothing_else() {
        let chunk = |n: u8| ChunkRef { hash: xorb(n), len: 10 };
        let list: Arc<[ChunkRef]> = (0..9).map(chunk).collect();
        let mut lists = Lists::default();
        lists.add(3, 6, 300, list.clone(), 0);
        lists.add(20, 2, 2_000, list, 7);
        let found: Vec<Option<ChunkRef>> =
            [2, 3, 8, 9, 19, 20, 21, 22].map(|index| lists.get(index)).to_vec();
        let want = [None, Some(0), Some(5), None, None, Some(7), Some(8), None];
        assert_eq!(found, want.map(|n| n.map(chunk)));
        let offset = |index| lists.place(index).map(|(_, offset)| offset);
        assert_eq!([2, 3, 8, 21].map(offset), [None, Some(300), Some(350), Some(2_010)]);
    }

    #[test]
    fn records_that_cannot_be_a_xorbs_are_refused() {
        let mut record = [7; MANIFEST_RECORD_BYTES];
        record[32..].copy_from_slice(&100u32.to_be_bytes());
        assert_eq!(read_records(&record), Some(vec![ChunkRef { hash: xorb(7), len: 100 }]));
        assert_eq!(read_records(&[]), None);
        assert_eq!(read_records(&record[1..]), None);
        assert_eq!(read_records(&record.repeat(XORB_CHUNKS_MAX + 1)), None);
        record[32..].copy_from_slice(&131_073u32.to_be_bytes());
        assert_eq!(read_records(&record), None);
        record[32..].copy_from_slice(&[0; 4]);
        assert_eq!(read_records(&record), None);
    }
}
