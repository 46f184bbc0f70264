//! What is known of how peers are found, for people.

use super::survey::Heard;
use serde::{Serialize, Serializer};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use tokio::sync::mpsc;
use zest_core::endpoint::{Found, Scope};

/// Addresses that are remembered for counting: 4,096. Ours.
const ADDRS_MAX: usize = 4096;

/// Whether others can connect to us, as far as can be told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reachability {
    /// Nobody is let in.
    Closed,
    /// Neither of the others is known.
    #[default]
    Unknown,
    /// Machines of this network have connected.
    Local,
    /// The router was asked to let others in, and agreed.
    Mapped,
    /// Others from outside have connected, or reach our UDP port.
    Open,
}

impl Serialize for Reachability {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl Reachability {
    /// One word, for people and programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Unknown => "unknown",
            Self::Local => "local",
            Self::Mapped => "mapped",
            Self::Open => "open",
        }
    }
}

/// How one tracker does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TrackerStatus {
    /// Scheme, host and port; never the path, which may hold a key.
    #[serde(rename = "url")]
    pub name: String,
    /// What it says, for people.
    #[serde(rename = "says")]
    pub standing: String,
    /// It answers.
    pub works: bool,
}

/// How peers are being found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DiscoveryStatus {
    /// Files and xorbs that are spoken of.
    pub swarms: usize,
    /// Nodes of the DHT that are known, IPv4 and IPv6; `None` without the DHT.
    #[serde(serialize_with = "some_by_family")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<ByFamily<u32>>"))]
    pub dht_nodes: Option<[u32; 2]>,
    /// UDP port of the DHT and of UDP trackers.
    pub udp_port: Option<u16>,
    /// Multicast groups that can be sent to: IPv4, IPv6.
    #[serde(serialize_with = "by_family")]
    #[cfg_attr(feature = "schema", schemars(with = "ByFamily<bool>"))]
    pub lan: [bool; 2],
    /// Trackers that have shown how they do.
    pub trackers: Vec<TrackerStatus>,
    /// Distinct addresses found, by the way they were found first.
    pub found: BTreeMap<&'static str, u32>,
    /// Our address as others see it.
    pub external: Option<IpAddr>,
    /// Whether others can connect.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub reachable: Reachability,
}

/// A value for IPv4 and one for IPv6.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct ByFamily<T> {
    ipv4: T,
    ipv6: T,
}

fn by_family<T: Serialize, S: Serializer>([ipv4, ipv6]: &[T; 2], to: S) -> Result<S::Ok, S::Error> {
    ByFamily { ipv4, ipv6 }.serialize(to)
}

fn some_by_family<T: Serialize, S: Serializer>(both: &Option<[T; 2]>, to: S) -> Result<S::Ok, S::Error> {
    both.as_ref().map(|[ipv4, ipv6]| ByFamily { ipv4, ipv6 }).serialize(to)
}

/// What was noted so far.
#[derive(Debug, Default)]
pub(super) struct Notes {
    found: RefCell<BTreeMap<SocketAddr, Found>>,
    trackers: RefCell<BTreeMap<u16, TrackerStatus>>,
    external: Cell<Option<IpAddr>>,
    mapped: Cell<bool>,
    /// The farthest scope from which somebody connected.
    came_from: Cell<Option<Scope>>,
    lan: Cell<[bool; 2]>,
    /// Looks for peers of files that have ended.
    looks: Cell<u64>,
    /// Who wants to hear of peers too.
    pub(super) listener: RefCell<Option<mpsc::UnboundedSender<Heard>>>,
}

impl Notes {
    pub(super) fn looked(&self) {
        self.looks.set(self.looks.get() + 1);
    }

    pub(super) fn looks(&self) -> u64 {
        self.looks.get()
    }

    /// Trackers of which something was heard.
    pub(super) fn trackers(&self) -> usize {
        self.trackers.borrow().len()
    }

    /// True if the address is new.
    pub(super) fn found(&self, addr: SocketAddr, how: Found) -> bool {
        let mut found = self.found.borrow_mut();
        if found.contains_key(&addr) || found.len() >= ADDRS_MAX {
            return false;
        }
        found.insert(addr, how);
        true
    }

    /// How an address was found first.
    pub(super) fn how(&self, addr: &SocketAddr) -> Option<Found> {
        self.found.borrow().get(addr).copied()
    }

    pub(super) fn came_in(&self, from: Scope) {
        self.came_from.set(self.came_from.get().max(Some(from)));
    }

    pub(super) fn tracker(&self, id: u16, status: TrackerStatus) {
        self.trackers.borrow_mut().insert(id, status);
    }

    pub(super) fn seen_at(&self, ip: IpAddr) {
        self.external.set(Some(ip));
    }

    pub(super) fn set_mapped(&self, mapped: bool) {
        self.mapped.set(mapped);
    }

    pub(super) fn set_lan(&self, group: usize, up: bool) {
        let mut lan = self.lan.get();
        lan[group] = up;
        self.lan.set(lan);
    }

    /// Fills in what was noted.
    pub(super) fn fill(&self, status: &mut DiscoveryStatus, listens: bool, dht_open: bool) {
        status.lan = self.lan.get();
        status.trackers = self.trackers.borrow().values().cloned().collect();
        for how in self.found.borrow().values() {
            *status.found.entry(how.as_str()).or_default() += 1;
        }
        status.external = self.external.get();
        status.reachable = match self.came_from.get() {
            _ if !listens => Reachability::Closed,
            Some(Scope::Global) => Reachability::Open,
            _ if dht_open => Reachability::Open,
            _ if self.mapped.get() => Reachability::Mapped,
            Some(_) => Reachability::Local,
            None => Reachability::Unknown,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reachability_is_what_was_seen_and_no_more() {
        let notes = Notes::default();
        let told = |listens, dht| {
            let mut status = DiscoveryStatus::default();
            notes.fill(&mut status, listens, dht);
            status.reachable
        };
        assert_eq!(told(false, false), Reachability::Closed);
        assert_eq!(told(true, false), Reachability::Unknown);
        assert_eq!(told(true, true), Reachability::Open);
        notes.came_in(Scope::Local);
        assert_eq!(told(true, false), Reachability::Local);
        notes.set_mapped(true);
        assert_eq!(told(true, false), Reachability::Mapped);
        notes.came_in(Scope::Global);
        notes.came_in(Scope::Loopback);
        assert_eq!(told(true, false), Reachability::Open);
    }

    #[test]
    fn an_address_counts_once_and_for_the_way_it_was_found_first() {
        let notes = Notes::default();
        let addr = "192.0.2.1:5".parse().unwrap();
        assert!(notes.found(addr, Found::Dht) && !notes.found(addr, Found::Lan));
        let mut status = DiscoveryStatus::default();
        notes.fill(&mut status, true, false);
        assert_eq!(status.found, BTreeMap::from([("dht", 1)]));
        assert_eq!(notes.how(&addr), Some(Found::Dht));
    }
}
