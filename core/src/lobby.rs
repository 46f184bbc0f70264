//! Connections that came and have not shaken hands: how many there may be, and who goes when one more comes.
//!
//! Anybody can open connections and say nothing. The deadline of a [`Link`](crate::link::Link) ends them in time; until then they
//! are bounded here, apart from the peers that are linked, so that neither keeps the other out.

use crate::LinkId;
use crate::endpoint::Party;
use alloc::collections::BTreeMap;
use core::net::IpAddr;

/// Connections without a handshake at once, at most: 256. Ours; with the 512 peers of an engine well below the usual 1,024
/// descriptors of a process.
pub const HALF_OPEN_MAX: usize = 256;

/// Those that wait. A runtime says who comes and who leaves (by a handshake, or for good).
#[derive(Debug, Default)]
pub struct Lobby {
    /// In the order in which they came.
    waiting: BTreeMap<u64, (LinkId, Party)>,
    places: BTreeMap<LinkId, u64>,
    came: u64,
}

impl Lobby {
    /// A connection came from there. Gives the one to close if that is one too many: the oldest of the party that has the most,
    /// so that a flood from one address hits itself.
    pub fn came(&mut self, link: LinkId, from: IpAddr) -> Option<LinkId> {
        self.came += 1;
        self.waiting.insert(self.came, (link, Party::of(from)));
        self.places.insert(link, self.came);
        if self.waiting.len() <= HALF_OPEN_MAX {
            return None;
        }
        let mut counts: BTreeMap<Party, usize> = BTreeMap::new();
        self.waiting.values().for_each(|(_, party)| *counts.entry(*party).or_default() += 1);
        let most = counts.values().max().copied().unwrap_or(0);
        let crowds = |party: &Party| counts.get(party).is_some_and(|count| *count == most);
        let out = self.waiting.values().find(|(_, party)| crowds(party)).map(|(link, _)| *link);
        out.inspect(|link| self.left(*link))
    }

    /// It has shaken hands, or is gone.
    pub fn left(&mut self, link: LinkId) {
        if let Some(place) = self.places.remove(&link) {
            self.waiting.remove(&place);
        }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    fn ip(n: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(0xc000_0200 + n))
    }

    #[test]
    fn a_flood_from_one_address_pushes_out_its_own() {
        let mut lobby = Lobby::default();
        assert_eq!(lobby.came(LinkId(1), ip(1)), None);
        let mut out = Vec::new();
        for link in 2..2000 {
            out.extend(lobby.came(LinkId(link), ip(2)));
        }
        assert_eq!(lobby.len(), HALF_OPEN_MAX);
        assert!(!out.contains(&LinkId(1)), "the other one is left in peace");
        assert_eq!(out.first(), Some(&LinkId(2)), "the oldest goes first");
        lobby.left(LinkId(1));
        lobby.left(LinkId(1));
        assert_eq!(lobby.len(), HALF_OPEN_MAX - 1);
    }

    #[test]
    fn where_all_are_alike_the_oldest_goes() {
        let mut lobby = Lobby::default();
        let out: Vec<LinkId> = (0..300).filter_map(|n| lobby.came(LinkId(u64::from(n)), ip(n))).collect();
        assert_eq!(out, (0..300 - HALF_OPEN_MAX as u64).map(LinkId).collect::<Vec<_>>());
    }

    use alloc::vec::Vec;
}
