//! The room of what this crate asks of the system: `unix.rs`, and `other.rs` for what is none. The API's socket and what a service
//! manager hands over (`socket.rs`, `given.rs`) are a Unix matter as a whole.

#[cfg(not(unix))]
mod other;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub(crate) use other::*;
#[cfg(unix)]
pub(crate) use unix::*;
