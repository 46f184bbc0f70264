#![no_std]
#![forbid(unsafe_code)]
// In `Cargo.toml` these would hold for tests, too.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::wildcard_enum_match_arm))]
//! The sans-IO core of zest. It owns no clock, socket, file, thread or random source: a runtime hands it events
//! with the time, and asks it for actions.
//!
//! Two planes:
//! - [`link`]: the byte plane, one [`link::Link`] per TCP connection. Bytes → messages. It never holds a payload.
//! - [`node`]: the message plane, one [`node::Node`] per process (one per core in a seed box). It decides.
//!
//! Beside them a [`finder`] finds peers, one per process: [`discovery`] plans what is announced and looked up, at [`tracker`]s, on
//! the local network ([`lsd`]) and in the mainline [`dht`]; [`pex`] is what linked peers tell each other.
//!
//! Every machine has the same verbs: `handle(now, event)`, `poll_action()` until it gives `None`, then
//! `poll_timeout()`. Same seed and same events → the same actions, byte for byte.
//!
//! [`outage`] says when what failed is asked again, and for how long; machines and runtimes share it.
//! [`nice`] says how much may be received while the line's queue stays short.
//! [`lived::Lived`] is the clock to give the node: it stands still while the process is not run.
//!
//! [`bencode`] and [`wire`] hold the formats; each file shows its byte table.

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod bencode;
pub mod bucket;
pub mod dht;
pub mod discovery;
pub mod doubts;
pub mod endpoint;
pub mod finder;
pub mod ids;
pub mod limits;
pub mod link;
pub mod lived;
pub mod lobby;
pub mod lsd;
pub mod networks;
pub mod nice;
pub mod node;
pub mod outage;
pub mod pex;
pub mod special;
pub mod time;
pub mod tracker;
pub mod wire;

pub use ids::{BufId, FileId, FileKey, InfoHash, JobId, LinkId, Location, PeerId, PlainId, ReqId};
pub use time::{Duration, Instant};
