//! Systems that are no Unix: Windows. Nothing here has run on one. Who may read a file is a matter of the folder it lies in.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::path::Path;

/// Users have no numbers.
pub(crate) fn user() -> u32 {
    0
}

/// Not told: the lock of a daemon says whether it lives.
pub(crate) fn is_process(_: u32) -> bool {
    true
}

/// There is no such option.
pub(crate) fn follow_no_link(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Files keep what their folder gives them.
pub(crate) fn for_owner(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// It keeps what its folder gives it.
pub(crate) fn keep_for_owner(_: &Path) -> io::Result<()> {
    Ok(())
}

/// A plain file, as far as is told.
pub(crate) fn is_private(meta: &Metadata) -> bool {
    meta.is_file()
}

/// Not told.
pub(crate) fn is_for_anybody(_: &Metadata) -> bool {
    false
}

/// Makes a folder.
pub(crate) fn make_private(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Nobody says here what is in memory.
pub(crate) fn read_at_once(_: &File, _: &mut [u8], _: u64) -> io::Result<()> {
    Err(io::ErrorKind::WouldBlock.into())
}
