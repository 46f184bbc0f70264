//! What this crate asks of the system that not every system has: `unix.rs`, and `other.rs` for what is none, which does what is done
//! where it has not.

#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(not(unix), path = "other.rs")]
mod system;

pub(crate) use system::*;
pub(crate) use zest_store::FileExt;
