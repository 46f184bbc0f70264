//! One TCP connection: its link machine and what waits to be sent. The reading half is in `read.rs`, the writing half in
//! `write.rs`; both run on the engine's thread.

pub(crate) mod dial;
mod outbox;
mod read;
mod wire;
mod write;

use crate::api::PeerStatus;
pub(crate) use crate::limits::QUEUE_MAX;
use outbox::Outbox;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use zest_core::link::{Link, PeerFault};
use zest_core::node::Direction;
use zest_core::{LinkId, PeerId};

/// A connection as the rest of the engine sees it.
pub(crate) struct LinkIo {
    pub(crate) id: LinkId,
    pub(crate) addr: SocketAddr,
    direction: Direction,
    link: RefCell<Link>,
    /// What waits to be sent.
    outbox: Outbox,
    pub(crate) closing: Cell<bool>,
    /// The reader is taking actions: what a `send` in between adds, it takes too, in order.
    draining: Cell<bool>,
    /// Who it is, once both sides have shaken hands.
    established: Cell<Option<PeerId>>,
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
            outbox: Outbox::new(),
            closing: Cell::new(false),
            draining: Cell::new(false),
            established: Cell::new(None),
            fault: Cell::new(None),
            uploaded: Cell::new(0),
            downloaded: Cell::new(0),
            held: Cell::new(None),
        })
    }

    /// Whether its writer has so much to send that its reader is about to stop.
    pub(crate) fn is_behind(&self) -> bool {
        // What the link has to say and the queue has not seen yet is a head and a body each.
        self.outbox.len() + 2 * self.link.borrow().unsent() > QUEUE_MAX
    }

    /// Nothing is to be read before `until`.
    pub(crate) fn hold(&self, until: zest_core::Instant) {
        self.held.set(Some(until));
    }

    /// Whether both sides have shaken hands.
    pub(crate) fn is_established(&self) -> bool {
        self.established.get().is_some()
    }

    /// Asks both tasks of the connection to end.
    pub(crate) fn close(&self) {
        self.closing.set(true);
        self.outbox.work.notify_one();
        self.outbox.drained.notify_one();
    }

    /// For people, once both sides have shaken hands.
    pub(crate) fn status(&self) -> Option<PeerStatus> {
        let inbound = self.direction == Direction::Inbound;
        let (addr, gave, took) = (self.addr, self.downloaded.get(), self.uploaded.get());
        let hex = |id: PeerId| id.0.iter().map(|byte| format!("{byte:02x}")).collect();
        self.established.get().map(|id| PeerStatus { addr, peer_id: hex(id), inbound, gave, took })
    }

    /// Where it was dialled, if it was.
    pub(crate) fn dialled(&self) -> Option<SocketAddr> {
        (self.direction == Direction::Outbound).then_some(self.addr)
    }
}
