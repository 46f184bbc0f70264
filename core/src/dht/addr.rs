//! What an address means to the DHT: who counts as one source, which subnet it belongs to, and what may be believed
//! when a node tells it.

use crate::endpoint::{Scope, is_service_port, may_name, scope};
use crate::special::{Purpose, special};
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

/// One of the two networks that BEP 32 keeps apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// The IPv4 DHT.
    V4,
    /// The IPv6 DHT.
    V6,
}

impl Family {
    /// Both, in order.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The network this address belongs to.
    #[must_use]
    pub fn of(addr: SocketAddr) -> Self {
        if addr.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// A network that is taken to have one owner.
pub(crate) type Subnet = (Family, u64);

/// Whether no stranger on the internet can have this address, but a machine of this site can: see [`crate::endpoint::scope`].
#[must_use]
pub fn is_local(ip: IpAddr) -> bool {
    scope(ip) < Scope::Global
}

/// Whether a packet can be sent there at all.
pub(crate) fn is_usable(addr: SocketAddr) -> bool {
    let mapped = matches!(addr.ip(), IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    let nobodys = special(addr.ip()).is_some_and(|block| block.purpose == Purpose::Nobody);
    !mapped && !nobodys && addr.port() != 0
}

/// Whether `teller` may tell us this address. Local addresses are believed only of local nodes, so that a stranger
/// cannot point us at the machines of our own network.
pub(crate) fn is_believable(teller: SocketAddr, addr: SocketAddr) -> bool {
    is_usable(addr) && may_name(teller.ip(), addr)
}

/// The same for a node, which we would ask something: not where another service would have to answer.
pub(crate) fn is_believable_node(teller: SocketAddr, addr: SocketAddr) -> bool {
    is_believable(teller, addr) && !is_service_port(addr.port())
}

/// Who a limit counts as one: an address whatever its port. On loopback live unrelated processes, so there the
/// port counts too; nobody else can have such an address.
pub(crate) fn source(addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_loopback() { addr } else { SocketAddr::new(addr.ip(), 0) }
}

/// The /24 (IPv4) or /64 (IPv6) of an address; `None` for local ones: a site is one subnet, and no stranger is in it.
pub(crate) fn subnet(ip: IpAddr) -> Option<Subnet> {
    if is_local(ip) {
        return None;
    }
    Some(match ip {
        IpAddr::V4(v4) => (Family::V4, u64::from(v4.to_bits() >> 8)),
        IpAddr::V6(v6) => (Family::V6, top_64(v6)),
    })
}

/// The /24 (IPv4) or /48 (IPv6, what one customer may well get) of an address; `None` for local ones.
pub(crate) fn site(ip: IpAddr) -> Option<Subnet> {
    let (family, bits) = subnet(ip)?;
    Some((family, if family == Family::V6 { bits >> 16 } else { bits }))
}

fn top_64(ip: Ipv6Addr) -> u64 {
    (ip.to_bits() >> 64) as u64
}

/// An IPv4 address in the clothes of IPv6, as dual-stack sockets give it, becomes what it is.
pub(crate) fn plain(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(addr: &str) -> SocketAddr {
        addr.parse().unwrap()
    }

    #[test]
    fn local_addresses_are_believed_of_local_nodes_only() {
        let stranger = at("8.8.8.8:1");
        let neighbour = at("192.168.1.9:1");
        for addr in ["127.0.0.1:7", "10.0.0.1:7", "100.64.0.1:7", "169.254.1.1:7"] {
            assert!(!is_believable(stranger, at(addr)), "{addr}");
        }
        assert!(is_believable(neighbour, at("10.0.0.1:7")));
        assert!(!is_believable(neighbour, at("127.0.0.1:7")));
        assert!(is_believable(at("127.0.0.1:1"), at("127.0.0.1:7")));
        assert!(is_believable(stranger, at("9.9.9.9:7")));
        for addr in [
            "9.9.9.9:0",
            "0.0.0.0:7",
            "224.0.0.1:7",
            "255.255.255.255:7",
            "[::]:7",
            "[ff02::1]:7",
            "[::ffff:9.9.9.9]:7",
        ] {
            assert!(!is_believable(stranger, at(addr)), "{addr}");
        }
    }

    #[test]
    fn subnets_hold_strangers_together_and_leave_local_ones_alone() {
        let net = |ip: &str| subnet(ip.parse().unwrap());
        assert_eq!(net("8.8.8.8"), net("8.8.8.200"));
        assert_ne!(net("8.8.8.8"), net("8.8.9.8"));
        assert_eq!(net("2001:db8:1:2::1"), net("2001:db8:1:2:ffff::1"));
        assert_ne!(net("2001:db8:1:2::1"), net("2001:db8:1:3::1"));
        let site_of = |ip: &str| site(ip.parse().unwrap());
        assert_eq!(site_of("2001:db8:1:2::1"), site_of("2001:db8:1:3::1"));
        assert_eq!(net("127.0.0.1"), None);
        assert_eq!(net("10.0.0.1"), None);
        assert_ne!(source(at("127.0.0.1:1")), source(at("127.0.0.1:2")));
        assert_eq!(source(at("8.8.8.8:1")), source(at("8.8.8.8:2")));
    }
}
