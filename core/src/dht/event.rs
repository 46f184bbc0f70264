//! What goes into the DHT and what comes out of it.

use super::addr::Family;
use super::lookup::End;
use super::persist::Saved;
use crate::InfoHash;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::num::NonZeroU16;

/// One key being looked up or announced, numbered by the runtime; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupId(pub u64);

/// What happens to the DHT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A datagram came.
    Datagram {
        /// From there.
        from: SocketAddr,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// An address to start from (`--bootstrap`, the public routers). It is asked when too few nodes are known and never
    /// enters the table.
    Bootstrap {
        /// Resolved.
        addr: SocketAddr,
    },
    /// A node may live there: the PORT message of a peer, a neighbour on the LAN. It is pinged, and kept if it answers.
    NodeHint {
        /// Its UDP address.
        addr: SocketAddr,
    },
    /// What a former run saved. To be given first.
    Restore(Box<Saved>),
    /// Find peers for a key.
    Get {
        /// Names the answers.
        id: LookupId,
        /// The key.
        info_hash: InfoHash,
    },
    /// Find peers for a key, and tell the nodes closest to it that we have it.
    Announce {
        /// Names the answers.
        id: LookupId,
        /// The key.
        info_hash: InfoHash,
        /// Where we take connections.
        port: NonZeroU16,
        /// Others should take the port our datagram comes from instead (BEP 5): right if TCP and UDP share a port,
        /// and behind a NAT.
        implied: bool,
    },
    /// The answers are no longer of interest. Nothing follows, not even [`Action::Done`].
    Cancel {
        /// Which.
        id: LookupId,
    },
    /// Whether strangers can reach our UDP port, if something else than the DHT knows (a port mapping, a public
    /// address); `None` lets the DHT find out.
    Reachable {
        /// Where.
        family: Family,
        /// What is known.
        known: Option<bool>,
    },
    /// The time given by `poll_timeout` has come.
    Timer,
}

/// What the DHT wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a datagram.
    SendTo {
        /// There.
        to: SocketAddr,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// Peers of a key; new ones only, as they come in. They are what strangers say, nothing more.
    Peers {
        /// Whose.
        id: LookupId,
        /// Of either family.
        peers: Vec<SocketAddr>,
    },
    /// A lookup has ended; nothing more comes for it.
    Done {
        /// Which.
        id: LookupId,
        /// How it went.
        outcome: Outcome,
    },
    /// Others see us at this address.
    ExternalAddr {
        /// The address, by the vote of several sites.
        ip: IpAddr,
        /// The port of our UDP socket as all of them see it; `None` if they see different ones.
        port: Option<u16>,
    },
    /// Somebody answers, after wishes had ended without any answer: they are worth making again.
    Reached,
    /// The table has changed: a good moment to write `saved()` to disk.
    Save,
}

/// How a lookup went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Nodes asked.
    pub asked: u32,
    /// Nodes that answered.
    pub answered: u32,
    /// Peers found.
    pub peers: u32,
    /// Nodes that our announcement was sent to: with `asked`, what the wish cost in packets.
    pub announces: u32,
    /// Nodes that took it.
    pub announced_to: u32,
    /// Why it ended; the better of both families.
    pub end: End,
}

/// Why the DHT wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// A query is due to be answered.
    Answer,
    /// The table has to be looked after.
    Upkeep(Family),
    /// Lookups may send again.
    Pace,
    /// Keys have waited long enough for a node to ask.
    Patience,
    /// Old announcements are forgotten.
    Sweep,
}
