//! The pulls that run, and what they do together.

use crate::cancel::CancelToken;
use crate::figures::AllFigures;
use crate::pull::{Errand, ErrandKey};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};

pub(crate) struct Pulls {
    running: Cell<usize>,
    /// Pulls that have begun so far.
    begun: Cell<u32>,
    /// Told whenever one is over.
    over: Notify,
    /// Cancelled when the engine ends.
    pub(crate) ending: CancelToken,
    /// Files that pulls wait for.
    pub(crate) errands: RefCell<BTreeMap<ErrandKey, Rc<Errand>>>,
    /// Whose turn it is with a plain file.
    plain_turns: RefCell<BTreeMap<PathBuf, Arc<Mutex<()>>>>,
    /// What each of them counts.
    pub(crate) figures: AllFigures,
}

impl Pulls {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            running: Cell::new(0),
            begun: Cell::new(0),
            over: Notify::new(),
            ending: CancelToken::new(),
            errands: RefCell::default(),
            plain_turns: RefCell::default(),
            figures: AllFigures::default(),
        })
    }

    /// Counts a pull for as long as it runs.
    pub(crate) fn begin(self: &Rc<Self>) -> Running {
        self.running.set(self.running.get() + 1);
        Running(self.clone())
    }

    /// A number for a pull that no other has had.
    pub(crate) fn number(&self) -> u32 {
        self.begun.set(self.begun.get().wrapping_add(1));
        self.begun.get()
    }

    /// Whether any runs.
    pub(crate) fn run(&self) -> bool {
        self.running.get() > 0
    }

    /// Waits until none runs.
    pub(crate) async fn all_over(&self) {
        while self.run() {
            self.over.notified().await;
        }
    }

    /// Waits until no other pull is at a plain file.
    pub(crate) async fn plain_turn(&self, place: &Path) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.plain_turns.borrow_mut();
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.entry(place.to_path_buf()).or_default().clone()
        };
        turn.lock_owned().await
    }
}

/// See [`Pulls::begin`].
pub(crate) struct Running(Rc<Pulls>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.set(self.0.running.get() - 1);
        self.0.over.notify_one();
    }
}
