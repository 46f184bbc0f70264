//! Real processes on this machine, what they cost, and the baselines beside them. Linux only: the figures come from
//! `/proc`, and the baselines use what only Linux has.

pub mod congestion;
pub mod cores;
pub mod direct;
pub mod drain;
pub mod model;
pub mod page_cache;
mod plain;
pub mod pool;
pub mod process;
pub mod quiet_hub;
pub mod seed_data;
pub mod sendfile;

/// Why a measurement ended early, in words.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Environment of every zest that is measured: nobody is looked for, nothing is announced, nothing leaves this machine.
pub const DISCOVERY_OFF: [(&str, &str); 3] =
    [("ZEST_NO_DHT", "1"), ("ZEST_NO_LAN", "1"), ("ZEST_NO_PORT_MAPPING", "1")];
