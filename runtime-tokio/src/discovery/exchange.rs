//! Peer exchange (BEP 11) as this runtime drives it: which links take part, and who may be told of.

use super::Finder;
use super::survey::Heard;
use std::net::SocketAddr;
use std::rc::Rc;
use zest_core::endpoint::scope;
use zest_core::link::{ExtHandshake, Outgoing};
use zest_core::node::Direction;
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
        if !self.linked.borrow_mut().insert(link) {
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
        self.tell_pex(pex::Event::Introduced { link, addr, direction, hello, allow });
    }

    /// A link is gone.
    pub(crate) fn parted(self: &Rc<Finder>, link: LinkId) {
        if self.linked.borrow_mut().remove(&link) {
            self.tell_pex(pex::Event::LinkDown { link });
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
