//! The node as this engine drives it: the events that wait for it, its clock, and what it may be asked.

use crate::clock::Clock;
use std::cell::{Cell, Ref, RefCell};
use std::collections::VecDeque;
use tokio::sync::Notify;
use zest_core::lived::Lived;
use zest_core::node::{Action, Event, Node, Source};
use zest_core::{Instant, JobId};

pub(crate) struct Machine {
    clock: Clock,
    /// The node's clock, which stands still while this thread is not run.
    lived: Cell<Lived>,
    node: RefCell<Node>,
    /// Events that came while one was handled.
    events: RefCell<VecDeque<Event>>,
    busy: Cell<bool>,
    /// The job that the event in hand is about, if it tells of wrong bytes.
    blamed: Cell<Option<JobId>>,
    /// Told whenever the node's next deadline may have moved.
    timer_moved: Notify,
}

impl Machine {
    pub(crate) fn new(clock: Clock, node: Node) -> Self {
        Self {
            clock,
            lived: Cell::default(),
            node: RefCell::new(node),
            events: RefCell::default(),
            busy: Cell::new(false),
            blamed: Cell::new(None),
            timer_moved: Notify::new(),
        }
    }

    /// Takes an event in and hands out what follows, in order. Performing may raise further events; they queue up.
    pub(crate) fn handle(&self, event: Event, mut perform: impl FnMut(Action)) {
        self.events.borrow_mut().push_back(event);
        if self.busy.replace(true) {
            return;
        }
        loop {
            let Some(event) = self.events.borrow_mut().pop_front() else { break };
            tracing::trace!(?event);
            let now = self.now();
            self.blamed.set(blamed(&event));
            self.node.borrow_mut().handle(now, event);
            loop {
                let Some(action) = self.node.borrow_mut().poll_action() else { break };
                tracing::trace!(?action);
                perform(action);
            }
            #[cfg(debug_assertions)]
            self.node.borrow().check_invariants();
        }
        self.busy.set(false);
        self.timer_moved.notify_one();
    }

    /// What the node knows.
    pub(crate) fn node(&self) -> Ref<'_, Node> {
        self.node.borrow()
    }

    /// When the node wants to be woken, by our own clock.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        self.node.borrow().poll_timeout().map(|(at, _)| self.wall(at))
    }

    /// Waits until [`Machine::next_timer`] may say something else.
    pub(crate) async fn timer_moved(&self) {
        self.timer_moved.notified().await;
    }

    /// The time of the node's clock; it is read for good.
    pub(crate) fn now(&self) -> Instant {
        let due = self.node.borrow().poll_timeout().map(|(at, _)| at);
        let mut lived = self.lived.get();
        let now = lived.at(self.clock.now(), due);
        self.lived.set(lived);
        now
    }

    /// The time of the node's clock; it is only looked at.
    pub(crate) fn seems(&self) -> Instant {
        self.lived.get().seems(self.clock.now())
    }

    /// A time of the node's clock, by our own.
    pub(crate) fn wall(&self, at: Instant) -> Instant {
        self.lived.get().wall(at)
    }

    pub(crate) fn needs(&self, job: JobId, index: u32) -> bool {
        self.node.borrow().needs(job, index)
    }

    /// Whether a chunk neither is there nor waits on this machine.
    pub(crate) fn lacks(&self, job: JobId, index: u32) -> bool {
        let node = self.node.borrow();
        node.needs(job, index) && !node.is_set_aside(job, index)
    }

    /// The job that the event in hand is about, if that tells of wrong bytes.
    pub(crate) fn blamed(&self) -> Option<JobId> {
        self.blamed.get()
    }
}

/// The job about which an event says that a peer sent wrong bytes.
fn blamed(event: &Event) -> Option<JobId> {
    match event {
        Event::ChunkBad { job, source: Source::Peer(_), .. }
        | Event::ManifestBad { job, .. }
        | Event::TentativeBad { job, .. }
        | Event::BlockListBad { job, .. } => Some(*job),
        _ => None,
    }
}
