//! What can go wrong on disk, with the path and the values that explain it.

use std::io;
use std::path::{Path, PathBuf};

use crate::names::NameError;
use crate::os;

/// A failed operation of the store. Texts are lower case and say what, where and with which values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The system refused an operation for a reason without a variant of its own.
    #[error("cannot {op} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb phrase ("rename into place").
        op: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The disk is full.
    #[error("disk full at {}: {}{} free", path.display(), more(*needed), bytes_in_words(*free))]
    DiskFull {
        /// Where.
        path: PathBuf,
        /// Bytes that were still to be written; 0 when not known.
        needed: u64,
        /// Bytes free for this user on that file system.
        free: u64,
    },
    /// There is no room for this user or for another file, although the disk has some.
    #[error("cannot {op} {}: {reason}", path.display())]
    NoRoom {
        /// What was tried.
        op: &'static str,
        /// On what.
        path: PathBuf,
        /// What is used up.
        reason: &'static str,
    },
    /// Something must be written, and the place cannot be written to.
    #[error("cannot {op} {}: {reason}", path.display())]
    ReadOnly {
        /// What was tried.
        op: &'static str,
        /// On what.
        path: PathBuf,
        /// "read-only file system" or "permission denied".
        reason: &'static str,
    },
    /// Something that zest will not remove stands where a file of the cache belongs.
    #[error("{} is {found}, expected {expected}; move it away and try again", path.display())]
    Foreign {
        /// Where.
        path: PathBuf,
        /// What is there ("a directory").
        found: &'static str,
        /// What belongs there.
        expected: &'static str,
    },
    /// Bytes do not have the hash that names them.
    #[error("{} has {algorithm} {actual}, expected {expected}", path.display())]
    WrongContent {
        /// The file that was checked.
        path: PathBuf,
        /// Which hash: "git blob id", "sha256", "xet hash".
        algorithm: &'static str,
        /// What the Hub says.
        expected: String,
        /// What the bytes give.
        actual: String,
    },
    /// A file does not have the length that the Hub gives for it.
    #[error("{} is {actual} bytes long, expected {expected}", path.display())]
    WrongSize {
        /// The file that was checked.
        path: PathBuf,
        /// Bytes according to the Hub.
        expected: u64,
        /// Bytes on disk.
        actual: u64,
    },
    /// A name from the Hub or from the user that must not reach the file system.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A file is there, and closed to us: nobody can say whether it is right.
    #[error("cannot read {}: it belongs to {owner} and has mode {mode:04o}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Whose it is: "alice (uid 1001)".
        owner: String,
        /// Its permission bits.
        mode: u32,
    },
    /// A file was changed by someone else while it was being read.
    #[error("{} changed while it was being read", path.display())]
    ChangedMeanwhile {
        /// Which file.
        path: PathBuf,
    },
    /// A file in one of zest's own formats cannot be understood.
    #[error("{} is not a valid {what}: {why}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// The first rule it breaks.
        why: String,
    },
}

/// Whose fault a [`StoreError`] is: what a caller decides by. Each variant has one row in [`StoreError::kind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// No room, or no more of the user's quota.
    Full,
    /// The place cannot be written to, or the file not be read: read-only, or not this user's.
    ReadOnly,
    /// The disk or the system failed.
    Failing,
    /// Something else stands where a file or folder belongs.
    InTheWay,
    /// A name that cannot be stored here: unsafe, or longer than the file system takes.
    Name,
    /// Bytes are not what the Hub says they are.
    WrongBytes,
    /// Another program changed a file under our hands; the same call can succeed a moment later.
    Changed,
    /// One of zest's own files is damaged.
    Damaged,
}

impl StoreError {
    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Io { source, .. } => io_kind(source),
            Self::DiskFull { .. } | Self::NoRoom { .. } => StoreErrorKind::Full,
            Self::ReadOnly { .. } | Self::Unreadable { .. } => StoreErrorKind::ReadOnly,
            Self::Foreign { .. } => StoreErrorKind::InTheWay,
            Self::WrongContent { .. } | Self::WrongSize { .. } => StoreErrorKind::WrongBytes,
            Self::Name(_) => StoreErrorKind::Name,
            Self::ChangedMeanwhile { .. } => StoreErrorKind::Changed,
            Self::Malformed { .. } => StoreErrorKind::Damaged,
        }
    }

    /// Whether the disk is full (then what was proven is kept and a later run goes on from there).
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::DiskFull { .. } | Self::NoRoom { .. })
    }

    /// For a file that the system did not let us open.
    pub(crate) fn unreadable(path: &Path) -> Self {
        let meta = std::fs::metadata(path);
        let owner = meta.as_ref().map_or_else(|_| "somebody else".to_owned(), |m| os::user(os::owner(m)));
        Self::Unreadable { path: path.into(), owner, mode: meta.map_or(0, |meta| os::mode(&meta)) }
    }

    /// Sorts an I/O error into the variant that explains it. `needed` is what was still to be written, 0 if
    /// not known.
    #[must_use]
    pub fn from_io(op: &'static str, path: &Path, source: io::Error, needed: u64) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::QuotaExceeded => {
                Self::NoRoom { op, path, reason: "the quota of this user is used up" }
            }
            io::ErrorKind::StorageFull if os::has_no_inodes(&path) => {
                Self::NoRoom { op, path, reason: "no inode is free, so no file can be made there" }
            }
            io::ErrorKind::StorageFull => {
                let free = os::free_space(&path).unwrap_or(0);
                Self::DiskFull { path, needed, free }
            }
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { op, path, reason: "read-only file system" },
            io::ErrorKind::PermissionDenied => Self::ReadOnly { op, path, reason: "permission denied" },
            _ => Self::Io { op, path, source },
        }
    }
}

/// What the system's answer to a file operation means, whatever the operation was.
#[must_use]
pub fn io_kind(error: &io::Error) -> StoreErrorKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            StoreErrorKind::Full
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => StoreErrorKind::ReadOnly,
        io::ErrorKind::InvalidFilename => StoreErrorKind::Name,
        io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::AlreadyExists
        | io::ErrorKind::DirectoryNotEmpty => StoreErrorKind::InTheWay,
        _ => StoreErrorKind::Failing,
    }
}

/// For a sentence, where it is known.
fn more(needed: u64) -> String {
    if needed == 0 { String::new() } else { format!("{} more needed, ", bytes_in_words(needed)) }
}

/// Adds operation and path to an I/O result.
pub(crate) trait Context<T> {
    fn at(self, op: &'static str, path: &Path) -> Result<T, StoreError>;
}

impl<T> Context<T> for io::Result<T> {
    fn at(self, op: &'static str, path: &Path) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::from_io(op, path, source, 0))
    }
}

/// "12.3 GB": decimal units, as the Hub shows sizes.
#[must_use]
pub fn bytes_in_words(n: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "kB", "MB", "GB", "TB"];
    let mut value = n as f64;
    let mut unit = 0;
    // 999.95 would be printed as 1000.0.
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if n < 1000 { format!("{n} bytes") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_errors() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = StoreError::from_io("write", Path::new("/"), full, 5_000_000);
        assert!(error.is_disk_full());
        assert!(error.to_string().starts_with("disk full at /: 5.0 MB more needed, "), "{error}");
        let other = StoreError::from_io("open", Path::new("/x"), io::Error::from(io::ErrorKind::NotFound), 0);
        assert!(!other.is_disk_full());
    }

    #[test]
    fn every_error_has_the_kind_of_who_is_at_fault() {
        let path = || PathBuf::from("/cache/x");
        let io = |kind| StoreError::Io { op: "open", path: path(), source: io::Error::from(kind) };
        let name = crate::names::check_name("../x").expect_err("it leaves its folder");
        let (found, expected) = ("a directory", "a file of the cache");
        let (algorithm, hash) = ("sha256", String::new);
        let rows = [
            (StoreError::DiskFull { path: path(), needed: 1, free: 0 }, StoreErrorKind::Full),
            (StoreError::NoRoom { op: "write", path: path(), reason: "no inode" }, StoreErrorKind::Full),
            (io(io::ErrorKind::QuotaExceeded), StoreErrorKind::Full),
            (io(io::ErrorKind::FileTooLarge), StoreErrorKind::Full),
            (
                StoreError::ReadOnly { op: "open", path: path(), reason: "permission denied" },
                StoreErrorKind::ReadOnly,
            ),
            (io(io::ErrorKind::Other), StoreErrorKind::Failing),
            (io(io::ErrorKind::NotFound), StoreErrorKind::Failing),
            (StoreError::Foreign { path: path(), found, expected }, StoreErrorKind::InTheWay),
            (io(io::ErrorKind::IsADirectory), StoreErrorKind::InTheWay),
            (io(io::ErrorKind::NotADirectory), StoreErrorKind::InTheWay),
            (StoreError::Name(name), StoreErrorKind::Name),
            (io(io::ErrorKind::InvalidFilename), StoreErrorKind::Name),
            (StoreError::WrongSize { path: path(), expected: 1, actual: 2 }, StoreErrorKind::WrongBytes),
            (
                StoreError::WrongContent { path: path(), algorithm, expected: hash(), actual: hash() },
                StoreErrorKind::WrongBytes,
            ),
            (StoreError::ChangedMeanwhile { path: path() }, StoreErrorKind::Changed),
            (
                StoreError::Malformed { path: path(), what: "places file", why: String::new() },
                StoreErrorKind::Damaged,
            ),
        ];
        for (error, kind) in rows {
            assert_eq!(error.kind(), kind, "{error}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn what_the_system_says_of_names_and_places_is_understood() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("file"), b"x").expect("written");
        std::fs::create_dir(dir.path().join("folder")).expect("made");
        let open = |name: &str| {
            let path = dir.path().join(name);
            let error = std::fs::File::create(&path).expect_err("it cannot be");
            StoreError::from_io("create", &path, error, 0).kind()
        };
        assert_eq!(open(&"n".repeat(300)), StoreErrorKind::Name);
        assert_eq!(open("file/below"), StoreErrorKind::InTheWay);
        assert_eq!(open("folder"), StoreErrorKind::InTheWay);
    }

    #[test]
    fn a_place_that_cannot_be_written_to_is_named_with_the_reason() {
        for (kind, reason) in [
            (io::ErrorKind::ReadOnlyFilesystem, "read-only file system"),
            (io::ErrorKind::PermissionDenied, "permission denied"),
        ] {
            let error =
                StoreError::from_io("rename into place", Path::new("/cache/x"), io::Error::from(kind), 0);
            assert!(matches!(error, StoreError::ReadOnly { .. }));
            assert_eq!(error.to_string(), format!("cannot rename into place /cache/x: {reason}"));
        }
    }
}
