//! The handshake of BEP 3, 68 bytes, first in both directions.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | 19 |
//! | 1 | 19 | `BitTorrent protocol` |
//! | 20 | 8 | reserved bits; byte 5 bit 0x10: BEP 10; byte 7 bit 0x01: BEP 5 |
//! | 28 | 20 | info-hash |
//! | 48 | 20 | peer id |

use crate::ids::{InfoHash, PeerId};
use nom::Parser as _;
use nom::bytes::complete::tag;
use zest_xet::fields::{Parsed, array};

/// Bytes of a handshake: 68 (BEP 3).
pub const HANDSHAKE_BYTES: usize = 68;

/// Length byte and name of the protocol: the fixed first 20 bytes (BEP 3).
pub const PROTOCOL: [u8; 20] = *b"\x13BitTorrent protocol";

/// Bit of reserved byte 5 that says "extension protocol" (BEP 10).
pub const RESERVED_BEP10: u8 = 0x10;

/// First bytes of our own peer ids: client `ZT`, version 0.5.0.0 in Azureus style (BEP 20).
pub const PEER_ID_PREFIX: [u8; 8] = *b"-ZT0500-";

/// A parsed handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    /// Reserved bits as sent.
    pub reserved: [u8; 8],
    /// Swarm.
    pub info_hash: InfoHash,
    /// Sender.
    pub peer_id: PeerId,
}

/// The first byte that cannot belong to a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAHandshake {
    /// Its offset, 0 to 19.
    pub at: u8,
    /// What it is.
    pub got: u8,
    /// What it should be.
    pub want: u8,
}

impl Handshake {
    /// Ours: BEP 10 and nothing else.
    #[must_use]
    pub fn ours(info_hash: InfoHash, peer_id: PeerId) -> Self {
        let mut reserved = [0; 8];
        reserved[5] = RESERVED_BEP10;
        Self { reserved, info_hash, peer_id }
    }

    /// Checks as much of the fixed part as `prefix` shows.
    ///
    /// # Errors
    /// [`NotAHandshake`] for the first wrong byte, so that the same stream gives the same answer however it is cut.
    pub fn check_prefix(prefix: &[u8]) -> Result<(), NotAHandshake> {
        for ((at, got), want) in (0u8..).zip(prefix).zip(PROTOCOL) {
            if *got != want {
                return Err(NotAHandshake { at, got: *got, want });
            }
        }
        Ok(())
    }

    /// Reads a handshake.
    ///
    /// # Errors
    /// [`NotAHandshake`] if the fixed part is wrong.
    pub fn parse(bytes: &[u8; HANDSHAKE_BYTES]) -> Result<Self, NotAHandshake> {
        Self::check_prefix(bytes)?;
        let (_, handshake) = handshake(bytes).expect("the fixed part is right, and 68 bytes hold all fields");
        Ok(handshake)
    }

    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HANDSHAKE_BYTES] {
        let mut bytes = [0; HANDSHAKE_BYTES];
        bytes[..20].copy_from_slice(&PROTOCOL);
        bytes[20..28].copy_from_slice(&self.reserved);
        bytes[28..48].copy_from_slice(&self.info_hash.0);
        bytes[48..].copy_from_slice(&self.peer_id.0);
        bytes
    }

    /// Whether the sender speaks BEP 10.
    #[must_use]
    pub fn bep10(&self) -> bool {
        self.reserved[5] & RESERVED_BEP10 != 0
    }

    /// Whether the peer id is one of the original zest's (`-ZE02…`, `-ZE03…`), which speaks only the 45-byte dialect.
    #[must_use]
    pub fn is_original(&self) -> bool {
        self.peer_id.0.starts_with(b"-ZE0")
    }
}

/// The table above, line by line.
fn handshake(input: &[u8]) -> Parsed<'_, Handshake> {
    let (input, _) = tag(&PROTOCOL[..])(input)?;
    let (input, reserved) = array(input)?;
    let (input, info_hash) = array.map(InfoHash).parse(input)?;
    let (input, peer_id) = array.map(PeerId).parse(input)?;
    Ok((input, Handshake { reserved, info_hash, peer_id }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_handshake_has_only_the_bep_10_bit() {
        let ours = Handshake::ours(InfoHash([7; 20]), PeerId(*b"-ZT0500-000000000000"));
        let bytes = ours.encode();
        assert_eq!(bytes[..28], *b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0");
        assert_eq!(Handshake::parse(&bytes), Ok(ours));
        assert!(ours.bep10() && !ours.is_original());
    }

    #[test]
    fn the_first_wrong_byte_is_named_however_much_is_there() {
        let want = NotAHandshake { at: 1, got: b'b', want: b'B' };
        assert_eq!(Handshake::check_prefix(b"\x13b"), Err(want));
        assert_eq!(Handshake::check_prefix(b"\x13bxxxxxxxxx"), Err(want));
        assert_eq!(Handshake::check_prefix(b"\x13Bit"), Ok(()));
    }
}
