#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]
//! A simulator of zest swarms: the real `zest_core::node::Node` by the thousand, in virtual time.
//!
//! Everything around the nodes is made of the seed: links with latency, uplinks and downlinks, resets, clogs, NAT and
//! partitions; disks that are slow, full, rotten or short; an origin with limits, refusals and cuts; liars, mutes,
//! floods; nodes that leave, crash and come back. One thread, no clock, no I/O. Same [`Scenario`], same trace hash.
//!
//! ```
//! use zest_sim::{Scenario, run};
//!
//! let mut scenario = Scenario::crowd(7, 8);
//! scenario.chunks = 64;
//! let report = run(scenario).expect("every promise holds");
//! assert_eq!(report.finish_ns.len(), 8);
//! ```
//! How to read a failure: `docs/simulation.md`.

mod actors;
mod bytes;
mod check;
mod disk;
mod file;
mod finding;
pub mod home;
mod host;
mod link;
mod machine;
mod net;
mod origin;
mod plain;
mod pool;
pub mod quality;
mod queue;
mod receive;
mod report;
mod rng;
mod run;
mod scenario;
mod shrink;
mod trace;
mod trackers;
mod wire;
mod world;

pub use actors::Actor;
pub use check::Canary;
pub use finding::Finding;
pub use report::{Report, Second, quantile};
pub use rng::Rng;
pub use run::{Failure, explain, run, run_seeds, run_with};
pub use scenario::{
    ChurnOptions, DiskOptions, Line, MS, Made, NetOptions, OriginOptions, Outage, SEC, Scenario, Start,
    Subsystem, US,
};
pub use shrink::shrink;
pub use trace::Trace;
