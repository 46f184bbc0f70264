//! The 32-byte Xet hash, its string form, and the keyed hash of a chunk.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

/// BLAKE3 key of chunk hashes (Xet draft, chunk hashes).
const CHUNK_KEY: [u8; 32] = [
    0x66, 0x97, 0xf5, 0x77, 0x5b, 0x95, 0x50, 0xde, 0x31, 0x35, 0xcb, 0xac, 0xa5, 0x97, 0x18, 0x1c, 0x9d,
    0xe4, 0x21, 0x10, 0x9b, 0xeb, 0x2b, 0x58, 0xb4, 0xd0, 0xb0, 0x4b, 0x93, 0xad, 0xf2, 0x29,
];

/// BLAKE3 key of term verification hashes (Xet draft, verification hashes).
const TERM_KEY: [u8; 32] = [
    0x7f, 0x18, 0x57, 0xd6, 0xce, 0x56, 0xed, 0x66, 0x12, 0x7f, 0xf9, 0x13, 0xe7, 0xa5, 0xc3, 0xf3, 0xa4,
    0xcd, 0x26, 0xd5, 0xb5, 0xdb, 0x49, 0xe6, 0x41, 0x24, 0x98, 0x7f, 0x28, 0xfb, 0x94, 0xc3,
];

/// Characters of a hash string: 64 hex digits.
pub(crate) const HASH_TEXT_BYTES: usize = 64;

/// A 32-byte hash of the Xet world: of a chunk, a tree node, a xorb or a file.
///
/// Its string (`Display`, `Debug`, `FromStr`, serde) is the one every Xet API uses: the bytes as four little-endian
/// `u64`, each printed as 16 hex digits. [`Hash::to_plain_hex`] gives the bytes in order instead. Ordering is that of
/// the bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// All zeros: the hash of an empty list, never that of a stored object.
    pub const ZERO: Self = Self([0; 32]);

    /// Takes the 32 bytes as they are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The bytes in order as 64 lower-case hex digits. Not the form the APIs use; some caches name files by it.
    #[must_use]
    pub fn to_plain_hex(&self) -> String {
        let mut text = String::with_capacity(HASH_TEXT_BYTES);
        for byte in self.0 {
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
        text
    }

    /// The string form as ASCII bytes, without allocating: what the tree hashes.
    pub(crate) fn text(&self) -> [u8; HASH_TEXT_BYTES] {
        let mut text = [0; HASH_TEXT_BYTES];
        for (at, pair) in text.chunks_exact_mut(2).enumerate() {
            // Digit pair `at` lies in word at/8; inside a word the most significant byte, its last, comes first.
            let byte = self.0[(at & !7) | (7 - (at & 7))];
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        text
    }

    /// The last 8 bytes as a little-endian number, on which the tree decides where to cut.
    pub(crate) fn last_word(&self) -> u64 {
        let [.., a, b, c, d, e, f, g, h] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        f.pad(core::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a Xet hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseHashError {
    /// Not 64 bytes long.
    #[error("a hash has 64 hex digits, this text has {got} bytes")]
    Length {
        /// Bytes of the text.
        got: usize,
    },
    /// A byte that is no hex digit.
    #[error("byte {value:#04x} at position {at} of a hash is not a hex digit")]
    Digit {
        /// Position in the text, from 0.
        at: usize,
        /// The byte found there.
        value: u8,
    },
}

impl FromStr for Hash {
    type Err = ParseHashError;

    /// Reads the Xet string form; upper-case digits are accepted.
    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        let text = text.as_bytes();
        if text.len() != HASH_TEXT_BYTES {
            return Err(ParseHashError::Length { got: text.len() });
        }
        let mut bytes = [0; 32];
        for (at, pair) in text.chunks_exact(2).enumerate() {
            bytes[(at & !7) | (7 - (at & 7))] = digit(pair[0], 2 * at)? << 4 | digit(pair[1], 2 * at + 1)?;
        }
        Ok(Self(bytes))
    }
}

fn digit(value: u8, at: usize) -> Result<u8, ParseHashError> {
    match value {
        b'0'..=b'9' => Ok(value - b'0'),
        b'a'..=b'f' => Ok(value - b'a' + 10),
        b'A'..=b'F' => Ok(value - b'A' + 10),
        _ => Err(ParseHashError::Digit { at, value }),
    }
}

#[cfg(feature = "std")]
impl serde::Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "std")]
impl<'de> serde::Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Hash;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a Xet hash of 64 hex digits")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Hash, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// Name and length of one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkRef {
    /// Keyed BLAKE3 of the uncompressed bytes, see [`chunk_hash`].
    pub hash: Hash,
    /// Uncompressed length in bytes, 1 to [`crate::CHUNK_BYTES_MAX`] wherever it was checked.
    pub len: u32,
}

/// Hash of a chunk: BLAKE3 of its uncompressed bytes with the chunk key (Xet draft, chunk hashes).
#[must_use]
pub fn chunk_hash(data: &[u8]) -> Hash {
    Hash(*blake3::keyed_hash(&CHUNK_KEY, data).as_bytes())
}

/// Verification hash of a term: BLAKE3 of its raw chunk hashes with the verification key. Only uploads need it.
#[must_use]
pub fn term_verification_hash(hashes: &[Hash]) -> Hash {
    let mut hasher = blake3::Hasher::new_keyed(&TERM_KEY);
    for hash in hashes {
        hasher.update(&hash.0);
    }
    Hash(*hasher.finalize().as_bytes())
}

/// The chunk hash computed piece by piece, for a chunk that does not lie in one slice.
#[cfg(feature = "std")]
#[derive(Debug, Clone)]
pub(crate) struct ChunkHasher(blake3::Hasher);

#[cfg(feature = "std")]
impl ChunkHasher {
    pub(crate) fn new() -> Self {
        Self(blake3::Hasher::new_keyed(&CHUNK_KEY))
    }

    pub(crate) fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// Gives the hash of what was fed and starts the next chunk.
    pub(crate) fn finish(&mut self) -> Hash {
        let hash = Hash(*self.0.finalize().as_bytes());
        self.0.reset();
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::{format, vec::Vec};

    #[test]
    fn string_form_reverses_each_eight_bytes() {
        let bytes: Vec<u8> = (0..32).collect();
        let hash = Hash::from_bytes(bytes.try_into().unwrap());
        assert_eq!(hash.to_string(), "07060504030201000f0e0d0c0b0a090817161514131211101f1e1d1c1b1a1918");
        assert_eq!(hash.to_plain_hex(), "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(hash.to_string().to_uppercase().parse(), Ok(hash));
        assert_eq!(format!("{hash:?}"), hash.to_string());
        assert_eq!(hash.last_word(), 0x1f1e_1d1c_1b1a_1918);
    }

    #[test]
    fn bad_strings_are_named_by_position() {
        assert_eq!("00".parse::<Hash>(), Err(ParseHashError::Length { got: 2 }));
        let mut text = Hash::ZERO.to_string();
        text.replace_range(17..18, "+");
        assert_eq!(text.parse::<Hash>(), Err(ParseHashError::Digit { at: 17, value: b'+' }));
        assert_eq!(
            text.parse::<Hash>().unwrap_err().to_string(),
            "byte 0x2b at position 17 of a hash is not a hex digit"
        );
    }

    #[test]
    fn hello_world_has_the_published_chunk_hash() {
        assert_eq!(
            chunk_hash(b"Hello World!").to_string(),
            "d8d408e608fb9ca213b9909a65d86d725f2de4d8d540324be8a363e7a6e228cb"
        );
    }

    #[test]
    fn term_hash_is_that_of_the_joined_hashes() {
        let key: Hash = "66ed56ced657187ff3c3a5e713f97f12e649dbb5d526cda4c394fb287f982441".parse().unwrap();
        let (a, b) = (chunk_hash(b"a"), chunk_hash(b"b"));
        let joined = [*a.as_bytes(), *b.as_bytes()].concat();
        assert_ne!(term_verification_hash(&[a, b]), term_verification_hash(&[b, a]));
        assert_eq!(
            term_verification_hash(&[a, b]).as_bytes(),
            blake3::keyed_hash(key.as_bytes(), &joined).as_bytes()
        );
    }

    #[test]
    fn pieces_give_the_hash_of_the_whole() {
        let data: Vec<u8> = (0..100_000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
        let mut hasher = ChunkHasher::new();
        hasher.update(b"something else before");
        let _ = hasher.finish();
        for piece in data.chunks(777) {
            hasher.update(piece);
        }
        assert_eq!(hasher.finish(), chunk_hash(&data));
    }

    #[cfg(feature = "std")]
    #[test]
    fn serde_uses_the_string_form() {
        let hash = chunk_hash(b"x");
        let json = serde_json::to_string(&hash).unwrap();
        assert_eq!(json, format!("\"{hash}\""));
        assert_eq!(serde_json::from_str::<Hash>(&json).unwrap(), hash);
        assert!(serde_json::from_str::<Hash>("\"abc\"").is_err());
    }
}
