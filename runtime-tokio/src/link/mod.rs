//! One TCP connection: its link machine and what waits to be sent. The reading half is in `read.rs`, the writing half in
//! `write.rs`; both run on the engine's thread.

pub(crate) mod dial;
mod read;
mod write;

use crate::api::PeerStatus;
use crate::limits::QUEUE_KEEP;
pub(crate) use crate::limits::QUEUE_MAX;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::File;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::Notify;
use zest_core::link::{Head, Link, PeerFault};
use zest_core::node::Direction;
use zest_core::{LinkId, Location};
use zest_xet::Hash;

/// What waits to be written.
pub(crate) enum Item {
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

/// A connection as the rest of the engine sees it.
pub(crate) struct LinkIo {
    pub(crate) id: LinkId,
    pub(crate) addr: SocketAddr,
    direction: Direction,
    link: RefCell<Link>,
    pub(crate) queue: RefCell<VecDeque<Item>>,
    pub(crate) work: Notify,
    pub(crate) drained: Notify,
    pub(crate) closing: Cell<bool>,
    /// The reader is taking actions: what a `send` in between adds, it takes too, in order.
    draining: Cell<bool>,
    established: Cell<bool>,
    fault: Cell<Option<PeerFault>>,
    pub(crate) uploaded: Cell<u64>,
    pub(crate) downloaded: Cell<u64>,
    /// Nothing is read before then.
    held: Cell<Option<zest_core::Instant>>,
}

impl LinkIo {
    pub(crate) fn new(id: LinkId, addr: SocketAddr, direction: Direction, link: Link) -> Rc<Self> {
        Rc::new(Self {
            id,
            addr,
            direction,
            link: RefCell::new(link),
            queue: RefCell::default(),
            work: Notify::new(),
            drained: Notify::new(),
            closing: Cell::new(false),
            draining: Cell::new(false),
            established: Cell::new(false),
            fault: Cell::new(None),
            uploaded: Cell::new(0),
            downloaded: Cell::new(0),
            held: Cell::new(None),
        })
    }

    /// Whether nothing waits to be written. What room a longer queue needed goes back then: any stranger can have one over each of
    /// his links.
    pub(crate) fn has_written(&self) -> bool {
        let mut queue = self.queue.borrow_mut();
        if queue.is_empty() && queue.capacity() > 2 * QUEUE_KEEP {
            queue.shrink_to(QUEUE_KEEP);
        }
        queue.is_empty()
    }

    /// Whether its writer has so much to send that its reader is about to stop.
    pub(crate) fn is_behind(&self) -> bool {
        // What the link has to say and the queue has not seen yet is a head and a body each.
        self.queue.borrow().len() + 2 * self.link.borrow().unsent() > QUEUE_MAX
    }

    /// Nothing is to be read before `until`.
    pub(crate) fn hold(&self, until: zest_core::Instant) {
        self.held.set(Some(until));
    }

    /// Whether both sides have shaken hands.
    pub(crate) fn is_established(&self) -> bool {
        self.established.get()
    }

    /// Asks both tasks of the connection to end.
    pub(crate) fn close(&self) {
        self.closing.set(true);
        self.work.notify_one();
        self.drained.notify_one();
    }

    /// For people, once both sides have shaken hands.
    pub(crate) fn status(&self) -> Option<PeerStatus> {
        let inbound = self.direction == Direction::Inbound;
        let (addr, gave, took) = (self.addr, self.downloaded.get(), self.uploaded.get());
        self.established.get().then_some(PeerStatus { addr, inbound, gave, took })
    }

    /// Where it was dialled, if it was.
    pub(crate) fn dialled(&self) -> Option<SocketAddr> {
        (self.direction == Direction::Outbound).then_some(self.addr)
    }
}
