//! Peer exchange (BEP 11) as this runtime drives it: which links take part, and who may be told of.

use super::Finder;
use super::survey::Heard;
use std::net::SocketAddr;
use std::rc::Rc;
use zest_core::endpoint::scope;
use zest_core::finder::Event;
use zest_core::link::ExtHandshake;
use zest_core::node::Direction;
use zest_core::{LinkId, pex};

impl Finder {
    /// A remote said what it speaks, and where it listens.
    pub(crate) fn introduced(
        self: &Rc<Self>,
        link: LinkId,
        addr: SocketAddr,
        direction: Direction,
        hello: &ExtHandshake,
    ) {
        if self.machine.borrow().is_linked(link) {
            return;
        }
        if direction == Direction::Inbound {
            self.came_in(scope(addr.ip()));
        }
        let known = pex::listens_at(addr, direction, hello).unwrap_or(addr);
        self.tell_listener(|| {
            let client = hello.client.to_string();
            Heard::Hello { link, addr: known, direction, client }
        });
        // Whom the user named is the user's business.
        let allow = !self.named.borrow().contains(&known);
        self.tell(Event::Link(pex::Event::Introduced { link, addr, direction, hello, allow }));
    }

    /// A link is gone.
    pub(crate) fn parted(self: &Rc<Self>, link: LinkId) {
        self.tell(Event::Link(pex::Event::LinkDown { link }));
    }

    /// A remote told of peers.
    pub(crate) fn exchanged(self: &Rc<Self>, link: LinkId, added: &[(SocketAddr, u8)]) {
        self.tell(Event::Link(pex::Event::Received { link, added }));
    }
}
