//! Unix.

use super::Identity;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
pub use std::os::unix::fs::FileExt;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Bytes free for this user on the file system that holds `dir`, or would hold it once created.
///
/// # Errors
/// The system's answer for the nearest directory above that exists.
pub fn free_space(dir: &Path) -> io::Result<u64> {
    let stat = file_system(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Whether the file system that holds a path counts its files and can hold none more. (Those that do not count say 0 of 0.)
pub(crate) fn has_no_inodes(path: &Path) -> bool {
    file_system(path).is_ok_and(|stat| stat.f_files > 0 && stat.f_favail == 0)
}

fn file_system(dir: &Path) -> io::Result<rustix::fs::StatVfs> {
    let mut at = dir;
    loop {
        match rustix::fs::statvfs(if at.as_os_str().is_empty() { Path::new(".") } else { at }) {
            Ok(stat) => return Ok(stat),
            Err(error) => match at.parent() {
                Some(parent) => at = parent,
                None => return Err(error.into()),
            },
        }
    }
}

impl Identity {
    /// From what `stat` or `fstat` gave.
    #[must_use]
    pub fn of(meta: &Metadata) -> Self {
        // Only compared for equality: dates beyond 2262 may wrap.
        let ns = |seconds: i64, nanos: i64| seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos);
        Self {
            dev: meta.dev(),
            ino: meta.ino(),
            size: meta.len(),
            mtime_ns: ns(meta.mtime(), meta.mtime_nsec()),
            ctime_ns: ns(meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// Names that lead to a file.
pub(crate) fn names(meta: &Metadata) -> u64 {
    meta.nlink()
}

/// Bytes that a file already occupies on disk (less than its length while it has holes).
pub(crate) fn occupied_bytes(meta: &Metadata) -> u64 {
    meta.blocks().saturating_mul(512)
}

/// Makes the names in a directory durable. File systems that cannot do it are taken to need none.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    match File::open(dir)?.sync_all() {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Ok(())
        }
        other => other,
    }
}

/// Reserves a file's space, so that a full disk is met before the first byte; where the file system cannot,
/// sets the length only.
pub(crate) fn reserve(file: &File, size: u64) -> io::Result<()> {
    if size == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, size) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL) => {
            file.set_len(size)
        }
        Err(error) => Err(error.into()),
    }
}

/// Bytes of the table of users that are looked at.
const PASSWD_BYTES_MAX: u64 = 4 << 20;

/// "alice (uid 1001)", or "uid 1001" where the system's table of users does not know.
pub(crate) fn user(uid: u32) -> String {
    use std::io::Read as _;
    let mut table = Vec::new();
    let read = File::open("/etc/passwd").and_then(|file| file.take(PASSWD_BYTES_MAX).read_to_end(&mut table));
    let table = String::from_utf8_lossy(if read.is_ok() { &table } else { &[] });
    let name = table.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.map_or_else(|| format!("uid {uid}"), |name| format!("{name} (uid {uid})"))
}

/// Bytes of the system's table of locks that are looked at.
#[cfg(target_os = "linux")]
const LOCKS_BYTES_MAX: u64 = 16 << 20;

/// The process that holds a lock on a file, if the system tells (`/proc/locks`; not from another container).
#[cfg(target_os = "linux")]
pub(crate) fn lock_holder(meta: &Metadata) -> Option<String> {
    use std::io::Read as _;
    let mut table = String::new();
    File::open("/proc/locks").ok()?.take(LOCKS_BYTES_MAX).read_to_string(&mut table).ok()?;
    let (major, minor) = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
    // Some file systems give `stat` another device than this table.
    let (file, inode) = (format!("{major:02x}:{minor:02x}:{}", meta.ino()), format!(":{}", meta.ino()));
    let holders: Vec<(&str, u32)> = table
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            // "1: FLOCK ADVISORY WRITE 42 08:01:1234 0 EOF"; a waiter has "->" as its second word.
            match words[..] {
                [_, "FLOCK" | "OFDLCK", _, _, pid, of, ..] if of.ends_with(&inode) => {
                    Some((of, pid.parse().ok()?))
                }
                _ => None,
            }
        })
        .collect();
    let (_, pid) = holders.iter().find(|(of, _)| *of == file).or(holders.first())?;
    let proc = Path::new("/proc").join(pid.to_string());
    // A name is what bytes its owner likes, and cut after 15 of them.
    let name = fs::read(proc.join("comm")).unwrap_or_default();
    let name = String::from_utf8_lossy(&name);
    let name = match name.trim() {
        "" => String::new(),
        name => format!(" ({})", name.escape_debug()),
    };
    let of = fs::metadata(proc).map_or_else(|_| String::new(), |meta| format!(" of {}", user(owner(&meta))));
    let since = running_for(*pid).map_or_else(String::new, |since| format!(", running for {since}"));
    Some(format!("process {pid}{name}{of}{since}"))
}

/// How long a process has run: `3 min`. Since when it has a lock the system does not tell.
#[cfg(target_os = "linux")]
fn running_for(pid: u32) -> Option<String> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let up: f64 = uptime.split_ascii_whitespace().next()?.parse().ok()?;
    // The 22nd field, in ticks since the system began; the second is a name in brackets, which may hold anything (proc(5)).
    let began: u64 = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let began = began as f64 / rustix::param::clock_ticks_per_second() as f64;
    Some(span_words((up - began).max(0.0) as u64))
}

/// A span in the largest unit that it has one of.
#[cfg(target_os = "linux")]
fn span_words(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Others than Linux do not tell.
#[cfg(not(target_os = "linux"))]
pub(crate) fn lock_holder(_: &Metadata) -> Option<String> {
    None
}

/// Whose a file is.
pub(crate) fn owner(meta: &Metadata) -> u32 {
    meta.uid()
}

/// Permission bits of a path.
pub(crate) fn mode(meta: &Metadata) -> u32 {
    meta.permissions().mode() & 0o7777
}

/// Sets permission bits.
pub(crate) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Sets permission bits of an open file.
pub(crate) fn set_file_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(fs::Permissions::from_mode(mode))
}

/// The group that a file is of.
pub(crate) fn group(meta: &Metadata) -> u32 {
    meta.gid()
}

/// Gives a file to a group.
pub(crate) fn give_to_group(path: &Path, group: u32) -> io::Result<()> {
    std::os::unix::fs::chown(path, None, Some(group))
}

/// Has a file that is created get these permission bits, less the umask.
pub(crate) fn with_mode(options: &mut OpenOptions, mode: u32) -> &mut OpenOptions {
    options.mode(mode)
}

/// Has nothing but a file be opened: a pipe in its place must not hold us up until somebody opens its other end; nor, unless `through`
/// is meant, what a symlink leads to.
pub(super) fn guarded(options: &mut OpenOptions, through: bool) -> &mut OpenOptions {
    use rustix::fs::OFlags;
    let flags = if through { OFlags::NONBLOCK } else { OFlags::NONBLOCK | OFlags::NOFOLLOW };
    options.custom_flags(flags.bits().cast_signed())
}

/// Whether an error means that the file system lacks the operation. (`EPERM` is its answer to links; a place that is closed to us
/// answers `EACCES`, though the standard library gives both the same kind.)
pub(crate) fn is_unsupported(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS))
}

/// Creates a symbolic link.
pub(crate) fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

/// The bytes of a text of the system.
pub(crate) fn bytes_of(text: &OsStr) -> &[u8] {
    use std::os::unix::ffi::OsStrExt as _;
    text.as_bytes()
}

/// The text of the system that these bytes are.
pub(crate) fn text_of(bytes: Vec<u8>) -> OsString {
    use std::os::unix::ffi::OsStringExt as _;
    OsString::from_vec(bytes)
}
