//! Xorb ranges of zest 0.4 peers, decoded while they arrive. With a manifest each chunk is proven by itself; without one
//! only a whole xorb can be, by its root; what cannot be judged yet is remembered until the list is known.

use crate::context::Context;
use crate::jobs::JobState;
use crate::origin::block::{ChunkCutter, Placer};
use crate::workers::{Decoded, Done, Keep, Outcome, Work};
use bytes::Bytes;
use std::rc::Rc;
use tokio::sync::mpsc;
use zest_core::node::{Event, Source};
use zest_core::{JobId, LinkId, ReqId};
use zest_xet::{ChunkRef, Manifest, Plan, XORB_CHUNKS_MAX, xorb_hash};

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

/// The stream for a xorb range that a peer begins to send, if we asked for it.
pub(crate) fn begin(context: &Rc<Context>, peer: PeerRange) -> Option<mpsc::Sender<Bytes>> {
    let (job, block) = context.machine.node().block_request(peer.link, peer.req)?;
    let (to, from) = mpsc::channel(64);
    tokio::task::spawn_local(block_from_peer(context.clone(), job, block, peer, from));
    Some(to)
}

/// Decodes a xorb range that a zest 0.4 peer sends. With a manifest each chunk is proven by itself; without one only a
/// whole xorb can be, by its root, and nothing counts before that.
async fn block_from_peer(
    context: Rc<Context>,
    id: JobId,
    block: u32,
    peer: PeerRange,
    from: mpsc::Receiver<Bytes>,
) {
    let Some(job) = context.jobs.get(id) else { return };
    let Some(plan) = job.lists.plan() else { return };
    let Some(range) = plan.blocks.get(block as usize) else { return };
    let stream = job.file.begin_range();
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
                        crate::done::report(
                            &context,
                            Done::Chunk { job: id, index: place.index, len: chunk.len, source },
                        );
                    }
                    Ok(false) => {}
                    Err(error) => {
                        crate::done::report(&context, Done::Disk { job: id, error });
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
        job.unproven.doubts.borrow_mut().note(peer.link, claims);
    }
    job.file.end_stream(stream);
    // Without a manifest it was proven as a whole xorb.
    if manifest.is_none()
        && proven
        && let Some(list) = list
    {
        crate::lists::adopt_list(&context, id, &job, &plan, block, list);
    }
    context.event(Event::BlockFromPeer { link: peer.link, req: peer.req, good: !wrong });
}

#[expect(clippy::too_many_arguments, reason = "the parts of one stream, used once")]
async fn receive_range(
    context: &Rc<Context>,
    job: &JobState,
    plan: &Plan,
    block: u32,
    peer: PeerRange,
    stream: u32,
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
        job.file.more_came(bytes.len() as u64);
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
            places.retain(|place| context.machine.needs(id, place.index));
            // With a list a chunk we need nowhere costs nothing more; without one the root needs its hash.
            if places.is_empty() && manifest.is_some() {
                continue;
            }
            let expected = places.first().and_then(|place| manifest.map(|m| m.chunk(place.index)));
            let permit = context.origin.may_decode().await;
            context.disk.push(Work::Decode {
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
    for (link, index) in job.unproven.doubts.borrow_mut().judge(manifest) {
        let why = "a xorb range contradicts the proven chunk list".into();
        crate::done::report(context, Done::Bad { job: id, index, source: Source::Peer(link), why });
    }
}
