//! Unix, with what Linux alone has.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// The user that this process acts for.
pub(crate) fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether there is a process of this number.
pub(crate) fn is_process(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH)))
}

/// What is opened is what has the name: a link in its place is an error.
pub(crate) fn follow_no_link(options: &mut OpenOptions) -> &mut OpenOptions {
    options.custom_flags(i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default())
}

/// What is made is for its owner alone.
pub(crate) fn for_owner(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

/// A file, or socket, is for its owner alone from now on.
pub(crate) fn keep_for_owner(path: &Path) -> io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(0o600))
}

/// A plain file of this user that nobody else can read or change.
pub(crate) fn is_private(meta: &Metadata) -> bool {
    meta.is_file() && meta.uid() == user() && meta.mode() & 0o077 == 0
}

/// Whether anybody may open a file, besides its owner and group.
pub(crate) fn is_for_anybody(meta: &Metadata) -> bool {
    meta.mode() & 0o007 != 0
}

/// Makes a folder for this user alone. One that is there must be this user's; a link counts as none.
pub(crate) fn make_private(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let meta = std::fs::symlink_metadata(dir)?;
    if !meta.is_dir() || meta.uid() != user() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is no folder of this user"));
    }
    if meta.mode() & 0o077 != 0 {
        std::fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Reads what the system has in memory.
#[cfg(target_os = "linux")]
pub(crate) fn read_at_once(file: &File, mut room: &mut [u8], mut at: u64) -> io::Result<()> {
    use rustix::io::{ReadWriteFlags, preadv2};
    while !room.is_empty() {
        let read = preadv2(file, &mut [io::IoSliceMut::new(room)], at, ReadWriteFlags::NOWAIT);
        // A file system that cannot say, and the end of the file: the other way tells.
        let Ok(len @ 1..) = read else { return Err(io::ErrorKind::WouldBlock.into()) };
        room = &mut room[len..];
        at += len as u64;
    }
    Ok(())
}

/// Nobody says here what is in memory.
#[cfg(not(target_os = "linux"))]
pub(crate) fn read_at_once(_: &File, _: &mut [u8], _: u64) -> io::Result<()> {
    Err(io::ErrorKind::WouldBlock.into())
}
