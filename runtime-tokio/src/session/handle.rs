//! One pull of a session, in its user's hands.

use super::events::{self, End};
use crate::api::{Priority, Progress, PullEvent, PullFailure, PullReport, PullState, PullStatus};
use crate::cancel::CancelToken;
use crate::pull::{Arrivals, Wish};
use crate::{Policy, PullError, PullErrorKind};
use futures_util::Stream;
use std::sync::Arc;
use tokio::sync::watch;

/// What the session and the handles know of a pull.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) id: u64,
    label: String,
    revision: String,
    policy: Option<Policy>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) cancel: CancelToken,
    wish: watch::Sender<Wish>,
    pub(super) arrivals: Arrivals,
    end: watch::Sender<Option<End>>,
}

impl Record {
    pub(super) fn new(
        id: u64,
        label: String,
        revision: String,
        priority: Priority,
        policy: Option<Policy>,
    ) -> (Arc<Self>, watch::Receiver<Wish>) {
        let (wish, ears) = watch::channel(Wish { paused: false, priority });
        let record = Self {
            id,
            label,
            revision,
            policy,
            progress: watch::Sender::default(),
            cancel: CancelToken::new(),
            wish,
            arrivals: Arrivals::default(),
            end: watch::Sender::default(),
        };
        (Arc::new(record), ears)
    }

    pub(super) fn ended(&self, outcome: Result<PullReport, PullError>) {
        self.end.send_if_modified(|end| {
            let first = end.is_none();
            if first {
                *end = Some(outcome.map(Arc::new).map_err(Arc::new));
            }
            first
        });
    }

    pub(super) fn has_ended(&self) -> bool {
        self.end.borrow().is_some()
    }

    pub(super) fn status(&self) -> PullStatus {
        let wish = *self.wish.borrow();
        let end = self.end.borrow().clone();
        let state = match &end {
            None if wish.paused => PullState::Paused,
            None => PullState::Running,
            Some(Ok(_)) => PullState::Done,
            Some(Err(error)) if error.kind() == PullErrorKind::Interrupted => PullState::Cancelled,
            Some(Err(_)) => PullState::Failed,
        };
        let (report, failure) = match end {
            Some(Ok(report)) => (Some(PullReport::clone(&report)), None),
            Some(Err(error)) => (None, Some(PullFailure::from(&*error))),
            None => (None, None),
        };
        PullStatus {
            id: self.id,
            repo: self.label.clone(),
            revision: self.revision.clone(),
            state,
            priority: wish.priority,
            policy: self.policy,
            progress: self.progress.borrow().clone(),
            report,
            failure,
        }
    }
}

/// A pull that was begun with [`Session::pull`](crate::Session::pull). Cheap to clone; dropping it leaves the pull alone.
#[derive(Debug, Clone)]
pub struct PullHandle {
    pub(super) record: Arc<Record>,
}

impl PullHandle {
    /// Its number in the session.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.record.id
    }

    /// How it is now.
    #[must_use]
    pub fn status(&self) -> PullStatus {
        self.record.status()
    }

    /// What happens to it from its beginning on, as it happens; ends after [`PullEvent::Done`] or [`PullEvent::Failed`]. A reader
    /// that is slow misses some of [`PullEvent::Progress`] and nothing else.
    pub fn progress(&self) -> impl Stream<Item = PullEvent> + Send + Unpin + use<> {
        let record = &self.record;
        events::of(record.progress.subscribe(), record.end.subscribe(), record.arrivals.clone())
    }

    /// The same as pictures: how far it is now, and a word whenever that changes.
    #[must_use]
    pub fn snapshots(&self) -> watch::Receiver<Progress> {
        self.record.progress.subscribe()
    }

    /// Has it rest: what is under way arrives, nothing new is asked for. A file that another pull wants too goes on for that one.
    pub fn pause(&self) {
        self.wish(|wish| wish.paused = true);
    }

    /// Has it go on.
    pub fn resume(&self) {
        self.wish(|wish| wish.paused = false);
    }

    /// Wants it sooner or later than others from now on.
    pub fn set_priority(&self, priority: Priority) {
        self.wish(|wish| wish.priority = priority);
    }

    /// Ends it. What is proven stays, and the same request goes on with it; [`PullHandle::wait`] gives
    /// [`PullError::Interrupted`] once that is on disk.
    pub fn cancel(&self) {
        self.record.cancel.cancel();
    }

    /// Waits for its end. May be asked by several, and again.
    ///
    /// # Errors
    /// See [`PullError`].
    pub async fn wait(&self) -> Result<PullReport, Arc<PullError>> {
        let mut end = self.record.end.subscribe();
        match end.wait_for(Option::is_some).await.ok().and_then(|end| end.clone()) {
            Some(end) => end.map(|report| PullReport::clone(&report)),
            None => Err(Arc::new(PullError::EngineGone)),
        }
    }

    fn wish(&self, change: impl FnOnce(&mut Wish)) {
        self.record.wish.send_if_modified(|wish| {
            let before = *wish;
            change(wish);
            *wish != before
        });
    }
}
