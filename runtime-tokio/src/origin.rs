//! The origin as this runtime drives it: layouts, block fetches, xorb ranges of zest 0.4 peers, and the last proof.

use crate::PullError;
use crate::block::{ChunkCutter, Placer};
use crate::context::{Context, JobState};
use crate::lookup::adopt_manifest;
use crate::workers::{Decoded, Done, Keep, Outcome, Work};
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use zest_core::node::{BitSet, Block, Event, OriginFault, Source};
use zest_core::{FileId, JobId, LinkId, Location, ReqId};
use zest_hub::{Cas, ErrorKind, Hub, HubError};
use zest_store::{Access, RepoId};
use zest_xet::{ChunkRef, Manifest, Plan, XORB_CHUNKS_MAX, xorb_hash};

/// Bytes of a file after which what is written is made durable and the journal says so: 256 MiB.
const SYNC_BYTES: u64 = 256 << 20;
/// Silence of one transfer while others move, after which it is given up and asked for anew: 2 s.
const STALL: Duration = Duration::from_secs(2);
/// Silence of all transfers after which one is given up: 10 s.
const STALL_OF_ALL: Duration = Duration::from_secs(10);
/// Times that chunks without a proof of their own are fetched again when the whole does not prove.
const ROUNDS_MAX: u32 = 6;
/// Unproven xorb ranges of peers that a job remembers until its list is known; each has at most 8,192 chunks.
const DOUBTS_MAX: usize = 64;

/// How to reach one file at the origin.
pub(crate) struct OriginJob {
    pub(crate) hub: Hub,
    pub(crate) repo: RepoId,
    pub(crate) commit: String,
    cas: RefCell<Option<Cas>>,
}

impl OriginJob {
    pub(crate) fn new(hub: Hub, repo: RepoId, commit: String) -> OriginJob {
        OriginJob { hub, repo, commit, cas: RefCell::new(None) }
    }

    async fn cas(&self) -> Result<Cas, HubError> {
        let known = self.cas.borrow().clone();
        match known {
            Some(cas) => Ok(cas),
            None => {
                let cas = self.hub.cas(&self.repo, &self.commit).await?;
                *self.cas.borrow_mut() = Some(cas.clone());
                Ok(cas)
            }
        }
    }
}

fn fault(error: &HubError) -> OriginFault {
    let (retry_after, permanent) = match error.kind() {
        ErrorKind::RateLimited { retry_after } => (retry_after, false),
        ErrorKind::Auth
        | ErrorKind::Gated
        | ErrorKind::RepoNotFound
        | ErrorKind::RevisionNotFound
        | ErrorKind::EntryNotFound => (None, true),
        _ => (None, false),
    };
    OriginFault { text: error.to_string(), retry_after, permanent }
}

/// Asks the origin how the file is laid out, and tells the node.
pub(crate) async fn plan(context: Rc<Context>, id: JobId) {
    let Some(job) = context.job(id) else { return };
    // A list that an earlier run proved saves asking anyone.
    if let Some(manifest) = context.store.catalog.load_manifest(&job.file.file, Access::Own) {
        adopt_manifest(&context, id, Arc::new(manifest)).await;
    }
    if job.origin.is_none() {
        return;
    }
    match layout(&job).await {
        Ok(plan) => adopt_plan(&context, id, &job, plan),
        Err(why) => {
            tracing::debug!(path = job.path, why = why.text, "the origin gives no layout");
            context.event(Event::OriginGone { job: id, why });
        }
    }
}

async fn layout(job: &JobState) -> Result<Plan, OriginFault> {
    let Some(origin) = &job.origin else { return Err(broken("the origin is not used".into())) };
    let cas = origin.cas().await.map_err(|e| fault(&e))?;
    let reconstruction = cas.reconstruction(&job.file.file).await.map_err(|e| fault(&e))?;
    Plan::new(&reconstruction, job.file.size).map_err(|error| OriginFault {
        text: format!("the CAS described {} wrongly: {error}", job.file.file),
        retry_after: None,
        permanent: true,
    })
}

fn adopt_plan(context: &Rc<Context>, id: JobId, job: &Rc<JobState>, plan: Plan) {
    let table = job.file.table.lock().expect("no holder panics");
    let held: Vec<u32> = (0..plan.chunks)
        .filter(|&index| {
            table
                .get(index)
                .is_some_and(|seen| job.file.expected(index).is_none_or(|chunk| chunk == seen.chunk))
        })
        .collect();
    let resumed: u64 = held.iter().filter_map(|&i| table.get(i)).map(|seen| u64::from(seen.chunk.len)).sum();
    drop(table);
    if job.file.manifest.get().is_none() && job.done_bytes() == 0 {
        job.counts.disk_bytes.set(resumed);
    }
    // With a manifest the chunks of other files were found by their hashes already.
    let local =
        if job.file.manifest.get().is_some() { Vec::new() } else { local_terms(context, job, &plan, &held) };
    let blocks = plan
        .blocks
        .iter()
        .map(|block| Block {
            xorb: block.xorb,
            chunks: block.chunks.clone(),
            runs: block
                .terms
                .iter()
                .map(|&t| &plan.terms[t as usize])
                .map(|t| (t.first_index, t.chunks.end - t.chunks.start))
                .collect(),
            wire_bytes: block.bytes.end - block.bytes.start,
        })
        .collect();
    let chunks = plan.chunks;
    *job.plan.borrow_mut() = Some(Rc::new(plan));
    context.event(Event::JobPlanned { job: id, chunks, blocks, held, local });
}

/// Terms of the plan whose xorb chunks lie in files that were fetched before: a fine-tune finds its base.
fn local_terms(context: &Rc<Context>, job: &JobState, plan: &Plan, held: &[u32]) -> Vec<(u32, Location)> {
    let held: std::collections::BTreeSet<u32> = held.iter().copied().collect();
    let mut places = Vec::new();
    let mut offsets = job.local_offsets.borrow_mut();
    for term in &plan.terms {
        let Some(found) = context.store.catalog.xorb_range(&term.xorb, term.chunks.clone(), Access::Own)
        else {
            continue;
        };
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
    // What is held at the beginning is skipped, as long as its packed length is known.
    'skip: while chunk < range.chunks.end {
        let mut packed_len = 0;
        let mut len = 0;
        for (_, index) in plan.places(block, chunk) {
            let seen = job.file.table.lock().expect("no holder panics").get(index);
            match seen {
                Some(seen) if seen.packed_len > 0 && !context.needs(id, index) => {
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
        at += zest_xet::ChunkHeader::BYTES as u64 + u64::from(packed_len);
        chunk += 1;
    }
    if chunk == range.chunks.end || at >= range.bytes.end {
        return Ok(());
    }
    let cas = origin.cas().await.map_err(|e| fault(&e))?;
    let mut body = match cas.range(&range.url, at..range.bytes.end).await {
        Ok(body) => body,
        Err(error) => {
            if matches!(error.kind(), ErrorKind::UrlExpired) {
                refresh_urls(job, &plan).await;
            }
            return Err(fault(&error));
        }
    };
    let mut cutter = ChunkCutter::default();
    loop {
        let mut waited = Duration::ZERO;
        let next = loop {
            match tokio::time::timeout(STALL, body.chunk()).await {
                Ok(next) => break next.map_err(|e| fault(&e))?,
                Err(_) => waited += STALL,
            }
            // While others move, this one alone is stuck; while all are still, the network is given more time.
            if context.origin_moved_since(STALL) || waited >= STALL_OF_ALL {
                return Err(broken(format!("xorb {}: no byte for {waited:?}", range.xorb)));
            }
        };
        let Some(mut bytes) = next else { break };
        context.origin_moved();
        let wire = &job.counts.wire_bytes;
        wire.set(wire.get() + bytes.len() as u64);
        while let Some((header, packed)) =
            cutter.next(&mut bytes).map_err(|e| broken(format!("xorb {}: chunk {chunk}: {e}", range.xorb)))?
        {
            if chunk >= range.chunks.end {
                return Err(broken(format!(
                    "xorb {} goes on after chunk {chunk}, the last of the range",
                    range.xorb
                )));
            }
            let mut places = placer
                .place(chunk, header.len, manifest.as_deref())
                .map_err(|error| broken(error.to_string()))?;
            chunk += 1;
            places.retain(|place| context.needs(id, place.index));
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
        return Err(broken(format!(
            "xorb {} ended before chunk {}, {chunk} came",
            range.xorb, range.chunks.end
        )));
    }
    Ok(())
}

fn broken(text: String) -> OriginFault {
    OriginFault { text, retry_after: None, permanent: false }
}

/// Signed URLs have run out: asks for the layout again and takes over its URLs.
async fn refresh_urls(job: &JobState, old: &Rc<Plan>) {
    let Ok(new) = layout(job).await else { return };
    let same = new.blocks.len() == old.blocks.len()
        && new.blocks.iter().zip(&old.blocks).all(|(a, b)| a.xorb == b.xorb && a.chunks == b.chunks);
    if same {
        *job.plan.borrow_mut() = Some(Rc::new(new));
    }
}

/// What a peer announced with a xorb range.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerRange {
    pub(crate) link: LinkId,
    pub(crate) req: ReqId,
    /// Index in the xorb of its first chunk.
    pub(crate) start: u32,
    /// Bytes.
    pub(crate) len: u32,
}

/// What a peer's xorb range turned out to be.
#[derive(Debug, Default)]
struct Received {
    decoded: Vec<Decoded>,
    /// The bytes are not a xorb range, or not one that answers the request.
    broken: bool,
    /// The link ended before the last byte.
    cut: bool,
}

/// Decodes a xorb range that a zest 0.4 peer sends. With a manifest each chunk is proven by itself; without one only a
/// whole xorb can be, by its root, and nothing counts before that.
pub(crate) async fn block_from_peer(
    context: Rc<Context>,
    id: JobId,
    block: u32,
    peer: PeerRange,
    from: mpsc::Receiver<Bytes>,
) {
    let Some(job) = context.job(id) else { return };
    let Some(plan) = job.plan.borrow().clone() else { return };
    let Some(range) = plan.blocks.get(block as usize) else { return };
    let stream = context.number();
    let manifest = job.file.manifest.get().cloned();
    let received = receive_range(&context, &job, &plan, block, peer, stream, manifest.as_deref(), from).await;
    let Received { decoded, broken, cut } = received;
    let wrong = broken || decoded.iter().any(|one| one.chunk == Outcome::Wrong);
    let list: Option<Vec<ChunkRef>> = decoded
        .iter()
        .map(|one| match one.chunk {
            Outcome::Good(chunk) => Some(chunk),
            Outcome::Wrong | Outcome::Unwritten => None,
        })
        .collect();
    let root = |list: &Vec<ChunkRef>| peer.start == 0 && xorb_hash(list) == range.xorb;
    let proven = manifest.is_some() || (!cut && list.as_ref().is_some_and(root));
    if proven {
        for one in &decoded {
            let Outcome::Good(chunk) = one.chunk else { continue };
            for &place in &one.places {
                match job.file.record_stream(place, stream, chunk, one.packed_len) {
                    Ok(true) => {
                        let source = Source::Peer(peer.link);
                        context.done(Done::Chunk { job: id, index: place.index, len: chunk.len, source });
                    }
                    Ok(false) => {}
                    Err(error) => {
                        context.done(Done::Disk { job: id, error });
                        return;
                    }
                }
            }
        }
    } else if !wrong {
        // A part of a xorb, or a lie: nothing tells yet. The list will.
        let claims = decoded.iter().filter_map(|one| match one.chunk {
            Outcome::Good(chunk) => Some(one.places.iter().map(move |place| (place.index, chunk))),
            Outcome::Wrong | Outcome::Unwritten => None,
        });
        let claims: Vec<(u32, ChunkRef)> = claims.flatten().collect();
        let mut doubts = job.doubts.borrow_mut();
        if !claims.is_empty() && doubts.len() < DOUBTS_MAX {
            doubts.push((peer.link, claims));
        }
    }
    job.file.end_stream(stream);
    context.event(Event::BlockFromPeer { link: peer.link, req: peer.req, good: !wrong });
}

#[expect(clippy::too_many_arguments, reason = "the parts of one stream, used once")]
async fn receive_range(
    context: &Rc<Context>,
    job: &JobState,
    plan: &Plan,
    block: u32,
    peer: PeerRange,
    stream: u64,
    manifest: Option<&Manifest>,
    mut from: mpsc::Receiver<Bytes>,
) -> Received {
    let range = &plan.blocks[block as usize];
    let mut received = Received::default();
    if peer.start > range.chunks.start {
        // It does not begin where it was asked to: whole xorbs begin at 0, parts where they were asked.
        let (link, start) = (peer.link.0, peer.start);
        tracing::warn!(link, start, "a peer's xorb range is not the one that was asked for");
        received.broken = true;
        return received;
    }
    let id = job.file.id;
    let mut placer = Placer::new(plan, block);
    let mut cutter = ChunkCutter::default();
    let mut chunk = peer.start;
    let mut came = 0;
    let (report, mut reports) = mpsc::unbounded_channel::<Decoded>();
    'stream: while let Some(mut bytes) = from.recv().await {
        came += bytes.len();
        loop {
            let (header, packed) = match cutter.next(&mut bytes) {
                Ok(Some(_)) if chunk as usize >= XORB_CHUNKS_MAX => {
                    tracing::warn!(link = peer.link.0, "a peer's xorb range has more chunks than any xorb");
                    received.broken = true;
                    break 'stream;
                }
                Ok(Some(next)) => next,
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, link = peer.link.0, "a peer's xorb range is broken");
                    received.broken = true;
                    break 'stream;
                }
            };
            let mut places = Vec::new();
            if range.chunks.contains(&chunk) {
                match placer.place(chunk, header.len, manifest) {
                    Ok(found) => places = found,
                    Err(error) => {
                        tracing::warn!(%error, link = peer.link.0, "a peer's xorb range does not fit");
                        received.broken = true;
                        break 'stream;
                    }
                }
            }
            chunk += 1;
            places.retain(|place| context.needs(id, place.index));
            // With a list a chunk we need nowhere costs nothing more; without one the root needs its hash.
            if places.is_empty() && manifest.is_some() {
                continue;
            }
            let expected = places.first().and_then(|place| manifest.map(|m| m.chunk(place.index)));
            let permit = context.decodes.clone().acquire_owned().await.expect("never closed");
            context.push(Work::Decode {
                job: job.file.clone(),
                header,
                packed,
                places,
                expected,
                source: Source::Peer(peer.link),
                keep: Keep::Report { to: report.clone(), seq: chunk - 1, stream },
                permit,
            });
        }
    }
    drop(report);
    while let Some(one) = reports.recv().await {
        received.decoded.push(one);
    }
    received.decoded.sort_by_key(|one| one.seq);
    received.cut = came < peer.len as usize && !received.broken;
    received.broken |= !received.cut && !received.broken && !cutter.is_between_chunks();
    received
}

/// Now that the list is proven: peers whose unproven chunks contradict it lied.
pub(crate) fn judge_doubts(context: &Rc<Context>, id: JobId, job: &JobState, manifest: &Manifest) {
    for (link, claims) in job.doubts.take() {
        let lie =
            claims.iter().find(|(index, chunk)| *index >= manifest.len() || manifest.chunk(*index) != *chunk);
        if let Some(&(index, _)) = lie {
            let why = "a xorb range contradicts the proven chunk list".into();
            context.done(Done::Bad { job: id, index, source: Source::Peer(link), why });
        }
    }
}

/// Every chunk is there: proves the whole, or says what to fetch again.
pub(crate) async fn seal(context: Rc<Context>, id: JobId) {
    let Some(job) = context.job(id) else { return };
    if let Some(manifest) = job.file.manifest.get() {
        // The last look: every place must hold what the list names, whenever and by whom it was written.
        let missing: Vec<u32> = (0..manifest.len()).filter(|&index| !job.file.fits(index)).collect();
        if missing.is_empty() {
            job.finish(Ok(()));
        } else {
            context.event(Event::JobReopened { job: id, missing });
        }
        return;
    }
    let Some(plan) = job.plan.borrow().clone() else { return };
    let list = job.file.table.lock().expect("no holder panics").list(plan.chunks);
    let (file, size) = (job.file.file, job.file.size);
    let (to, proven) = tokio::sync::oneshot::channel();
    context.push(Work::Task(Box::new(move || {
        let _ = to.send(list.ok_or(()).and_then(|list| Manifest::prove(file, size, list).map_err(|_| ())));
    })));
    match proven.await {
        Ok(Ok(manifest)) => {
            judge_doubts(&context, id, &job, &manifest);
            job.file.set_manifest(Arc::new(manifest));
            job.finish(Ok(()));
        }
        Ok(Err(())) => reopen(&context, id, &job, &plan),
        Err(_) => job.finish(Err(PullError::EngineGone)),
    }
}

/// The chunks do not make up the file. Those of whole xorbs are proven by the xorb's root; each other one has a vote for
/// every time it came. When the list of leaders proves, only what differs from it is fetched again; else all doubtful
/// chunks are, for another vote.
fn reopen(context: &Rc<Context>, id: JobId, job: &Rc<JobState>, plan: &Plan) {
    let round = job.rounds.get() + 1;
    job.rounds.set(round);
    let doubtful = doubtful_chunks(job, plan);
    let leaders = vote(job, &doubtful);
    let list = leaders.and_then(|leaders| {
        let table = job.file.table.lock().expect("no holder panics");
        let led = |index| leaders.get(&index).copied().or_else(|| table.get(index).map(|seen| seen.chunk));
        (0..plan.chunks).map(led).collect::<Option<Vec<ChunkRef>>>()
    });
    if let Some(manifest) = list.and_then(|list| Manifest::prove(job.file.file, job.file.size, list).ok()) {
        tracing::info!(
            path = job.path,
            round,
            "the chunk list proves; what differs from it is fetched again"
        );
        let context = context.clone();
        tokio::task::spawn_local(async move { adopt_manifest(&context, id, Arc::new(manifest)).await });
        return;
    }
    tracing::warn!(
        path = job.path,
        round,
        chunks = doubtful.len(),
        "the file does not prove; fetching doubtful chunks again"
    );
    if doubtful.is_empty() || round > ROUNDS_MAX {
        let (path, want) = (job.path.clone(), job.file.file.to_string());
        if let Some(partial) = job.file.take() {
            // Which chunk is wrong cannot be told: none of the doubtful ones may survive into the next run.
            for &index in &doubtful {
                let _ = partial.discard(index);
            }
            if doubtful.is_empty() {
                let _ = partial.abandon();
            }
        }
        job.finish(Err(PullError::Unproven { path, want, rounds: round - 1 }));
        return;
    }
    context.event(Event::JobReopened { job: id, missing: doubtful });
}

/// Chunks that no whole xorb's root vouches for.
fn doubtful_chunks(job: &JobState, plan: &Plan) -> Vec<u32> {
    let table = job.file.table.lock().expect("no holder panics");
    let mut proven = BitSet::empty(plan.chunks);
    for (at, block) in plan.blocks.iter().enumerate() {
        let places = |chunk: u32| plan.places(at as u32, chunk).map(|(_, index)| index);
        let of = |chunk: u32| places(chunk).next().and_then(|index| table.get(index)).map(|seen| seen.chunk);
        let list: Option<Vec<ChunkRef>> = block.chunks.clone().map(of).collect();
        if block.chunks.start == 0 && list.is_some_and(|list| xorb_hash(&list) == block.xorb) {
            block.chunks.clone().flat_map(places).for_each(|index| {
                proven.insert(index);
            });
        }
    }
    (0..plan.chunks).filter(|index| !proven.contains(*index)).collect()
}

/// One more vote for what came last for each doubtful chunk; the leaders, once there is more than one vote.
fn vote(job: &JobState, doubtful: &[u32]) -> Option<BTreeMap<u32, ChunkRef>> {
    let table = job.file.table.lock().expect("no holder panics");
    let mut votes = job.votes.borrow_mut();
    for &index in doubtful {
        let Some(seen) = table.get(index) else { continue };
        let of_chunk: &mut Vec<(ChunkRef, u32)> = votes.entry(index).or_default();
        match of_chunk.iter_mut().find(|(chunk, _)| *chunk == seen.chunk) {
            Some((_, count)) => *count += 1,
            None => of_chunk.push((seen.chunk, 1)),
        }
    }
    let leader = |of_chunk: &Vec<(ChunkRef, u32)>| {
        of_chunk.iter().max_by_key(|(_, count)| *count).map(|(chunk, _)| *chunk)
    };
    (job.rounds.get() > 1)
        .then(|| votes.iter().filter_map(|(&index, of_chunk)| Some((index, leader(of_chunk)?))).collect())
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
            tracing::warn!(%error, "cannot make the partial file durable");
        }
    });
}
