//! The room of what this crate asks of the system: `unix.rs`, and `other.rs` for what is none. The API's socket and what a service
//! manager hands over (`socket.rs`, `given.rs`) are a Unix matter as a whole.

#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(not(unix), path = "other.rs")]
mod system;

pub(crate) use system::*;
