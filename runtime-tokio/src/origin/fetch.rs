//! The fetching of blocks: one stream for each, cut into chunks, which the workers unpack.

use super::block::{ChunkCutter, Placer};
use super::file::OriginFile;
use super::parts::{self, Part};
use super::stream::{End, Stream};
use crate::context::Context;
use crate::disk::Disk;
use crate::jobs::{JobFile, JobState};
use crate::lists;
use crate::workers::{ChunkPlace, Done, Keep, Work};
use bytes::Bytes;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use zest_core::JobId;
use zest_core::node::{Event, FaultKind, OriginFault, Source};
use zest_hub::{Cas, ErrorKind};
use zest_store::Entry;
use zest_xet::{ChunkHeader, Manifest, Plan};

/// Bytes of a file after which what is written is made durable and the journal says so: 256 MiB.
const SYNC_BYTES: u64 = 256 << 20;
/// Chunks gone over whose lengths are noted at once: 32, and those of 100 ms at most. A stream that begins anew after a kill begins at
/// the first one that is not noted.
const PASSED_AT_ONCE: usize = 32;
const PASSED_FOR: Duration = Duration::from_millis(100);

/// Starts to stream a block; its end comes as [`Event::OriginEnded`].
pub(crate) fn start(context: &Rc<Context>, id: JobId, block: u32) {
    if !context.jobs.any_fetched() {
        context.origin.asked();
    }
    let Some(job) = context.jobs.get(id) else { return };
    let stop = job.fetching.begin(block);
    let context = context.clone();
    tokio::task::spawn_local(async move {
        if context.jobs.get(id).is_none() {
            return;
        }
        let (busy, mut idle) = mpsc::channel::<()>(1);
        let end = tokio::select! {
            () = stop.notified() => Ok(()),
            end = fetch(&context, &job, id, block, &busy) => end,
        };
        // The workers may still hold chunks of it; the end is told after the last of them, in order.
        drop(busy);
        let _ = idle.recv().await;
        // What is proven by it is told before its end.
        lists::prove_block(&context, id, &job, block).await;
        job.fetching.ended(block);
        if let Err(fault) = &end {
            tracing::info!(path = job.path, block, why = fault.text, "the origin did not give a block");
        }
        context.disk.mailbox.send(Done::FetchEnded { job: id, block, fault: end.err() });
    });
}

async fn fetch(
    context: &Rc<Context>,
    job: &JobState,
    id: JobId,
    block: u32,
    busy: &mpsc::Sender<()>,
) -> Result<(), OriginFault> {
    let plan = job.lists.plan();
    let (Some(plan), Some(origin)) = (plan, &job.origin) else { return Ok(()) };
    let Some(range) = plan.blocks.get(block as usize) else { return Ok(()) };
    let manifest = job.file.manifest.get().cloned();
    let mut placer = Placer::new(&plan, block);
    let mut chunk = range.chunks.start;
    let mut at = range.bytes.start;
    // What is held at the beginning, or waits there to be looked at, is skipped, as long as its packed length is known.
    let may_skip = job.fetching.may_skip(block);
    'skip: while may_skip && chunk < range.chunks.end {
        let mut packed_len = 0;
        let mut len = 0;
        for (_, index) in plan.places(block, chunk) {
            let seen = job.file.table.lock().expect("no holder panics").get(index);
            match seen {
                Some(seen) if seen.packed_len > 0 && !context.machine.lacks(id, index) => {
                    packed_len = seen.packed_len;
                    len = seen.chunk.len;
                }
                _ => break 'skip,
            }
        }
        if packed_len == 0 {
            break;
        }
        placer.place(chunk, len, None).map_err(|error| broken(error.to_string()))?;
        at += ChunkHeader::BYTES as u64 + u64::from(packed_len);
        chunk += 1;
    }
    if chunk == range.chunks.end || at >= range.bytes.end {
        return Ok(());
    }
    let cas = origin.cas().await.map_err(|e| origin.fault(e))?;
    let rest = Part { chunks: chunk..range.chunks.end, bytes: at..range.bytes.end, url: range.url.clone() };
    let lacks = |index| context.machine.lacks(id, index);
    // Lengths of what is left out are not noted: who goes on without the list would have to begin before it.
    let parts = match may_skip && job.lists.is_kept() {
        true => parts::of_block(origin, &job.file, (&plan, block), &rest, lacks).await,
        false => None,
    };
    let mut fetch = Fetch {
        context,
        job,
        origin,
        of: (id, block),
        plan: &plan,
        manifest,
        placer,
        passed: Passed {
            disk: &context.disk,
            file: &job.file,
            entries: Vec::new(),
            since: tokio::time::Instant::now(),
        },
        skipped: at > range.bytes.start || parts.is_some(),
        heard: false,
        busy,
    };
    for part in parts.unwrap_or_else(|| vec![rest]) {
        if let Some(manifest) = &fetch.manifest {
            for passed in chunk..part.chunks.start {
                fetch.placer.pass(passed, manifest).map_err(|error| broken(error.to_string()))?;
            }
        }
        chunk = part.chunks.end;
        fetch.part(&cas, part).await?;
    }
    Ok(())
}

/// A block that is fetched.
struct Fetch<'a> {
    context: &'a Rc<Context>,
    job: &'a JobState,
    origin: &'a OriginFile,
    of: (JobId, u32),
    plan: &'a Rc<Plan>,
    manifest: Option<Arc<Manifest>>,
    placer: Placer<'a>,
    passed: Passed<'a>,
    /// Something of it is left out, on the word of somebody who proves nothing.
    skipped: bool,
    /// A byte came.
    heard: bool,
    busy: &'a mpsc::Sender<()>,
}

impl Fetch<'_> {
    /// Streams one part of it.
    async fn part(&mut self, cas: &Cas, part: Part) -> Result<(), OriginFault> {
        let (context, (id, block)) = (self.context, self.of);
        let (origins, transport) = (context.origin.clone(), context.transport.clone());
        let mut stream = Stream::new(origins, transport, cas.clone(), part.url.clone(), part.bytes);
        let xorb = self.plan.blocks[block as usize].xorb;
        let mut cutter = ChunkCutter::default();
        let mut chunk = part.chunks.start;
        loop {
            context.transport.traffic.turn(stream.way()).await;
            let next = {
                let mut next = std::pin::pin!(stream.next());
                loop {
                    tokio::select! {
                        next = &mut next => break next,
                        () = self.passed.due() => self.passed.note(),
                    }
                }
            };
            let next = match next {
                Ok(next) => next,
                Err(End::Silence(waited)) => {
                    let text = format!("xorb {xorb}: no byte for {waited:?}");
                    let known = self.origin.has_answered(&part.url);
                    return Err(OriginFault { known, ..OriginFault::new(FaultKind::Unreachable, text) });
                }
                Err(End::Hub(error)) => {
                    if matches!(error.kind(), ErrorKind::UrlExpired) {
                        refresh_urls(self.job, self.origin, self.plan).await?;
                    }
                    let known = self.origin.has_answered(&part.url);
                    return Err(OriginFault { known, ..self.origin.fault(error) });
                }
            };
            let Some(mut bytes) = next else { break };
            if !std::mem::replace(&mut self.heard, true) {
                context.event(Event::OriginHeard { job: id, block });
            }
            context.transport.traffic.took(bytes.len(), stream.way());
            self.job.file.more_came(bytes.len() as u64);
            self.job.counts.count(|counts| counts.wire_bytes += bytes.len() as u64);
            while let Some((header, packed)) =
                cutter.next(&mut bytes).map_err(|e| self.odd(format!("xorb {xorb}: chunk {chunk}: {e}")))?
            {
                if chunk >= part.chunks.end {
                    let text = format!("xorb {xorb} goes on after chunk {chunk}, the last of the range");
                    return Err(self.odd(text));
                }
                self.take(chunk, header, packed).await?;
                chunk += 1;
            }
        }
        if chunk < part.chunks.end || !cutter.is_between_chunks() {
            let end = part.chunks.end;
            return Err(self.odd(format!("xorb {xorb} ended before chunk {end}, {chunk} came")));
        }
        Ok(())
    }

    /// Hands a packed chunk to the workers, if it is needed anywhere.
    async fn take(&mut self, chunk: u32, header: ChunkHeader, packed: Bytes) -> Result<(), OriginFault> {
        let (context, file, (id, _)) = (self.context, &self.job.file, self.of);
        let placed = self.placer.place(chunk, header.len, self.manifest.as_deref());
        let mut places = placed.map_err(|error| self.odd(error.to_string()))?;
        places.retain(|place| context.machine.needs(id, place.index) || self.passed.by(*place, header));
        let Some(first) = places.first() else { return Ok(()) };
        let expected = file.expected(first.index);
        let permit = context.origin.may_decode().await;
        context.disk.push(Work::Decode {
            job: file.clone(),
            header,
            packed,
            places,
            expected,
            source: Source::Origin,
            keep: Keep::Record { _busy: self.busy.clone() },
            permit,
        });
        Ok(())
    }

    /// What came makes no sense. A length that nothing proved may have led into the middle of a chunk.
    fn odd(&self, text: String) -> OriginFault {
        if self.skipped {
            self.job.fetching.skip_no_more(self.of.1);
        }
        broken(text)
    }
}

/// Chunks that others brought and a stream went over: now that it is known how long they are in the xorb, a stream that is begun
/// anew can skip them.
struct Passed<'a> {
    disk: &'a Disk,
    file: &'a Arc<JobFile>,
    entries: Vec<Entry>,
    /// When the first of those was gone over.
    since: tokio::time::Instant,
}

impl Passed<'_> {
    /// Waits until those should be noted; for ever if there are none.
    async fn due(&self) {
        match self.entries.is_empty() {
            true => std::future::pending().await,
            false => tokio::time::sleep_until(self.since + PASSED_FOR).await,
        }
    }

    /// Such a chunk; false, as there is nothing to keep of it.
    fn by(&mut self, place: ChunkPlace, header: ChunkHeader) -> bool {
        if self.entries.is_empty() {
            self.since = tokio::time::Instant::now();
        }
        self.entries.extend(self.file.passed(place, header));
        if self.entries.len() >= PASSED_AT_ONCE {
            self.note();
        }
        false
    }

    fn note(&mut self) {
        let (file, entries) = (self.file.clone(), std::mem::take(&mut self.entries));
        self.disk.push(Work::Task(Box::new(move || {
            if let Err(error) = file.note_passed(&entries) {
                tracing::debug!(%error, "the journal does not say how long chunks are in the xorb");
            }
        })));
    }
}

impl Drop for Passed<'_> {
    fn drop(&mut self) {
        if !self.entries.is_empty() {
            self.note();
        }
    }
}

fn broken(text: String) -> OriginFault {
    OriginFault::new(FaultKind::Broken, text)
}

/// Signed URLs have run out: asks for the layout again and takes over its URLs.
async fn refresh_urls(job: &JobState, origin: &OriginFile, old: &Rc<Plan>) -> Result<(), OriginFault> {
    // If that fails because the CAS is out, it is no fault of the block.
    let new = origin.layout(&job.file).await?;
    let same = new.blocks.len() == old.blocks.len()
        && new.blocks.iter().zip(&old.blocks).all(|(a, b)| a.xorb == b.xorb && a.chunks == b.chunks);
    if same {
        job.lists.set_plan(new);
    }
    Ok(())
}

/// Makes what is written durable once in a while, off this thread.
pub(crate) fn sync_now_and_then(job: &Rc<JobState>) {
    if !job.fetching.sync_is_due(job.counts.all().done_bytes(), SYNC_BYTES) {
        return;
    }
    let file = job.file.clone();
    tokio::task::spawn_blocking(move || {
        if let Err(error) = file.sync() {
            tracing::warn!(target: zest_store::SAID, kind = "not-durable", "what is fetched may be lost if power fails: {error}");
        }
    });
}
