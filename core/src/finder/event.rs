//! What the finder is told and what it wants.

use crate::dht::{self, Saved};
use crate::discovery;
use crate::endpoint::Found;
use crate::link::Message;
use crate::lsd::Group;
use crate::node::Direction;
use crate::tracker::{RequestId, Standing, TrackerId};
use crate::wire::client_name::ClientName;
use crate::{Duration, JobId, LinkId, wire};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use zest_xet::Hash;

/// Something happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// What is wanted and what can be had, answers of trackers, the local network. What the DHT and linked peers say, our own
    /// addresses, datagrams and time have events of their own below.
    Swarms(discovery::Event<'a>),
    /// How a job does that wants peers; every [`super::JOBS_EVERY`].
    Job {
        /// Which.
        job: JobId,
        /// Bytes that are here.
        done: u64,
        /// Bytes that peers gave.
        from_peers: u64,
        /// Linked peers that have something of it.
        sources: usize,
    },
    /// A peer that was found ([`Action::Found`]) can be dialled from here.
    Met,
    /// A datagram came on the port that the DHT and UDP trackers share.
    Datagram {
        /// Its sender.
        from: SocketAddr,
        /// All of it.
        bytes: &'a [u8],
    },
    /// One of our own addresses: it is no peer.
    Own {
        /// Address and port we can be dialled at.
        addr: SocketAddr,
    },
    /// The router says that others see us there.
    SeenAt {
        /// The address.
        ip: IpAddr,
        /// The port that it maps to ours.
        port: u16,
    },
    /// See [`dht::Event::Bootstrap`].
    Bootstrap {
        /// Resolved.
        addr: SocketAddr,
    },
    /// See [`dht::Event::NodeHint`].
    NodeHint {
        /// Its UDP address.
        addr: SocketAddr,
    },
    /// See [`dht::Event::Restore`].
    Restore(Box<Saved>),
    /// See [`dht::Event::Reachable`].
    Reachable {
        /// Where.
        family: dht::Family,
        /// What is known.
        known: Option<bool>,
    },
    /// A link is up.
    LinkUp {
        /// Which.
        link: LinkId,
        /// Its remote's address as seen here.
        addr: SocketAddr,
        /// Who dialled.
        direction: Direction,
    },
    /// The remote of a link said this. What does not [concern](super::concerns) finding peers need not be told.
    Heard {
        /// Which link.
        link: LinkId,
        /// What.
        message: &'a Message,
    },
    /// A link is gone.
    LinkDown {
        /// Which.
        link: LinkId,
    },
    /// The time that `poll_timeout` named has come.
    Timer,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a datagram from the port that the DHT and UDP trackers share.
    SendTo {
        /// There.
        to: SocketAddr,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// Send to a multicast group.
    LanSend {
        /// Which.
        group: Group,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// See [`crate::tracker::Action::HttpGet`].
    HttpGet {
        /// To be named in the outcome.
        id: RequestId,
        /// Complete.
        url: String,
    },
    /// See [`crate::tracker::Action::HttpCancel`].
    HttpCancel {
        /// Which.
        id: RequestId,
    },
    /// See [`crate::tracker::Action::Resolve`].
    Resolve {
        /// To be named in the outcome.
        tracker: TrackerId,
        /// Name.
        host: String,
        /// Port to put behind the addresses.
        port: u16,
    },
    /// How a tracker does has changed.
    Tracker {
        /// Which.
        tracker: TrackerId,
        /// Scheme, host and port.
        name: String,
        /// How.
        standing: Standing,
    },
    /// A peer was found. If it can be dialled, [`Event::Met`] follows.
    Found {
        /// Where it listens.
        addr: SocketAddr,
        /// How.
        how: Found,
    },
    /// One look for peers of a job's file has ended; see [`discovery::Action::Searched`].
    Searched {
        /// Which job.
        job: JobId,
        /// Peers found in this round.
        peers: usize,
    },
    /// A job that shares the origin's work with others does so for this long at least without asking it: they may be near.
    Wait {
        /// Which job.
        job: JobId,
        /// How long, from now on.
        pause: Duration,
    },
    /// Tell the remote of a link which peers came and went (BEP 11).
    Tell {
        /// Which link.
        link: LinkId,
        /// At most 50 peers each.
        peers: wire::pex::Pex,
    },
    /// The remote of a link said for the first time what it speaks. For people: what follows from it is done here.
    Introduced {
        /// Which link.
        link: LinkId,
        /// Where it listens, or else its address as seen here.
        addr: SocketAddr,
        /// Who dialled.
        direction: Direction,
        /// Its name and version.
        client: ClientName,
    },
    /// The remote of a link said what it has of a file. For people.
    Has {
        /// Which link.
        link: LinkId,
        /// The file's hash.
        file: Hash,
        /// Chunks in the file, as the remote says.
        total: u32,
        /// Chunks it has.
        count: u32,
    },
    /// Others see us there, by the vote of the DHT, or by one tracker's or the router's word.
    SeenAt {
        /// The address.
        ip: IpAddr,
        /// The port of our UDP socket, if all see the same.
        port: Option<u16>,
    },
    /// The DHT's table has changed: a good moment to write [`super::Finder::saved`] to disk.
    Save,
}
