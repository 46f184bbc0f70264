//! What is told a tracker, and what it tells: the same over HTTP and UDP.

use crate::{InfoHash, PeerId};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Peers we ask for: 50 (BEP 3's default, and what a reply in one datagram carries).
pub const NUMWANT: u32 = 50;
/// Peers of one reply that are used: 200. Ours; four times what we ask for, so that an eager tracker is not wasted.
pub const REPLY_PEERS_MAX: usize = 200;
/// Characters of a failure reason or warning that are kept: 256. Ours.
pub const REASON_CHARS_MAX: usize = 256;
/// Longest `tracker id` that is sent back: 128 bytes. Ours.
pub const TRACKER_ID_BYTES_MAX: usize = 128;

/// Why an announce is made (BEP 3). The numbers are those of BEP 15.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AnnounceEvent {
    /// At its regular time.
    None = 0,
    /// The download ended while this tracker knew of us.
    Completed = 1,
    /// The first one.
    Started = 2,
    /// We leave.
    Stopped = 3,
}

/// One announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announce<'a> {
    /// Which swarm.
    pub swarm: InfoHash,
    /// Who we are.
    pub peer_id: PeerId,
    /// TCP port we accept links on.
    pub port: u16,
    /// Bytes sent since `Started`.
    pub uploaded: u64,
    /// Bytes received since `Started`.
    pub downloaded: u64,
    /// Bytes still missing.
    pub left: u64,
    /// Why.
    pub event: AnnounceEvent,
    /// Peers wanted.
    pub numwant: u32,
    /// Tells the tracker that we are the same although our address changed.
    pub key: u32,
    /// What it gave us as `tracker id`.
    pub tracker_id: Option<&'a [u8]>,
    /// Our IPv4 address; normally the tracker's own look at us is better.
    pub ipv4: Option<Ipv4Addr>,
    /// Our IPv6 address (BEP 7), likewise.
    pub ipv6: Option<Ipv6Addr>,
}

/// A tracker's answer to an announce.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AnnounceReply {
    /// Seconds until the next regular announce, as it says.
    pub interval_s: Option<u32>,
    /// Seconds before which it does not want to hear of us.
    pub min_interval_s: Option<u32>,
    /// To be sent back from now on.
    pub tracker_id: Option<Vec<u8>>,
    /// Peers that have everything.
    pub seeds: Option<u32>,
    /// Peers that do not.
    pub leeches: Option<u32>,
    /// Something to show the user.
    pub warning: Option<String>,
    /// Our address as the tracker sees it (BEP 24).
    pub external_ip: Option<IpAddr>,
    /// At most [`REPLY_PEERS_MAX`], each once, all dialable.
    pub peers: Vec<SocketAddr>,
}

impl AnnounceReply {
    /// Adds what can be dialled, up to the limit.
    pub(super) fn add_peers(&mut self, peers: impl Iterator<Item = SocketAddr>) {
        for peer in peers {
            if self.peers.len() >= REPLY_PEERS_MAX {
                return;
            }
            if crate::endpoint::is_dialable(peer) && !self.peers.contains(&peer) {
                self.peers.push(peer);
            }
        }
    }
}

/// A swarm's size as a tracker counts it (BEP 48).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scraped {
    /// Peers that have everything.
    pub seeds: u32,
    /// Downloads ever completed.
    pub completed: u32,
    /// Peers that do not have everything.
    pub leeches: u32,
}
