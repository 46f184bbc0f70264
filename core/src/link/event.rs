//! What a runtime and a node hand to a link.

use super::Outgoing;
use crate::ids::{InfoHash, PeerId};

/// Which side opened the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// We did, for this swarm.
    Dial {
        /// Sent in our handshake; the remote must answer with the same.
        info_hash: InfoHash,
    },
    /// The remote did; its info-hash is echoed, whatever it is (as zest 0.4 does).
    Accept,
}

/// What a link must know from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Which side opened the connection.
    pub role: Role,
    /// Our peer id.
    pub our_id: PeerId,
    /// TCP port we accept links on, 0 for none. Sent as `p`.
    pub listen_port: u16,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// Bytes came. The link consumes all of them. Poll every action before the next event of this kind:
    /// [`super::Action::PayloadBytes`] points into this slice. At worst a slice makes one action per 6 bytes, so its
    /// size (well under 1 MiB) bounds the queue.
    Received(&'a [u8]),
    /// The runtime read this many payload bytes straight into its buffer, at most what [`super::Link::expect`] said.
    PayloadRead {
        /// Bytes, at least 1.
        bytes: u32,
    },
    /// The node's word.
    Send(Outgoing),
    /// The time of [`super::Link::poll_timeout`] has come. Early or late is fine.
    Timer,
    /// The connection is gone (end of stream, reset, or closed by us).
    Closed,
}

/// The deadline that [`super::Link::poll_timeout`] names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The remote's handshake is due.
    Handshake,
    /// The remote's extension handshake is due.
    ExtHandshake,
    /// We have been silent: a keep-alive goes out.
    KeepAlive,
    /// The remote has been silent: the link will be closed.
    Idle,
}
