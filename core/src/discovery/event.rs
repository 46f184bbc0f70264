//! What goes into [`Discovery`](super::Discovery) and what comes out.

use crate::endpoint::Found;
use crate::lsd::Group;
use crate::tracker::{self, RequestId, TrackerId, TrackerUrl};
use crate::{Duration, InfoHash, Instant, JobId, PeerId};
use alloc::vec::Vec;
use core::net::SocketAddr;
use zest_xet::Hash;

/// Leave to speak of a file to strangers. Nothing is announced or looked up without one, and no longer than it holds.
///
/// It is no proof itself: whoever makes one says that a Hub has shown the file's commit to an anonymous request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shareable {
    pub(super) until: Instant,
    /// On this network alone.
    pub(super) near: bool,
}

impl Shareable {
    /// The Hub has shown the file to an anonymous request; that counts until `until`.
    #[must_use]
    pub const fn anonymously_readable(until: Instant) -> Self {
        Self { until, near: false }
    }

    /// A Hub that not everybody knows has shown the file to an anonymous request: it is spoken of on this network, never in the
    /// DHT nor at a tracker.
    #[must_use]
    pub const fn readable_near(until: Instant) -> Self {
        Self { until, near: true }
    }
}

/// Files that are usually held together: one commit of one repository. Numbered by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u64);

/// A file that may be spoken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedFile {
    /// Its hash.
    pub hash: Hash,
    /// Its size.
    pub bytes: u64,
    /// What it belongs to.
    pub group: GroupId,
    /// Leave to speak of it.
    pub proof: Shareable,
}

/// A question to the DHT; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// What the machine is told once.
#[derive(Debug, Clone)]
pub struct Config {
    /// Seed of all its randomness.
    pub seed: [u8; 32],
    /// Our peer id.
    pub peer_id: PeerId,
    /// TCP port we accept links on.
    pub port: u16,
    /// Trackers, best tier first.
    pub tiers: Vec<Vec<TrackerUrl>>,
    /// Whether every tier is announced at; see [`tracker::Config::every_tier`].
    pub every_tier: bool,
    /// Packets to the DHT, in thousandths per second, on average.
    pub dht_milli_packets_per_s: u32,
    /// Packets to the DHT at once after a quiet time.
    pub dht_burst_packets: u32,
    /// Packets to trackers, in thousandths per second, on average.
    pub tracker_milli_packets_per_s: u32,
    /// Packets to trackers at once after a quiet time.
    pub tracker_burst_packets: u32,
}

impl Config {
    /// The defaults: six packets a second to the DHT, three to trackers.
    #[must_use]
    pub fn new(seed: [u8; 32], peer_id: PeerId, port: u16) -> Self {
        Self {
            seed,
            peer_id,
            port,
            tiers: Vec::new(),
            every_tier: true,
            dht_milli_packets_per_s: 6000,
            dht_burst_packets: 400,
            tracker_milli_packets_per_s: 3000,
            tracker_burst_packets: 400,
        }
    }
}

/// Something happened.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A job wants peers of this file. `xorbs` are what it is made of, in order; they are looked up if its own swarm gives
    /// too few peers.
    Want {
        /// Which job; a number is used once.
        job: JobId,
        /// What it fetches.
        file: SharedFile,
        /// Xorb hashes.
        xorbs: &'a [Hash],
    },
    /// What a job's file is made of has become known, if [`Event::Want`] could not say.
    Planned {
        /// Which job.
        job: JobId,
        /// Xorb hashes, in order.
        xorbs: &'a [Hash],
    },
    /// How far a job is. Told to trackers.
    Progress {
        /// Which job.
        job: JobId,
        /// Bytes sent.
        uploaded: u64,
        /// Bytes received.
        downloaded: u64,
        /// Bytes missing.
        left: u64,
    },
    /// No peer that is linked has this job's file: look for peers of just this file.
    Starved {
        /// Which job.
        job: JobId,
    },
    /// Its last byte came.
    Got {
        /// Which job.
        job: JobId,
    },
    /// The job is over.
    Dropped {
        /// Which job.
        job: JobId,
    },
    /// This file is here and may be given, or the permission for it is renewed.
    Seed {
        /// Which.
        file: SharedFile,
    },
    /// It is no longer here.
    Unseed {
        /// Which.
        file: Hash,
    },
    /// It may no longer be spoken of: not a packet more, not even a farewell.
    Withdraw {
        /// Which.
        file: Hash,
    },
    /// A peer asked us for it: it is announced more often for a while.
    Asked {
        /// Which.
        file: Hash,
    },
    /// The user named a peer.
    Named {
        /// Where it listens.
        addr: SocketAddr,
    },
    /// A peer told of a peer ([`crate::pex::Action::Found`]).
    Exchanged {
        /// Where it listens.
        addr: SocketAddr,
    },
    /// One of our own addresses: it is no peer.
    Own {
        /// Address and port we can be dialled at.
        addr: SocketAddr,
    },
    /// Whether the DHT can be asked. It cannot at the start.
    Dht {
        /// It can.
        up: bool,
    },
    /// Peers from the DHT, as they come.
    DhtPeers {
        /// For which question.
        op: OpId,
        /// Unchecked.
        peers: &'a [SocketAddr],
    },
    /// Nobody in the DHT answered a question that is about to end.
    DhtVain {
        /// Which.
        op: OpId,
    },
    /// Somebody in the DHT answers after that: what was asked or announced in vain is worth doing again.
    DhtReached,
    /// A question to the DHT has ended.
    DhtDone {
        /// Which.
        op: OpId,
        /// Packets it cost.
        packets: u32,
    },
    /// See [`tracker::Event::HttpFrom`].
    HttpFrom {
        /// Which request.
        id: RequestId,
        /// The other end of the connection.
        addr: SocketAddr,
    },
    /// See [`tracker::Event::HttpReply`].
    HttpReply {
        /// Which request.
        id: RequestId,
        /// Status code.
        status: u16,
        /// Body.
        body: &'a [u8],
    },
    /// See [`tracker::Event::HttpFailed`].
    HttpFailed {
        /// Which request.
        id: RequestId,
        /// For people.
        why: &'a str,
    },
    /// See [`tracker::Event::Resolved`].
    Resolved {
        /// Which tracker.
        tracker: TrackerId,
        /// Its addresses.
        addrs: &'a [SocketAddr],
    },
    /// A datagram that may be a tracker's ([`tracker::udp::is_reply`]).
    Datagram {
        /// Its sender.
        from: SocketAddr,
        /// All of it.
        bytes: &'a [u8],
    },
    /// See [`crate::lsd::Event::Group`].
    LanGroup {
        /// Which.
        group: Group,
        /// Whether it can be sent to.
        up: bool,
    },
    /// See [`crate::lsd::Event::Datagram`].
    LanDatagram {
        /// Which group.
        group: Group,
        /// Its sender.
        from: SocketAddr,
        /// All of it.
        bytes: &'a [u8],
    },
    /// The process ends. Trackers are told; later events do nothing but let farewells out ([`super::Discovery::farewells`]).
    Shutdown,
    /// The time that `poll_timeout` named has come.
    Timer,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Look for peers in the DHT: [`Event::DhtPeers`], then [`Event::DhtDone`].
    DhtGet {
        /// To be named in the outcome.
        op: OpId,
        /// Which swarm.
        swarm: InfoHash,
    },
    /// Announce in the DHT that we have it, with the TCP port; [`Event::DhtDone`] at the end.
    DhtAnnounce {
        /// To be named in the outcome.
        op: OpId,
        /// Which swarm.
        swarm: InfoHash,
        /// Our port.
        port: u16,
    },
    /// The outcome is of no interest any more. No [`Event::DhtDone`] is waited for.
    DhtStop {
        /// Which question.
        op: OpId,
    },
    /// Something to do for a tracker, or news of one. Never [`tracker::Action::Peers`].
    Tracker(tracker::Action),
    /// Send to a multicast group; see [`crate::lsd::Action::Send`].
    LanSend {
        /// Which.
        group: Group,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// A peer.
    Found {
        /// Where it listens.
        addr: SocketAddr,
        /// How it was found.
        how: Found,
        /// In which swarm; none if it was named or exchanged.
        swarm: Option<InfoHash>,
    },
    /// One look for peers of a job's file has ended. More may come at any time, and the next look comes by itself.
    Searched {
        /// Which job.
        job: JobId,
        /// Peers found in this round.
        peers: usize,
        /// How long to wait for other nodes before the origin is asked alone, if there are no peers: random, so that nodes
        /// that started together and found nobody do not run to the origin together.
        pause: Duration,
    },
}

/// Why the machine wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// Peers are to be looked for.
    Search,
    /// A look for peers has taken its time.
    RoundEnd,
    /// Something is to be announced in the DHT.
    Announce,
    /// A question to the DHT has no answer.
    Dht,
    /// The permission to speak of a file ends.
    Proof,
    /// Something about trackers.
    Tracker(tracker::Timer),
    /// A multicast message is to go out.
    Lan,
}
