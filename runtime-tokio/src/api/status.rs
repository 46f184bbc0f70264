//! How a session and its pulls are, at one moment.

use super::policy::own_policy;
use super::{Priority, Progress, PullFailure, PullReport};
use crate::{DiscoveryStatus, EngineStats, Giving, GivingStatus, Limits, Policy};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Where a pull is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PullState {
    /// It fetches, or does what comes before and after.
    Running,
    /// It rests by its user's wish.
    Paused,
    /// It ended well.
    Done,
    /// It ended without success.
    Failed,
    /// Its user ended it.
    Cancelled,
}

/// One pull of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PullStatus {
    /// Its number in the session.
    pub id: u64,
    /// The repository, as `ORG/NAME`, with its type before it unless that is a model.
    pub repo: String,
    /// Branch, tag, `refs/pr/N` or commit.
    pub revision: String,
    /// Where it is in its life.
    pub state: PullState,
    /// How soon it is wanted.
    pub priority: Priority,
    /// How the origin is used beside peers, if it has a wish of its own.
    #[serde(default, with = "own_policy")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<super::PolicyName>"))]
    pub policy: Option<Policy>,
    /// How far it is.
    pub progress: Progress,
    /// What it did, if it ended well.
    pub report: Option<PullReport>,
    /// Why it ended, if it did not end well.
    pub failure: Option<PullFailure>,
}

/// One linked peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PeerStatus {
    /// Where its connection comes from or goes to.
    pub addr: SocketAddr,
    /// Who it says it is, in hex: links of one machine have the same.
    #[serde(default)]
    pub peer_id: String,
    /// It came to us.
    pub inbound: bool,
    /// Payload bytes it gave, since it is linked.
    pub gave: u64,
    /// Bytes it took, with heads, since it is linked.
    pub took: u64,
}

/// A whole session.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SessionStatus {
    /// Where peers can connect to.
    pub listen: Vec<SocketAddr>,
    /// Counters since it began.
    pub stats: EngineStats,
    /// How peers are found; nothing if only by their names.
    pub discovery: Option<DiscoveryStatus>,
    /// Who is given to.
    pub giving: Giving,
    /// What is given.
    pub shared: GivingStatus,
    /// The caps, and how the origin is used.
    #[serde(flatten)]
    pub limits: Limits,
    /// Its pulls, oldest first; of those that ended, the last ones.
    pub pulls: Vec<PullStatus>,
}
