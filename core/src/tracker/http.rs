//! Trackers over HTTP (BEP 3, 7, 23, 24, 31, 48): the request as a URL, the reply as bencode.
//!
//! | key of an announce reply | type | |
//! |---|---|---|
//! | `failure reason` | string | nothing else counts; with `retry in` (BEP 31) minutes or `never` |
//! | `interval`, `min interval` | integer | seconds |
//! | `tracker id` | string | sent back as `trackerid` |
//! | `complete`, `incomplete` | integer | seeds, leeches |
//! | `warning message` | string | shown |
//! | `external ip` | string | 4 or 16 bytes (BEP 24) |
//! | `peers` | string | 6 bytes each (BEP 23) |
//! | `peers` | list | dictionaries with `ip`, `port` (BEP 3) |
//! | `peers6` | string | 18 bytes each (BEP 7) |
//!
//! Reading is strict about the document and tolerant about its keys: one of a wrong type or value says nothing.

use super::announce::{
    Announce, AnnounceEvent, AnnounceReply, REASON_CHARS_MAX, Scraped, TRACKER_ID_BYTES_MAX,
};
use super::url::TrackerUrl;
use crate::bencode::{self, BencodeError, Dict, Value};
use crate::endpoint::{compact_v4, compact_v6};
use crate::wire::text;
use crate::{Duration, InfoHash};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use thiserror::Error;

/// Longest reply body that is read: 64 KiB. Ours; 200 peers in the wordy form have 15 KiB. A runtime need not read further.
pub const REPLY_BYTES_MAX: usize = 64 << 10;

/// Most swarms in one scrape request: 64. Ours; that keeps the URL under 5 KiB and the reply under the limits of bencode.
pub const SCRAPE_HASHES_MAX: usize = 64;

/// Why a reply is of no use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// It is none.
    #[error("reply is not bencoded: {0}")]
    Bencode(#[from] BencodeError),
    /// It is something else than a dictionary.
    #[error("reply is not a dictionary")]
    NotADictionary,
    /// Longer than [`REPLY_BYTES_MAX`].
    #[error("reply has {bytes} bytes, limit {REPLY_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The tracker refuses, in its own words.
    #[error("tracker refuses: {reason}")]
    Refused {
        /// At most [`REASON_CHARS_MAX`] characters, control characters replaced.
        reason: String,
        /// When to ask again (BEP 31); `Duration::MAX` for never.
        retry_in: Option<Duration>,
    },
}

/// Appends `bytes` percent-encoded: letters, digits and `-._~` stand for themselves (RFC 3986, 2.3).
pub fn push_percent(out: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// The URL of an announce.
#[must_use]
pub fn announce_url(tracker: &TrackerUrl, announce: &Announce<'_>) -> String {
    let mut url = tracker.announce_base();
    url.push_str("info_hash=");
    push_percent(&mut url, &announce.swarm.0);
    url.push_str("&peer_id=");
    push_percent(&mut url, &announce.peer_id.0);
    let Announce { port, uploaded, downloaded, left, numwant, key, .. } = announce;
    let _ = write!(url, "&port={port}&uploaded={uploaded}&downloaded={downloaded}&left={left}");
    let _ = write!(url, "&compact=1&no_peer_id=1&numwant={numwant}&key={key:08x}");
    url.push_str(match announce.event {
        AnnounceEvent::None => "",
        AnnounceEvent::Completed => "&event=completed",
        AnnounceEvent::Started => "&event=started",
        AnnounceEvent::Stopped => "&event=stopped",
    });
    if let Some(ip) = announce.ipv4 {
        let _ = write!(url, "&ip={ip}");
    }
    if let Some(ip) = announce.ipv6 {
        url.push_str("&ipv6=");
        push_percent(&mut url, alloc::format!("{ip}").as_bytes());
    }
    if let Some(id) = announce.tracker_id {
        url.push_str("&trackerid=");
        push_percent(&mut url, id);
    }
    url
}

/// The URL of a scrape of at most [`SCRAPE_HASHES_MAX`] swarms; `None` if the tracker's path allows none.
#[must_use]
pub fn scrape_url(tracker: &TrackerUrl, swarms: &[InfoHash]) -> Option<String> {
    let mut url = tracker.scrape_base()?;
    for (index, swarm) in swarms.iter().take(SCRAPE_HASHES_MAX).enumerate() {
        url.push_str(if index == 0 { "info_hash=" } else { "&info_hash=" });
        push_percent(&mut url, &swarm.0);
    }
    Some(url)
}

/// Reads the body of an announce reply.
///
/// # Errors
/// [`ReplyError`] with the reason.
pub fn announce_reply(body: &[u8]) -> Result<AnnounceReply, ReplyError> {
    let dict = document(body)?;
    let mut reply = AnnounceReply {
        interval_s: seconds(dict, b"interval"),
        min_interval_s: seconds(dict, b"min interval"),
        tracker_id: bytes(dict, b"tracker id")
            .filter(|id| id.len() <= TRACKER_ID_BYTES_MAX)
            .map(<[u8]>::to_vec),
        seeds: seconds(dict, b"complete"),
        leeches: seconds(dict, b"incomplete"),
        warning: bytes(dict, b"warning message").map(|words| text(words, REASON_CHARS_MAX)),
        external_ip: bytes(dict, b"external ip").and_then(ip_of),
        peers: Vec::new(),
    };
    match dict.get(b"peers") {
        Some(Value::Bytes(list)) => reply.add_peers(compact_v4(list)),
        Some(Value::List(list)) => reply.add_peers(list.iter().filter_map(peer_of)),
        _ => {}
    }
    if let Some(list) = bytes(dict, b"peers6") {
        reply.add_peers(compact_v6(list));
    }
    Ok(reply)
}

/// Reads the body of a scrape reply: the swarms it tells of, at most [`SCRAPE_HASHES_MAX`].
///
/// # Errors
/// [`ReplyError`] with the reason.
pub fn scrape_reply(body: &[u8]) -> Result<Vec<(InfoHash, Scraped)>, ReplyError> {
    let dict = document(body)?;
    let Some(Value::Dict(files)) = dict.get(b"files") else { return Ok(Vec::new()) };
    let counts = files.iter().filter_map(|(hash, counts)| {
        let (hash, counts) = (InfoHash(hash.try_into().ok()?), counts.dict()?);
        let count = |key| seconds(counts, key).unwrap_or(0);
        let scraped = Scraped {
            seeds: count(b"complete"),
            completed: count(b"downloaded"),
            leeches: count(b"incomplete"),
        };
        Some((hash, scraped))
    });
    Ok(counts.take(SCRAPE_HASHES_MAX).collect())
}

/// The dictionary, unless it is a refusal.
fn document(body: &[u8]) -> Result<Dict<'_>, ReplyError> {
    if body.len() > REPLY_BYTES_MAX {
        return Err(ReplyError::TooLong { bytes: body.len() });
    }
    // Some trackers end their reply with a line break.
    let body = body.strip_suffix(b"\n").unwrap_or(body);
    let body = body.strip_suffix(b"\r").unwrap_or(body);
    let Value::Dict(dict) = bencode::parse(body)? else { return Err(ReplyError::NotADictionary) };
    let Some(reason) = bytes(dict, b"failure reason") else { return Ok(dict) };
    let retry_in = match dict.get(b"retry in") {
        Some(Value::Bytes(b"never")) => Some(Duration::MAX),
        Some(Value::Int(minutes)) => {
            u32::try_from(minutes).ok().map(|m| Duration::from_secs(60 * u64::from(m)))
        }
        _ => None,
    };
    Err(ReplyError::Refused { reason: text(reason, REASON_CHARS_MAX), retry_in })
}

fn bytes<'a>(dict: Dict<'a>, key: &[u8]) -> Option<&'a [u8]> {
    dict.get(key)?.bytes()
}

/// A count or a number of seconds: not negative, 32 bits.
fn seconds(dict: Dict<'_>, key: &[u8]) -> Option<u32> {
    dict.get(key)?.int()?.try_into().ok()
}

fn ip_of(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = bytes.try_into().map(|b: [u8; 4]| IpAddr::V4(Ipv4Addr::from(b)));
    let v6 = || bytes.try_into().map(|b: [u8; 16]| IpAddr::V6(Ipv6Addr::from(b)).to_canonical());
    v4.or_else(|_| v6()).ok().filter(|ip| !ip.is_unspecified())
}

/// A peer of the dictionary model. Names that would need a resolver are left out.
fn peer_of(peer: Value<'_>) -> Option<SocketAddr> {
    let peer = peer.dict()?;
    let ip: IpAddr = core::str::from_utf8(bytes(peer, b"ip")?).ok()?.parse().ok()?;
    let port = peer.get(b"port")?.int()?.try_into().ok()?;
    Some(crate::endpoint::canonical(SocketAddr::new(ip, port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PeerId;
    use alloc::string::ToString as _;
    use proptest::prelude::*;
    use std::vec;

    #[test]
    fn the_percent_encoding_is_that_of_the_known_example() {
        let hash = [
            0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x12,
            0x34, 0x56, 0x78, 0x9a,
        ];
        let mut out = String::new();
        push_percent(&mut out, &hash);
        assert_eq!(out, "%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A");
    }

    #[test]
    fn an_announce_says_all_it_must_and_no_address() {
        let tracker: TrackerUrl = "http://t.example:6969?k=v".parse().unwrap();
        let mut announce = Announce {
            swarm: InfoHash([b'h'; 20]),
            peer_id: PeerId(*b"-ZT0500-abcdefghijk\xff"),
            port: 6881,
            uploaded: 1,
            downloaded: 2,
            left: u64::MAX,
            event: AnnounceEvent::Started,
            numwant: NUMWANT_TEST,
            key: 0xbeef,
            tracker_id: None,
            ipv4: None,
            ipv6: None,
        };
        assert_eq!(
            announce_url(&tracker, &announce),
            "http://t.example:6969/announce?k=v&info_hash=hhhhhhhhhhhhhhhhhhhh&peer_id=-ZT0500-abcdefghijk%FF&port=6881\
&uploaded=1&downloaded=2&left=18446744073709551615&compact=1&no_peer_id=1&numwant=50&key=0000beef&event=started"
        );
        announce.event = AnnounceEvent::None;
        announce.tracker_id = Some(b"a&b");
        announce.ipv4 = Some(Ipv4Addr::new(192, 0, 2, 1));
        announce.ipv6 = Some("2001:db8::1".parse().unwrap());
        let url = announce_url(&tracker, &announce);
        assert!(url.ends_with("&key=0000beef&ip=192.0.2.1&ipv6=2001%3Adb8%3A%3A1&trackerid=a%26b"), "{url}");
    }

    const NUMWANT_TEST: u32 = super::super::announce::NUMWANT;

    #[test]
    fn all_forms_of_peers_are_read_each_peer_once() {
        let body = b"d8:completei3e11:external ip4:\xc0\x00\x02\x0910:incompletei4e8:intervali1800e12:min intervali60e\
5:peers18:\xc0\x00\x02\x01\x1a\xe1\xc0\x00\x02\x02\x00\x00\xc0\x00\x02\x01\x1a\xe1\
6:peers618:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb10:tracker id3:abc15:warning message5:b\x1b[1me";
        let reply = announce_reply(body).unwrap();
        assert_eq!((reply.interval_s, reply.min_interval_s), (Some(1800), Some(60)));
        assert_eq!((reply.seeds, reply.leeches), (Some(3), Some(4)));
        assert_eq!(reply.tracker_id.as_deref(), Some(&b"abc"[..]));
        assert_eq!(reply.warning.as_deref(), Some("b\u{fffd}[1m"));
        assert_eq!(reply.external_ip, Some("192.0.2.9".parse().unwrap()));
        let peers: Vec<SocketAddr> =
            vec!["192.0.2.1:6881".parse().unwrap(), "[2001:db8::1]:443".parse().unwrap()];
        assert_eq!(reply.peers, peers);

        let body = b"d5:peersld2:ip9:192.0.2.17:peer id20:aaaaaaaaaaaaaaaaaaaa4:porti6881eed2:ip11:2001:db8::14:porti443ee\
d2:ip9:localhost4:porti1eed2:ip9:192.0.2.34:porti65536eed4:porti1eei7eee";
        assert_eq!(announce_reply(body).unwrap().peers, peers);
    }

    #[test]
    fn a_refusal_is_told_in_the_trackers_words() {
        let refused = |body: &[u8]| announce_reply(body).unwrap_err();
        assert_eq!(
            refused(b"d14:failure reason22:unregistered\n torrent!8:intervali1800e8:retry ini5ee"),
            ReplyError::Refused {
                reason: "unregistered\u{fffd} torrent!".to_string(),
                retry_in: Some(Duration::from_secs(300))
            }
        );
        let ReplyError::Refused { retry_in, .. } = refused(b"d14:failure reason1:x8:retry in5:nevere") else {
            panic!("a refusal")
        };
        assert_eq!(retry_in, Some(Duration::MAX));
        let long = [b"d14:failure reason9999:".to_vec(), vec![b'x'; 9999], b"e".to_vec()].concat();
        assert_eq!(refused(&long).to_string().chars().count(), "tracker refuses: ".len() + REASON_CHARS_MAX);
    }

    #[test]
    fn broken_replies_are_refused_where_they_break() {
        for (body, why) in [
            (&b""[..], "reply is not bencoded: bencode byte 0: document ends inside a value"),
            (b"<html>", "reply is not bencoded: bencode byte 0: byte begins no value"),
            (b"i1e", "reply is not a dictionary"),
            (b"d8:intervali1e", "reply is not bencoded: bencode byte 14: document ends inside a value"),
        ] {
            assert_eq!(announce_reply(body).unwrap_err().to_string(), why);
        }
        let much = vec![b'i'; REPLY_BYTES_MAX + 1];
        assert_eq!(announce_reply(&much), Err(ReplyError::TooLong { bytes: 65537 }));
    }

    #[test]
    fn keys_of_a_wrong_type_or_value_say_nothing() {
        let body = b"d8:complete1:x11:external ip5:abcde8:intervali-1e12:min intervali4294967296e5:peersi1e6:peers6le\
10:tracker idi1ee";
        assert_eq!(announce_reply(body), Ok(AnnounceReply::default()));
        assert_eq!(announce_reply(b"de\r\n"), Ok(AnnounceReply::default()));
    }

    #[test]
    fn no_reply_has_more_peers_than_the_limit() {
        let list: Vec<u8> = (0..2000u16).flat_map(|n| [192, 0, (n >> 8) as u8, n as u8, 1, 1]).collect();
        let body = [b"d5:peers12000:".to_vec(), list, b"e".to_vec()].concat();
        assert_eq!(announce_reply(&body).unwrap().peers.len(), super::super::announce::REPLY_PEERS_MAX);
    }

    #[test]
    fn scrapes_ask_for_many_and_tell_of_many() {
        let tracker: TrackerUrl = "http://t/announce".parse().unwrap();
        let swarms = vec![InfoHash([b'a'; 20]), InfoHash([b'b'; 20])];
        let url = scrape_url(&tracker, &swarms).unwrap();
        assert_eq!(url, "http://t/scrape?info_hash=aaaaaaaaaaaaaaaaaaaa&info_hash=bbbbbbbbbbbbbbbbbbbb");
        assert!(scrape_url(&tracker, &vec![InfoHash([0; 20]); 999]).unwrap().len() < 5 << 10);
        assert_eq!(scrape_url(&"http://t/x".parse().unwrap(), &swarms), None);
        let body =
            b"d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei5e10:downloadedi50e10:incompletei10ee3:xyzdeee";
        let found = Scraped { seeds: 5, completed: 50, leeches: 10 };
        assert_eq!(scrape_reply(body), Ok(vec![(swarms[0], found)]));
    }

    proptest! {
        #[test]
        fn any_body_is_taken_without_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (announce_reply(&body), scrape_reply(&body));
            let inside = [&b"d5:peers"[..], &body, b"e"].concat();
            let _ = announce_reply(&inside);
        }
    }
}
