//! What waits to be sent over one connection.

use bytes::Bytes;
use std::cell::RefCell;
use std::fs::File;
use std::sync::Arc;
use tokio::sync::Notify;
use zest_core::link::Head;
use zest_send::SendQueue;

pub(super) struct Outbox {
    /// A range of a file is opened when it is sent. One that is under way has nothing but this to keep it open.
    pub(super) queue: RefCell<SendQueue<Head, Bytes, Arc<File>>>,
    /// Told when there is something to send, or the link closes.
    pub(super) work: Notify,
    /// Told when there is room again, or the link closes.
    pub(super) drained: Notify,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self { queue: RefCell::default(), work: Notify::new(), drained: Notify::new() }
    }

    /// Heads and bodies that wait.
    pub(super) fn len(&self) -> usize {
        self.queue.borrow().parts()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }
}
