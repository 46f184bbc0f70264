//! Systems that are no Unix, as far as the standard library knows them: Windows. Nothing here has run on one; it shows what is missing.
//!
//! There are no permission bits, owners and groups, no number of names, no inode and no time of the last change of attributes: a file is known by
//! when it was made and last written. Nobody says how much is free, so nothing is refused for that.

use super::Identity;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// Reading and writing at a place, as files of Unix have it.
pub trait FileExt {
    /// Reads some bytes from a place.
    ///
    /// # Errors
    /// The system's.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes some bytes to a place.
    ///
    /// # Errors
    /// The system's.
    fn write_some_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Reads as many bytes as there is room for.
    ///
    /// # Errors
    /// The system's, or there are fewer.
    fn read_exact_at(&self, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.read_at(bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    bytes = &mut bytes[read..];
                    offset += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// The system's.
    fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write_some_at(bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = &bytes[written..];
                    offset += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(windows)]
impl FileExt for File {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(self, bytes, offset)
    }

    fn write_some_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_write(self, bytes, offset)
    }
}

/// Unknown: as much as one likes.
///
/// # Errors
/// None.
pub fn free_space(_: &Path) -> io::Result<u64> {
    Ok(u64::MAX)
}

/// No system of this kind counts them.
pub(crate) fn has_no_inodes(_: &Path) -> bool {
    false
}

impl Identity {
    /// From what the system says of a file.
    #[must_use]
    pub fn of(meta: &Metadata) -> Self {
        // Only compared for equality: dates beyond 2262 may wrap.
        let ns = |time: io::Result<std::time::SystemTime>| {
            let since = time.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            since.map_or(0, |since| since.as_nanos() as i64)
        };
        let (made, mtime_ns) = (ns(meta.created()), ns(meta.modified()));
        Self { dev: 0, ino: made.cast_unsigned(), size: meta.len(), mtime_ns, ctime_ns: mtime_ns }
    }
}

/// Names that lead to a file: one, as far as is told.
pub(crate) fn names(_: &Metadata) -> u64 {
    1
}

/// Bytes that a file already occupies on disk: not told, so all.
pub(crate) fn occupied_bytes(meta: &Metadata) -> u64 {
    meta.len()
}

/// Names are durable with the files.
pub(crate) fn sync_dir(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Sets the length.
pub(crate) fn reserve(file: &File, size: u64) -> io::Result<()> {
    if size == 0 { Ok(()) } else { file.set_len(size) }
}

/// Users have no numbers.
pub(crate) fn user(_: u32) -> String {
    "another user".to_owned()
}

/// Not told.
pub(crate) fn lock_holder(_: &Metadata) -> Option<String> {
    None
}

/// Not told.
pub(crate) fn owner(_: &Metadata) -> u32 {
    0
}

/// What may be written, and what may only be read.
pub(crate) fn mode(meta: &Metadata) -> u32 {
    if meta.permissions().readonly() { 0o444 } else { 0o644 }
}

/// Files keep what their folder gives them.
pub(crate) fn set_mode(_: &Path, _: u32) -> io::Result<()> {
    Ok(())
}

/// The same.
pub(crate) fn set_file_mode(_: &File, _: u32) -> io::Result<()> {
    Ok(())
}

/// There are none.
pub(crate) fn group(_: &Metadata) -> u32 {
    0
}

/// There are none.
pub(crate) fn give_to_group(_: &Path, _: u32) -> io::Result<()> {
    Ok(())
}

/// Files keep what their folder gives them.
pub(crate) fn with_mode(options: &mut OpenOptions, _: u32) -> &mut OpenOptions {
    options
}

/// `only_regular` alone looks at what was opened.
pub(super) fn guarded(options: &mut OpenOptions, _: bool) -> &mut OpenOptions {
    options
}

/// Whether an error means that the file system lacks the operation.
pub(crate) fn is_unsupported(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
}

/// Links need a right that few users have: what is wanted is copied instead, as `huggingface_hub` does it there.
pub(crate) fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The bytes of a text of the system, in the encoding of the standard library.
pub(crate) fn bytes_of(text: &OsStr) -> &[u8] {
    text.as_encoded_bytes()
}

/// The text that these bytes are; what is no text is replaced.
pub(crate) fn text_of(bytes: Vec<u8>) -> OsString {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
        .into()
}
