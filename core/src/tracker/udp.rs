//! Trackers over UDP (BEP 15, options of BEP 41). One datagram each way; a connection id first, against forged senders.
//!
//! | request | offset: field |
//! |---|---|
//! | connect, 16 | 0: `0000041727101980` · 8: action 0 · 12: transaction 4 |
//! | announce, 98 + options | 0: connection 8 · 8: action 1 · 12: transaction 4 · 16: info-hash 20 · 36: peer id 20 · 56: downloaded 8 · 64: left 8 · 72: uploaded 8 · 80: event 4 · 84: IPv4 address or 0 · 88: key 4 · 92: peers wanted 4 · 96: port 2 · 98: options |
//! | scrape, 16 + 20 n | 0: connection 8 · 8: action 2 · 12: transaction 4 · 16: info-hashes |
//! | option | 0: type 1 (0 end, 1 nothing, 2 URL data) · 1: length 1 · 2: data |
//!
//! | reply | offset: field |
//! |---|---|
//! | connect | 0: action 0 · 4: transaction 4 · 8: connection 8 |
//! | announce | 0: action 1 · 4: transaction 4 · 8: interval 4 · 12: leeches 4 · 16: seeds 4 · 20: peers, 6 or 18 bytes each by the family of the datagram |
//! | scrape | 0: action 2 · 4: transaction 4 · 8: n × (seeds 4, completed 4, leeches 4) |
//! | error | 0: action 3 · 4: transaction 4 · 8: text |

use super::announce::{Announce, AnnounceReply, REASON_CHARS_MAX, Scraped};
use crate::InfoHash;
use crate::endpoint::{compact_v4, compact_v6};
use crate::wire::text;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use nom::Parser as _;
use thiserror::Error;
use zest_xet::fields::{Parsed, be_u32, be_u64, each, first};

/// First eight bytes of a connect request (BEP 15).
pub const PROTOCOL_ID: u64 = 0x0417_2710_1980;

/// Most swarms in one scrape: 74 (BEP 15).
pub const SCRAPE_HASHES_MAX: usize = 74;

/// Longest reply that is read: 4 KiB. Ours; 200 IPv6 peers have 3,620 bytes.
pub const REPLY_BYTES_MAX: usize = 4 << 10;

/// Longest URL data that is sent: 1,024 bytes. Ours; the request must fit a datagram that no router cuts up.
const URL_DATA_BYTES_MAX: usize = 1024;

const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const SCRAPE: u32 = 2;
const ERROR: u32 = 3;

/// What a tracker said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It knows our address; requests need this id.
    Connected {
        /// Good for one minute.
        connection: u64,
    },
    /// Answer to an announce.
    Announced(AnnounceReply),
    /// Answer to a scrape, in the order asked.
    Scraped(Vec<Scraped>),
    /// It refuses.
    Error {
        /// At most [`REASON_CHARS_MAX`] characters, control characters replaced.
        reason: String,
    },
}

/// Why a datagram is no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UdpError {
    /// Shorter than its kind can be.
    #[error("tracker sent a datagram of {bytes} bytes, which is too short for action {action}")]
    TooShort {
        /// Its length.
        bytes: usize,
        /// Its action; `u32::MAX` if not even that is there.
        action: u32,
    },
    /// Longer than [`REPLY_BYTES_MAX`].
    #[error("tracker sent a datagram of {bytes} bytes, limit {REPLY_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// No action of BEP 15.
    #[error("tracker sent action {0}, which BEP 15 does not know")]
    Action(u32),
}

/// A connect request.
#[must_use]
pub fn connect(transaction: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(16);
    head(&mut out, PROTOCOL_ID, CONNECT, transaction);
    out
}

/// An announce request; `url_data` is path and query of the tracker's URL, if it has any (BEP 41).
#[must_use]
pub fn announce(
    connection: u64,
    transaction: u32,
    announce: &Announce<'_>,
    url_data: Option<&str>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    head(&mut out, connection, ANNOUNCE, transaction);
    out.extend_from_slice(&announce.swarm.0);
    out.extend_from_slice(&announce.peer_id.0);
    for bytes in [announce.downloaded, announce.left, announce.uploaded] {
        out.extend_from_slice(&bytes.to_be_bytes());
    }
    out.extend_from_slice(&(announce.event as u32).to_be_bytes());
    out.extend_from_slice(&announce.ipv4.unwrap_or(Ipv4Addr::UNSPECIFIED).octets());
    out.extend_from_slice(&announce.key.to_be_bytes());
    out.extend_from_slice(&announce.numwant.to_be_bytes());
    out.extend_from_slice(&announce.port.to_be_bytes());
    let data = url_data.unwrap_or_default().as_bytes();
    if data.len() <= URL_DATA_BYTES_MAX {
        for part in data.chunks(255) {
            #[expect(clippy::cast_possible_truncation, reason = "a part has at most 255 bytes")]
            out.extend_from_slice(&[2, part.len() as u8]);
            out.extend_from_slice(part);
        }
    }
    out
}

/// A scrape request of at most [`SCRAPE_HASHES_MAX`] swarms.
#[must_use]
pub fn scrape(connection: u64, transaction: u32, swarms: &[InfoHash]) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + 20 * swarms.len().min(SCRAPE_HASHES_MAX));
    head(&mut out, connection, SCRAPE, transaction);
    for swarm in swarms.iter().take(SCRAPE_HASHES_MAX) {
        out.extend_from_slice(&swarm.0);
    }
    out
}

fn head(out: &mut Vec<u8>, connection: u64, action: u32, transaction: u32) {
    out.extend_from_slice(&connection.to_be_bytes());
    out.extend_from_slice(&action.to_be_bytes());
    out.extend_from_slice(&transaction.to_be_bytes());
}

/// Whether a datagram on a shared socket may be a tracker's: replies begin with a small number, DHT messages with `d`.
#[must_use]
pub fn is_reply(datagram: &[u8]) -> bool {
    first((be_u32, be_u32), datagram).is_some_and(|(action, _transaction)| action <= ERROR)
}

/// Reads a reply: its transaction and what it says. `v6` is the family of the datagram.
///
/// # Errors
/// [`UdpError`] with the reason.
pub fn reply(datagram: &[u8], v6: bool) -> Result<(u32, Reply), UdpError> {
    let bytes = datagram.len();
    if bytes > REPLY_BYTES_MAX {
        return Err(UdpError::TooLong { bytes });
    }
    let short = |action| move |_| UdpError::TooShort { bytes, action };
    let (rest, action) = be_u32(datagram).map_err(short(u32::MAX))?;
    let (rest, transaction) = be_u32(rest).map_err(short(action))?;
    let reply = match action {
        CONNECT => {
            let (_, connection) = be_u64(rest).map_err(short(action))?;
            Reply::Connected { connection }
        }
        ANNOUNCE => {
            let (peers, (interval_s, leeches, seeds)) = announced(rest).map_err(short(action))?;
            let mut reply = AnnounceReply {
                interval_s: Some(interval_s),
                leeches: Some(leeches),
                seeds: Some(seeds),
                ..AnnounceReply::default()
            };
            if v6 {
                reply.add_peers(compact_v6(peers))
            } else {
                reply.add_peers(compact_v4(peers))
            }
            Reply::Announced(reply)
        }
        SCRAPE => Reply::Scraped(each(scraped, rest).take(SCRAPE_HASHES_MAX).collect()),
        ERROR => Reply::Error { reason: text(rest, REASON_CHARS_MAX) },
        other => return Err(UdpError::Action(other)),
    };
    Ok((transaction, reply))
}

/// interval 4, leeches 4, seeds 4; peers follow
fn announced(input: &[u8]) -> Parsed<'_, (u32, u32, u32)> {
    (be_u32, be_u32, be_u32).parse(input)
}

/// seeds 4, completed 4, leeches 4
fn scraped(input: &[u8]) -> Parsed<'_, Scraped> {
    (be_u32, be_u32, be_u32)
        .map(|(seeds, completed, leeches)| Scraped { seeds, completed, leeches })
        .parse(input)
}

#[cfg(test)]
mod tests {
    use super::super::announce::AnnounceEvent;
    use super::*;
    use crate::PeerId;
    use alloc::string::ToString as _;
    use proptest::prelude::*;
    use std::vec;

    fn example() -> Announce<'static> {
        Announce {
            swarm: InfoHash([0xaa; 20]),
            peer_id: PeerId([0xbb; 20]),
            port: 0x1ae1,
            uploaded: 3,
            downloaded: 1,
            left: 2,
            event: AnnounceEvent::Started,
            numwant: 50,
            key: 0x0102_0304,
            tracker_id: None,
            ipv4: None,
            ipv6: None,
        }
    }

    #[test]
    fn requests_are_laid_out_as_the_tables_say() {
        let bytes = connect(0x0a0b_0c0d);
        assert_eq!(bytes, [0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80, 0, 0, 0, 0, 0x0a, 0x0b, 0x0c, 0x0d]);
        let bytes = announce(7, 9, &example(), None);
        let want = [
            &[0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 9][..],
            &[0xaa; 20],
            &[0xbb; 20],
            &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3],
            &[0, 0, 0, 2, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 50, 0x1a, 0xe1],
        ]
        .concat();
        assert_eq!((bytes.len(), bytes), (98, want));
        let bytes = scrape(7, 9, &[InfoHash([1; 20]); 80]);
        assert_eq!(bytes.len(), 16 + 20 * SCRAPE_HASHES_MAX);
    }

    #[test]
    fn url_data_goes_in_parts_of_255_bytes() {
        let path = ["/", &"x".repeat(299)].concat();
        let bytes = announce(7, 9, &example(), Some(&path));
        assert_eq!(bytes.len(), 98 + 2 + 255 + 2 + 45);
        assert_eq!((&bytes[98..101], &bytes[355..358]), (&[2, 255, b'/'][..], &[2, 45, b'x'][..]));
        assert_eq!(announce(7, 9, &example(), Some(&"x".repeat(1025))).len(), 98, "too long to be told");
    }

    #[test]
    fn replies_are_read_by_the_family_of_the_datagram() {
        let head = [&[0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 7, 8, 0, 0, 0, 2, 0, 0, 0, 1][..]].concat();
        let v4 = [&head[..], &[192, 0, 2, 1, 0x1a, 0xe1]].concat();
        let (transaction, Reply::Announced(said)) = reply(&v4, false).unwrap() else { panic!("an announce") };
        assert_eq!(
            (transaction, said.interval_s, said.leeches, said.seeds),
            (9, Some(1800), Some(2), Some(1))
        );
        assert_eq!(said.peers, ["192.0.2.1:6881".parse().unwrap()]);
        let v6 = [&head[..], &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 9]].concat();
        let (_, Reply::Announced(said)) = reply(&v6, true).unwrap() else { panic!("an announce") };
        assert_eq!(said.peers, ["[2001:db8::1]:9".parse().unwrap()]);
        assert!(matches!(reply(&v4, true).unwrap().1, Reply::Announced(said) if said.peers.is_empty()));
    }

    #[test]
    fn other_replies_are_read_and_short_ones_refused() {
        let connected = [0, 0, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(reply(&connected, false), Ok((9, Reply::Connected { connection: 0x0102_0304_0506_0708 })));
        let scraped = [0, 0, 0, 2, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xff];
        let counts = vec![Scraped { seeds: 1, completed: 2, leeches: 3 }];
        assert_eq!(reply(&scraped, false), Ok((9, Reply::Scraped(counts))));
        let error = [&[0, 0, 0, 3, 0, 0, 0, 9][..], b"no\n"].concat();
        assert_eq!(reply(&error, false), Ok((9, Reply::Error { reason: "no\u{fffd}".into() })));
        for (cut, why) in [
            (&connected[..15], "tracker sent a datagram of 15 bytes, which is too short for action 0"),
            (&connected[..7], "tracker sent a datagram of 7 bytes, which is too short for action 0"),
            (
                &[0, 0, 0, 1, 0, 0, 0, 9, 0][..],
                "tracker sent a datagram of 9 bytes, which is too short for action 1",
            ),
            (&[0, 0, 0, 4, 0, 0, 0, 9][..], "tracker sent action 4, which BEP 15 does not know"),
        ] {
            assert_eq!(reply(cut, false).unwrap_err().to_string(), why);
        }
        assert_eq!(reply(&[0; 4097], false), Err(UdpError::TooLong { bytes: 4097 }));
    }

    #[test]
    fn dht_messages_are_not_taken_for_replies() {
        assert!(!is_reply(b"d1:ad2:id20:abcdefghij01234567896:target20:") && !is_reply(&[0, 0, 0]));
        assert!(is_reply(&[0, 0, 0, 3, 0, 0, 0, 9]));
    }

    proptest! {
        #[test]
        fn any_datagram_is_taken_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120), v6: bool) {
            let _ = reply(&bytes, v6);
            for action in 0..5 {
                let _ = reply(&[&[0, 0, 0, action][..], &bytes].concat(), v6);
            }
        }
    }
}
