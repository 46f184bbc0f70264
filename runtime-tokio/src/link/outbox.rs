//! What waits to be sent over one connection.

use crate::limits::QUEUE_KEEP;
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::sync::Arc;
use tokio::sync::Notify;
use zest_core::Location;
use zest_core::link::Head;
use zest_xet::Hash;

/// What waits to be written.
pub(super) enum Item {
    Head(Head),
    /// What is left of a head.
    Rest(Bytes),
    /// A range of a file, which is opened when it is sent. One that is under way has nothing but this to keep it open.
    File(Location, Option<Arc<File>>),
    /// A chunk that is in memory, and how much of it was sent.
    Hot {
        hash: Hash,
        place: Location,
        sent: u32,
    },
    /// A body.
    Bytes(Bytes),
}

pub(super) struct Outbox {
    pub(super) queue: RefCell<VecDeque<Item>>,
    /// Told when there is something to send, or the link closes.
    pub(super) work: Notify,
    /// Told when there is room again, or the link closes.
    pub(super) drained: Notify,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self { queue: RefCell::default(), work: Notify::new(), drained: Notify::new() }
    }

    /// Adds a head and its body.
    pub(super) fn push(&self, head: Head, body: Option<Item>) {
        let mut queue = self.queue.borrow_mut();
        queue.push_back(Item::Head(head));
        queue.extend(body);
        drop(queue);
        self.work.notify_one();
    }

    /// Whether nothing waits. What room a longer queue needed goes back then: any stranger can have one over each of their links.
    pub(super) fn is_empty(&self) -> bool {
        let mut queue = self.queue.borrow_mut();
        if queue.is_empty() && queue.capacity() > 2 * QUEUE_KEEP {
            queue.shrink_to(QUEUE_KEEP);
        }
        queue.is_empty()
    }
}
