//! The beginning and the end of a job, in all rooms that it concerns.

use super::{JobEnd, JobFile, JobState, Sharing};
use crate::context::Context;
use crate::discovery::Public;
use crate::file_kind::FileKind;
use crate::header;
use crate::origin::{OriginFile, plan};
use std::rc::Rc;
use tokio::sync::oneshot;
use zest_core::JobId;
use zest_core::node::{Event, JobSpec, Policy};
use zest_store::{Endpoint, Partial};
use zest_xet::Hash;

/// What is known of a file that is to be fetched.
pub(crate) struct NewJob {
    pub(crate) file: Hash,
    pub(crate) size: u64,
    /// Peers may be asked, and may ask, since anyone may read it.
    pub(crate) public: Option<Public>,
    /// The Hub that lists it: see [`zest_store::Catalog::may_lend`].
    pub(crate) hub: Option<Endpoint>,
    /// See [`JobSpec::policy`].
    pub(crate) policy: Option<Policy>,
    /// See [`JobSpec::pull`].
    pub(crate) pull: u32,
    /// The layout is needed even if peers give all.
    pub(crate) needs_layout: bool,
    /// See [`JobSpec::priority`].
    pub(crate) priority: u8,
    /// It begins with a header, which comes first: see [`crate::header`].
    pub(crate) has_header: bool,
}

/// Begins a job; the receiver tells its end.
pub(crate) fn add(
    context: &Rc<Context>,
    path: String,
    new: NewJob,
    partial: Partial,
    origin: Option<OriginFile>,
) -> (JobId, Rc<JobState>, oneshot::Receiver<JobEnd>) {
    let id = context.jobs.number();
    let place = FileKind::Partial(id).id();
    let NewJob { file, size, public, hub, policy, pull, needs_layout, priority, has_header } = new;
    let sharing = match &public {
        Some(public) => Sharing::of(public.near, hub, &context.disk, id, &partial),
        None => Sharing::none(hub),
    };
    let (peers, near) = (sharing.shared, sharing.near);
    let job_file = JobFile::new(id, file, size, partial);
    let front = if has_header { header::front_at_start(&job_file) } else { 0 };
    let origin_too = origin.is_some();
    let mut spec = JobSpec { peers, near, policy, pull, priority, front, ..JobSpec::new(file, size, place) };
    (spec.origin, spec.layout_later) = (origin_too, !needs_layout);
    let (state, ended) = JobState::new(job_file, path, has_header, sharing, origin);
    context.jobs.all.borrow_mut().insert(id, state.clone());
    context.event(Event::JobAdded { job: id, spec });
    if let (Some(finder), Some(public)) = (context.finder.get(), public) {
        finder.want(id, file, size, &public);
    }
    let (asks, context) = (origin_too && needs_layout, context.clone());
    tokio::task::spawn_local(async move {
        plan::look_for_list(context.clone(), id).await;
        if asks {
            plan::ask_layout(context, id).await;
        }
    });
    (id, state, ended)
}

/// Ends a job for the node, whatever became of it.
pub(crate) fn remove(context: &Rc<Context>, id: JobId) {
    context.event(Event::JobRemoved { job: id });
    let Some(job) = context.jobs.all.borrow_mut().remove(&id) else { return };
    job.news.notify_waiters();
    if let Some(finder) = context.finder.get() {
        finder.job_over(id, context.jobs.landed().contains(&job.file.file));
    }
    context.held.drop_records(job.lists.take_records());
}
