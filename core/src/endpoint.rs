//! Addresses as discovery sees them: the compact form of BEP 23 and BEP 7, and which ones may be a peer at all.
//!
//! | bytes | IPv4 | IPv6 |
//! |---|---|---|
//! | address | 4 | 16 |
//! | port, big-endian | 2 | 2 |

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Bytes of an IPv4 address and port in compact form: 6 (BEP 23).
pub const COMPACT_V4_BYTES: usize = 6;
/// Bytes of an IPv6 address and port in compact form: 18 (BEP 7).
pub const COMPACT_V6_BYTES: usize = 18;

/// How far an address reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// This machine only.
    Loopback,
    /// A site: private, shared (RFC 6598), link-local and unique local addresses.
    Local,
    /// Everywhere.
    Global,
}

/// How far `ip` reaches. An IPv4 address inside an IPv6 one counts as the IPv4 address.
#[must_use]
pub fn scope(ip: IpAddr) -> Scope {
    match ip.to_canonical() {
        ip if ip.is_loopback() => Scope::Loopback,
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            if ip.is_private() || ip.is_link_local() || shared { Scope::Local } else { Scope::Global }
        }
        IpAddr::V6(ip) if ip.is_unique_local() || ip.is_unicast_link_local() => Scope::Local,
        IpAddr::V6(_) => Scope::Global,
    }
}

/// Whether a connection to `addr` can make sense: a unicast address and a port.
#[must_use]
pub fn is_dialable(addr: SocketAddr) -> bool {
    let ip = match addr.ip().to_canonical() {
        IpAddr::V4(ip) => ip.octets()[0] != 0 && ip.octets()[0] < 240 && !ip.is_multicast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    };
    ip && addr.port() != 0
}

/// Whether a word of `from` about `named` is listened to: nobody names an address that lies closer to us than he does
/// himself, so a stranger cannot make us knock at this machine or inside this site.
#[must_use]
pub fn may_name(from: IpAddr, named: SocketAddr) -> bool {
    is_dialable(named) && scope(named.ip()) >= scope(from)
}

/// The same address in its shortest family: `::ffff:192.0.2.1` is 192.0.2.1.
#[must_use]
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::V4(SocketAddrV4::new(ip, addr.port())),
        IpAddr::V6(_) => addr,
    }
}

/// Appends `addr` in compact form, 6 or 18 bytes.
pub fn push_compact(out: &mut Vec<u8>, addr: SocketAddr) {
    match addr.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&addr.port().to_be_bytes());
}

/// The IPv4 addresses of a compact list; what is left over at its end is ignored.
pub fn compact_v4(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> + '_ {
    bytes.as_chunks::<COMPACT_V4_BYTES>().0.iter().map(|b| {
        let ip = Ipv4Addr::new(b[0], b[1], b[2], b[3]);
        SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be_bytes([b[4], b[5]])))
    })
}

/// The IPv6 addresses of a compact list; what is left over at its end is ignored.
pub fn compact_v6(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> + '_ {
    bytes.as_chunks::<COMPACT_V6_BYTES>().0.iter().map(|b| {
        let mut ip = [0; 16];
        ip.copy_from_slice(&b[..16]);
        canonical(SocketAddr::V6(SocketAddrV6::new(
            Ipv6Addr::from(ip),
            u16::from_be_bytes([b[16], b[17]]),
            0,
            0,
        )))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn compact_lists_read_back_and_a_torn_end_is_ignored() {
        let (a, b) = (addr("192.0.2.7:6881"), addr("[2001:db8::7]:443"));
        let mut bytes = Vec::new();
        push_compact(&mut bytes, a);
        assert_eq!(bytes, [192, 0, 2, 7, 0x1a, 0xe1]);
        bytes.extend([1, 2, 3]);
        assert_eq!(compact_v4(&bytes).collect::<Vec<_>>(), [a]);
        let mut bytes = vec![];
        push_compact(&mut bytes, b);
        assert_eq!(compact_v6(&bytes).collect::<Vec<_>>(), [b]);
        assert_eq!(compact_v6(&bytes[..17]).count(), 0);
    }

    #[test]
    fn an_ipv4_address_in_ipv6_clothes_is_an_ipv4_address() {
        assert_eq!(canonical(addr("[::ffff:127.0.0.1]:5")), addr("127.0.0.1:5"));
        assert_eq!(scope("::ffff:10.0.0.1".parse().unwrap()), Scope::Local);
    }

    #[test]
    fn addresses_that_are_nobodys_are_not_dialled() {
        for text in
            ["0.0.0.0:1", "0.1.2.3:1", "224.0.0.1:1", "255.255.255.255:1", "250.1.1.1:9", "192.0.2.1:0"]
        {
            assert!(!is_dialable(addr(text)), "{text}");
        }
        for text in ["[::]:1", "[ff02::1]:1", "[2001:db8::1]:0", "[::ffff:0.0.0.0]:7"] {
            assert!(!is_dialable(addr(text)), "{text}");
        }
        for text in ["127.0.0.1:1", "10.0.0.1:1", "192.0.2.1:1", "[::1]:1", "[fe80::1]:1", "[2001:db8::1]:1"]
        {
            assert!(is_dialable(addr(text)), "{text}");
        }
    }

    #[test]
    fn nobody_names_what_lies_closer_to_us_than_he_does() {
        let named =
            ["127.0.0.1:1", "192.168.1.1:1", "100.64.0.1:1", "169.254.1.1:1", "[fd00::1]:1", "8.8.8.8:1"];
        let heard = |from: &str| -> Vec<bool> {
            named.iter().map(|text| may_name(from.parse().unwrap(), addr(text))).collect()
        };
        assert_eq!(heard("8.8.4.4"), [false, false, false, false, false, true]);
        assert_eq!(heard("192.168.1.9"), [false, true, true, true, true, true]);
        assert_eq!(heard("::1"), [true; 6]);
    }
}
