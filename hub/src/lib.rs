#![cfg_attr(not(test), warn(clippy::unwrap_used))]
//! The origin side of zest: everything that speaks HTTP with the Hugging Face Hub, its CAS and its CDN, from both ends.
//!
//! - [`client`]: [`Hub`] lists a repository, fetches small files, and hands out [`Cas`], which turns a file hash into a
//!   reconstruction and streams ranges of xorbs. It checks shapes and bounds, never content: proof is `zest_xet`'s word.
//! - [`server`]: the embedded hub, which serves local folders through the same interfaces.
//! - [`guard`]: the listener below it, which strangers cannot fill.
//! - [`lived`]: time limits that do not count the time in which the process was not run.
//!
//! The client writes no file and keeps no state beyond its process.

pub mod client;
mod coding;
mod error;
pub mod guard;
pub mod limits;
pub mod lived;
pub mod server;

pub use client::{
    Body, Cas, Hub, HubConfig, Persistence, PlainBody, Refusal, RefusedRow, Relay, RetryPolicy, RevisionInfo,
    TRICKLE_BYTES_S, Tree, endpoint_name, endpoint_secrets, read_page,
};
pub use coding::{Coding, Damaged, Unpacker};
pub use error::{ErrorKind, HubError};
