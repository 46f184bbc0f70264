//! What a peer streams from the origin and nothing proves yet (`docs/protocol.md` §4.6): kept beside the partial file, in files that
//! have no name, so that nothing of it outlives the process.
//!
//! The node says whom to believe and when something is proven. Here is where such chunks lie, and that the way from here into the
//! partial file leads through a proof.

use crate::buffers::Buffer;
use crate::context::Context;
use crate::file_kind::FileKind;
use crate::jobs::JobState;
use crate::lists::adopt_list;
use crate::os::FileExt as _;
use crate::workers::{Done, Work};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::rc::Rc;
use std::sync::Arc;
use zest_core::node::Event;
use zest_core::{JobId, LinkId, Location};
use zest_xet::{ChunkRef, Plan, chunk_hash};

/// What a job keeps of its blocks.
#[derive(Debug, Default)]
pub(crate) struct Tentative {
    blocks: BTreeMap<u32, Kept>,
    /// Proven chunks that are being copied into the partial file, and which a peer gave.
    copied: BTreeSet<u32>,
}

/// The chunks of one block, in the order they came.
#[derive(Debug)]
struct Kept {
    file: Arc<File>,
    end: u64,
}

impl Tentative {
    /// Whether a peer gave what was copied into the file. Asked once.
    pub(crate) fn was_copied(&mut self, index: u32) -> bool {
        self.copied.remove(&index)
    }

    /// Room for a chunk: the file, and where in it. A new file comes from `beside`.
    fn room(
        &mut self,
        block: u32,
        len: u32,
        beside: impl FnOnce() -> std::io::Result<File>,
    ) -> std::io::Result<(Arc<File>, u64)> {
        let kept = match self.blocks.entry(block) {
            Entry::Occupied(kept) => kept.into_mut(),
            Entry::Vacant(place) => place.insert(Kept { file: Arc::new(beside()?), end: 0 }),
        };
        let at = kept.end;
        kept.end += u64::from(len);
        Ok((kept.file.clone(), at))
    }
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

/// Compares a chunk with what its author told, and keeps it if it is that.
pub(crate) fn compare(
    context: &Rc<Context>,
    (id, block, nth): (JobId, u32, u32),
    chunk: ChunkRef,
    buf: Buffer,
    link: LinkId,
) {
    let Some(job) = context.jobs.get(id) else { return };
    // Once it is sealed nothing more is kept, and the node has dropped the rest.
    let sealed = || std::io::Error::other("the file is complete");
    let beside = || job.file.beside().unwrap_or_else(|| Err(sealed()));
    let room = job.tentative.borrow_mut().room(block, chunk.len, beside);
    let (file, at) = match room {
        Ok(room) => room,
        Err(error) => return lost(context, id, block, link, &error),
    };
    let mailbox = context.disk.mailbox.clone();
    context.disk.push(Work::Task(Box::new(move || {
        let bytes = buf.as_ref();
        let told = bytes.len() == chunk.len as usize && chunk_hash(bytes) == chunk.hash;
        let from = Location { file: FileKind::Tentative(block).id(), offset: at, len: chunk.len };
        let kept = if told { file.write_all_at(bytes, at).map(|()| Some(from)) } else { Ok(None) };
        mailbox.send(Done::Compared { job: id, block, nth, link, kept });
    })));
}

/// A worker has compared a chunk with what was told.
pub(crate) fn compared(
    context: &Rc<Context>,
    (id, block, nth): (JobId, u32, u32),
    link: LinkId,
    kept: std::io::Result<Option<Location>>,
) {
    match kept {
        Ok(Some(from)) => context.event(Event::TentativeKept { job: id, block, nth, link, from }),
        Ok(None) => {
            tracing::warn!(link = link.0, block, nth, "a peer gave another chunk than it told of");
            if let Some(job) = context.jobs.get(id) {
                job.counts.count(|counts| counts.bad_chunks += 1);
            }
            context.event(Event::TentativeBad { job: id, block, nth, link });
        }
        Err(error) => lost(context, id, block, link, &error),
    }
}

/// There is no room beside the file: the job goes on without.
fn lost(context: &Rc<Context>, id: JobId, block: u32, link: LinkId, error: &std::io::Error) {
    tracing::warn!(%error, "what peers stream cannot be kept before it is proven");
    context.event(Event::TentativeLost { job: id, block, link });
}

/// Nothing of a block is of any use.
pub(crate) fn drop_block(context: &Context, id: JobId, block: u32) {
    if let Some(job) = context.jobs.get(id) {
        job.tentative.borrow_mut().blocks.remove(&block);
    }
}

/// A list that was told proved itself against the xorb's hash.
pub(crate) fn adopt_told(context: &Rc<Context>, id: JobId, block: u32, list: &[ChunkRef]) {
    let Some(job) = context.jobs.get(id) else { return };
    let Some(plan) = job.lists.plan() else { return };
    adopt_list(context, id, &job, &plan, block, list.to_vec());
    // Blocks of which all is in the file need no other place.
    let mut tentative = job.tentative.borrow_mut();
    tentative.blocks.retain(|&at, _| {
        let wanted = |n: u32| plan.places(at, n).any(|(_, index)| context.machine.needs(id, index));
        plan.blocks.get(at as usize).is_some_and(|block| block.chunks.clone().any(wanted))
    });
}

/// Copies a chunk into the partial file that a peer gave before it was proven; false if it is no such place.
pub(crate) fn copy(context: &Rc<Context>, id: JobId, job: &JobState, index: u32, from: Location) -> bool {
    let FileKind::Tentative(block) = FileKind::of(from.file) else { return false };
    let file = job.tentative.borrow().blocks.get(&block).map(|kept| kept.file.clone());
    let plan = job.lists.plan();
    let at = plan.and_then(|plan| in_block(job, &plan, index)).and_then(|(.., offset)| offset);
    let at = job.file.manifest.get().map(|manifest| manifest.offset(index)).or(at);
    // Without a proven list there is nothing to prove it by.
    let (Some(file), Some(offset), Some(expected)) = (file, at, job.file.expected(index)) else {
        context.event(Event::ChunkBad { job: id, index, source: zest_core::node::Source::Disk });
        return true;
    };
    job.tentative.borrow_mut().copied.insert(index);
    let place = crate::workers::ChunkPlace { index, offset };
    let (job, expected) = (job.file.clone(), Some(expected));
    context.disk.push(Work::Copy { job, place, len: from.len, expected, file, from: from.offset });
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_of_a_block_lie_one_behind_the_other() {
        let mut tentative = Tentative::default();
        let mut place = |block, len| tentative.room(block, len, tempfile::tempfile).unwrap().1;
        assert_eq!([place(3, 10), place(3, 20), place(4, 5), place(3, 1)], [0, 10, 0, 30]);
    }
}
