//! The origin as an engine drives it: its clients, when something last came from it, how files are laid out there (`plan.rs`), and
//! the fetching of their blocks (`fetch.rs`).

pub(crate) mod block;
pub(crate) mod fetch;
mod file;
mod parts;
pub(crate) mod plan;
mod stream;

pub(crate) use file::OriginFile;

use crate::clock::Clock;
use crate::hubs::Hubs;
use crate::limits::DECODES_MAX;
use crate::outages::{Out, Service};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zest_core::Instant;

pub(crate) struct Origin {
    clock: Clock,
    /// How Hubs are asked, and how they do.
    pub(crate) hubs: Hubs,
    /// Chunks that the workers unpack at once.
    decodes: Arc<Semaphore>,
    moved_at: Cell<Instant>,
    /// When it was last asked for a block while it was asked for no other.
    asked_at: Cell<Instant>,
    /// When a connection was last opened beside one that is silent.
    beside_at: Cell<Instant>,
}

impl Origin {
    pub(crate) fn new(clock: Clock, hubs: Hubs) -> Self {
        let decodes = Arc::new(Semaphore::new(DECODES_MAX));
        let (moved_at, asked_at, beside_at) = (Cell::default(), Cell::default(), Cell::default());
        Self { clock, hubs, decodes, moved_at, asked_at, beside_at }
    }

    /// Waits until one more packed chunk may be handed to the workers.
    pub(crate) async fn may_decode(&self) -> OwnedSemaphorePermit {
        self.decodes.clone().acquire_owned().await.expect("never closed")
    }

    /// Bytes came.
    pub(crate) fn moved(&self) {
        self.moved_at.set(self.clock.now());
        self.hubs.moved();
    }

    /// Whether any transfer moved within this time.
    pub(crate) fn moved_since(&self, within: Duration) -> bool {
        self.clock.now().since(self.moved_at.get()) < within
    }

    /// It is asked for a block, and for no other.
    pub(crate) fn asked(&self) {
        self.asked_at.set(self.clock.now());
    }

    /// Whether one of the silent transfers may try another connection: one in so much time, however many they are.
    pub(crate) fn may_try_beside(&self, every: Duration) -> bool {
        let now = self.clock.now();
        let may = now.since(self.beside_at.get()) >= every;
        if may {
            self.beside_at.set(now);
        }
        may
    }

    /// An outage, if lines that stand are silent: another connection was tried since something came.
    pub(crate) fn silence(&self) -> Option<Out> {
        let (now, moved_at) = (self.clock.now(), self.moved_at.get());
        (self.beside_at.get() > moved_at).then(|| {
            let (why, for_) = ("no byte comes".to_owned(), now - moved_at.max(self.asked_at.get()));
            Out { service: Service::Cdn, for_, why, heard: true }
        })
    }
}
