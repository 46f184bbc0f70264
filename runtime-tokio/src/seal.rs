//! The last proof of a file, and what follows when it fails.

use crate::PullError;
use crate::context::Context;
use crate::jobs::JobState;
use crate::lookup::adopt_manifest;
use crate::peer_range::judge_doubts;
use crate::workers::Work;
use std::rc::Rc;
use std::sync::Arc;
use zest_core::JobId;
use zest_core::node::Event;
use zest_xet::{Manifest, Plan, Verdict};

/// Every chunk is there: proves the whole, or says what to fetch again.
pub(crate) async fn seal(context: Rc<Context>, id: JobId) {
    let Some(job) = context.jobs.get(id) else { return };
    let (manifest, plan) = (job.file.manifest.get(), job.lists.plan());
    let Some(chunks) = manifest.map(|m| m.len()).or(plan.as_ref().map(|p| p.chunks)) else { return };
    let missing = job.file.lacking(chunks);
    if !missing.is_empty() {
        return context.event(Event::JobReopened { job: id, missing });
    }
    if manifest.is_some() {
        return job.finish(Ok(()));
    }
    let Some(plan) = plan else { return };
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

/// The chunks do not make up the file: what is doubtful of it is fetched again, as a vote says.
fn reopen(context: &Rc<Context>, id: JobId, job: &Rc<JobState>, plan: &Plan) {
    let (verdict, round) = {
        let table = job.file.table.lock().expect("no holder panics");
        let mut ballot = job.unproven.ballot.borrow_mut();
        let seen = |index| table.get(index).map(|seen| seen.chunk);
        (ballot.count(plan, job.file.file, seen), ballot.rounds())
    };
    match verdict {
        Verdict::Proven(manifest) => {
            tracing::info!(
                path = job.path,
                round,
                "the chunk list proves; what differs from it is fetched again"
            );
            let context = context.clone();
            tokio::task::spawn_local(async move { adopt_manifest(&context, id, Arc::new(manifest)).await });
        }
        Verdict::Again(doubtful) => {
            let chunks = doubtful.len();
            tracing::warn!(
                path = job.path,
                round,
                chunks,
                "the file does not prove; fetching doubtful chunks again"
            );
            context.event(Event::JobReopened { job: id, missing: doubtful });
        }
        Verdict::Hopeless(doubtful) => {
            let (path, want) = (job.path.clone(), job.file.file.to_string());
            tracing::warn!(path, round, chunks = doubtful.len(), "the file does not prove");
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
        }
    }
}
