//! Who a peer is, and what it can do.

use crate::PeerId;
use crate::endpoint::{Scope, scope};
use crate::node::event::Direction;
use core::net::SocketAddr;

#[derive(Debug)]
pub(crate) struct Who {
    pub(crate) addr: SocketAddr,
    pub(crate) id: PeerId,
    pub(crate) direction: Direction,
    /// On this machine; or it speaks of our Hub, and the user named it or it is on this network.
    pub(crate) near: bool,
    /// It has said what it can do.
    pub(crate) introduced: bool,
    /// It speaks BEP XET.
    pub(crate) chunks: bool,
    /// It speaks our own extension.
    pub(crate) zest: bool,
    /// It gives small files.
    pub(crate) plain: bool,
    pub(crate) xorb_ranges_only: bool,
}

impl Who {
    pub(super) fn new(addr: SocketAddr, id: PeerId, direction: Direction) -> Self {
        Self {
            addr,
            id,
            direction,
            near: scope(addr.ip()) == Scope::Loopback,
            introduced: false,
            chunks: false,
            zest: false,
            plain: false,
            xorb_ranges_only: false,
        }
    }
}
