//! Who is shut out, and until when.
//!
//! Addresses are shut out. A peer id is no identity: whoever has read one can say it, so that a ban by id alone would let a liar
//! shut out an honest peer by using its name. An id counts only together with the address that it came from.

use super::event::Direction;
use crate::{Duration, Instant, PeerId};
use alloc::collections::BTreeMap;
use core::net::{IpAddr, SocketAddr};

/// How long a sender of a wrong chunk is shut out: 1 h, libtorrent's order of magnitude.
pub const BAN: Duration = Duration::from_secs(3600);
/// Entries kept at most; the one that ends first makes room.
pub const BANS_MAX: usize = 4096;
/// Bans from one address (beyond loopback) after which the whole address is shut out, whatever the port.
pub const BANS_PER_IP_MAX: u32 = 3;

/// Bans by address, and by peer id at an address, each with an expiry.
#[derive(Debug, Default)]
pub(crate) struct Bans {
    by_addr: BTreeMap<SocketAddr, Instant>,
    by_id: BTreeMap<(IpAddr, PeerId), Instant>,
    by_ip: BTreeMap<IpAddr, (u32, Instant)>,
}

impl Bans {
    pub(crate) fn ban(&mut self, now: Instant, addr: SocketAddr, id: Option<PeerId>) -> Instant {
        let until = now + BAN;
        insert_bounded(&mut self.by_addr, addr, until, |u| *u);
        if let Some(id) = id {
            insert_bounded(&mut self.by_id, (addr.ip(), id), until, |u| *u);
        }
        // Behind 127.0.0.1 live unrelated processes: there the port and the peer id must do.
        if !addr.ip().is_loopback() {
            let count = self.by_ip.get(&addr.ip()).filter(|(_, u)| *u > now).map_or(0, |(n, _)| *n);
            insert_bounded(&mut self.by_ip, addr.ip(), (count + 1, until), |(_, u)| *u);
        }
        until
    }

    pub(crate) fn is_banned(&self, now: Instant, addr: SocketAddr, id: Option<PeerId>) -> bool {
        self.by_addr.get(&addr).is_some_and(|u| *u > now)
            || id.is_some_and(|id| self.by_id.get(&(addr.ip(), id)).is_some_and(|u| *u > now))
            || self.by_ip.get(&addr.ip()).is_some_and(|(n, u)| *n >= BANS_PER_IP_MAX && *u > now)
    }

    /// Whether a link is one of somebody who is shut out.
    pub(crate) fn shuts_out(&self, now: Instant, addr: SocketAddr, direction: Direction, id: PeerId) -> bool {
        // Behind loopback addresses live unrelated processes: whom we dial there is who listens at that port.
        let by_id = direction == Direction::Inbound || !addr.ip().is_loopback();
        self.is_banned(now, addr, by_id.then_some(id))
    }

    pub(crate) fn len(&self) -> usize {
        self.by_addr.len().max(self.by_id.len()).max(self.by_ip.len())
    }
}

fn insert_bounded<K: Ord + Copy, V>(
    map: &mut BTreeMap<K, V>,
    key: K,
    value: V,
    until: impl Fn(&V) -> Instant,
) {
    if map.len() >= BANS_MAX && !map.contains_key(&key) {
        let first = map.iter().min_by_key(|(_, v)| until(v)).map(|(k, _)| *k);
        if let Some(first) = first {
            map.remove(&first);
        }
    }
    map.insert(key, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_ends_and_a_loopback_neighbour_is_not_hit() {
        let mut bans = Bans::default();
        let addr: SocketAddr = "127.0.0.1:7000".parse().unwrap();
        let until = bans.ban(Instant(0), addr, Some(PeerId([1; 20])));
        for _ in 0..5 {
            bans.ban(Instant(0), addr, None);
        }
        assert!(bans.is_banned(Instant(1), addr, None));
        assert!(bans.is_banned(Instant(1), "127.0.0.1:7001".parse().unwrap(), Some(PeerId([1; 20]))));
        assert!(!bans.is_banned(Instant(1), "127.0.0.1:7001".parse().unwrap(), Some(PeerId([2; 20]))));
        assert!(!bans.is_banned(until, addr, Some(PeerId([1; 20]))));
    }

    #[test]
    fn an_id_is_banned_where_it_was_used_and_nowhere_else() {
        let mut bans = Bans::default();
        let (liar, honest): (SocketAddr, SocketAddr) =
            ("192.0.2.1:7000".parse().unwrap(), "192.0.2.2:6881".parse().unwrap());
        let id = PeerId([1; 20]);
        bans.ban(Instant(0), liar, Some(id));
        assert!(!bans.is_banned(Instant(1), honest, Some(id)), "who only says the same name");
        assert!(bans.shuts_out(Instant(1), SocketAddr::new(liar.ip(), 9), Direction::Inbound, id));
        let (near, other) = ("127.0.0.1:9".parse().unwrap(), "127.0.0.1:6881".parse().unwrap());
        bans.ban(Instant(0), near, Some(id));
        assert!(bans.shuts_out(Instant(1), other, Direction::Inbound, id));
        assert!(
            !bans.shuts_out(Instant(1), other, Direction::Outbound, id),
            "another process of this machine"
        );
    }

    #[test]
    fn the_third_ban_from_one_address_shuts_out_all_its_ports() {
        let mut bans = Bans::default();
        for port in 1..=3 {
            assert!(!bans.is_banned(Instant(1), "192.0.2.1:99".parse().unwrap(), None));
            bans.ban(Instant(0), SocketAddr::new("192.0.2.1".parse().unwrap(), port), None);
        }
        assert!(bans.is_banned(Instant(1), "192.0.2.1:99".parse().unwrap(), None));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut bans = Bans::default();
        for port in 0..u16::MAX {
            bans.ban(Instant(u64::from(port)), SocketAddr::new("127.0.0.1".parse().unwrap(), port), None);
        }
        assert!(bans.len() <= BANS_MAX);
    }
}
