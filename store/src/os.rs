//! The few things the standard library does not say in one call: free space, a file's identity, directory
//! syncs, random names. The only file of the crate that knows the operating system.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

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

/// What tells whether a file on disk is still the one whose bytes were proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Last change of the content, ns since 1970.
    pub mtime_ns: i64,
    /// Last change of content or attributes, ns since 1970.
    pub ctime_ns: i64,
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

/// Whether no name leads to the file any more.
pub(crate) fn is_unlinked(meta: &Metadata) -> bool {
    meta.nlink() == 0
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

/// Eight random hex digits, as huggingface_hub puts them into temporary names.
pub(crate) fn random_hex() -> String {
    format!("{:08x}", u32::from_ne_bytes(random_bytes()))
}

/// Random bytes of the system. Only uniqueness is asked of them; should the system have none, time and
/// process id serve.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if getrandom::fill(&mut bytes).is_err() {
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |t| t.as_nanos());
        let seed = now.to_le_bytes().into_iter().chain(std::process::id().to_le_bytes());
        bytes.iter_mut().zip(seed).for_each(|(byte, seed)| *byte = seed);
    }
    bytes
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
    let name = fs::read_to_string(proc.join("comm")).unwrap_or_default();
    let name = if name.is_empty() { String::new() } else { format!(" ({})", name.trim().escape_debug()) };
    let of = fs::metadata(proc).map_or_else(|_| String::new(), |meta| format!(" of {}", user(owner(&meta))));
    let since = running_for(*pid).map_or_else(String::new, |since| format!(", running for {since}"));
    Some(format!("process {pid}{name}{of}{since}"))
}

/// How long a process has run: `3 min`. Since when it has a lock the system does not tell.
#[cfg(target_os = "linux")]
fn running_for(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
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

/// Other systems do not tell.
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

/// Opens for writing, creating with `mode` (the umask applies), never through a symlink.
pub(crate) fn open_nofollow(path: &Path, append: bool, mode: u32) -> io::Result<File> {
    let mut options = File::options();
    if append {
        options.append(true)
    } else {
        options.write(true)
    };
    regular(options.create(true).mode(mode), path)
}

/// Opens for reading and appending, creating if need be, never through a symlink.
pub(crate) fn open_append_read(path: &Path) -> io::Result<File> {
    regular(File::options().read(true).append(true).create(true), path)
}

/// Opens for reading and writing, creating if need be, never through a symlink.
pub(crate) fn open_read_write(path: &Path) -> io::Result<File> {
    regular(File::options().read(true).write(true).create(true).truncate(false), path)
}

/// Opens a regular file for reading, through symlinks.
pub(crate) fn open_read(path: &Path) -> io::Result<File> {
    only_regular(File::options().read(true).custom_flags(NONBLOCK), path)
}

/// Opens for reading, never through a symlink.
pub(crate) fn open_read_nofollow(path: &Path) -> io::Result<File> {
    regular(File::options().read(true), path)
}

/// A pipe in a file's place must not hold us up until somebody opens its other end. Means nothing to files.
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

fn regular(options: &mut fs::OpenOptions, path: &Path) -> io::Result<File> {
    only_regular(options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed() | NONBLOCK), path)
}

fn only_regular(options: &fs::OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
    }
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

/// Paths in JSON: text where they are text, else their bytes.
pub(crate) mod path_bytes {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize as _, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub(crate) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        match path.to_str() {
            Some(text) => to.serialize_str(text),
            None => path.as_os_str().as_bytes().serialize(to),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Ok(match Either::deserialize(from)? {
            Either::Text(text) => text.into(),
            Either::Bytes(bytes) => OsString::from_vec(bytes).into(),
        })
    }
}

/// Writes a small file so that readers see the old or the new content, whole: temporary name beside it, sync,
/// rename. `mode` is subject to the umask; the rename is made durable by the sync of the directory.
///
/// # Errors
/// The system's.
pub fn write_atomically(path: &Path, temp_suffix: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    let dir = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy().into_owned();
    let temp = dir.join(format!("{name}.{}{temp_suffix}", random_hex()));
    let write = || {
        let mut file = File::options().write(true).create_new(true).mode(mode).open(&temp)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        fs::rename(&temp, path)?;
        sync_dir(dir)
    };
    let result = write();
    if result.is_err() {
        let _ = fs::remove_file(&temp);
    }
    result
}

/// The text of a relative link at `link` that leads to `target`, both below `root` (given relative to it,
/// `/`-separated).
pub(crate) fn relative_target(link_below_root: &str, target_below_root: &str) -> PathBuf {
    let link: Vec<&str> = link_below_root.split('/').collect();
    let target: Vec<&str> = target_below_root.split('/').collect();
    let common = link.iter().zip(&target).take_while(|(a, b)| a == b).count();
    let ups = link.len() - 1 - common.min(link.len() - 1);
    let mut path = PathBuf::new();
    (0..ups).for_each(|_| path.push(".."));
    target[common..].iter().for_each(|part| path.push(part));
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_space_is_known_for_a_directory_that_does_not_exist_yet() {
        let dir = tempfile::tempdir().unwrap();
        assert!(free_space(&dir.path().join("a/b/c")).unwrap() > 0);
        assert!(free_space(Path::new("not/here")).unwrap() > 0);
    }

    #[test]
    fn link_texts_equal_those_of_the_official_client() {
        let text = |link, target| relative_target(link, target).to_str().unwrap().to_owned();
        assert_eq!(text("models--a--b/blobs/ff", "blobs/8e/8ec9"), "../../blobs/8e/8ec9");
        assert_eq!(text("m/snapshots/c0/config.json", "m/blobs/ab"), "../../blobs/ab");
        assert_eq!(text("m/snapshots/c0/sub dir/deeper/x", "m/blobs/ab"), "../../../../blobs/ab");
    }

    #[test]
    fn an_atomic_write_leaves_one_file_and_the_old_one_on_failure() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        write_atomically(&path, ".tmp", 0o600, b"one").unwrap();
        write_atomically(&path, ".tmp", 0o600, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(mode(&fs::metadata(&path).unwrap()), 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        fs::create_dir(dir.path().join("d")).unwrap();
        assert!(write_atomically(&dir.path().join("d"), ".tmp", 0o600, b"x").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "the temporary file is removed");
    }
}
