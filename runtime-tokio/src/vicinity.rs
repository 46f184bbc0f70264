//! Who is near, and what of ours is for whom: what a Hub shows that not everybody knows is spoken of with those alone.

use crate::clock::Clock;
use crate::giving::Giving;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use zest_core::endpoint::{Scope, scope};
use zest_core::networks::Networks;
use zest_core::node::{Direction, Event};

pub(crate) struct Vicinity {
    clock: Clock,
    /// Where this machine's neighbours are.
    networks: RefCell<Networks>,
    /// Addresses that the user named.
    named: RefCell<BTreeSet<SocketAddr>>,
    /// Who is given to.
    giving: Cell<Giving>,
    /// The Hub that is named to those who may speak of it, if not everybody knows it.
    pub(crate) hub: Option<[u8; 20]>,
    /// That Hub is on this machine alone.
    pub(crate) hub_here: bool,
}

impl Vicinity {
    pub(crate) fn new(clock: Clock, hub: Option<[u8; 20]>, hub_here: bool) -> Self {
        let (networks, named, giving) = (RefCell::default(), RefCell::default(), Cell::default());
        Self { clock, networks, named, giving, hub, hub_here }
    }

    /// The user named a peer.
    pub(crate) fn name(&self, addr: SocketAddr) {
        self.named.borrow_mut().insert(addr);
    }

    /// Gives to these from now on.
    pub(crate) fn give_to(&self, giving: Giving) {
        self.giving.set(giving);
    }

    /// Whether it is given to.
    pub(crate) fn gives_to(&self, addr: SocketAddr) -> bool {
        self.giving.get().covers(addr)
    }

    /// The Hub that is named there, if any: to neighbours, to those whom we dialled by name, and to those who come from such an
    /// address. What is learnt of our networks goes to `news`.
    pub(crate) fn hub_for(
        &self,
        addr: SocketAddr,
        direction: Direction,
        news: impl FnOnce(Event),
    ) -> Option<[u8; 20]> {
        let ip = addr.ip().to_canonical();
        let named = || match direction {
            Direction::Outbound => self.named.borrow().contains(&addr),
            Direction::Inbound => self.named.borrow().iter().any(|named| named.ip().to_canonical() == ip),
        };
        let near = || !self.hub_here && scope(ip) != Scope::Loopback && self.is_near_by(ip, news);
        self.hub.filter(|_| named() || near())
    }

    /// Whether this is an address of this site, or of a network that this machine is on.
    pub(crate) fn is_near_by(&self, ip: IpAddr, news: impl FnOnce(Event)) -> bool {
        let read = |name: &str| std::fs::read_to_string(name).unwrap_or_default();
        let (near, ours) = self.networks.borrow_mut().near(self.clock.now(), ip, read);
        if let Some(ours) = ours {
            news(Event::Networks { ours });
        }
        near
    }
}
