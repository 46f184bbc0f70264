//! What links tell the finder, and what of it is shown.

use super::Finder;
use super::survey::Heard;
use std::net::SocketAddr;
use std::rc::Rc;
use zest_core::endpoint::scope;
use zest_core::finder::Event;
use zest_core::link::Message;
use zest_core::node::Direction;
use zest_core::{LinkId, PeerId};

impl Finder {
    /// A link is up.
    pub(crate) fn linked(
        self: &Rc<Self>,
        link: LinkId,
        addr: SocketAddr,
        direction: Direction,
        peer_id: PeerId,
    ) {
        self.tell_listener(|| Heard::Is { link, addr, peer_id });
        self.tell(Event::LinkUp { link, addr, direction });
    }

    /// The remote of a link said this, which [concerns](zest_core::finder::concerns) us.
    pub(crate) fn heard(self: &Rc<Self>, link: LinkId, message: &Message) {
        self.tell(Event::Heard { link, message });
    }

    /// A link is gone.
    pub(crate) fn parted(self: &Rc<Self>, link: LinkId) {
        self.tell(Event::LinkDown { link });
    }

    /// A remote said who it is.
    pub(super) fn introduced(&self, link: LinkId, addr: SocketAddr, direction: Direction, client: &str) {
        if direction == Direction::Inbound {
            self.came_in(scope(addr.ip()));
        }
        self.tell_listener(|| Heard::Hello { link, addr, direction, client: client.to_owned() });
    }
}
