//! What goes into [`Trackers`](super::Trackers) and what comes out.

use super::announce::Scraped;
use super::url::TrackerUrl;
use crate::{Duration, InfoHash, PeerId};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

/// A tracker: its place in [`Config::tiers`], counted through all tiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackerId(pub u16);

/// An HTTP request; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Who goes first when not everything can be announced at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// We want its peers.
    Wanted,
    /// We seed it, and it stands for others.
    Lead,
    /// We seed it.
    Rest,
}

/// What the machine is told once.
#[derive(Debug, Clone)]
pub struct Config {
    /// Seed of all its randomness (order in tiers, transaction ids, jitter).
    pub seed: [u8; 32],
    /// Our peer id.
    pub peer_id: PeerId,
    /// TCP port we accept links on.
    pub port: u16,
    /// The trackers, best tier first; [`super::TRACKERS_MAX`] of them at most.
    pub tiers: Vec<Vec<TrackerUrl>>,
    /// Announce at one tracker of every tier, not only at the first that answers. The default: whoever names two trackers
    /// by two options wants to be found at both.
    pub every_tier: bool,
    /// Packets sent, in thousandths per second, on average.
    pub milli_packets_per_s: u32,
    /// Packets sent at once after a quiet time.
    pub burst_packets: u32,
}

impl Config {
    /// The defaults: three packets a second, 400 at once.
    #[must_use]
    pub fn new(seed: [u8; 32], peer_id: PeerId, port: u16, tiers: Vec<Vec<TrackerUrl>>) -> Self {
        Self { seed, peer_id, port, tiers, every_tier: true, milli_packets_per_s: 3000, burst_packets: 400 }
    }
}

/// Something happened.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// Announce this swarm from now on, or change its rank. `left` 0 makes us a seed from the start.
    Add {
        /// Which.
        swarm: InfoHash,
        /// Who goes first.
        rank: Rank,
        /// Bytes missing.
        left: u64,
    },
    /// How far it is. Told with the next announce.
    Progress {
        /// Which.
        swarm: InfoHash,
        /// Bytes sent so far.
        uploaded: u64,
        /// Bytes received so far.
        downloaded: u64,
        /// Bytes missing.
        left: u64,
    },
    /// Its last byte came: trackers that know of us are told, once.
    Completed {
        /// Which.
        swarm: InfoHash,
    },
    /// More peers are wanted: announce as early as the trackers' minimum intervals allow.
    Hungry {
        /// Which.
        swarm: InfoHash,
    },
    /// We leave it: trackers that know of us are told, once, if that costs nothing.
    Remove {
        /// Which.
        swarm: InfoHash,
    },
    /// It may no longer be spoken of: not a packet more.
    Forget {
        /// Which.
        swarm: InfoHash,
    },
    /// Ask for the size of these swarms, as many as one request takes.
    Scrape {
        /// Which.
        swarms: &'a [InfoHash],
    },
    /// Where the answer to [`Action::HttpGet`] comes from, if that is known: before [`Event::HttpReply`]. What a tracker may say of
    /// peers depends on where it is itself.
    HttpFrom {
        /// Which.
        id: RequestId,
        /// The other end of the connection.
        addr: SocketAddr,
    },
    /// Outcome of [`Action::HttpGet`].
    HttpReply {
        /// Which.
        id: RequestId,
        /// Status code.
        status: u16,
        /// Body, cut after [`super::http::REPLY_BYTES_MAX`] + 1 bytes at the earliest.
        body: &'a [u8],
    },
    /// [`Action::HttpGet`] came to nothing.
    HttpFailed {
        /// Which.
        id: RequestId,
        /// For people.
        why: &'a str,
    },
    /// Outcome of [`Action::Resolve`]: addresses with the port, best first; none if the name has none.
    Resolved {
        /// As asked.
        tracker: TrackerId,
        /// At most 8 are used.
        addrs: &'a [SocketAddr],
    },
    /// A datagram that may be a tracker's ([`super::udp::is_reply`]).
    Datagram {
        /// Its sender.
        from: SocketAddr,
        /// All of it.
        bytes: &'a [u8],
    },
    /// The process ends: trackers are told. Of later events only those do something that let a farewell out: the end of a
    /// request, an address, a datagram, time; see [`super::Trackers::farewells`].
    Shutdown,
    /// The time that `poll_timeout` named has come.
    Timer,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Fetch this URL. The outcome is [`Event::HttpReply`] or [`Event::HttpFailed`]; it is not waited for longer than
    /// [`super::ANSWER_WAIT`].
    HttpGet {
        /// To be named in the outcome.
        id: RequestId,
        /// Complete.
        url: String,
    },
    /// The answer is no longer waited for.
    HttpCancel {
        /// Which.
        id: RequestId,
    },
    /// Look up the addresses of a UDP tracker; the outcome is [`Event::Resolved`].
    Resolve {
        /// To be named in the outcome.
        tracker: TrackerId,
        /// Name.
        host: String,
        /// Port to put behind the addresses.
        port: u16,
    },
    /// Send a datagram.
    SendTo {
        /// Where to.
        to: SocketAddr,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// A tracker answered an announce.
    Peers {
        /// Which swarm.
        swarm: InfoHash,
        /// Who says so.
        tracker: TrackerId,
        /// Maybe none.
        peers: Vec<SocketAddr>,
    },
    /// Our address as a tracker sees it (BEP 24). One voice, not a proof.
    ExternalIp {
        /// Who says so.
        tracker: TrackerId,
        /// The address.
        ip: IpAddr,
    },
    /// Sizes of swarms.
    Scraped {
        /// Who says so.
        tracker: TrackerId,
        /// What it says.
        swarms: Vec<(InfoHash, Scraped)>,
    },
    /// How a tracker does has changed.
    Status {
        /// Which.
        tracker: TrackerId,
        /// Scheme, host and port.
        name: String,
        /// How.
        standing: Standing,
    },
}

/// How a tracker does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It answers.
    Works,
    /// It answers, and wants this to be read.
    Warns(String),
    /// It answers, and wants nothing to do with a swarm.
    Refuses(String),
    /// It does not answer, or not in any known way.
    Fails {
        /// What happened.
        why: String,
        /// When it is tried again.
        retry_in: Duration,
    },
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Works => f.write_str("works"),
            Self::Warns(text) => write!(f, "works and says: {text}"),
            Self::Refuses(text) => write!(f, "refuses: {text}"),
            Self::Fails { why, retry_in } => {
                write!(f, "{why}; next try in {} s", retry_in.as_secs())
            }
        }
    }
}

/// Why the machine wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// A swarm is to be announced.
    Announce,
    /// An answer has not come.
    Answer,
}
