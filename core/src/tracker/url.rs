//! The URL of a tracker, as a user gives it.
//!
//! | part | |
//! |---|---|
//! | scheme | `http://`, `https://` or `udp://`, in any case |
//! | authority | user part up to the last `@`, if any; host; `:` and port, if any; up to `/`, `?` or `#` |
//! | host | an IPv6 address in brackets, or anything without `:` |
//! | path | up to `?` or `#` |
//! | query | after `?`, up to `#` |

use alloc::string::{String, ToString as _};
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;
use nom::branch::alt;
use nom::bytes::complete::{tag, tag_no_case, take_till, take_until, take_while1};
use nom::combinator::{all_consuming, not, opt, rest, value, verify};
use nom::multi::many0_count;
use nom::sequence::{delimited, preceded};
use nom::{IResult, Parser as _};
use thiserror::Error;

/// Longest tracker URL that is taken: 2,048 bytes. Ours; what browsers and proxies carry.
pub const URL_BYTES_MAX: usize = 2048;

/// How a tracker is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// BEP 3 over HTTP.
    Http,
    /// BEP 3 over HTTPS.
    Https,
    /// BEP 15.
    Udp,
}

/// A tracker URL that can be used.
///
/// A URL whose path is empty or ends in `/` names a folder: `announce` is added. Any other path stays as it is given, and so
/// does the query. [`Display`](fmt::Display) shows scheme, host and port only: path, query and user part may hold a key.
#[derive(Clone, PartialEq, Eq)]
pub struct TrackerUrl {
    transport: Transport,
    /// User part, host and port as they stand in the URL.
    authority: String,
    host: String,
    port: u16,
    /// Begins with `/`.
    path: String,
    /// Whether the user gave a path or a query, so that BEP 41 has something to tell.
    explicit: bool,
    query: String,
}

/// Why a text is no tracker URL.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UrlError {
    /// Longer than [`URL_BYTES_MAX`].
    #[error("tracker URL has {bytes} bytes, limit {URL_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A blank, a control character or a letter outside of ASCII.
    #[error("tracker URL has the byte 0x{byte:02x} at {at}, which must be percent-encoded")]
    BadByte {
        /// Offset.
        at: usize,
        /// The byte.
        byte: u8,
    },
    /// Not `http`, `https` or `udp`.
    #[error("tracker URL must begin with http://, https:// or udp://")]
    Scheme,
    /// No host between `//` and the path.
    #[error("tracker URL names no host")]
    Host,
    /// The port is no number from 1 to 65,535.
    #[error("tracker URL has the port \"{0}\", which is not a number from 1 to 65535")]
    Port(String),
    /// BEP 15 has no default port.
    #[error("udp tracker URL needs a port")]
    NoPort,
}

impl FromStr for TrackerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        if text.len() > URL_BYTES_MAX {
            return Err(UrlError::TooLong { bytes: text.len() });
        }
        if let Some((at, byte)) = text.bytes().enumerate().find(|(_, byte)| !byte.is_ascii_graphic()) {
            return Err(UrlError::BadByte { at, byte });
        }
        let (rest, transport) = scheme(text).map_err(|_| UrlError::Scheme)?;
        let (_, (authority, path, query)) = parts(rest).map_err(|_| UrlError::Host)?;
        let (_, (host, port)) = host_and_port(authority).map_err(|_| UrlError::Host)?;
        let port = match (port.filter(|port| !port.is_empty()), transport) {
            (Some(port), _) => {
                port.parse().ok().filter(|&port| port != 0).ok_or_else(|| UrlError::Port(port.to_string()))?
            }
            (None, Transport::Http) => 80,
            (None, Transport::Https) => 443,
            (None, Transport::Udp) => return Err(UrlError::NoPort),
        };
        let explicit = path.len() > 1 || !query.is_empty();
        let mut path = if path.is_empty() { "/".to_string() } else { path.to_string() };
        if path.ends_with('/') {
            path.push_str("announce");
        }
        Ok(Self {
            transport,
            authority: authority.to_string(),
            host: host.to_string(),
            port,
            path,
            explicit,
            query: query.to_string(),
        })
    }
}

/// What a parser gives of a text: what is left, and the value.
type Parsed<'a, T> = IResult<&'a str, T, ()>;

fn scheme(input: &str) -> Parsed<'_, Transport> {
    alt((
        value(Transport::Http, tag_no_case("http://")),
        value(Transport::Https, tag_no_case("https://")),
        value(Transport::Udp, tag_no_case("udp://")),
    ))
    .parse(input)
}

/// Authority, path and query; what comes after is no part of a request.
fn parts(input: &str) -> Parsed<'_, (&str, &str, &str)> {
    let (input, authority) = take_till(|c| matches!(c, '/' | '?' | '#'))(input)?;
    let (input, path) = take_till(|c| matches!(c, '?' | '#'))(input)?;
    let (input, query) = opt(preceded(tag("?"), take_till(|c| c == '#'))).parse(input)?;
    Ok((input, (authority, path, query.unwrap_or_default())))
}

/// Host (an IPv6 address without its brackets) and port text.
fn host_and_port(authority: &str) -> Parsed<'_, (&str, Option<&str>)> {
    let user = many0_count((take_until("@"), tag("@")));
    let v6 = delimited(tag("["), take_until("]"), tag("]"));
    let v6 = verify(v6, |host: &str| host.parse::<core::net::Ipv6Addr>().is_ok());
    let name = preceded(not(tag("[")), take_while1(|c| c != ':'));
    let port = opt(preceded(tag(":"), rest));
    all_consuming(preceded(user, (alt((v6, name)), port))).parse(authority)
}

impl TrackerUrl {
    /// How to speak to it.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// The host, for the resolver; IPv6 addresses without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host's address, if the URL names one and not a name.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Whether it runs on this machine, as far as the URL tells.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.ip().map_or_else(|| self.host.eq_ignore_ascii_case("localhost"), |ip| ip.is_loopback())
    }

    /// Path and query, for the URL data option of BEP 41; nothing if the user gave neither.
    #[must_use]
    pub fn url_data(&self) -> Option<String> {
        let sep = if self.query.is_empty() { "" } else { "?" };
        self.explicit.then(|| [&self.path, sep, &self.query].concat())
    }

    /// The announce URL up to where parameters are added: ends in `?` or `&`.
    #[must_use]
    pub fn announce_base(&self) -> String {
        self.base(&self.path)
    }

    /// The same for scrapes (BEP 48): the last part of the path must begin with `announce`, which becomes `scrape`.
    #[must_use]
    pub fn scrape_base(&self) -> Option<String> {
        let (folder, last) = self.path.rsplit_once('/')?;
        let rest = last.strip_prefix("announce")?;
        Some(self.base(&[folder, "/scrape", rest].concat()))
    }

    fn base(&self, path: &str) -> String {
        let scheme = self.scheme();
        let and = if self.query.is_empty() || self.query.ends_with('&') { "" } else { "&" };
        [scheme, "://", &self.authority, path, "?", &self.query, and].concat()
    }

    fn scheme(&self) -> &'static str {
        match self.transport {
            Transport::Http => "http",
            Transport::Https => "https",
            Transport::Udp => "udp",
        }
    }
}

impl fmt::Display for TrackerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{}://{open}{}{close}:{}", self.scheme(), self.host, self.port)
    }
}

impl fmt::Debug for TrackerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;

    fn url(text: &str) -> TrackerUrl {
        text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    #[test]
    fn announce_is_added_to_a_folder_and_to_nothing_else() {
        for (given, base) in [
            ("http://t.example", "http://t.example/announce?"),
            ("http://t.example/", "http://t.example/announce?"),
            ("http://t.example:6969/announce", "http://t.example:6969/announce?"),
            ("https://t.example/sub/", "https://t.example/sub/announce?"),
            ("HTTP://t.example/a.php?passkey=1%2f", "http://t.example/a.php?passkey=1%2f&"),
            ("http://t.example?k=v&", "http://t.example/announce?k=v&"),
            ("http://u:p@[2001:db8::1]:80/announce#x", "http://u:p@[2001:db8::1]:80/announce?"),
        ] {
            assert_eq!(url(given).announce_base(), base);
        }
    }

    #[test]
    fn scrape_replaces_announce_in_the_last_part_only() {
        for (given, base) in [
            ("http://t/announce", Some("http://t/scrape?")),
            ("http://t/announce.php?x=1", Some("http://t/scrape.php?x=1&")),
            ("http://t/x/announce/", Some("http://t/x/announce/scrape?")),
            ("http://t/a", None),
            ("http://t/announce/x", None),
        ] {
            assert_eq!(url(given).scrape_base().as_deref(), base, "{given}");
        }
    }

    #[test]
    fn host_port_and_url_data_come_from_the_text() {
        let t = url("udp://[::1]:6969");
        assert_eq!((t.host(), t.port(), t.url_data(), t.is_loopback()), ("::1", 6969, None, true));
        let t = url(" udp://t.example:1/announce?auth=x \n");
        assert_eq!((t.host(), t.port()), ("t.example", 1));
        assert_eq!(t.url_data().as_deref(), Some("/announce?auth=x"));
        assert_eq!(url("https://localhost").port(), 443);
        assert!(url("https://LocalHost").is_loopback() && !url("http://example.org").is_loopback());
    }

    #[test]
    fn what_is_shown_holds_no_key() {
        let t = url("https://user:secret@t.example/secret/announce?passkey=secret");
        assert_eq!(
            (format!("{t}"), format!("{t:?}")),
            ("https://t.example:443".into(), "https://t.example:443".into())
        );
    }

    #[test]
    fn what_is_no_tracker_url_is_refused_with_the_reason() {
        for (text, why) in [
            ("t.example:80", "tracker URL must begin with http://, https:// or udp://"),
            ("wss://t.example", "tracker URL must begin with http://, https:// or udp://"),
            ("udp://t.example", "udp tracker URL needs a port"),
            ("udp://t.example:0", "tracker URL has the port \"0\", which is not a number from 1 to 65535"),
            ("http://t:65536/", "tracker URL has the port \"65536\", which is not a number from 1 to 65535"),
            ("http:///announce", "tracker URL names no host"),
            ("http://[::1/announce", "tracker URL names no host"),
            ("http://t/a b", "tracker URL has the byte 0x20 at 10, which must be percent-encoded"),
        ] {
            assert_eq!(text.parse::<TrackerUrl>().unwrap_err().to_string(), why, "{text}");
        }
        let long = format!("http://t/{}", "a".repeat(URL_BYTES_MAX));
        assert_eq!(long.parse::<TrackerUrl>(), Err(UrlError::TooLong { bytes: 2057 }));
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused_without_panic(text in "[a-z:/@\\[\\]?#&0-9]{0,40}") {
            let _ = text.parse::<TrackerUrl>();
            if let Ok(url) = format!("http://{text}").parse::<TrackerUrl>() {
                prop_assert!(url.announce_base().ends_with(['?', '&']));
            }
        }
    }
}
