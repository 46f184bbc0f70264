//! Peer exchange (BEP 11) as this runtime drives it: which links take part, and who may be told of.

use super::Finder;
use super::survey::Heard;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use zest_core::endpoint::{canonical, scope};
use zest_core::link::{ExtHandshake, Outgoing};
use zest_core::node::Direction;
use zest_core::wire::pex::FLAG_REACHABLE;
use zest_core::{LinkId, discovery, pex};

impl Finder {
    /// A remote said what it speaks, and where it listens.
    pub(crate) fn introduced(
        self: &Rc<Finder>,
        link: LinkId,
        addr: SocketAddr,
        direction: Direction,
        hello: &ExtHandshake,
    ) {
        let listens = match direction {
            Direction::Outbound => Some(addr),
            Direction::Inbound => hello.listen_port.map(|port| SocketAddr::new(addr.ip(), port)),
        };
        let listens = listens.map(canonical);
        if self.linked.borrow_mut().insert(link, listens).is_some() {
            return;
        }
        if direction == Direction::Inbound {
            self.came_in(scope(addr.ip()));
        }
        let known = listens.unwrap_or(addr);
        self.tell_listener(|| {
            let client = hello.client.to_string();
            Heard::Hello { link, addr: known, direction, client }
        });
        if hello.ut_pex.is_some() {
            self.tell_pex(pex::Event::LinkUp { link, remote: known });
        }
        if let Some(addr) = listens {
            // Whom the user named is the user's business, and a link-local address means nothing on another link.
            let link_local = matches!(addr.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local());
            let allow = !link_local && !self.named.borrow().contains(&addr);
            let flags = if direction == Direction::Outbound { FLAG_REACHABLE } else { 0 };
            self.tell_pex(pex::Event::Peer { addr, flags, allow });
        }
    }

    /// A link is gone.
    pub(crate) fn parted(self: &Rc<Finder>, link: LinkId) {
        let Some(listens) = self.linked.borrow_mut().remove(&link) else { return };
        self.tell_pex(pex::Event::LinkDown { link });
        let other = self.linked.borrow().values().any(|addr| *addr == listens);
        if let Some(addr) = listens.filter(|_| !other) {
            self.tell_pex(pex::Event::PeerGone { addr });
        }
    }

    /// A remote told of peers.
    pub(crate) fn exchanged(self: &Rc<Finder>, link: LinkId, added: &[(SocketAddr, u8)]) {
        self.tell_pex(pex::Event::Received { link, added });
    }

    pub(super) fn perform_pex(self: &Rc<Finder>, action: pex::Action) {
        match action {
            pex::Action::Send { link, added, dropped } => {
                let Some(context) = self.context.upgrade() else { return };
                let io = context.links.borrow().get(&link).cloned();
                if let Some(io) = io {
                    io.send(&context, Outgoing::Pex { added, dropped });
                }
            }
            pex::Action::Found { addr, .. } => self.tell(discovery::Event::Exchanged { addr }),
        }
    }
}
