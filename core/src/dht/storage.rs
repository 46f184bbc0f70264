//! What others have announced to us. All of it is bounded: keys, peers per key, and what one address or site may store.

use super::NodeId;
use super::addr::{Family, Subnet, site, source};
use super::limits::{Limits, PEER_LIFE};
use crate::node::rng::Rng;
use crate::{InfoHash, Instant};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;

#[derive(Debug)]
struct Stored {
    /// Where the peer can be reached.
    peer: SocketAddr,
    /// Who announced it.
    by: SocketAddr,
    until: Instant,
}

/// Why an announcement was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// The announcer has used up its share.
    Share,
    /// There is no room for this key.
    Room,
}

#[derive(Debug, Default)]
pub(crate) struct Storage {
    keys: BTreeMap<InfoHash, Vec<Stored>>,
    peers: usize,
    by_source: BTreeMap<SocketAddr, u32>,
    by_site: BTreeMap<Subnet, u32>,
}

impl Storage {
    pub(crate) fn peers(&self) -> usize {
        self.peers
    }

    pub(crate) fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Stores or refreshes a peer. `own` is our id: when there is no room the key farthest from it goes.
    pub(crate) fn announce(
        &mut self,
        now: Instant,
        key: InfoHash,
        peer: SocketAddr,
        from: SocketAddr,
        own: &NodeId,
        limits: &Limits,
    ) -> Result<(), Full> {
        let (by, until) = (source(from), now + PEER_LIFE);
        if let Some(known) = self.keys.get_mut(&key).and_then(|list| list.iter_mut().find(|s| s.peer == peer))
        {
            // Behind one address many may announce; the place stays with the first of them.
            if known.by == by {
                known.until = until;
            }
            return Ok(());
        }
        let site_used = site(by.ip()).and_then(|net| self.by_site.get(&net)).copied().unwrap_or(0);
        if self.by_source.get(&by).copied().unwrap_or(0) >= limits.stored_source_peers
            || site_used >= limits.stored_site_peers
        {
            return Err(Full::Share);
        }
        if let Some(list) = self.keys.get(&key) {
            let mine = list.iter().filter(|s| s.by == by).count();
            if mine >= limits.stored_key_source_peers as usize {
                return Err(Full::Share);
            }
            if list.len() >= limits.stored_key_peers as usize {
                // Who has not refreshed for longest makes room.
                let oldest = (0..list.len()).min_by_key(|at| list[*at].until).expect("the list is full");
                self.drop_peer(key, oldest);
            }
        } else if self.keys.len() >= limits.stored_keys as usize {
            self.make_room(Some(key), own)?;
        }
        if self.peers >= limits.stored_peers as usize {
            self.make_room(None, own)?;
        }
        self.keys.entry(key).or_default().push(Stored { peer, by, until });
        self.peers += 1;
        *self.by_source.entry(by).or_default() += 1;
        if let Some(net) = site(by.ip()) {
            *self.by_site.entry(net).or_default() += 1;
        }
        Ok(())
    }

    /// Drops the key farthest from us, unless that is the newcomer itself.
    fn make_room(&mut self, newcomer: Option<InfoHash>, own: &NodeId) -> Result<(), Full> {
        let far = |key: &InfoHash| NodeId(key.0).distance(own);
        let farthest = self.keys.keys().max_by_key(|key| far(key)).copied().ok_or(Full::Room)?;
        if newcomer.is_some_and(|key| far(&key) >= far(&farthest)) {
            return Err(Full::Room);
        }
        while self.keys.contains_key(&farthest) {
            self.drop_peer(farthest, 0);
        }
        Ok(())
    }

    fn drop_peer(&mut self, key: InfoHash, at: usize) {
        let Some(list) = self.keys.get_mut(&key) else { return };
        let stored = list.swap_remove(at);
        if list.is_empty() {
            self.keys.remove(&key);
        }
        self.peers -= 1;
        release(&mut self.by_source, stored.by);
        if let Some(net) = site(stored.by.ip()) {
            release(&mut self.by_site, net);
        }
    }

    /// Up to `count` peers of one family in random order.
    pub(crate) fn sample(
        &self,
        now: Instant,
        key: &InfoHash,
        family: Family,
        count: usize,
        rng: &mut Rng,
    ) -> Vec<SocketAddr> {
        let list = self.keys.get(key).into_iter().flatten();
        let alive = list.filter(|s| s.until > now && Family::of(s.peer) == family);
        let mut peers: Vec<_> = alive.map(|s| s.peer).collect();
        let count = count.min(peers.len());
        for at in 0..count {
            let other = at + rng.below((peers.len() - at) as u32) as usize;
            peers.swap(at, other);
        }
        peers.truncate(count);
        peers
    }

    /// Forgets what has run out.
    pub(crate) fn sweep(&mut self, now: Instant) {
        let mut old: Vec<(InfoHash, usize)> = Vec::new();
        for (key, list) in &self.keys {
            let gone = list.iter().enumerate().filter(|(_, s)| s.until <= now);
            old.extend(gone.map(|(at, _)| (*key, at)));
        }
        // From the back, because a removal moves the last one forward.
        for (key, at) in old.into_iter().rev() {
            self.drop_peer(key, at);
        }
    }

    pub(crate) fn check_invariants(&self, limits: &Limits) {
        let lists = || self.keys.values();
        assert!(self.keys.len() <= limits.stored_keys as usize, "stored keys stay within their limit");
        assert!(self.peers <= limits.stored_peers as usize, "stored peers stay within their limit");
        assert!(lists().all(|l| !l.is_empty()), "a key has a peer");
        assert!(lists().all(|l| l.len() <= limits.stored_key_peers as usize), "a key has few peers");
        assert_eq!(lists().map(Vec::len).sum::<usize>(), self.peers, "the count of peers is their number");
        assert!(
            self.by_source.values().all(|n| (1..=limits.stored_source_peers).contains(n)),
            "shares are kept"
        );
        assert!(
            self.by_site.values().all(|n| (1..=limits.stored_site_peers).contains(n)),
            "sites keep to theirs"
        );
        assert_eq!(self.by_source.values().sum::<u32>() as usize, self.peers, "every peer is in one share");
    }
}

fn release<K: Ord>(counts: &mut BTreeMap<K, u32>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Duration;

    fn key(n: u16) -> InfoHash {
        let mut key = [0; 20];
        key[..2].copy_from_slice(&n.to_be_bytes());
        InfoHash(key)
    }

    fn host(n: u32) -> SocketAddr {
        SocketAddr::new(core::net::Ipv4Addr::from_bits(0x1400_0001 + (n << 8)).into(), 6881)
    }

    const OWN: NodeId = NodeId([0; 20]);

    fn put(storage: &mut Storage, key: InfoHash, peer: SocketAddr, limits: &Limits) -> Result<(), Full> {
        let result = storage.announce(Instant(0), key, peer, peer, &OWN, limits);
        storage.check_invariants(limits);
        result
    }

    #[test]
    fn peers_run_out_and_are_refreshed() {
        let (mut storage, limits, mut rng) = (Storage::default(), Limits::default(), Rng::new([1; 32]));
        let later = Instant(0) + PEER_LIFE;
        put(&mut storage, key(1), host(1), &limits).unwrap();
        put(&mut storage, key(1), host(2), &limits).unwrap();
        storage.announce(Instant(5), key(1), host(2), host(2), &OWN, &limits).unwrap();
        assert_eq!(storage.sample(Instant(9), &key(1), Family::V4, 9, &mut rng).len(), 2);
        assert_eq!(storage.sample(later, &key(1), Family::V4, 9, &mut rng), [host(2)]);
        assert!(storage.sample(Instant(9), &key(1), Family::V6, 9, &mut rng).is_empty());
        storage.sweep(later);
        assert_eq!((storage.keys(), storage.peers()), (1, 1));
        storage.sweep(later + Duration::from_secs(1));
        assert_eq!((storage.keys(), storage.peers()), (0, 0));
        storage.check_invariants(&limits);
    }

    #[test]
    fn one_address_and_one_site_keep_to_their_shares() {
        let (mut storage, limits) = (Storage::default(), Limits::default());
        let stored = (0..300).filter(|n| put(&mut storage, key(*n), host(1), &limits).is_ok()).count();
        assert_eq!(stored, limits.stored_source_peers as usize);
        let neighbour = |n| SocketAddr::new([66, 6, 6, n].into(), 1);
        let all = (0..20).flat_map(|n| (0..100).map(move |k| (n, k)));
        let stored = all.filter(|(n, k)| put(&mut storage, key(*k), neighbour(*n), &limits).is_ok()).count();
        assert_eq!(stored, limits.stored_site_peers as usize);
        // Several ports for one key.
        let ports = (1..20).filter(|port| {
            let peer = SocketAddr::new(host(9).ip(), *port);
            put(&mut storage, key(1), peer, &limits).is_ok()
        });
        assert_eq!(ports.count(), limits.stored_key_source_peers as usize);
    }

    #[test]
    fn a_full_store_keeps_the_keys_near_its_own_id() {
        let (mut storage, limits) = (Storage::default(), Limits { stored_keys: 10, ..Limits::default() });
        for n in 0..20 {
            put(&mut storage, key(n), host(u32::from(n)), &limits).ok();
        }
        assert_eq!(storage.keys(), 10);
        assert_eq!(put(&mut storage, key(500), host(99), &limits), Err(Full::Room));
        let mut storage = Storage::default();
        for n in (0..20).rev() {
            put(&mut storage, key(n), host(u32::from(n)), &limits).unwrap();
        }
        assert!(storage.keys.contains_key(&key(0)) && !storage.keys.contains_key(&key(19)));
    }

    #[test]
    fn a_popular_key_keeps_its_freshest_peers() {
        let (mut storage, limits) = (Storage::default(), Limits::default());
        for n in 0..500 {
            let now = Instant(u64::from(n));
            storage.announce(now, key(1), host(n), host(n), &OWN, &limits).unwrap();
        }
        storage.check_invariants(&limits);
        assert_eq!(storage.peers(), limits.stored_key_peers as usize);
        let mut rng = Rng::new([1; 32]);
        let sample = storage.sample(Instant(500), &key(1), Family::V4, 500, &mut rng);
        assert!(sample.contains(&host(499)) && !sample.contains(&host(0)));
    }
}
