//! Names of things that cross the border between core and a runtime. All are plain numbers: core owns no handle.

use core::fmt;

/// One TCP connection, numbered by whoever opened or accepted it (runtime or simulator); never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// One file being fetched, numbered by the runtime; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u32);

/// A buffer of the runtime's pool that holds received bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufId(pub u64);

/// An open file of the runtime's catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// A request id on the wire. Drawn at random, unique among the outstanding requests of one link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReqId(pub u32);

/// A contiguous range of a file on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// Which file.
    pub file: FileId,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub len: u32,
}

/// BEP 3 peer id: 20 bytes, ours begins with `-ZT0500-`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub [u8; 20]);

/// BEP 3 info-hash: 20 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHash(pub [u8; 20]);

impl InfoHash {
    /// Swarm key of a file: `SHA-1("zest-file-v1:" ‖ file hash)` (our own, docs/protocol.md).
    #[must_use]
    pub fn of_file(file: &zest_xet::Hash) -> InfoHash {
        InfoHash::derive(b"zest-file-v1:", file)
    }

    /// Swarm key of a xorb: `SHA-1("zest-xet-v1:" ‖ xorb hash)`, as the original zest 0.4 derives it.
    #[must_use]
    pub fn of_xorb(xorb: &zest_xet::Hash) -> InfoHash {
        InfoHash::derive(b"zest-xet-v1:", xorb)
    }

    fn derive(tag: &[u8], hash: &zest_xet::Hash) -> InfoHash {
        use sha1::Digest as _;
        let mut sha = sha1::Sha1::new();
        sha.update(tag);
        sha.update(hash.as_bytes());
        InfoHash(sha.finalize().into())
    }
}

/// Short name of a file on a link: the first 8 bytes of its hash, raw. News of chunks and claims carry it, by far the most
/// frequent messages.
///
/// Eight bytes are enough because a receiver only looks for it among the few files that it fetches itself. Should two of
/// them have one key, news of one would count for both; every chunk is still proven by its whole hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileKey(pub [u8; 8]);

impl FileKey {
    /// The key of a file.
    #[must_use]
    pub fn of(file: &zest_xet::Hash) -> FileKey {
        let (key, _) = file.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
        FileKey(*key)
    }
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&b| {
            if b.is_ascii_graphic() { write!(f, "{}", b as char) } else { write!(f, "\\x{b:02x}") }
        })
    }
}
