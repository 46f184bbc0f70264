//! Unix.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::os::unix::fs::MetadataExt as _;

/// Number of a file on its device.
pub(crate) fn inode(meta: &std::fs::Metadata) -> u64 {
    meta.ino()
}

/// Descriptors that this process may have, as many as the system allows.
pub(crate) fn descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(1 << 20).min(1 << 20);
    let has = limit.current.unwrap_or(wanted);
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
    match has < wanted && setrlimit(Resource::Nofile, raised).is_ok() {
        true => wanted,
        false => has,
    }
}
