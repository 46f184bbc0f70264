//! Real processes on this machine, what they cost, and the yardsticks beside them. Linux only: the figures come from
//! `/proc`, and the yardsticks use what only Linux has.

pub mod cores;
pub mod direct;
pub mod drain;
pub mod model;
pub mod page_cache;
pub mod process;
pub mod quiet_hub;
pub mod seed_data;
pub mod sendfile;

/// Why a measurement ended early, in words.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
