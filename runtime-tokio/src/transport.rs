//! The connections of an engine: which there are, and what all of them share.

use crate::buffers::{BUFFER_BYTES, Buffer, Pool};
use crate::clock::Clock;
use crate::limits::HEAD_BYTES;
use crate::link::LinkIo;
use crate::traffic::Traffic;
use std::cell::{Cell, RefCell, RefMut};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use zest_core::lobby::Lobby;
use zest_core::{LinkId, PeerId};
use zest_send::memory::{self, Ebb};

/// Connections to ourselves that are remembered: 16. Ours; each is asked about within the moment.
const SELVES_MAX: usize = 16;

fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

pub(crate) struct Transport {
    links: RefCell<BTreeMap<LinkId, Rc<LinkIo>>>,
    /// The number of the next link.
    next: Cell<u64>,
    /// Who came and has not shaken hands.
    lobby: RefCell<Lobby>,
    /// From where the last came who were ourselves.
    came_as_self: RefCell<VecDeque<SocketAddr>>,
    /// Whether many have left.
    ebb: RefCell<Ebb>,
    /// Where payloads are received.
    pub(crate) pool: Pool,
    /// Where all links read what cannot be foreseen.
    heads: RefCell<Vec<u8>>,
    /// How much goes over all of them.
    pub(crate) traffic: Traffic,
    /// Who we are.
    pub(crate) peer_id: PeerId,
    /// Where we can be reached; 0 if nowhere.
    pub(crate) listen_port: u16,
}

impl Transport {
    pub(crate) fn new(peer_id: PeerId, listen_port: u16, clock: Clock, cap: Option<u64>) -> Self {
        Self {
            links: RefCell::default(),
            next: Cell::new(1),
            lobby: RefCell::default(),
            came_as_self: RefCell::default(),
            ebb: RefCell::default(),
            pool: Pool::default(),
            heads: RefCell::new(vec![0; HEAD_BYTES]),
            traffic: Traffic::new(clock, cap),
            peer_id,
            listen_port,
        }
    }

    /// A name for a link to come.
    pub(crate) fn number(&self) -> LinkId {
        LinkId(self.next.replace(self.next.get() + 1))
    }

    pub(crate) fn get(&self, link: LinkId) -> Option<Rc<LinkIo>> {
        self.links.borrow().get(&link).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Rc<LinkIo>> {
        self.links.borrow().values().cloned().collect()
    }

    /// A connection stands.
    pub(crate) fn add(self: &Rc<Self>, io: Rc<LinkIo>) {
        self.links.borrow_mut().insert(io.id, io);
        self.count();
    }

    /// A connection has ended.
    pub(crate) fn remove(self: &Rc<Self>, io: &LinkIo) {
        self.links.borrow_mut().remove(&io.id);
        self.count();
        self.lobby.borrow_mut().left(io.id);
        self.traffic.parted(io.downloaded.get());
    }

    /// Somebody has come and not shaken hands yet; if that are too many, one of them is let go.
    pub(crate) fn came(&self, link: LinkId, ip: IpAddr) {
        let one_too_many = self.lobby.borrow_mut().came(link, ip);
        if let Some(io) = one_too_many.and_then(|id| self.get(id)) {
            io.close();
        }
    }

    /// One that came from there has our own peer id: we have dialled ourselves.
    pub(crate) fn met_itself(&self, from: SocketAddr) {
        let mut came = self.came_as_self.borrow_mut();
        came.truncate(SELVES_MAX - 1);
        came.push_front(canonical(from));
    }

    /// Whether a connection from there was one to ourselves.
    pub(crate) fn was_itself(&self, from: SocketAddr) -> bool {
        self.came_as_self.borrow().contains(&canonical(from))
    }

    /// It has shaken hands.
    pub(crate) fn shook_hands(&self, link: LinkId) {
        self.lobby.borrow_mut().left(link);
    }

    /// Links came or left. When many have left, what they needed goes back to the system, beside this thread.
    fn count(self: &Rc<Self>) {
        let links = |this: &Self| this.links.borrow().len();
        if !self.ebb.borrow_mut().links(links(self)) {
            return;
        }
        let this = self.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(memory::CALM).await;
            this.ebb.borrow_mut().over(links(&this));
            let _done = tokio::task::spawn_blocking(memory::give_back).await;
        });
    }

    /// A buffer of the pool, or one of its own size where that is too small or empty.
    pub(crate) fn buffer(&self, len: usize) -> Buffer {
        let pooled = if len <= BUFFER_BYTES { self.pool.try_take() } else { None };
        pooled.unwrap_or_else(|| Buffer::large(len))
    }

    /// Where to read what cannot be foreseen.
    pub(crate) fn heads(&self) -> RefMut<'_, Vec<u8>> {
        self.heads.borrow_mut()
    }

    pub(crate) fn downloaded(&self) -> u64 {
        let links = self.links.borrow();
        self.traffic.downloaded_past() + links.values().map(|io| io.downloaded.get()).sum::<u64>()
    }
}
