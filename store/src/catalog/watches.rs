//! Who is told when a public proof is taken back, so that announcements end with it.

use std::sync::{Mutex, PoisonError};

use super::Catalog;

type Watch = Box<dyn Fn() -> bool + Send + Sync>;

/// Those who want to know.
#[derive(Default)]
pub(super) struct Watches(Mutex<Vec<Watch>>);

impl Watches {
    pub(super) fn tell(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|watch| watch());
    }
}

impl Catalog {
    /// Has `tell` called after every withdrawal of a public proof, by whoever met the refusal. It is called until it says that
    /// nobody listens any more; it must not ask the catalog, nor wait.
    pub fn watch_withdrawals(&self, tell: impl Fn() -> bool + Send + Sync + 'static) {
        self.watches.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(tell));
    }
}
