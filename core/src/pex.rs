//! Peer exchange (BEP 11): what linked peers learn of each other through us, and we through them.
//!
//! [`Pex`] owns the list of peers that may be told of, and per link what its remote was told. It sends to links whose
//! remote offers `ut_pex` only, the difference since the last message, and never:
//! - a peer the caller did not allow ([`Event::Introduced`] with `allow` false: named by hand, from a private swarm);
//! - the remote itself, one of our own addresses, loopback, link-local, or an address that lies closer than the remote does;
//! - more than 50 peers at once, or a second message within [`PEX_EVERY`].
//!
//! What remotes say is bounded per link, and an address that lies closer to us than its teller is not believed
//! ([`may_name`]). It serves all swarms at once, since a link does.
//!
//! ```
//! use zest_core::link::ExtHandshake;
//! use zest_core::node::Direction;
//! use zest_core::pex::{Action, Event, Pex};
//! use zest_core::wire::ext_handshake::Extension;
//! use zest_core::wire::xet::Dialect;
//! use zest_core::{Instant, LinkId};
//!
//! let (one, other) = ("192.0.2.1:6881".parse().unwrap(), "192.0.2.77:6881".parse().unwrap());
//! let mut hello = ExtHandshake::empty(Dialect::Chunk);
//! hello = hello.with(Extension::UtPex, Some(4));
//! let mut pex = Pex::new([7; 32]);
//! for (link, addr) in [(LinkId(1), one), (LinkId(2), other)] {
//!     let direction = Direction::Outbound;
//!     pex.handle(Instant::ZERO, Event::Introduced { link, addr, direction, hello: &hello, allow: true });
//! }
//! let (at, _) = pex.poll_timeout().unwrap();
//! pex.handle(at, Event::Timer);
//! assert!(matches!(pex.poll_action(), Some(Action::Send { added, .. }) if added.len() == 1));
//! ```

use crate::bucket::jitter;
use crate::endpoint::{Scope, canonical, is_dialable, may_name, scope};
use crate::node::Direction;
use crate::node::rng::Rng;
use crate::wire::ext_handshake::{ExtHandshake, Extension};
use crate::wire::pex::{FLAG_REACHABLE, PEX_PEERS_MAX};
use crate::{Duration, Instant, LinkId};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// Shortest time between two messages on a link: 60 s (BEP 11: no more than one a minute).
pub const PEX_EVERY: Duration = Duration::from_secs(60);
/// The first message of a link goes out after 2 s to 4 s. Ours; by then a new node knows more than one peer.
pub const PEX_FIRST: Duration = Duration::from_secs(2);
/// Peers that may be told of: 512. Ours; twice the links a node has.
pub const KNOWN_MAX: usize = 512;
/// Links: 512. Ours; further ones neither tell nor are told.
pub const LINKS_MAX: usize = 512;
/// Our own addresses: 32. Ours.
pub const OWN_MAX: usize = 32;
/// A remote's messages are read this far apart, 45 s: BEP 11's minute with room for a jittery network. The first two
/// are read at once, since some send one at the handshake and one soon after.
pub const HEARD_EVERY: Duration = Duration::from_secs(45);
/// Messages read at once of a new address: 2.
pub const HEARD_FIRST: u32 = 2;
/// On loopback live unrelated processes behind one address: it may say as much as eight others. Ours.
pub const LOOPBACK_SHARE: u32 = 8;
/// Addresses whose messages are counted: 1,024. Ours, twice the links; while all of them have spoken lately, no more are heard.
pub const SPEAKERS_MAX: usize = 1024;

/// Something happened.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A remote said what it speaks. Once that was `ut_pex`, or where it listens, nothing it says later changes that.
    Introduced {
        /// Which.
        link: LinkId,
        /// Address of its end of the connection.
        addr: SocketAddr,
        /// Who connected to whom.
        direction: Direction,
        /// What it said.
        hello: &'a ExtHandshake,
        /// Whether others may learn of it; without, it is forgotten.
        allow: bool,
    },
    /// A link is gone.
    LinkDown {
        /// Which.
        link: LinkId,
    },
    /// One of our own addresses.
    Own {
        /// Address and port we can be dialled at.
        addr: SocketAddr,
    },
    /// A remote tells of peers.
    Received {
        /// On which link.
        link: LinkId,
        /// Peers it is connected to.
        added: &'a [(SocketAddr, u8)],
    },
    /// The time that `poll_timeout` named has come.
    Timer,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a message on a link.
    Send {
        /// Which.
        link: LinkId,
        /// Peers and flags, at most 50.
        added: Vec<(SocketAddr, u8)>,
        /// Peers, at most 50.
        dropped: Vec<SocketAddr>,
    },
    /// A remote told of this peer.
    Found {
        /// Where it listens.
        addr: SocketAddr,
        /// What the remote says of it.
        flags: u8,
        /// Who told.
        link: LinkId,
    },
}

/// Why the machine wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// A link may be told what is new.
    Tell(LinkId),
}

#[derive(Debug)]
struct Told {
    remote: SocketAddr,
    peers: BTreeSet<SocketAddr>,
    /// Not told anything before.
    not_before: Instant,
    /// Address of its end of the connection.
    from: IpAddr,
}

/// What may still be read of what one address says, whatever links it has or had.
#[derive(Debug, Clone, Copy)]
struct Credit {
    messages: u32,
    /// When some was given last.
    since: Instant,
}

/// Where the remote of a link accepts connections, if it does.
#[must_use]
pub fn listens_at(addr: SocketAddr, direction: Direction, hello: &ExtHandshake) -> Option<SocketAddr> {
    let listens = match direction {
        Direction::Outbound => Some(addr),
        Direction::Inbound => hello.listen_port.map(|port| SocketAddr::new(addr.ip(), port)),
    };
    listens.map(canonical)
}

/// Peer exchange of a process. See the [module](self) for its contract.
#[derive(Debug)]
pub struct Pex {
    rng: Rng,
    /// Who may be told of, and flags of [`crate::wire::pex`].
    known: BTreeMap<SocketAddr, u8>,
    /// Links whose remote offers `ut_pex`.
    links: BTreeMap<LinkId, Told>,
    /// Links whose remote accepts connections, and where.
    listeners: BTreeMap<LinkId, SocketAddr>,
    own: BTreeSet<SocketAddr>,
    /// Addresses that have told us of peers.
    speakers: BTreeMap<IpAddr, Credit>,
    /// Links that may have something to be told, by when.
    due: BTreeSet<(Instant, LinkId)>,
    actions: VecDeque<Action>,
}

impl Pex {
    /// A machine without links and peers.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            rng: Rng::new(seed),
            known: BTreeMap::new(),
            links: BTreeMap::new(),
            listeners: BTreeMap::new(),
            own: BTreeSet::new(),
            speakers: BTreeMap::new(),
            due: BTreeSet::new(),
            actions: VecDeque::new(),
        }
    }

    /// Takes one event in. Infallible.
    pub fn handle(&mut self, now: Instant, event: Event<'_>) {
        match event {
            Event::Introduced { link, addr, direction, hello, allow } => {
                self.introduced(now, link, addr, direction, hello, allow);
            }
            Event::LinkDown { link } => self.link_down(link),
            Event::Own { addr } => {
                let addr = canonical(addr);
                if self.own.len() < OWN_MAX && self.own.insert(addr) {
                    self.gone(addr);
                }
            }
            Event::Received { link, added } => self.received(now, link, added),
            Event::Timer => {
                while let Some((_, link)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
                    self.tell(now, link);
                }
            }
        }
    }

    /// The next thing to do, in order. Poll until `None` after every [`Pex::handle`].
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call `handle(now, Event::Timer)`, and why. Ask again after every [`Pex::handle`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        self.due.first().map(|(at, link)| (*at, Timer::Tell(*link)))
    }

    /// Panics if a promise of the machine to itself is broken. For tests, simulation and fuzzing, after every event.
    pub fn check_invariants(&self) {
        assert!(self.known.len() <= KNOWN_MAX, "peers stay within their limit");
        let linked = self.links.len().max(self.listeners.len());
        assert!(linked <= LINKS_MAX, "links stay within their limit");
        assert!(self.own.len() <= OWN_MAX, "own addresses stay within their limit");
        assert!(self.speakers.len() <= SPEAKERS_MAX, "addresses that spoke stay within their limit");
        assert!(self.known.keys().all(|addr| !self.own.contains(addr)), "we are no peer of ours");
        for (link, told) in &self.links {
            assert!(told.peers.len() <= 2 * KNOWN_MAX, "what a link was told is bounded");
            let news = self.news(told).0.next().is_some() || self.news(told).1.next().is_some();
            let due = self.due.contains(&(told.not_before, *link));
            assert!(due || !news, "a link is due if there is something to tell");
        }
        assert!(self.due.iter().all(|(_, link)| self.links.contains_key(link)), "only links are due");
    }

    fn introduced(
        &mut self,
        now: Instant,
        link: LinkId,
        addr: SocketAddr,
        direction: Direction,
        hello: &ExtHandshake,
        allow: bool,
    ) {
        if self.links.contains_key(&link) || self.listeners.contains_key(&link) {
            return;
        }
        let listens = listens_at(addr, direction, hello);
        if hello.id(Extension::UtPex).is_some() && self.links.len() < LINKS_MAX {
            let not_before = now + PEX_FIRST + jitter(&mut self.rng, PEX_FIRST);
            let remote = listens.unwrap_or(canonical(addr));
            let from = canonical(addr).ip();
            let told = Told { remote, peers: BTreeSet::new(), not_before, from };
            self.links.insert(link, told);
            self.due.insert((not_before, link));
        }
        if let Some(addr) = listens.filter(|_| self.listeners.len() < LINKS_MAX) {
            self.listeners.insert(link, addr);
            self.peer(addr, if direction == Direction::Outbound { FLAG_REACHABLE } else { 0 }, allow);
        }
    }

    fn link_down(&mut self, link: LinkId) {
        if let Some(told) = self.links.remove(&link) {
            self.due.remove(&(told.not_before, link));
        }
        if let Some(addr) = self.listeners.remove(&link)
            && !self.listeners.values().any(|other| *other == addr)
        {
            self.gone(addr);
        }
    }

    fn peer(&mut self, addr: SocketAddr, flags: u8, allow: bool) {
        // A link-local address means nothing on another link.
        let link_local = matches!(addr.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local());
        let far = is_dialable(addr) && scope(addr.ip()) > Scope::Loopback && !link_local;
        let tellable = allow && far && !self.own.contains(&addr);
        if !tellable {
            return self.gone(addr);
        }
        let full = self.known.len() >= KNOWN_MAX;
        if full && !self.known.contains_key(&addr) {
            return;
        }
        self.known.insert(addr, flags);
        self.look_again();
    }

    fn gone(&mut self, addr: SocketAddr) {
        if self.known.remove(&addr).is_some() {
            self.look_again();
        }
    }

    /// Something changed: every link is looked at when its time comes.
    fn look_again(&mut self) {
        if self.due.len() == self.links.len() {
            return;
        }
        self.due.extend(self.links.iter().map(|(link, told)| (told.not_before, *link)));
    }

    /// What a link was not told yet: peers that came, peers that went.
    fn news<'a>(
        &'a self,
        told: &'a Told,
    ) -> (impl Iterator<Item = (SocketAddr, u8)> + 'a, impl Iterator<Item = SocketAddr> + 'a) {
        let fit = |addr: &SocketAddr| *addr != told.remote && may_name(told.remote.ip(), *addr);
        let added = self.known.iter().filter(move |(addr, _)| fit(addr) && !told.peers.contains(addr));
        let dropped = told.peers.iter().filter(|addr| !self.known.contains_key(addr));
        (added.map(|(addr, flags)| (*addr, *flags)), dropped.copied())
    }

    fn tell(&mut self, now: Instant, link: LinkId) {
        let Some(told) = self.links.get(&link) else { return };
        let (added, dropped) = self.news(told);
        let added: Vec<_> = added.take(PEX_PEERS_MAX).collect();
        let dropped: Vec<_> = dropped.take(PEX_PEERS_MAX).collect();
        let spread = jitter(&mut self.rng, PEX_EVERY / 10);
        let Some(told) = self.links.get_mut(&link) else { return };
        self.due.remove(&(told.not_before, link));
        if added.is_empty() && dropped.is_empty() {
            return;
        }
        told.not_before = now + PEX_EVERY + spread;
        told.peers.extend(added.iter().map(|(addr, _)| *addr));
        told.peers.retain(|addr| !dropped.contains(addr));
        // A long list goes out in parts.
        self.due.insert((told.not_before, link));
        self.actions.push_back(Action::Send { link, added, dropped });
    }

    /// Whether one more message of an address is read. It is counted by address: a new link is no new voice.
    fn listens_to(&mut self, now: Instant, from: IpAddr) -> bool {
        let share = if from.is_loopback() { LOOPBACK_SHARE } else { 1 };
        if self.speakers.len() >= SPEAKERS_MAX && !self.speakers.contains_key(&from) {
            // Who has been silent for long enough has all of its credit back.
            let whole = HEARD_EVERY * HEARD_FIRST;
            self.speakers.retain(|_, credit| now.since(credit.since) < whole);
            if self.speakers.len() >= SPEAKERS_MAX {
                return false;
            }
        }
        let first = Credit { messages: HEARD_FIRST * share, since: now };
        let credit = self.speakers.entry(from).or_insert(first);
        if now.since(credit.since) >= HEARD_EVERY {
            credit.messages = (credit.messages + share).min(HEARD_FIRST * share);
            credit.since = now;
        }
        let left = credit.messages.checked_sub(1);
        credit.messages = left.unwrap_or(0);
        left.is_some()
    }

    fn received(&mut self, now: Instant, link: LinkId, added: &[(SocketAddr, u8)]) {
        let Some(told) = self.links.get(&link) else { return };
        let (remote, from) = (told.remote, told.from);
        if !self.listens_to(now, from) {
            return;
        }
        for (addr, flags) in added.iter().take(PEX_PEERS_MAX) {
            let addr = canonical(*addr);
            let known = self.known.contains_key(&addr) || self.own.contains(&addr) || addr == remote;
            if !known && may_name(remote.ip(), addr) {
                self.actions.push_back(Action::Found { addr, flags: *flags, link });
            }
        }
    }
}
