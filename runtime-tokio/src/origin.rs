//! The origin as this runtime drives it: layouts and block fetches.

use crate::SourceFault;
use crate::block::{ChunkCutter, Placer};
use crate::context::Context;
use crate::hubs::Client;
use crate::job::{JobFile, Spot};
use crate::jobs::JobState;
use crate::lists;
use crate::lookup::adopt_manifest;
use crate::stream::{End, Stream};
use crate::workers::{Done, Keep, Place, Work};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use zest_core::node::{Block, Event, FaultKind, OriginFault, Run, Source};
use zest_core::{FileId, JobId, Location};
use zest_hub::{Cas, ErrorKind, HubError};
use zest_store::{Access, Entry, RepoId};
use zest_xet::{ChunkHeader, Plan};

/// Bytes of a file after which what is written is made durable and the journal says so: 256 MiB.
const SYNC_BYTES: u64 = 256 << 20;
/// Chunks gone over whose lengths are noted at once: 32, and those of 100 ms at most. A stream that begins anew after a kill begins at
/// the first one that is not noted.
const PASSED_AT_ONCE: usize = 32;
const PASSED_FOR: Duration = Duration::from_millis(100);
/// Terms of a file whose xorbs may be looked up: 16, more than are ever used.
const FIRST_TERMS: usize = 16;

/// How to reach one file at the origin.
pub(crate) struct OriginJob {
    client: Arc<Client>,
    pub(crate) repo: RepoId,
    pub(crate) commit: String,
    cas: RefCell<Option<Cas>>,
    last_fault: RefCell<Option<SourceFault>>,
}

impl OriginJob {
    pub(crate) fn new(client: Arc<Client>, repo: RepoId, commit: String) -> Self {
        Self { client, repo, commit, cas: RefCell::new(None), last_fault: RefCell::new(None) }
    }

    /// What the origin did wrong last, for the kind of error that a job without a source ends with.
    pub(crate) fn last_fault(&self) -> Option<SourceFault> {
        self.last_fault.borrow().clone()
    }

    /// It gave bytes that did not prove.
    pub(crate) fn gave_wrong_bytes(&self) {
        *self.last_fault.borrow_mut() = Some(SourceFault::WrongBytes);
    }

    /// An error of the origin in the node's words.
    fn fault(&self, error: HubError) -> OriginFault {
        let kind = match (&error, error.kind()) {
            (HubError::Server { .. }, _) | (_, ErrorKind::RateLimited { .. }) => FaultKind::Busy,
            (HubError::Page { .. }, _) | (_, ErrorKind::Offline | ErrorKind::Server | ErrorKind::Stalled) => {
                FaultKind::Unreachable
            }
            (_, ErrorKind::UrlExpired | ErrorKind::Protocol) => FaultKind::Broken,
            (
                _,
                ErrorKind::Config
                | ErrorKind::Auth
                | ErrorKind::Gated
                | ErrorKind::RepoNotFound
                | ErrorKind::RevisionNotFound
                | ErrorKind::EntryNotFound,
            ) => FaultKind::Permanent,
        };
        let (text, retry_after) = (error.to_string(), error.retry_after());
        *self.last_fault.borrow_mut() = Some(SourceFault::Hub(error));
        OriginFault { text, retry_after, kind, known: false }
    }

    async fn cas(&self) -> Result<Cas, HubError> {
        let known = self.cas.borrow().clone();
        match known {
            Some(cas) => Ok(cas),
            None => {
                let cas = self.client.hub.cas(&self.repo, &self.commit).await?;
                *self.cas.borrow_mut() = Some(cas.clone());
                Ok(cas)
            }
        }
    }
}

/// Looks whether the file's list is known here, asks the origin how it is laid out, and tells the node.
pub(crate) async fn plan(context: Rc<Context>, id: JobId) {
    let Some(job) = context.job(id) else { return };
    // A list that an earlier run proved saves asking anyone.
    if let Some(manifest) = context.store.catalog.load_manifest(&job.file.file, Access::Own) {
        adopt_manifest(&context, id, Arc::new(manifest)).await;
    }
    if job.origin.is_none() {
        return;
    }
    ask_layout(context, id).await;
}

/// Asks for the layout alone, for the first time or once more.
pub(crate) async fn ask_layout(context: Rc<Context>, id: JobId) {
    let Some(job) = context.job(id) else { return };
    match layout(&job).await {
        Ok(plan) => {
            adopt_plan(&context, id, &job, plan);
            // What an earlier run fetched of whole xorbs can be shared at once.
            let blocks = job.plan.borrow().as_ref().map_or(0, |plan| plan.blocks.len());
            for block in 0..blocks as u32 {
                lists::prove_block(&context, id, &job, block).await;
            }
        }
        Err(why) => {
            tracing::debug!(path = job.path, why = why.text, "the origin gives no layout");
            context.event(Event::OriginGone { job: id, why });
        }
    }
}

async fn layout(job: &JobState) -> Result<Plan, OriginFault> {
    let Some(origin) = &job.origin else { return Err(broken("the origin is not used".into())) };
    // The token for the CAS is the Hub's, which gave the listing.
    let known = origin.client.outages.heard();
    let cas = origin.cas().await.map_err(|e| OriginFault { known, ..origin.fault(e) })?;
    // It may have the Hub's own address.
    let reconstruction = cas.reconstruction(&job.file.file).await.map_err(|error| {
        let known = origin.client.hub.has_answered(cas.host());
        OriginFault { known, ..origin.fault(error) }
    })?;
    Plan::new(&reconstruction, job.file.size).map_err(|error| {
        let (url, reason) = (cas.host().to_owned(), format!("{}: {error}", job.file.file));
        let malformed = HubError::Malformed { url, what: "reconstruction", reason };
        OriginFault { kind: FaultKind::Permanent, ..origin.fault(malformed) }
    })
}

fn adopt_plan(context: &Rc<Context>, id: JobId, job: &Rc<JobState>, plan: Plan) {
    let table = job.file.table.lock().expect("no holder panics");
    let held: Vec<u32> = (0..plan.chunks)
        .filter(|&index| {
            table
                .checked(index)
                .is_some_and(|seen| job.file.expected(index).is_none_or(|chunk| chunk == seen.chunk))
        })
        .collect();
    drop(table);
    // With a manifest the chunks of this and of other files were found by their hashes already.
    let local = if job.file.manifest.get().is_some() {
        Vec::new()
    } else {
        let mut local = job.unchecked();
        local.retain(|(index, _)| *index < plan.chunks);
        let known = held.iter().copied().chain(local.iter().map(|(index, _)| *index)).collect();
        local.extend(local_terms(context, job, &plan, &known));
        local
    };
    let blocks = plan
        .blocks
        .iter()
        .enumerate()
        .map(|(at, block)| Block {
            xorb: block.xorb,
            chunks: block.chunks.clone(),
            runs: block
                .terms
                .iter()
                .map(|&t| &plan.terms[t as usize])
                .map(|t| Run {
                    first: t.first_index,
                    count: t.chunks.end - t.chunks.start,
                    xorb_chunk: t.chunks.start,
                    offset: t.offset,
                })
                .collect(),
            wire_bytes: block.bytes.end - block.bytes.start,
            whole: lists::is_whole(&plan, at),
        })
        .collect();
    let chunks = plan.chunks;
    if let Some(finder) = context.finder.get() {
        let mut xorbs: Vec<_> = plan.terms.iter().map(|term| term.xorb).take(FIRST_TERMS).collect();
        xorbs.dedup();
        finder.planned(id, &xorbs);
    }
    let run = |term: &zest_xet::PlanTerm| Spot { index: term.first_index, offset: term.offset };
    job.file.set_runs(plan.terms.iter().map(run).collect());
    *job.plan.borrow_mut() = Some(Rc::new(plan));
    context.event(Event::JobPlanned { job: id, chunks, blocks, held, local });
}

/// Terms of the plan whose xorb chunks lie in files that were fetched before: a fine-tune finds its base.
fn local_terms(
    context: &Rc<Context>,
    job: &JobState,
    plan: &Plan,
    held: &BTreeSet<u32>,
) -> Vec<(u32, Location)> {
    let mut places = Vec::new();
    let mut offsets = job.local_offsets.borrow_mut();
    for term in &plan.terms {
        let catalog = &context.store.catalog;
        let Some(found) = catalog.xorb_range(&term.xorb, term.chunks.clone(), Access::Own) else { continue };
        if job.hub.as_ref().is_some_and(|hub| found.iter().any(|f| !catalog.may_lend(f.file, hub))) {
            continue;
        }
        if found.iter().map(|f| u64::from(f.len)).sum::<u64>() != term.len {
            continue;
        }
        let mut offset = term.offset;
        for (n, f) in found.iter().enumerate() {
            let index = term.first_index + n as u32;
            if !held.contains(&index) {
                offsets.insert(index, offset);
                places.push((index, Location { file: FileId(f.file.0), offset: f.offset, len: f.len }));
            }
            offset += u64::from(f.len);
        }
    }
    places
}

/// Starts to stream a block; its end comes as [`Event::OriginEnded`].
pub(crate) fn start_fetch(context: &Rc<Context>, id: JobId, block: u32) {
    let stop = Rc::new(Notify::new());
    if !context.jobs.borrow().values().any(|job| job.fetches()) {
        context.asked_at.set(context.clock.now());
    }
    if let Some(job) = context.job(id) {
        job.fetches.borrow_mut().insert(block, stop.clone());
    }
    let context = context.clone();
    tokio::task::spawn_local(async move {
        let Some(job) = context.job(id) else { return };
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
        job.fetches.borrow_mut().remove(&block);
        if let Err(fault) = &end {
            tracing::info!(path = job.path, block, why = fault.text, "the origin did not give a block");
        }
        context.mailbox.send(Done::FetchEnded { job: id, block, fault: end.err() });
    });
}

async fn fetch(
    context: &Rc<Context>,
    job: &JobState,
    id: JobId,
    block: u32,
    busy: &mpsc::Sender<()>,
) -> Result<(), OriginFault> {
    let plan = job.plan.borrow().clone();
    let (Some(plan), Some(origin)) = (plan, &job.origin) else { return Ok(()) };
    let Some(range) = plan.blocks.get(block as usize) else { return Ok(()) };
    let manifest = job.file.manifest.get().cloned();
    let mut placer = Placer::new(&plan, block);
    let mut chunk = range.chunks.start;
    let mut at = range.bytes.start;
    // What is held at the beginning, or waits there to be looked at, is skipped, as long as its packed length is known.
    let may_skip = !job.not_skipped.borrow().contains(&block);
    'skip: while may_skip && chunk < range.chunks.end {
        let mut packed_len = 0;
        let mut len = 0;
        for (_, index) in plan.places(block, chunk) {
            let seen = job.file.table.lock().expect("no holder panics").get(index);
            match seen {
                Some(seen) if seen.packed_len > 0 && !context.lacks(id, index) => {
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
    let mut stream = Stream::new(context.clone(), cas, range.url.clone(), at..range.bytes.end);
    let mut cutter = ChunkCutter::default();
    let skipped = at > range.bytes.start;
    let odd = |text: String| {
        // A length that nothing proved may have led into the middle of a chunk.
        if skipped {
            job.not_skipped.borrow_mut().insert(block);
        }
        broken(text)
    };
    let mut passed =
        Passed { context, file: &job.file, entries: Vec::new(), since: tokio::time::Instant::now() };
    let mut heard = false;
    loop {
        if let Some(throttle) = context.throttle() {
            throttle.turn().await;
        }
        let next = {
            let mut next = std::pin::pin!(stream.next());
            loop {
                tokio::select! {
                    next = &mut next => break next,
                    () = passed.due() => passed.note(),
                }
            }
        };
        let next = match next {
            Ok(next) => next,
            Err(End::Silence(waited)) => {
                let text = format!("xorb {}: no byte for {waited:?}", range.xorb);
                let known = origin.client.hub.has_answered(&range.url);
                return Err(OriginFault { known, ..OriginFault::new(FaultKind::Unreachable, text) });
            }
            Err(End::Hub(error)) => {
                if matches!(error.kind(), ErrorKind::UrlExpired) {
                    refresh_urls(job, &plan).await?;
                }
                let known = origin.client.hub.has_answered(&range.url);
                return Err(OriginFault { known, ..origin.fault(error) });
            }
        };
        let Some(mut bytes) = next else { break };
        if !std::mem::replace(&mut heard, true) {
            context.event(Event::OriginHeard { job: id, block });
        }
        context.took(bytes.len());
        job.file.more_came(bytes.len() as u64);
        let wire = &job.counts.wire_bytes;
        wire.set(wire.get() + bytes.len() as u64);
        while let Some((header, packed)) =
            cutter.next(&mut bytes).map_err(|e| odd(format!("xorb {}: chunk {chunk}: {e}", range.xorb)))?
        {
            if chunk >= range.chunks.end {
                return Err(odd(format!(
                    "xorb {} goes on after chunk {chunk}, the last of the range",
                    range.xorb
                )));
            }
            let mut places = placer
                .place(chunk, header.len, manifest.as_deref())
                .map_err(|error| odd(error.to_string()))?;
            chunk += 1;
            places.retain(|place| context.needs(id, place.index) || passed.by(*place, header));
            let Some(first) = places.first() else { continue };
            let expected = job.file.expected(first.index);
            let permit = context.decodes.clone().acquire_owned().await.expect("never closed");
            context.push(Work::Decode {
                job: job.file.clone(),
                header,
                packed,
                places,
                expected,
                source: Source::Origin,
                keep: Keep::Record { _busy: busy.clone() },
                permit,
            });
        }
    }
    if chunk < range.chunks.end || !cutter.is_between_chunks() {
        return Err(odd(format!(
            "xorb {} ended before chunk {}, {chunk} came",
            range.xorb, range.chunks.end
        )));
    }
    Ok(())
}

/// Chunks that others brought and a stream went over: now that it is known how long they are in the xorb, a stream that is begun
/// anew can skip them.
struct Passed<'a> {
    context: &'a Context,
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
    fn by(&mut self, place: Place, header: ChunkHeader) -> bool {
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
        self.context.push(Work::Task(Box::new(move || {
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
async fn refresh_urls(job: &JobState, old: &Rc<Plan>) -> Result<(), OriginFault> {
    // If that fails because the CAS is out, it is no fault of the block.
    let new = layout(job).await?;
    let same = new.blocks.len() == old.blocks.len()
        && new.blocks.iter().zip(&old.blocks).all(|(a, b)| a.xorb == b.xorb && a.chunks == b.chunks);
    if same {
        *job.plan.borrow_mut() = Some(Rc::new(new));
    }
    Ok(())
}

/// Makes what is written durable once in a while, off this thread.
pub(crate) fn sync_now_and_then(_context: &Rc<Context>, job: &Rc<JobState>) {
    let done = job.done_bytes();
    if done - job.synced_at.get() < SYNC_BYTES {
        return;
    }
    job.synced_at.set(done);
    let file = job.file.clone();
    tokio::task::spawn_blocking(move || {
        if let Err(error) = file.sync() {
            tracing::warn!(target: zest_store::SAID, kind = "not-durable", "what is fetched may be lost if power fails: {error}");
        }
    });
}
