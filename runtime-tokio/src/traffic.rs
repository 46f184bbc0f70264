//! What goes over the line: how much went, and how much may.

use crate::throttle::Throttle;
use std::cell::Cell;

/// The account of all links together, and of the origin where a cap is shared with it.
pub(crate) struct Traffic {
    /// Bytes that sockets took.
    uploaded: Cell<u64>,
    /// Payload bytes that links were told to send: what the upload budget counts.
    given: Cell<u64>,
    /// Bytes from links that have ended.
    downloaded_past: Cell<u64>,
    /// What is left of today's budget of uploads, where there is one.
    budget_left: Cell<Option<u64>>,
    /// The cap on what is received, if there is one.
    throttle: Throttle,
}

fn add(count: &Cell<u64>, bytes: u64) {
    count.set(count.get() + bytes);
}

impl Traffic {
    pub(crate) fn new(throttle: Throttle) -> Self {
        Self {
            uploaded: Cell::new(0),
            given: Cell::new(0),
            downloaded_past: Cell::new(0),
            budget_left: Cell::new(None),
            throttle,
        }
    }

    /// A socket took so many bytes.
    pub(crate) fn sent(&self, bytes: u64) {
        add(&self.uploaded, bytes);
    }

    /// So many payload bytes more are given.
    pub(crate) fn gave(&self, bytes: u64) {
        add(&self.given, bytes);
    }

    /// Bytes came in, from whomever.
    pub(crate) fn took(&self, bytes: usize) {
        if let Some(throttle) = self.throttle() {
            throttle.took(bytes);
        }
    }

    /// A link has ended over which so much came.
    pub(crate) fn parted(&self, downloaded: u64) {
        add(&self.downloaded_past, downloaded);
    }

    pub(crate) fn uploaded(&self) -> u64 {
        self.uploaded.get()
    }

    pub(crate) fn given(&self) -> u64 {
        self.given.get()
    }

    /// From links that have ended.
    pub(crate) fn downloaded_past(&self) -> u64 {
        self.downloaded_past.get()
    }

    /// The cap on what is received, if there is one.
    pub(crate) fn throttle(&self) -> Option<&Throttle> {
        Some(&self.throttle).filter(|throttle| throttle.is_set())
    }

    /// Another cap from now on, or none.
    pub(crate) fn set_cap(&self, bytes_s: Option<u64>) {
        self.throttle.set(bytes_s);
    }

    /// So much of the budget is left today.
    pub(crate) fn set_budget_left(&self, bytes: u64) {
        self.budget_left.set(Some(bytes));
    }

    /// What is left of today's budget, where there is one.
    pub(crate) fn budget_left(&self) -> Option<u64> {
        self.budget_left.get()
    }
}
