//! The last proof of a file, and what follows when it fails.

use crate::PullError;
use crate::context::Context;
use crate::jobs::JobState;
use crate::lookup::adopt_manifest;
use crate::peer_range::judge_doubts;
use crate::workers::Work;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use zest_core::JobId;
use zest_core::node::{BitSet, Event};
use zest_xet::{ChunkRef, Manifest, Plan, xorb_hash};

/// Times that chunks without a proof of their own are fetched again when the whole does not prove.
const ROUNDS_MAX: u32 = 6;

/// Every chunk is there: proves the whole, or says what to fetch again.
pub(crate) async fn seal(context: Rc<Context>, id: JobId) {
    let Some(job) = context.jobs.get(id) else { return };
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
    let Some(plan) = job.lists.plan() else { return };
    let list = job.file.table.lock().expect("no holder panics").list(plan.chunks);
    let (file, size) = (job.file.file, job.file.size);
    let (to, proven) = tokio::sync::oneshot::channel();
    context.disk.push(Work::Task(Box::new(move || {
        let _ = to.send(list.ok_or(()).and_then(|list| Manifest::prove(file, size, list).map_err(|_| ())));
    })));
    match proven.await {
        Ok(Ok(manifest)) => {
            judge_doubts(&context, id, &job, &manifest);
            job.file.set_manifest(Arc::new(manifest));
            job.news.notify_waiters();
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
    let round = job.unproven.rounds.get() + 1;
    job.unproven.rounds.set(round);
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
    let mut votes = job.unproven.votes.borrow_mut();
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
    (job.unproven.rounds.get() > 1)
        .then(|| votes.iter().filter_map(|(&index, of_chunk)| Some((index, leader(of_chunk)?))).collect())
}
