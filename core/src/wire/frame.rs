//! Frames of BEP 3 and BEP 10, and the heads we send.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | length of what follows; 0 is a keep-alive and ends here |
//! | 4 | 1 | message id |
//! | 5 | 1 | if the id is 20: extension id of the receiver, 0 for the extension handshake |
//! | 6 | n | message |

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use zest_xet::fields::{Parsed, be_u32, byte};

/// Bytes of the length prefix: 4 (BEP 3).
pub const LENGTH_BYTES: usize = 4;

/// Bytes before the message of an extended frame: length, 20, extension id.
pub const EXTENDED_HEAD_BYTES: usize = 6;

/// Message id `unchoke` (BEP 3).
pub const UNCHOKE: u8 = 1;

/// Message id `interested` (BEP 3).
pub const INTERESTED: u8 = 2;

/// Message id `extended` (BEP 10).
pub const EXTENDED: u8 = 20;

/// A keep-alive (BEP 3).
pub const KEEP_ALIVE: [u8; 4] = [0; 4];

/// Bytes of a [`Head`] that need no allocation: 54, so that it has 56. The longest fixed head of all formats is a 45-byte xorb request
/// in its frame, 51.
pub const HEAD_INLINE_BYTES: usize = 54;

/// Bytes that go before a body, or alone: small ones inline, long ones boxed.
#[derive(Clone)]
pub struct Head(Repr);

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; HEAD_INLINE_BYTES] },
    Boxed(Box<[u8]>),
}

impl Head {
    /// Copies `bytes`; allocates only past [`HEAD_INLINE_BYTES`].
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        if bytes.len() > HEAD_INLINE_BYTES {
            return Self(Repr::Boxed(bytes.into()));
        }
        Writer::new().bytes(bytes).done()
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Boxed(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Head {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Head {}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// The first line of the table above. Whoever reads a frame as it comes judges each line before the next one is there.
#[inline(always)]
pub(crate) fn length(seen: &[u8]) -> Parsed<'_, u32> {
    be_u32(seen)
}

/// The second and the third line: message id, extension id.
#[inline(always)]
pub(crate) fn id(seen: &[u8]) -> Parsed<'_, u8> {
    byte(seen)
}

/// Appends an extended frame with this whole message to `out`.
///
/// # Panics
/// If the frame would be longer than 4 GiB.
#[inline]
pub fn extended(out: &mut Vec<u8>, ext_id: u8, message: &[u8]) {
    let len = u32::try_from(message.len() + 2).expect("a frame is shorter than 4 GiB");
    let [a, b, c, d] = len.to_be_bytes();
    out.extend_from_slice(&[a, b, c, d, EXTENDED, ext_id]);
    out.extend_from_slice(message);
}

/// Builds a head of at most [`HEAD_INLINE_BYTES`] in place.
pub(crate) struct Writer {
    len: usize,
    bytes: [u8; HEAD_INLINE_BYTES],
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self { len: 0, bytes: [0; HEAD_INLINE_BYTES] }
    }

    /// Begins an extended frame whose message has `message_len` bytes in all, those outside of the head included.
    pub(crate) fn extended(ext_id: u8, message_len: u32) -> Self {
        Self::new().u32(message_len + 2).u8(EXTENDED).u8(ext_id)
    }

    pub(crate) fn u8(self, value: u8) -> Self {
        self.bytes(&[value])
    }

    pub(crate) fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        let end = self.len + bytes.len();
        assert!(end <= HEAD_INLINE_BYTES, "a fixed head fits {HEAD_INLINE_BYTES} bytes");
        self.bytes[self.len..end].copy_from_slice(bytes);
        self.len = end;
        self
    }

    pub(crate) fn done(self) -> Head {
        #[expect(clippy::cast_possible_truncation, reason = "len ≤ 54")]
        Head(Repr::Inline { len: self.len as u8, bytes: self.bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_heads_compare_by_their_bytes() {
        for len in [0, 1, 63, 64, 65, 200] {
            let bytes = alloc::vec![7u8; len];
            assert_eq!(Head::new(&bytes).as_bytes(), bytes);
            assert_eq!(Head::new(&bytes), Head::new(&bytes).clone());
        }
    }

    #[test]
    fn an_extended_frame_counts_its_two_id_bytes() {
        let mut framed = Vec::new();
        extended(&mut framed, 3, b"hello");
        assert_eq!(framed, b"\0\0\0\x07\x14\x03hello");
        assert_eq!(Writer::extended(3, 5).bytes(b"hello").done().as_bytes(), framed);
    }
}
