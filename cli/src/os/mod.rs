//! The only room of the crate that knows the operating system: `unix.rs`, and `other.rs` for what is none. Each says beside a call
//! that only some systems have what is done where there is none.

#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(not(unix), path = "other.rs")]
mod system;

pub(crate) use system::*;
