//! The few things the standard library does not say in one call: free space, a file's identity, directory
//! syncs, random names. The only room of the crate that knows the operating system: `unix.rs`, and `other.rs` for what is none.

#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(not(unix), path = "other.rs")]
mod system;

pub(crate) use system::*;
pub use system::{FileExt, free_space};

use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

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
    /// Device and number: which file it is, whatever is written to it.
    #[must_use]
    pub fn file(&self) -> (u64, u64) {
        (self.dev, self.ino)
    }

    /// Whether nothing but attributes of the file changed since (its links, its name, its rights), as far as its times tell: who
    /// writes can set `mtime` back, and nobody can `ctime`.
    #[must_use]
    pub fn is_but_for_attributes(&self, before: &Self) -> bool {
        Self { ctime_ns: self.ctime_ns, ..*before } == *self
    }
}

/// Whether no name leads to the file any more.
pub(crate) fn is_unlinked(meta: &Metadata) -> bool {
    names(meta) == 0
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

/// Opens for writing, creating with `mode` (the umask applies), never through a symlink.
pub(crate) fn open_nofollow(path: &Path, append: bool, mode: u32) -> io::Result<File> {
    let mut options = File::options();
    if append {
        options.append(true)
    } else {
        options.write(true)
    };
    regular(with_mode(options.create(true), mode), path)
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
    only_regular(guarded(File::options().read(true), true), path)
}

/// Opens for reading, never through a symlink.
pub(crate) fn open_read_nofollow(path: &Path) -> io::Result<File> {
    regular(File::options().read(true), path)
}

fn regular(options: &mut fs::OpenOptions, path: &Path) -> io::Result<File> {
    only_regular(guarded(options, false), path)
}

fn only_regular(options: &fs::OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
    }
}

/// Paths in JSON: text where they are text, else their bytes.
pub(crate) mod path_bytes {
    use super::{bytes_of, text_of};
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
            None => bytes_of(path.as_os_str()).serialize(to),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Ok(match Either::deserialize(from)? {
            Either::Text(text) => text.into(),
            Either::Bytes(bytes) => text_of(bytes).into(),
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
        let mut file = with_mode(File::options().write(true).create_new(true), mode).open(&temp)?;
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
