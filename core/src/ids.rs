//! Names of things that cross the border between core and a runtime. All are plain numbers: core owns no handle.

use core::fmt;

/// One TCP connection, numbered by whoever opened or accepted it (runtime or simulator); never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// One file being fetched, numbered by the runtime; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u32);

/// One small file that comes whole, numbered by the runtime; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlainId(pub u32);

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
    pub fn of_file(file: &zest_xet::Hash) -> Self {
        Self::derive(b"zest-file-v1:", file)
    }

    /// Swarm key of a xorb: `SHA-1("zest-xet-v1:" ‖ xorb hash)`, as the original zest 0.4 derives it.
    #[must_use]
    pub fn of_xorb(xorb: &zest_xet::Hash) -> Self {
        Self::derive(b"zest-xet-v1:", xorb)
    }

    /// SHA-1 of tag and hash. Both together always fit one block, so it is put together here.
    fn derive<const N: usize>(tag: &[u8; N], hash: &zest_xet::Hash) -> Self {
        /// Initial state (FIPS 180-4 §5.3.1).
        const START: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
        /// Bytes of a message that fits one block: padding is one byte at least, and eight for the length.
        const MESSAGE_BYTES_MAX: usize = 55;
        const { assert!(N + 32 <= MESSAGE_BYTES_MAX, "tag and hash fit one block") };

        let mut padded = [0; 64];
        padded[..N].copy_from_slice(tag);
        padded[N..N + 32].copy_from_slice(hash.as_bytes());
        padded[N + 32] = 0x80;
        padded[56..].copy_from_slice(&(8 * (N as u64 + 32)).to_be_bytes());
        // The hash is read in quarters of the block, and a processor has to wait when a read covers several writes. A zero that
        // the compiler knows nothing about makes it write quarters, too: that is half the time of the whole.
        let zero = core::hint::black_box(0);
        let mut block = [0; 64];
        for (to, word) in block.as_chunks_mut::<4>().0.iter_mut().zip(padded.as_chunks::<4>().0) {
            *to = (u32::from_ne_bytes(*word) ^ zero).to_ne_bytes();
        }
        let mut state = START;
        sha1::block_api::compress(&mut state, &[block]);
        let mut out = [0; 20];
        for (bytes, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(state) {
            *bytes = word.to_be_bytes();
        }
        Self(out)
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
    pub fn of(file: &zest_xet::Hash) -> Self {
        let (key, _) = file.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
        Self(*key)
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
