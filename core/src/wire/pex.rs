//! Peer exchange (BEP 11): the message of `ut_pex`, a bencoded dictionary.
//!
//! | key | bytes each | |
//! |---|---|---|
//! | `added` | 6 | IPv4 peers the sender is connected to since its last message |
//! | `added.f` | 1 | flags, one for each of `added` |
//! | `added6`, `added6.f` | 18, 1 | the same for IPv6 |
//! | `dropped`, `dropped6` | 6, 18 | peers it is no longer connected to |

use crate::bencode::{Encoder, Value, parse};
use crate::endpoint::{COMPACT_V4_BYTES, COMPACT_V6_BYTES, compact_v4, compact_v6, push_compact};
use alloc::vec::Vec;
use core::net::SocketAddr;

/// Longest message that is read: 8 KiB. Ours; 100 peers of each kind and family, what libtorrent sends at most, have 5 KiB.
pub const PEX_BYTES_MAX: u32 = 8 << 10;
/// Peers added, and peers dropped, in one message that is sent: 50 (BEP 11).
pub const PEX_PEERS_MAX: usize = 50;
/// Peers added, and peers dropped, of one message that are read: 100. libtorrent's limit; what follows is ignored.
pub const PEX_READ_MAX: usize = 100;

/// Flag: it prefers encryption.
pub const FLAG_ENCRYPTION: u8 = 0x01;
/// Flag: it seeds, and takes nothing.
pub const FLAG_SEED: u8 = 0x02;
/// Flag: it speaks uTP.
pub const FLAG_UTP: u8 = 0x04;
/// Flag: it can help to punch holes (BEP 55).
pub const FLAG_HOLEPUNCH: u8 = 0x08;
/// Flag: the sender has dialled it, so it can be reached.
pub const FLAG_REACHABLE: u8 = 0x10;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pex {
    /// Peers and their flags.
    pub added: Vec<(SocketAddr, u8)>,
    /// Peers that are gone.
    pub dropped: Vec<SocketAddr>,
}

/// Reads a message; `None` if it is no dictionary, or a key has a wrong type or length. Missing flags are 0.
#[must_use]
pub fn read(message: &[u8]) -> Option<Pex> {
    let Value::Dict(dict) = parse(message).ok()? else { return None };
    let list = |key: &[u8], each: usize| match dict.get(key) {
        None => Some(&[][..]),
        Some(Value::Bytes(bytes)) if bytes.len() % each == 0 => Some(bytes),
        Some(_) => None,
    };
    let with_flags = |flags: &[u8], at: usize, addr| (addr, flags.get(at).copied().unwrap_or(0));
    let (flags, flags6) = (list(b"added.f", 1)?, list(b"added6.f", 1)?);
    let added = compact_v4(list(b"added", COMPACT_V4_BYTES)?).enumerate();
    let added6 = compact_v6(list(b"added6", COMPACT_V6_BYTES)?).enumerate();
    let added = added.map(|(at, addr)| with_flags(flags, at, addr));
    let added6 = added6.map(|(at, addr)| with_flags(flags6, at, addr));
    let dropped = compact_v4(list(b"dropped", COMPACT_V4_BYTES)?);
    let dropped6 = compact_v6(list(b"dropped6", COMPACT_V6_BYTES)?);
    Some(Pex {
        added: added.chain(added6).take(PEX_READ_MAX).collect(),
        dropped: dropped.chain(dropped6).take(PEX_READ_MAX).collect(),
    })
}

/// Writes a message; of each list the first [`PEX_PEERS_MAX`].
#[must_use]
pub fn write(pex: &Pex) -> Vec<u8> {
    let added = &pex.added[..pex.added.len().min(PEX_PEERS_MAX)];
    let dropped = &pex.dropped[..pex.dropped.len().min(PEX_PEERS_MAX)];
    let (mut lists, mut flags): ([Vec<u8>; 4], [Vec<u8>; 2]) = Default::default();
    for (addr, flag) in added {
        let family = usize::from(addr.is_ipv6());
        push_compact(&mut lists[family], *addr);
        flags[family].push(*flag);
    }
    for addr in dropped {
        push_compact(&mut lists[2 + usize::from(addr.is_ipv6())], *addr);
    }
    let mut out = Vec::with_capacity(128);
    let mut enc = Encoder::new(&mut out);
    enc.dict();
    enc.key(b"added").bytes(&lists[0]).key(b"added.f").bytes(&flags[0]);
    enc.key(b"added6").bytes(&lists[1]).key(b"added6.f").bytes(&flags[1]);
    enc.key(b"dropped").bytes(&lists[2]).key(b"dropped6").bytes(&lists[3]);
    enc.end();
    enc.finish();
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn both_families_are_written_and_read_back() {
        let pex = Pex {
            added: vec![(addr("192.0.2.1:6881"), FLAG_SEED), (addr("[2001:db8::1]:443"), FLAG_REACHABLE)],
            dropped: vec![addr("192.0.2.2:1"), addr("[2001:db8::2]:2")],
        };
        let bytes = write(&pex);
        let want = b"d5:added6:\xc0\x00\x02\x01\x1a\xe17:added.f1:\x026:added618:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb\
8:added6.f1:\x107:dropped6:\xc0\x00\x02\x02\x00\x018:dropped618:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\x00\x02e";
        assert_eq!(bytes, want);
        assert_eq!(read(&bytes), Some(pex));
    }

    #[test]
    fn missing_keys_and_flags_are_nothing_and_wrong_ones_a_fault() {
        let bare =
            read(b"d5:added12:\xc0\x00\x02\x01\x1a\xe1\xc0\x00\x02\x02\x1a\xe17:added.f1:\x02e").unwrap();
        assert_eq!(bare.added, [(addr("192.0.2.1:6881"), 2), (addr("192.0.2.2:6881"), 0)]);
        assert_eq!(read(b"de"), Some(Pex::default()));
        for wrong in [
            &b"le"[..],
            b"",
            b"d5:added",
            b"d5:addedi1ee",
            b"d5:added5:12345e",
            b"d7:added.flee",
            b"d6:added66:123456e",
        ] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn no_message_is_longer_than_bep_11_allows_and_none_is_read_further() {
        let many = |count: u16| -> Vec<SocketAddr> {
            (0..count).map(|n| SocketAddr::new([192, 0, 2, 1].into(), n)).collect()
        };
        let pex = Pex { added: many(80).into_iter().map(|addr| (addr, 0)).collect(), dropped: many(80) };
        let back = read(&write(&pex)).unwrap();
        assert_eq!((back.added.len(), back.dropped.len()), (PEX_PEERS_MAX, PEX_PEERS_MAX));
        let long = [b"d5:added1200:".to_vec(), vec![7; 1200], b"e".to_vec()].concat();
        assert_eq!(read(&long).unwrap().added.len(), PEX_READ_MAX);
    }

    proptest! {
        #[test]
        fn any_message_is_taken_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = read(&bytes);
            let _ = read(&[&b"d5:added"[..], &bytes, b"e"].concat());
        }
    }
}
