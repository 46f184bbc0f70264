//! Who is near: what a Hub shows that not everybody knows is spoken of with them alone.

use crate::context::Context;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use zest_core::LinkId;
use zest_core::endpoint::{Scope, scope};
use zest_core::node::{Direction, Event};
use zest_store::Access;

impl Context {
    /// Whether our Hub is named there: to neighbours, to those whom we dialled by name, and to those who come from such an address.
    pub(crate) fn may_name_hub(self: &Rc<Self>, addr: SocketAddr, direction: Direction) -> bool {
        let ip = addr.ip().to_canonical();
        let named = match direction {
            Direction::Outbound => self.named.borrow().contains(&addr),
            Direction::Inbound => self.named.borrow().iter().any(|named| named.ip().to_canonical() == ip),
        };
        named || !self.hub_here.get() && scope(ip) != Scope::Loopback && self.is_near_by(ip)
    }

    /// Whether this is an address of this site, or of a network that this machine is on.
    pub(crate) fn is_near_by(self: &Rc<Self>, ip: IpAddr) -> bool {
        let read = |name: &str| std::fs::read_to_string(name).unwrap_or_default();
        let (near, news) = self.networks.borrow_mut().near(self.clock.now(), ip, read);
        if let Some(ours) = news {
            self.event(Event::Networks { ours });
        }
        near
    }

    /// What a linked peer may have.
    pub(crate) fn access_of(&self, link: LinkId) -> Access {
        if self.is_near(link) { Access::Near } else { Access::Share }
    }
}
