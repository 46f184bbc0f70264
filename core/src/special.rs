//! Special-purpose addresses: those that IANA keeps for a purpose of their own, so that nobody on the internet has one.
//!
//! [`special`] is the one place where they are told apart. The blocks are those of the IANA IPv4 and IPv6 Special-Purpose Address
//! Registries (RFC 6890 and its updates), and besides multicast (RFC 5771, RFC 4291), the deprecated IPv4-compatible and
//! site-local blocks (RFC 4291, RFC 3879), which the registries leave out.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address of a block is to somebody who looks for peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// This machine.
    Loopback,
    /// A machine of this site: private, shared, link-local.
    Site,
    /// Of no machine, except in a laboratory that borrows it: documentation, benchmarks.
    Lab,
    /// Of no machine that could be a peer: it means "none" or "all", leads to another address that is hidden in it, or to a
    /// service that many machines offer.
    Nobody,
}

/// A block of addresses with a purpose of its own.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// Its first address. Blocks of IPv4 are written as such.
    pub first: IpAddr,
    /// Bits that all its addresses share.
    pub bits: u8,
    /// What it is for.
    pub purpose: Purpose,
}

impl Block {
    /// Whether an address lies in it.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        begins_alike(self.first, ip, self.bits)
    }
}

/// Whether two addresses of one kind have their first `bits` in common, as many as that kind has at most.
pub(crate) fn begins_alike(a: IpAddr, b: IpAddr, bits: u8) -> bool {
    let alike = |a: u128, b: u128, len: u8| (a ^ b).checked_shr(u32::from(len - bits)).unwrap_or(0) == 0;
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => alike(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => alike(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

/// The block of an address, the narrowest; `None` for addresses that machines on the internet have. An IPv4 address in the clothes
/// of IPv6 (`::ffff:0:0/96`) is that IPv4 address.
#[must_use]
pub fn special(ip: IpAddr) -> Option<&'static Block> {
    let ip = ip.to_canonical();
    BLOCKS.iter().filter(|block| block.contains(ip)).max_by_key(|block| block.bits)
}

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u8, purpose: Purpose) -> Block {
    Block { first: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), bits, purpose }
}

const fn v6(s: [u16; 8], bits: u8, purpose: Purpose) -> Block {
    let first = Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]);
    Block { first: IpAddr::V6(first), bits, purpose }
}

use Purpose::{Lab, Loopback, Nobody, Site};

/// All of them.
pub const BLOCKS: &[Block] = &[
    // "This network", RFC 791.
    v4(0, 0, 0, 0, 8, Nobody),
    // Private use, RFC 1918.
    v4(10, 0, 0, 0, 8, Site),
    // Shared by customers of a provider, RFC 6598.
    v4(100, 64, 0, 0, 10, Site),
    // Loopback, RFC 1122.
    v4(127, 0, 0, 0, 8, Loopback),
    // Link-local, RFC 3927.
    v4(169, 254, 0, 0, 16, Site),
    // Private use, RFC 1918.
    v4(172, 16, 0, 0, 12, Site),
    // IETF protocol assignments, RFC 6890: DS-Lite, anycast of PCP and TURN, discovery of NAT64.
    v4(192, 0, 0, 0, 24, Nobody),
    // Documentation, RFC 5737.
    v4(192, 0, 2, 0, 24, Lab),
    // AS112, RFC 7535.
    v4(192, 31, 196, 0, 24, Nobody),
    // AMT, RFC 7450.
    v4(192, 52, 193, 0, 24, Nobody),
    // Anycast of 6to4 relays, RFC 7526.
    v4(192, 88, 99, 0, 24, Nobody),
    // Private use, RFC 1918.
    v4(192, 168, 0, 0, 16, Site),
    // AS112, RFC 7534.
    v4(192, 175, 48, 0, 24, Nobody),
    // Benchmarks, RFC 2544.
    v4(198, 18, 0, 0, 15, Lab),
    // Documentation, RFC 5737.
    v4(198, 51, 100, 0, 24, Lab),
    v4(203, 0, 113, 0, 24, Lab),
    // Multicast, RFC 5771.
    v4(224, 0, 0, 0, 4, Nobody),
    // Reserved, RFC 1112, and limited broadcast, RFC 919.
    v4(240, 0, 0, 0, 4, Nobody),
    // The unspecified address, and IPv4 addresses behind 96 bits of zero, RFC 4291.
    v6([0; 8], 96, Nobody),
    // Loopback, RFC 4291.
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, Loopback),
    // IPv4 behind a translator, RFC 6052 and RFC 8215.
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, Nobody),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, Nobody),
    // Discard-only, RFC 6666, and the dummy prefix, RFC 9780.
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, Nobody),
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, Nobody),
    // IETF protocol assignments, RFC 2928: Teredo, ORCHID, DRIP, AMT, AS112, anycast of PCP, TURN and DNS-SD.
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, Nobody),
    // Benchmarks, RFC 5180.
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, Lab),
    // Documentation, RFC 3849.
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, Lab),
    // 6to4, RFC 3056.
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, Nobody),
    // AS112, RFC 7534.
    v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, Nobody),
    // Documentation, RFC 9637.
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, Lab),
    // Segment routing, RFC 9602.
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, Nobody),
    // Unique local, RFC 4193.
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, Site),
    // Link-local, RFC 4291, and what was site-local, RFC 3879.
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, Site),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, Site),
    // Multicast, RFC 4291.
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, Nobody),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Each entry of both registries, as IANA writes it, with an address in it, and what is around it on either side that is free.
    const REGISTRY: &[(&str, Purpose, &[&str])] = &[
        ("0.0.0.0/8", Nobody, &["0.0.0.0", "0.255.255.255"]),
        ("0.0.0.0/32", Nobody, &["0.0.0.0"]),
        ("10.0.0.0/8", Site, &["10.0.0.0", "10.255.255.255"]),
        ("100.64.0.0/10", Site, &["100.64.0.0", "100.127.255.255"]),
        ("127.0.0.0/8", Loopback, &["127.0.0.1", "127.255.255.255"]),
        ("169.254.0.0/16", Site, &["169.254.0.0", "169.254.169.254", "169.254.255.255"]),
        ("172.16.0.0/12", Site, &["172.16.0.0", "172.31.255.255"]),
        ("192.0.0.0/24", Nobody, &["192.0.0.0", "192.0.0.255"]),
        ("192.0.0.0/29", Nobody, &["192.0.0.7"]),
        ("192.0.0.8/32", Nobody, &["192.0.0.8"]),
        ("192.0.0.9/32", Nobody, &["192.0.0.9"]),
        ("192.0.0.10/32", Nobody, &["192.0.0.10"]),
        ("192.0.0.170/32", Nobody, &["192.0.0.170", "192.0.0.171"]),
        ("192.0.2.0/24", Lab, &["192.0.2.0", "192.0.2.255"]),
        ("192.31.196.0/24", Nobody, &["192.31.196.0", "192.31.196.255"]),
        ("192.52.193.0/24", Nobody, &["192.52.193.0", "192.52.193.255"]),
        ("192.88.99.0/24", Nobody, &["192.88.99.1", "192.88.99.2"]),
        ("192.168.0.0/16", Site, &["192.168.0.0", "192.168.255.255"]),
        ("192.175.48.0/24", Nobody, &["192.175.48.0", "192.175.48.255"]),
        ("198.18.0.0/15", Lab, &["198.18.0.0", "198.19.255.255"]),
        ("198.51.100.0/24", Lab, &["198.51.100.0", "198.51.100.255"]),
        ("203.0.113.0/24", Lab, &["203.0.113.0", "203.0.113.255"]),
        ("224.0.0.0/4", Nobody, &["224.0.0.1", "239.255.255.255"]),
        ("240.0.0.0/4", Nobody, &["240.0.0.0", "255.255.255.254"]),
        ("255.255.255.255/32", Nobody, &["255.255.255.255"]),
        ("::1/128", Loopback, &["::1"]),
        ("::/128", Nobody, &["::"]),
        ("::/96", Nobody, &["::2", "::127.0.0.1", "::8.8.8.8"]),
        ("::ffff:0:0/96", Site, &["::ffff:10.0.0.1", "::ffff:192.168.1.1"]),
        ("::ffff:0:0/96", Loopback, &["::ffff:127.0.0.1"]),
        ("64:ff9b::/96", Nobody, &["64:ff9b::7f00:1", "64:ff9b::808:808"]),
        ("64:ff9b:1::/48", Nobody, &["64:ff9b:1::", "64:ff9b:1:ffff::1"]),
        ("100::/64", Nobody, &["100::", "100::ffff:1"]),
        ("100:0:0:1::/64", Nobody, &["100:0:0:1::1"]),
        ("2001::/23", Nobody, &["2001:100::1", "2001:1ff:ffff::1"]),
        ("2001::/32", Nobody, &["2001::1", "2001:0:7f00:1::"]),
        ("2001:1::1/128", Nobody, &["2001:1::1"]),
        ("2001:1::2/128", Nobody, &["2001:1::2"]),
        ("2001:1::3/128", Nobody, &["2001:1::3"]),
        ("2001:2::/48", Lab, &["2001:2::1"]),
        ("2001:3::/32", Nobody, &["2001:3::1"]),
        ("2001:4:112::/48", Nobody, &["2001:4:112::1"]),
        ("2001:10::/28", Nobody, &["2001:10::1", "2001:1f::1"]),
        ("2001:20::/28", Nobody, &["2001:20::1", "2001:2f::1"]),
        ("2001:30::/28", Nobody, &["2001:30::1", "2001:3f::1"]),
        ("2001:db8::/32", Lab, &["2001:db8::1", "2001:db8:ffff::1"]),
        ("2002::/16", Nobody, &["2002:7f00:1::", "2002:c000:201::1"]),
        ("2620:4f:8000::/48", Nobody, &["2620:4f:8000::1"]),
        ("3fff::/20", Lab, &["3fff::1", "3fff:fff:ffff::1"]),
        ("5f00::/16", Nobody, &["5f00::1", "5f00:ffff::1"]),
        ("fc00::/7", Site, &["fc00::1", "fdff::1"]),
        ("fe80::/10", Site, &["fe80::1", "febf::1"]),
        ("fec0::/10", Site, &["fec0::1", "feff::1"]),
        ("ff00::/8", Nobody, &["ff02::1", "ffff::1"]),
    ];

    #[test]
    fn every_block_of_the_registries_is_known_with_its_purpose() {
        for (block, purpose, inside) in REGISTRY {
            for text in *inside {
                let found = special(text.parse().unwrap()).map(|block| block.purpose);
                assert_eq!(found, Some(*purpose), "{text} of {block}");
            }
        }
    }

    #[test]
    fn no_block_is_there_that_the_registries_do_not_have() {
        for block in BLOCKS {
            let text = std::format!("{}/{}", block.first, block.bits);
            assert!(REGISTRY.iter().any(|(name, ..)| *name == text), "{text}");
            assert!(block.contains(block.first));
        }
    }

    #[test]
    fn what_lies_beside_a_block_belongs_to_the_internet() {
        for text in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.0",
            "192.0.3.0",
            "192.31.195.255",
            "192.31.197.0",
            "192.52.192.255",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "192.175.47.255",
            "192.175.49.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "198.51.101.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "::1:0:0",
            "64:ff9b:0:0:0:1::",
            "64:ff9b:2::",
            "100:0:0:2::",
            "2001:200::1",
            "2001:db7::1",
            "2001:db9::1",
            "2003::1",
            "2620:4f:8001::1",
            "3ffe::1",
            "3fff:1000::1",
            "5eff::1",
            "5f01::1",
            "fbff::1",
            "fe00::1",
            "2a00::1",
            "::ffff:8.8.8.8",
        ] {
            assert_eq!(special(text.parse().unwrap()), None, "{text}");
        }
    }
}
