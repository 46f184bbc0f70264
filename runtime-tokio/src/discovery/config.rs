//! What a process is told about finding peers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use zest_core::endpoint::{Scope, scope};
use zest_core::tracker::{TrackerUrl, Transport};

/// Routers of the mainline DHT from which a node that knows nobody starts: those of BitTorrent, Transmission and
/// libtorrent, which every client uses.
pub const ROUTERS: [&str; 4] = [
    "router.bittorrent.com:6881",
    "dht.transmissionbt.com:6881",
    "dht.libtorrent.org:25401",
    "router.utorrent.com:6881",
];

/// How peers are found, and who learns what we have. The default: in no way.
#[derive(Debug, Clone, Default)]
pub struct DiscoveryConfig {
    /// Trackers, each announced at.
    pub trackers: Vec<TrackerUrl>,
    /// The mainline DHT.
    pub dht: Option<DhtConfig>,
    /// Multicast on this network (BEP 14). Needs a listener.
    pub lan: bool,
    /// Nobody outside this site is dialled unless named, and nobody outside is let in.
    pub local_only: bool,
    /// Announce every file of the catalog that anyone may read, not only those that are being fetched.
    pub announce_all: bool,
    /// Of the catalog's files only this network hears. What is being fetched is looked for, and announced, in every way.
    pub catalog_near: bool,
    /// Ask the router (UPnP, PCP, NAT-PMP) to let others connect. Needs a listener.
    pub port_mapping: bool,
}

/// The DHT.
#[derive(Debug, Clone, Default)]
pub struct DhtConfig {
    /// UDP port; `None`: the listener's, or any that is free.
    pub port: Option<u16>,
    /// Nodes to start from, as `HOST:PORT`.
    pub bootstrap: Vec<String>,
    /// Where the routing table is kept between runs.
    pub table: Option<PathBuf>,
}

impl DiscoveryConfig {
    /// Whether there is any way to find peers.
    #[must_use]
    pub fn finds_any(&self) -> bool {
        self.lan || self.dht.is_some() || !self.trackers.is_empty()
    }

    /// Whether there is anything to do: somebody to find, or outsiders to keep out.
    pub(crate) fn is_needed(&self) -> bool {
        self.finds_any() || self.local_only
    }

    pub(super) fn has_udp_tracker(&self) -> bool {
        self.trackers.iter().any(|url| url.transport() == Transport::Udp)
    }
}

/// What follows from the addresses we listen on: where packets come from, and how far they may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reach {
    /// TCP port, 0 without a listener.
    pub(crate) port: u16,
    /// Address of the IPv4 sockets, if there are any.
    pub(crate) v4: Option<Ipv4Addr>,
    /// Address of the IPv6 sockets, if there are any.
    pub(crate) v6: Option<Ipv6Addr>,
    /// Who listens on loopback only speaks to this machine only.
    pub(crate) loopback: bool,
}

impl Reach {
    pub(crate) fn of(listen: &[SocketAddr]) -> Self {
        let port = listen.first().map_or(0, SocketAddr::port);
        let loopback = !listen.is_empty() && listen.iter().all(|addr| addr.ip().is_loopback());
        let mut reach = Self { port, v4: None, v6: None, loopback };
        for addr in listen {
            match addr.ip() {
                IpAddr::V4(ip) => reach.v4 = reach.v4.or(Some(ip)),
                // Dual-stack: it takes IPv4 too.
                IpAddr::V6(ip) if ip.is_unspecified() => {
                    reach.v6 = reach.v6.or(Some(ip));
                    reach.v4 = reach.v4.or(Some(Ipv4Addr::UNSPECIFIED));
                }
                IpAddr::V6(ip) => reach.v6 = reach.v6.or(Some(ip)),
            }
        }
        if listen.is_empty() {
            reach.v4 = Some(Ipv4Addr::UNSPECIFIED);
            reach.v6 = Some(Ipv6Addr::UNSPECIFIED);
        }
        reach
    }

    /// Whether a peer that was found there may be dialled.
    pub(crate) fn covers(self, addr: SocketAddr, local_only: bool) -> bool {
        let to = scope(addr.ip());
        !(self.loopback && to != Scope::Loopback || local_only && to == Scope::Global)
    }

    /// The one address everything is to come from, if the listener has one.
    pub(super) fn bound(self) -> Option<IpAddr> {
        let v4 = self.v4.filter(|ip| !ip.is_unspecified()).map(IpAddr::V4);
        let v6 = self.v6.filter(|ip| !ip.is_unspecified()).map(IpAddr::V6);
        match (v4, v6) {
            (Some(ip), None) | (None, Some(ip)) => Some(ip),
            _ => None,
        }
    }
}

/// Whether `HOST:PORT` is on this machine, as it is written.
pub(super) fn is_here(name: &str) -> bool {
    let host = name.rsplit_once(':').map_or(name, |(host, _)| host);
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(listen: &[&str]) -> Reach {
        let addrs: Vec<SocketAddr> = listen.iter().map(|text| text.parse().unwrap()).collect();
        Reach::of(&addrs)
    }

    #[test]
    fn who_listens_on_loopback_speaks_to_this_machine_only() {
        let here = reach(&["127.0.0.5:7000"]);
        assert_eq!(here.bound(), Some("127.0.0.5".parse().unwrap()));
        assert_eq!((here.port, here.v6, here.loopback), (7000, None, true));
        assert!(here.covers("127.0.0.1:1".parse().unwrap(), false));
        assert!(!here.covers("192.168.1.1:1".parse().unwrap(), false));
        assert!(!reach(&["127.0.0.1:1", "10.0.0.1:1"]).loopback);
    }

    #[test]
    fn a_dual_stack_listener_and_none_have_both_families() {
        for any in [reach(&["[::]:6881"]), reach(&[])] {
            assert_eq!((any.v4, any.v6), (Some(Ipv4Addr::UNSPECIFIED), Some(Ipv6Addr::UNSPECIFIED)));
            assert_eq!((any.bound(), any.loopback), (None, false));
            assert!(any.covers("192.0.2.1:1".parse().unwrap(), false));
            assert!(!any.covers("192.0.2.1:1".parse().unwrap(), true));
            assert!(any.covers("192.168.1.1:1".parse().unwrap(), true));
        }
    }

    #[test]
    fn outsiders_are_kept_out_also_where_nobody_is_looked_for() {
        let near = DiscoveryConfig { local_only: true, ..DiscoveryConfig::default() };
        assert!(!near.finds_any() && near.is_needed());
        assert!(!DiscoveryConfig::default().is_needed());
    }
}
