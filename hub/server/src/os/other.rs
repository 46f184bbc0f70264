//! Systems that are no Unix: Windows. Nothing here has run on one.

/// Files have no numbers.
pub(crate) fn inode(_: &std::fs::Metadata) -> u64 {
    0
}

/// There is no such limit to ask for.
pub(crate) fn descriptors() -> u64 {
    4096
}
