//! What this crate asks of the system that not every system has, with what is done where it has not.

pub(crate) use zest_store::FileExt;

/// Number of a file on its device; 0 where files have none.
#[cfg(unix)]
pub(crate) fn inode(meta: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(meta)
}

#[cfg(not(unix))]
pub(crate) fn inode(_: &std::fs::Metadata) -> u64 {
    0
}

/// Descriptors that this process may have, as many as the system allows.
#[cfg(unix)]
pub(crate) fn descriptors() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(1 << 20).min(1 << 20);
    let has = limit.current.unwrap_or(wanted);
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
    match has < wanted && setrlimit(Resource::Nofile, raised).is_ok() {
        true => wanted,
        false => has,
    }
}

/// There is no such limit to ask for.
#[cfg(not(unix))]
pub(crate) fn descriptors() -> u64 {
    4096
}
