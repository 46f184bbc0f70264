//! Files as the hub sees them: identity, safe opening, positional reads.

use crate::os;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::UNIX_EPOCH;

/// What tells that a file is still the one that was indexed. A changed file may keep its size or its inode, hardly ever all three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Length in bytes.
    pub size: u64,
    /// Modification time in nanoseconds since the Unix epoch, negative before it.
    pub mtime_ns: i64,
    /// Inode number; 0 where the platform has none.
    pub inode: u64,
}

impl Identity {
    pub(crate) fn of(meta: &Metadata) -> Self {
        let mtime_ns = match meta.modified().map(|time| time.duration_since(UNIX_EPOCH)) {
            Ok(Ok(after)) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Ok(Err(before)) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
            Err(_) => 0,
        };
        Self { size: meta.len(), mtime_ns, inode: os::inode(meta) }
    }
}

/// A regular file inside the root, as it was when last looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskFile {
    /// Canonical path: no symbolic link left in it.
    pub path: PathBuf,
    /// What it was like then.
    pub identity: Identity,
}

impl DiskFile {
    /// Looks at `path`, following links, and refuses what is no regular file or lies outside `root` (which is canonical).
    ///
    /// # Errors
    /// What the system says, or why it is refused.
    pub fn look(root: &Path, path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        if !path.starts_with(root) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "a link leads out of the root"));
        }
        let meta = std::fs::metadata(&path)?;
        if !meta.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Self { path, identity: Identity::of(&meta) })
    }

    /// Opens the file and checks on the open handle that it is still the same.
    pub(crate) fn open(&self) -> io::Result<File> {
        let file = File::open(&self.path)?;
        if Identity::of(&file.metadata()?) == self.identity { Ok(file) } else { Err(changed()) }
    }

    /// Whether the file is still there and the same.
    pub(crate) fn is_unchanged(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|meta| meta.is_file() && Identity::of(&meta) == self.identity)
    }
}

/// The error for a file that is not the one that was indexed.
pub(crate) fn changed() -> io::Error {
    io::Error::other("the file changed after it was indexed")
}

/// Fills `buf` from `offset`, without moving a shared cursor.
pub(crate) fn read_exact_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<()> {
    os::FileExt::read_exact_at(file, buf, offset)
}

/// Writes a whole file so that readers see the old or the new content, never a part.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> io::Result<()> {
    /// Keeps apart two threads that write the same file.
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}-{}.tmp", std::process::id(), NEXT.fetch_add(1, Relaxed)));
    let temporary = PathBuf::from(temporary);
    let written = std::fs::write(&temporary, content).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}
