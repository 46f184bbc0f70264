//! How the origin lays a file out: asked, compared with what is there already, and told to the node.

use crate::context::Context;
use crate::jobs::{JobState, Spot};
use crate::lists;
use crate::lookup::adopt_manifest;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use zest_core::node::{Block, Event, FaultKind, OriginFault};
use zest_core::{FileId, JobId, Location};
use zest_store::Access;
use zest_xet::Plan;

/// Terms of a file whose xorbs may be looked up: 16, more than are ever used.
const FIRST_TERMS: usize = 16;

/// Looks whether the file's list is known here: one that an earlier run proved saves asking anyone.
pub(crate) async fn look_for_list(context: Rc<Context>, id: JobId) {
    let Some(job) = context.jobs.get(id) else { return };
    let look = async || {
        if let Some(manifest) = context.disk.store.catalog.load_manifest(&job.file.file, Access::Own) {
            job.lists.set_kept();
            adopt_manifest(&context, id, Arc::new(manifest)).await;
        }
    };
    job.lists.looked.get_or_init(look).await;
}

/// Asks for the layout, for the first time or once more.
pub(crate) async fn ask_layout(context: Rc<Context>, id: JobId) {
    look_for_list(context.clone(), id).await;
    let Some(job) = context.jobs.get(id) else { return };
    let layout = match &job.origin {
        Some(origin) => origin.layout(&job.file).await,
        None => Err(OriginFault::new(FaultKind::Broken, "the origin is not used")),
    };
    match layout {
        Ok(plan) => {
            adopt_plan(&context, id, &job, plan);
            // What an earlier run fetched of whole xorbs can be shared at once.
            let blocks = job.lists.plan().map_or(0, |plan| plan.blocks.len());
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

fn adopt_plan(context: &Rc<Context>, id: JobId, job: &Rc<JobState>, plan: Plan) {
    // With a manifest the chunks of this and of other files were found by their hashes already, and each is told once it is looked
    // at: told here as well it would be counted nowhere.
    let known = job.file.manifest.get().is_some();
    let held = if known { Vec::new() } else { job.file.held(plan.chunks) };
    let local = if known {
        Vec::new()
    } else {
        let mut local = job.unchecked();
        local.retain(|(index, _)| *index < plan.chunks);
        let known = held.iter().copied().chain(local.iter().map(|(index, _)| *index)).collect();
        local.extend(local_terms(context, job, &plan, &known));
        local
    };
    let blocks = Block::all_of(&plan);
    let chunks = plan.chunks;
    if let Some(finder) = context.finder.get() {
        let mut xorbs: Vec<_> = plan.terms.iter().map(|term| term.xorb).take(FIRST_TERMS).collect();
        xorbs.dedup();
        finder.planned(id, &xorbs);
    }
    let run = |term: &zest_xet::PlanTerm| Spot { index: term.first_index, offset: term.offset };
    job.file.set_runs(plan.terms.iter().map(run).collect());
    job.lists.set_plan(plan);
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
    for term in &plan.terms {
        let catalog = &context.disk.store.catalog;
        let Some(found) = catalog.xorb_range(&term.xorb, term.chunks.clone(), Access::Own) else { continue };
        if job.sharing.hub.as_ref().is_some_and(|hub| found.iter().any(|f| !catalog.may_lend(f.file, hub))) {
            continue;
        }
        if found.iter().map(|f| u64::from(f.len)).sum::<u64>() != term.len {
            continue;
        }
        let mut offset = term.offset;
        for (n, f) in found.iter().enumerate() {
            let index = term.first_index + n as u32;
            if !held.contains(&index) {
                job.lists.set_copy(index, offset);
                places.push((index, Location { file: FileId(f.file.0), offset: f.offset, len: f.len }));
            }
            offset += u64::from(f.len);
        }
    }
    places
}
