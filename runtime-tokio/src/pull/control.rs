//! What its user tells a pull while it runs, and what it tells back.

use crate::api::{Priority, Progress, PulledFile};
use crate::cancel::CancelToken;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// What its user wants of a pull.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) paused: bool,
    pub(crate) priority: Priority,
}

/// The files of a pull that are in their places, in the order in which they came there.
pub(crate) type Arrivals = Arc<Mutex<Vec<PulledFile>>>;

/// The pull's end of the lines to its user.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) cancel: CancelToken,
    pub(crate) wish: watch::Receiver<Wish>,
    pub(crate) arrivals: Arrivals,
}

impl Control {
    /// One that is told of progress and may cancel.
    pub(crate) fn simple(progress: watch::Sender<Progress>, cancel: CancelToken) -> Control {
        Control { progress, cancel, wish: watch::channel(Wish::default()).1, arrivals: Arrivals::default() }
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.wish.borrow().paused
    }

    pub(crate) fn priority(&self) -> Priority {
        self.wish.borrow().priority
    }

    /// Waits as long as the pull is to rest.
    pub(crate) async fn unpaused(&self) {
        let mut wish = self.wish.clone();
        // If nobody is left to say more, it goes on.
        let _gone = wish.wait_for(|wish| !wish.paused).await;
    }

    /// Waits until the pull is to rest.
    pub(crate) async fn paused(&self) {
        let mut wish = self.wish.clone();
        if wish.wait_for(|wish| wish.paused).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until its user wants something else than before.
    pub(crate) async fn changed(wish: &mut watch::Receiver<Wish>) {
        if wish.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn arrived(&self, file: PulledFile) {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(file);
    }
}
