//! What a peer streams from the origin and nothing proves yet (`docs/protocol.md` §4.6): it lies where it belongs if its author told the
//! truth, as long as nothing of that block is there that it could fall on; else beside the partial file, in files that have no name. No
//! journal tells of it, so that nothing of it outlives the process.
//!
//! The node says whom to believe and when something is proven. Here is where such chunks lie, and that none counts before a proven list
//! names what this process found it to be.

use crate::buffers::Buffer;
use crate::context::Context;
use crate::file_kind::FileKind;
use crate::jobs::{JobFile, JobState};
use crate::lists::adopt_list;
use crate::workers::{ChunkPlace, Compared, TentativePlace, Work};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use zest_core::node::Event;
use zest_core::{JobId, LinkId, Location};
use zest_xet::{ChunkRef, Plan};

/// What a job keeps of its blocks.
#[derive(Debug, Default)]
pub(crate) struct Tentative {
    blocks: BTreeMap<u32, Kept>,
    /// Proven chunks that are being copied into the partial file, and which a peer gave.
    copied: BTreeSet<u32>,
}

/// The chunks of one block.
#[derive(Debug)]
struct Kept {
    /// Those in the partial file; `None` where they could fall on something.
    placed: Option<Placed>,
    /// Those beside it, in the order they came: the file, and how long it is.
    beside: Option<(Arc<File>, u64)>,
}

/// Chunks of a block in the partial file that nothing proves yet.
#[derive(Debug)]
struct Placed {
    /// The name under which their places are taken.
    stream: u32,
    /// Whether more may be written there. Looked at with the job's lists held.
    open: Arc<AtomicBool>,
    /// By index in the file: what lies there, and where.
    chunks: BTreeMap<u32, (ChunkRef, u64)>,
}

impl Placed {
    /// Nothing more is written there, and nothing is being written; what nobody has proven is anyone's.
    fn close(self, file: &JobFile) {
        self.open.store(false, Ordering::Relaxed);
        file.await_unproven();
        file.end_stream(self.stream);
    }
}

impl Tentative {
    /// Whether a peer gave what was copied into the file. Asked once.
    pub(crate) fn was_copied(&mut self, index: u32) -> bool {
        self.copied.remove(&index)
    }

    /// What is kept of a block, and whether its chunks may lie where they belong, which is asked once.
    fn of(&mut self, block: u32, placed: impl FnOnce() -> Option<Placed>) -> &mut Kept {
        self.blocks.entry(block).or_insert_with(|| Kept { placed: placed(), beside: None })
    }
}

impl Kept {
    /// Room for a chunk beside the file: which file, and where in it. A new one comes from `beside`.
    fn room(
        &mut self,
        len: u32,
        beside: impl FnOnce() -> std::io::Result<File>,
    ) -> std::io::Result<(Arc<File>, u64)> {
        let (file, end) = match &mut self.beside {
            Some(kept) => kept,
            none => none.insert((Arc::new(beside()?), 0)),
        };
        let at = *end;
        *end += u64::from(len);
        Ok((file.clone(), at))
    }

    /// What makes a chunk count that is kept at `from` and whose place and hash are proven by now; `None` if another lies there.
    fn taken(
        &self,
        file: &Arc<JobFile>,
        place: ChunkPlace,
        expected: ChunkRef,
        from: Location,
    ) -> Option<Work> {
        let job = file.clone();
        let placed = self.placed.as_ref();
        if let Some((stream, lies)) = placed.and_then(|own| Some((own.stream, own.chunks.get(&place.index)?)))
        {
            let is_it = *lies == (expected, place.offset);
            return is_it.then_some(Work::Adopt { job, place, chunk: expected, stream });
        }
        let (file, _) = self.beside.as_ref()?;
        let (file, from, len) = (file.clone(), from.offset, from.len);
        Some(Work::Copy { job, place, len, expected: Some(expected), file, from })
    }
}

/// Where chunks of a block that nothing proves would lie in the file, if none of them can fall on anything: each has one place there, and
/// nothing of the block is there yet. Whoever gives it is the only one who does, until it is dropped or proven.
fn placed(job: &JobState, plan: &Plan, block: u32) -> Option<Placed> {
    let range = plan.blocks.get(block as usize)?;
    let terms = || range.terms.iter().map(|&term| &plan.terms[term as usize]);
    let places: u32 = terms().map(|term| term.chunks.end - term.chunks.start).sum();
    let indices =
        terms().flat_map(|term| term.first_index..term.first_index + (term.chunks.end - term.chunks.start));
    let alone = places == range.chunks.end - range.chunks.start && !job.file.was_ranged();
    let untouched = alone && job.file.table.lock().expect("no holder panics").is_untouched(indices);
    untouched.then(|| Placed {
        stream: job.file.begin_stream(),
        open: Arc::new(AtomicBool::new(true)),
        chunks: BTreeMap::new(),
    })
}

/// The block of a file's chunk, its place in the block, and where it begins in the file if a proven list tells.
fn in_block(job: &JobState, plan: &Plan, index: u32) -> Option<(u32, u32, Option<u64>)> {
    let at = plan.terms.partition_point(|term| term.first_index <= index).checked_sub(1)?;
    let term = plan.terms.get(at)?;
    let number = term.chunks.start + (index - term.first_index);
    let block = plan.blocks.get(term.block as usize)?;
    let nth = number.checked_sub(block.chunks.start)?;
    let listed = job.lists.of_block(term.block);
    let before = listed.as_ref().and_then(|list| list.get(term.chunks.start as usize..number as usize));
    let offset = before.map(|list| term.offset + list.iter().map(|chunk| u64::from(chunk.len)).sum::<u64>());
    Some((term.block, nth, offset))
}

/// Tells the node what a chunk of the origin turned out to be, as long as nothing says what it must be.
pub(crate) fn hashed(context: &Rc<Context>, id: JobId, job: &JobState, index: u32) {
    if !job.sharing.shared || job.file.expected(index).is_some() {
        return;
    }
    let Some(plan) = job.lists.plan() else { return };
    let Some((block, nth, _)) = in_block(job, &plan, index) else { return };
    let seen = job.file.table.lock().expect("no holder panics").get(index);
    if let Some(seen) = seen {
        context.event(Event::ChunkHashed { job: id, block, nth, chunk: seen.chunk });
    }
}

/// Compares a chunk with what its author told, and keeps it if it is that. `before` it lie so many bytes of its run.
pub(crate) fn compare(
    context: &Rc<Context>,
    (id, block, nth): (JobId, u32, u32),
    before: u64,
    chunk: ChunkRef,
    buf: Buffer,
    link: LinkId,
) {
    let Some(job) = context.jobs.get(id) else { return };
    let plan = job.lists.plan();
    // In the file, if what was told leads to a place in it.
    let place = plan.as_ref().and_then(|plan| {
        let number = plan.blocks.get(block as usize)?.chunks.start.checked_add(nth)?;
        let (term, index) = plan.places(block, number).next()?;
        let term = &plan.terms[term as usize];
        let fits = before.checked_add(u64::from(chunk.len))? <= term.len;
        fits.then_some(ChunkPlace { index, offset: term.offset + before })
    });
    let mut tentative = job.tentative.borrow_mut();
    let kept = tentative.of(block, || plan.as_ref().and_then(|plan| placed(&job, plan, block)));
    let to = match (&kept.placed, place) {
        (Some(placed), Some(place)) => TentativePlace::Own {
            file: job.file.clone(),
            place,
            stream: placed.stream,
            open: placed.open.clone(),
        },
        _ => {
            // Once it is sealed nothing more is kept, and the node has dropped the rest.
            let sealed = || std::io::Error::other("the file is complete");
            let beside = || job.file.beside().unwrap_or_else(|| Err(sealed()));
            match kept.room(chunk.len, beside) {
                Ok((file, offset)) => TentativePlace::Beside { file, offset },
                Err(error) => {
                    drop(tentative);
                    return lost(context, id, block, link, &error);
                }
            }
        }
    };
    drop(tentative);
    context.disk.push(Work::Compare { job: id, block, nth, chunk, buf, link, to });
}

/// A worker has compared a chunk with what was told.
pub(crate) fn compared(
    context: &Rc<Context>,
    (id, block, nth): (JobId, u32, u32),
    link: LinkId,
    kept: std::io::Result<Compared>,
) {
    let file = FileKind::Tentative(block).id();
    let keep = |offset, len| {
        let from = Location { file, offset, len };
        context.event(Event::TentativeKept { job: id, block, nth, link, from });
    };
    match kept {
        Ok(Compared::Beside { offset, len }) => keep(offset, len),
        Ok(Compared::Own { place, chunk, stream }) => {
            if let Some(job) = context.jobs.get(id)
                && let Some(kept) = job.tentative.borrow_mut().blocks.get_mut(&block)
                && let Some(placed) = kept.placed.as_mut().filter(|placed| placed.stream == stream)
            {
                placed.chunks.insert(place.index, (chunk, place.offset));
            }
            keep(place.offset, chunk.len);
        }
        Ok(Compared::Wrong) => {
            tracing::warn!(link = link.0, block, nth, "a peer gave another chunk than it told of");
            if let Some(job) = context.jobs.get(id) {
                job.counts.count(|counts| counts.bad_chunks += 1);
            }
            context.event(Event::TentativeBad { job: id, block, nth, link });
        }
        Err(error) => lost(context, id, block, link, &error),
    }
}

/// There is no room for it: the job goes on without.
fn lost(context: &Rc<Context>, id: JobId, block: u32, link: LinkId, error: &std::io::Error) {
    tracing::warn!(%error, "what peers stream cannot be kept before it is proven");
    context.event(Event::TentativeLost { job: id, block, link });
}

/// Nothing of a block is of any use.
pub(crate) fn drop_block(context: &Context, id: JobId, block: u32) {
    if let Some(job) = context.jobs.get(id) {
        let kept = job.tentative.borrow_mut().blocks.remove(&block);
        if let Some(placed) = kept.and_then(|kept| kept.placed) {
            placed.close(&job.file);
        }
    }
}

/// A list that was told proved itself against the xorb's hash.
pub(crate) fn adopt_told(context: &Rc<Context>, id: JobId, block: u32, list: &[ChunkRef]) {
    let Some(job) = context.jobs.get(id) else { return };
    let Some(plan) = job.lists.plan() else { return };
    adopt_list(context, id, &job, &plan, block, list.to_vec());
    // Blocks of which all is in the file need no other place.
    let mut tentative = job.tentative.borrow_mut();
    let wanted = |at: u32| {
        let wanted = |n: u32| plan.places(at, n).any(|(_, index)| context.machine.needs(id, index));
        plan.blocks.get(at as usize).is_some_and(|block| block.chunks.clone().any(wanted))
    };
    let unwanted: Vec<u32> = tentative.blocks.keys().copied().filter(|at| !wanted(*at)).collect();
    for placed in unwanted.iter().filter_map(|at| tentative.blocks.remove(at)?.placed) {
        placed.close(&job.file);
    }
}

/// Lets a chunk count that a peer gave before it was proven, or copies it into the partial file; false if it is no such place.
pub(crate) fn copy(context: &Rc<Context>, id: JobId, job: &JobState, index: u32, from: Location) -> bool {
    let FileKind::Tentative(block) = FileKind::of(from.file) else { return false };
    let plan = job.lists.plan();
    let at = plan.and_then(|plan| in_block(job, &plan, index)).and_then(|(.., offset)| offset);
    let at = job.file.manifest.get().map(|manifest| manifest.offset(index)).or(at);
    // Without a proven list there is nothing to prove it by.
    let proven = at.zip(job.file.expected(index));
    let work = proven.and_then(|(offset, expected)| {
        let place = ChunkPlace { index, offset };
        job.tentative.borrow().blocks.get(&block)?.taken(&job.file, place, expected, from)
    });
    let Some(work) = work else {
        context.event(Event::ChunkBad { job: id, index, source: zest_core::node::Source::Disk });
        return true;
    };
    job.tentative.borrow_mut().copied.insert(index);
    context.disk.push(work);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_of_a_block_lie_one_behind_the_other() {
        let mut tentative = Tentative::default();
        let mut place = |block, len| tentative.of(block, || None).room(len, tempfile::tempfile).unwrap().1;
        assert_eq!([place(3, 10), place(3, 20), place(4, 5), place(3, 1)], [0, 10, 0, 30]);
    }
}
