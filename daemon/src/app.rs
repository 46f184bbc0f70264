//! What the routes stand on.

use crate::Stop;
use crate::about::About;
use crate::events::Log;
use crate::gate::Gate;
use crate::models::Models;
use crate::pending::{Kept, Pending};
use crate::reads::Reads;
use crate::totals::Totals;
use crate::xorbs::Xorbs;
use futures_util::StreamExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;
use zest_runtime_tokio::{PullEvent, PullHandle, PullRequest, PullStatus, Session};

#[derive(Debug)]
pub(crate) struct App {
    pub(crate) session: Session,
    pub(crate) gate: Gate,
    pub(crate) about: About,
    pub(crate) began: Instant,
    pub(crate) stop: Stop,
    pub(crate) log: Log,
    pub(crate) totals: Totals,
    pub(crate) xorbs: Xorbs,
    pub(crate) models: Models,
    pub(crate) pending: Pending,
    pub(crate) reads: Arc<Reads>,
    /// Pulls of an earlier daemon that this one has gone on with.
    pub(crate) resumed: Vec<u64>,
    requests: AtomicU64,
    /// Those of them that a daemon is there for.
    needed: AtomicU64,
    listeners: AtomicUsize,
}

impl App {
    /// With the pulls that an earlier daemon left to begin.
    pub(crate) fn new(
        session: Session,
        gate: Gate,
        about: About,
        stop: Stop,
        run: String,
    ) -> (Self, Vec<Kept>) {
        let (left, pending) = Pending::take_over(&crate::Places::new(&about.zest_cache).pulls());
        let app = Self {
            session,
            gate,
            about,
            began: Instant::now(),
            stop,
            log: Log::new(run),
            totals: Totals::default(),
            xorbs: Xorbs::default(),
            models: Models::default(),
            pending,
            reads: Arc::default(),
            resumed: Vec::new(),
            requests: AtomicU64::new(0),
            needed: AtomicU64::new(0),
            listeners: AtomicUsize::new(0),
        };
        (app, left)
    }

    pub(crate) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Somebody needs it for more than its health and figures.
    pub(crate) fn count_need(&self) {
        self.needed.fetch_add(1, Ordering::Relaxed);
    }

    /// What grows while it is needed: requests for something, and bytes given. `None` while a pull is under way.
    pub(crate) async fn need(&self) -> Option<(u64, u64)> {
        let under_way = |pull: &PullStatus| pull.report.is_none() && pull.failure.is_none();
        if self.session.pulls().iter().any(under_way) {
            return None;
        }
        Some((self.needed.load(Ordering::Relaxed), self.session.stats().await.uploaded))
    }

    /// Listeners to events.
    pub(crate) fn listeners(&self) -> usize {
        self.listeners.load(Ordering::Relaxed)
    }

    /// A place among them, if there are fewer than `max`.
    pub(crate) fn listen(self: &Arc<Self>, max: usize) -> Option<Listener> {
        let listener = Listener(self.clone());
        (self.listeners.fetch_add(1, Ordering::Relaxed) < max).then_some(listener)
    }

    /// Begins a pull, and notes what happens to it.
    pub(crate) fn pull(self: &Arc<Self>, request: PullRequest) -> PullHandle {
        let pull = self.begin(request);
        self.keep_following(&pull);
        pull
    }

    /// Begins a pull that somebody has to follow.
    fn begin(&self, request: PullRequest) -> PullHandle {
        let kept = request.clone();
        let pull = self.session.pull(request);
        self.pending.began(pull.id(), &kept, self.session.env().token.as_ref());
        pull
    }

    /// Goes on with what an earlier daemon left.
    pub(crate) fn resume(&mut self, left: Vec<Kept>) -> Vec<PullHandle> {
        let begun: Vec<PullHandle> = left
            .into_iter()
            .map(|kept| {
                let paused = kept.paused;
                let pull = self.begin(kept.again());
                if paused {
                    pull.pause();
                    self.pending.paused(pull.id(), true);
                }
                pull
            })
            .collect();
        self.resumed = begun.iter().map(PullHandle::id).collect();
        begun
    }

    pub(crate) fn keep_following(self: &Arc<Self>, pull: &PullHandle) {
        let (app, pull) = (self.clone(), pull.clone());
        tokio::spawn(async move { app.follow(&pull).await });
    }

    async fn follow(&self, pull: &PullHandle) {
        let id = pull.id();
        let mut events = pull.progress();
        while let Some(event) = events.next().await {
            match &event {
                PullEvent::Progress(now) => self.totals.progress(id, now),
                PullEvent::Out { service, .. } => self.totals.out(*service),
                PullEvent::Done(_) | PullEvent::Failed(_) => {
                    self.totals.progress(id, &pull.snapshots().borrow());
                    self.totals.ended(id, pull.status().state);
                    // What ended with us is left to the next.
                    if matches!(event, PullEvent::Done(_)) || !self.stop.is_stopping() {
                        self.pending.ended(id);
                    }
                }
                _ => {}
            }
            self.log.note(id, &event);
        }
    }
}

/// A place among the listeners to events.
#[derive(Debug)]
pub(crate) struct Listener(Arc<App>);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}
