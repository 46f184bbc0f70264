//! The message of BEP 14: lines of text in a datagram.
//!
//! ```text
//! BT-SEARCH * HTTP/1.1\r\n
//! Host: 239.192.152.143:6771\r\n
//! Port: 6881\r\n
//! Infohash: <40 hex digits>\r\n      (one or more)
//! cookie: <anything>\r\n
//! \r\n
//! \r\n
//! ```
//!
//! Reading is tolerant: names in any case, lines that end without `\r`, lines in any order, unknown ones. What it needs is
//! the first line, a port and an info-hash.

use super::Group;
use crate::InfoHash;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_till, take_until};
use nom::combinator::{eof, map_opt, not, opt, rest};
use nom::multi::fill;
use nom::sequence::{preceded, separated_pair, terminated};
use nom::{ParseTo as _, Parser as _};
use thiserror::Error;
use zest_xet::fields::{Parsed, byte, each, first, whole};

/// Longest message that is sent: 1,400 bytes (BEP 14: to fit a datagram that is not cut up).
pub const MESSAGE_BYTES_MAX: usize = 1400;
/// Longest message that is read: 4 KiB. Ours.
pub const READ_BYTES_MAX: usize = 4 << 10;
/// Info-hashes of one message that are sent: 25, as many as fit [`MESSAGE_BYTES_MAX`].
pub const SENT_HASHES_MAX: usize = 25;
/// Info-hashes of one message that are read: 64. Ours.
pub const READ_HASHES_MAX: usize = 64;
/// Longest cookie that is looked at: 64 bytes. Ours.
pub const COOKIE_BYTES_MAX: usize = 64;

/// Bytes of an `Infohash` line.
const HASH_LINE_BYTES: usize = 52;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search<'a> {
    /// TCP port of the sender.
    pub port: u16,
    /// What it wants or has, each once.
    pub swarms: Vec<InfoHash>,
    /// By which a sender knows its own messages.
    pub cookie: Option<&'a [u8]>,
}

/// Why a datagram is no such message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SearchError {
    /// Longer than [`READ_BYTES_MAX`].
    #[error("message has {bytes} bytes, limit {READ_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It does not begin with `BT-SEARCH`.
    #[error("message does not begin with BT-SEARCH")]
    NotASearch,
    /// No port from 1 to 65,535.
    #[error("message has no port")]
    NoPort,
    /// Nothing that is an info-hash.
    #[error("message has no info-hash")]
    NoInfoHash,
}

/// Writes the message for `group`; of the swarms the first [`SENT_HASHES_MAX`].
#[must_use]
pub fn write(group: Group, port: u16, swarms: &[InfoHash], cookie: &str) -> Vec<u8> {
    let mut out = String::with_capacity(MESSAGE_BYTES_MAX);
    let _ = write!(out, "BT-SEARCH * HTTP/1.1\r\nHost: {}\r\nPort: {port}\r\n", group.name());
    for swarm in swarms.iter().take(SENT_HASHES_MAX) {
        let _ = write!(out, "Infohash: {swarm:?}\r\n");
    }
    let _ = write!(out, "cookie: {cookie}\r\n\r\n\r\n");
    debug_assert!(out.len() <= MESSAGE_BYTES_MAX, "a message fits its datagram");
    out.into_bytes()
}

/// Reads a message.
///
/// # Errors
/// [`SearchError`] with the reason.
pub fn read(message: &[u8]) -> Result<Search<'_>, SearchError> {
    let bytes = message.len();
    if bytes > READ_BYTES_MAX {
        return Err(SearchError::TooLong { bytes });
    }
    let mut lines = each(line, message);
    if lines.next().and_then(|line| first(search, line)).is_none() {
        return Err(SearchError::NotASearch);
    }
    let mut search = Search { port: 0, swarms: Vec::new(), cookie: None };
    for line in lines {
        let Some((name, value)) = first(header, line) else { continue };
        if name.eq_ignore_ascii_case(b"infohash") {
            if let Some(swarm) = whole(info_hash, value)
                && search.swarms.len() < READ_HASHES_MAX
                && !search.swarms.contains(&swarm)
            {
                search.swarms.push(swarm);
            }
        } else if name.eq_ignore_ascii_case(b"port") {
            search.port = value.parse_to().unwrap_or(0);
        } else if name.eq_ignore_ascii_case(b"cookie") {
            search.cookie = Some(&value[..value.len().min(COOKIE_BYTES_MAX)]);
        }
    }
    if search.port == 0 {
        return Err(SearchError::NoPort);
    }
    if search.swarms.is_empty() { Err(SearchError::NoInfoHash) } else { Ok(search) }
}

/// A line without what ends it and without blanks around it; the last one may end with the message.
fn line(input: &[u8]) -> Parsed<'_, &[u8]> {
    let line = terminated(take_till(|byte| byte == b'\n'), opt(tag(&b"\n"[..])));
    preceded(not(eof), line).map(<[u8]>::trim_ascii).parse(input)
}

/// The first line: `BT-SEARCH`, then nothing or a blank.
fn search(line: &[u8]) -> Parsed<'_, &[u8]> {
    terminated(tag(&b"BT-SEARCH"[..]), alt((tag(&b" "[..]), eof))).parse(line)
}

/// Any other line: name, `:`, value.
fn header(line: &[u8]) -> Parsed<'_, (&[u8], &[u8])> {
    separated_pair(
        take_until(&b":"[..]).map(<[u8]>::trim_ascii),
        tag(&b":"[..]),
        rest.map(<[u8]>::trim_ascii),
    )
    .parse(line)
}

/// 40 hex digits.
fn info_hash(value: &[u8]) -> Parsed<'_, InfoHash> {
    let mut hash = [0; 20];
    let (rest, ()) = fill(hex_byte, &mut hash).parse(value)?;
    Ok((rest, InfoHash(hash)))
}

/// Two hex digits.
fn hex_byte(input: &[u8]) -> Parsed<'_, u8> {
    let digit = || map_opt(byte, |digit| char::from(digit).to_digit(16));
    #[expect(clippy::cast_possible_truncation, reason = "two hex digits are a byte")]
    (digit(), digit()).map(|(high, low)| (high * 16 + low) as u8).parse(input)
}

const _: () = assert!(
    20 + HASH_LINE_BYTES * SENT_HASHES_MAX + 80 <= MESSAGE_BYTES_MAX,
    "25 info-hashes, head, port and cookie fit a message"
);

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;
    use proptest::prelude::*;
    use std::vec;

    const EXAMPLE: &[u8] = b"BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\n\
Infohash: 0123456789abcdef0123456789abcdef01234567\r\ncookie: 1a2b3c4d\r\n\r\n\r\n";

    fn hash(text: &str) -> InfoHash {
        whole(info_hash, text.as_bytes()).unwrap()
    }

    #[test]
    fn the_message_is_that_of_bep_14() {
        let swarm = hash("0123456789ABCDEF0123456789abcdef01234567");
        assert_eq!(write(Group::V4, 6881, &[swarm], "1a2b3c4d"), EXAMPLE);
        let search = Search { port: 6881, swarms: vec![swarm], cookie: Some(b"1a2b3c4d") };
        assert_eq!(read(EXAMPLE), Ok(search));
        let v6 = write(Group::V6, 1, &[swarm], "x");
        assert!(v6.starts_with(b"BT-SEARCH * HTTP/1.1\r\nHost: [ff15::efc0:988f]:6771\r\nPort: 1\r\n"));
    }

    #[test]
    fn the_fullest_message_fits_a_datagram_and_reads_back() {
        let swarms: Vec<InfoHash> = (0..40).map(|n| InfoHash([n; 20])).collect();
        let bytes = write(Group::V6, 65535, &swarms, "ffffffff");
        assert!(bytes.len() <= MESSAGE_BYTES_MAX && bytes.len() > MESSAGE_BYTES_MAX - HASH_LINE_BYTES);
        assert_eq!(read(&bytes).unwrap().swarms, swarms[..SENT_HASHES_MAX]);
    }

    #[test]
    fn other_hands_are_read_too() {
        let text =
            b"BT-SEARCH * HTTP/1.1\nINFOHASH:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\nX: y\n port : 80 \n\
infohash: zz\nInfohash: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        let search = Search { port: 80, swarms: vec![InfoHash([0xaa; 20])], cookie: None };
        assert_eq!(read(text), Ok(search));
    }

    #[test]
    fn what_is_no_search_is_refused_with_the_reason() {
        let all = core::str::from_utf8(EXAMPLE).unwrap();
        for (text, why) in [
            (String::new(), "message does not begin with BT-SEARCH"),
            ("BT-SEARCHING * HTTP/1.1\r\n".to_string(), "message does not begin with BT-SEARCH"),
            ("M-SEARCH * HTTP/1.1\r\n".to_string(), "message does not begin with BT-SEARCH"),
            (all.replace("6881", "0"), "message has no port"),
            (all.replace("6881", "70000"), "message has no port"),
            (all.replace("Port", "Sort"), "message has no port"),
            (all.replace("0123", "012"), "message has no info-hash"),
            (all.replace("0123", "+123"), "message has no info-hash"),
            ("x".repeat(4097), "message has 4097 bytes, limit 4096"),
        ] {
            assert_eq!(read(text.as_bytes()).unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn no_message_has_more_info_hashes_than_the_limit() {
        let mut text = b"BT-SEARCH * HTTP/1.1\nPort: 1\n".to_vec();
        for n in 0..80 {
            text.extend_from_slice(alloc::format!("Infohash:{:?}\n", InfoHash([n; 20])).as_bytes());
        }
        assert_eq!(read(&text).unwrap().swarms.len(), READ_HASHES_MAX);
    }

    proptest! {
        #[test]
        fn any_datagram_is_taken_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
            let _ = read(&[b"BT-SEARCH * \nPort: 1\nInfohash:", &bytes[..]].concat());
        }
    }
}
