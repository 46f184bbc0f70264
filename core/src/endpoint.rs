//! Addresses as discovery sees them: the compact form of BEP 23 and BEP 7, and which ones may be a peer at all.
//!
//! | bytes | IPv4 | IPv6 |
//! |---|---|---|
//! | address | 4 | 16 |
//! | port, big-endian | 2 | 2 |

use crate::special::{Purpose, special};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use nom::Parser as _;
use nom::number::complete::be_u128;
use zest_xet::fields::{Parsed, be_u16, be_u32, each};

/// Bytes of an IPv4 address and port in compact form: 6 (BEP 23).
pub const COMPACT_V4_BYTES: usize = 6;
/// Bytes of an IPv6 address and port in compact form: 18 (BEP 7).
pub const COMPACT_V6_BYTES: usize = 18;

/// How an address became known. The smaller, the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Found {
    /// The user named it: it is always dialled.
    Named,
    /// Local service discovery: on this network.
    Lan,
    /// A tracker.
    Tracker,
    /// Another peer told (peer exchange).
    Pex,
    /// The DHT.
    Dht,
}

impl Found {
    /// One word, for people and programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Named => "named",
            Self::Lan => "lan",
            Self::Tracker => "tracker",
            Self::Pex => "pex",
            Self::Dht => "dht",
        }
    }
}

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
    match special(ip).map(|block| block.purpose) {
        Some(Purpose::Loopback) => Scope::Loopback,
        Some(Purpose::Site) => Scope::Local,
        Some(Purpose::Lab | Purpose::Nobody) | None => Scope::Global,
    }
}

/// Who counts as one where turns, places and memory are shared out, however many links it opens: an IPv4 address, or the /56
/// that one customer of an IPv6 provider has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Party(u64);

impl Party {
    /// The party behind an address.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self(u64::from(u32::from(ip))),
            IpAddr::V6(ip) => Self(1 << 63 | (u128::from(ip) >> 72) as u64),
        }
    }

    /// What it rents its address from: the IPv4 /24 or the IPv6 /48.
    #[must_use]
    pub fn network(self) -> u64 {
        self.0 >> 8
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

/// Whether a word of `from` about `named` is listened to, whatever way it comes: nobody names an address that lies closer to us
/// than it does itself, so a stranger cannot make us knock at this machine or inside this site. Special-purpose addresses that
/// are nobody's ([`crate::special`]) are not listened to at all, those of a laboratory only from there or from this machine.
#[must_use]
pub fn may_name(from: IpAddr, named: SocketAddr) -> bool {
    let allowed = match special(named.ip()) {
        Some(block) if block.purpose == Purpose::Nobody => false,
        Some(block) if block.purpose == Purpose::Lab => {
            from.is_loopback() || block.contains(from.to_canonical())
        }
        _ => true,
    };
    allowed && is_dialable(named) && scope(named.ip()) >= scope(from)
}

/// Ports above the well-known ones (below 1,024) behind which other services wait to be knocked at: databases, remote desktops,
/// mail, telephones, proxies, and what answers a small datagram with a large one.
const SERVICE_PORTS: [u16; 36] = [
    1080, 1194, 1433, 1521, 1723, 1883, 1900, 2049, 2181, 2375, 2376, 3128, 3306, 3389, 4369, 5060, 5061,
    5222, 5353, 5432, 5672, 5900, 5984, 5985, 6379, 6443, 6667, 8080, 8086, 8443, 9042, 9092, 9200, 10250,
    11211, 27017,
];

/// Whether a port is that of a well-known service, where no peer is looked for on anybody's word but the user's.
#[must_use]
pub fn is_service_port(port: u16) -> bool {
    port < 1024 || SERVICE_PORTS.binary_search(&port).is_ok()
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
    each(endpoint_v4, bytes)
}

/// The IPv6 addresses of a compact list; what is left over at its end is ignored.
pub fn compact_v6(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> + '_ {
    each(endpoint_v6, bytes).map(canonical)
}

/// IPv4 address 4, port 2.
pub(crate) fn endpoint_v4(input: &[u8]) -> Parsed<'_, SocketAddr> {
    (be_u32, be_u16).map(|(ip, port)| SocketAddr::new(Ipv4Addr::from_bits(ip).into(), port)).parse(input)
}

/// IPv6 address 16, port 2.
pub(crate) fn endpoint_v6(input: &[u8]) -> Parsed<'_, SocketAddr> {
    (be_u128, be_u16).map(|(ip, port)| SocketAddr::new(Ipv6Addr::from_bits(ip).into(), port)).parse(input)
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
    fn nobody_names_what_is_nobodys_and_a_laboratory_names_its_own() {
        let may = |from: &str, named: &str| may_name(from.parse().unwrap(), addr(named));
        for named in [
            "0.1.2.3:7000",
            "192.0.0.170:7000",
            "192.88.99.1:7000",
            "240.0.0.1:7000",
            "[::127.0.0.1]:7000",
            "[64:ff9b::7f00:1]:7000",
            "[2001::1]:7000",
            "[2002:7f00:1::]:7000",
            "[100::1]:7000",
            "[::]:7000",
        ] {
            for from in ["8.8.8.8", "127.0.0.1", "2002:7f00:1::", "64:ff9b::1", "192.168.1.1"] {
                assert!(!may(from, named), "{from} names {named}");
            }
        }
        for (from, named) in [("198.51.100.7", "198.51.100.9:7000"), ("198.18.0.1", "198.19.0.1:7000")] {
            assert!(may(from, named) && !may("8.8.8.8", named) && !may("10.0.0.1", named), "{named}");
        }
        assert!(!may("8.8.8.8", "[fec0::1]:7000") && may("192.168.1.1", "[fec0::1]:7000"));
    }

    #[test]
    fn what_one_customer_has_is_one_party_and_his_neighbour_another() {
        let party = |text: &str| Party::of(text.parse().unwrap());
        assert_eq!(party("2001:db8:0:100::1"), party("2001:db8:0:1ff:ffff::2"), "a /56");
        assert_ne!(party("2001:db8:0:100::1"), party("2001:db8:0:200::1"));
        assert_eq!(party("2001:db8:0:100::1").network(), party("2001:db8:0:ff00::1").network(), "a /48");
        assert_ne!(party("2001:db8:0:100::1").network(), party("2001:db8:1:100::1").network());
        assert_eq!(party("::ffff:192.0.2.1"), party("192.0.2.1"));
        assert_ne!(party("192.0.2.1"), party("192.0.2.2"));
        assert_eq!(party("192.0.2.1").network(), party("192.0.2.254").network(), "a /24");
        assert_ne!(party("192.0.2.1").network(), party("192.0.3.1").network());
    }

    #[test]
    fn ports_of_services_are_told_from_those_of_peers() {
        assert!(SERVICE_PORTS.is_sorted());
        for port in [22, 25, 53, 80, 443, 1023, 3306, 11211] {
            assert!(is_service_port(port), "{port}");
        }
        for port in [1024, 6881, 6889, 25401, 51413, 49152, 65535] {
            assert!(!is_service_port(port), "{port}");
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
