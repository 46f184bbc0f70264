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

    /// SHA-1 of tag and hash. Both together always fit one block, so it is put together here, in whole words: a hasher that
    /// takes bytes as they come takes twice as long.
    fn derive<const N: usize>(tag: &[u8; N], hash: &zest_xet::Hash) -> InfoHash {
        /// Initial state (FIPS 180-4 §5.3.1).
        const START: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
        const { assert!(N > 8 && N < 16, "a tag ends within the second word") };

        let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
        let (full, part) = tag.split_at(8);
        let (hash, _) = hash.as_bytes().as_chunks::<8>();
        let [a, b, c, d] = [0, 1, 2, 3].map(|at| u64::from_le_bytes(hash[at]));
        let (up, down) = (8 * (N - 8), 64 - 8 * (N - 8));
        let words = [
            word(full),
            word(part) | a << up,
            a >> down | b << up,
            b >> down | c << up,
            c >> down | d << up,
            // The end of the message, and its length in bits.
            d >> down | 0x80 << up,
            0,
            (8 * (N as u64 + 32)).swap_bytes(),
        ];
        let mut block = [0; 64];
        for (bytes, word) in block.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
        let mut state = START;
        sha1::block_api::compress(&mut state, &[block]);
        let mut out = [0; 20];
        for (bytes, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(state) {
            *bytes = word.to_be_bytes();
        }
        InfoHash(out)
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
