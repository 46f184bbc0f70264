//! The routing table: nodes that have answered us, dense near our own id.
//!
//! Bucket *i* holds the nodes that share exactly *i* leading bits with us, the last one all that share more; only the
//! last is ever split. A bucket has at most eight nodes and a few spares, and of any subnet one. Only a node that
//! answered a query of ours is taken in, so a forged address never gets here; nodes restored from disk are kept as
//! unproven until they answer.

use super::NodeId;
use super::addr::{Subnet, site, source, subnet};
use super::limits::{ANSWER_WITHIN, FAILS_MAX, K, Limits, PROBATION, PROBE_AGAIN, QUESTIONABLE_AFTER};
use crate::Instant;
use alloc::vec::Vec;
use core::net::SocketAddr;

/// One node.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) addr: SocketAddr,
    /// Last answer, or last query once it had answered.
    heard: Instant,
    /// Last answer; `None` if it never gave one (restored).
    replied: Option<Instant>,
    /// Last probe of ours.
    probed: Option<Instant>,
    /// Answers so far, up to 255.
    replies: u8,
    /// Queries in a row that it left unanswered.
    fails: u8,
    /// Its id follows from its address (BEP 42).
    fits: bool,
}

impl Node {
    /// It answered, and owes nothing. Only such nodes are told to others.
    pub(crate) fn is_good(&self) -> bool {
        self.replied.is_some() && self.fails == 0
    }

    /// When it should be asked whether it still lives.
    fn due(&self) -> Instant {
        let due = match self.replied {
            None => self.heard,
            Some(_) if self.replies < 2 => self.heard + PROBATION,
            Some(replied) => (self.heard + QUESTIONABLE_AFTER).min(replied + ANSWER_WITHIN),
        };
        match self.probed.filter(|probed| self.replied.is_none_or(|replied| *probed >= replied)) {
            Some(probed) if self.fails > 0 => probed + PROBE_AGAIN,
            Some(probed) => due.max(probed + PROBE_AGAIN),
            None => due,
        }
    }

    /// Order of eviction: what should go first is smallest.
    fn worth(&self) -> (bool, bool, Instant) {
        (self.fails == 0 && self.replied.is_some(), self.fits, self.heard)
    }
}

#[derive(Debug, Clone, Default)]
struct Bucket {
    live: Vec<Node>,
    spare: Vec<Node>,
    /// No node of it is due before.
    due_from: Instant,
}

impl Bucket {
    fn all(&self) -> impl Iterator<Item = &Node> {
        self.live.iter().chain(&self.spare)
    }
}

/// The routing table of one family.
#[derive(Debug)]
pub(crate) struct Table {
    own: NodeId,
    buckets: Vec<Bucket>,
    /// Grows whenever a node comes or goes.
    changes: u64,
}

impl Table {
    pub(crate) fn new(own: NodeId) -> Self {
        Self { own, buckets: alloc::vec![Bucket::default()], changes: 0 }
    }

    pub(crate) fn own(&self) -> &NodeId {
        &self.own
    }

    /// Moves the table to another id of ours. Nodes that find no room there are forgotten.
    pub(crate) fn rebase(&mut self, own: NodeId, limits: &Limits) {
        let old = core::mem::replace(self, Self::new(own));
        let (live, spare): (Vec<_>, Vec<_>) = old.buckets.into_iter().map(|b| (b.live, b.spare)).unzip();
        for node in live.into_iter().chain(spare).flatten() {
            self.insert(node, limits);
        }
    }

    /// Nobody at this address is a node for us.
    pub(crate) fn forget_addr(&mut self, addr: SocketAddr) {
        // An address is in the table once.
        let known = self.all().find(|node| node.addr == addr).map(|node| node.id);
        if let Some(id) = known {
            self.remove(&id);
        }
    }

    /// A number that grows whenever a node comes or goes.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Nodes that fill a place, spares not counted.
    pub(crate) fn len(&self) -> usize {
        self.buckets.iter().map(|b| b.live.len()).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.buckets.iter().all(|b| b.live.is_empty())
    }

    pub(crate) fn good(&self) -> usize {
        self.live().filter(|node| node.is_good()).count()
    }

    pub(crate) fn live(&self) -> impl Iterator<Item = &Node> {
        self.buckets.iter().flat_map(|b| &b.live)
    }

    fn all(&self) -> impl Iterator<Item = &Node> {
        self.buckets.iter().flat_map(Bucket::all)
    }

    fn index(&self, id: &NodeId) -> usize {
        (self.own.common_bits(id) as usize).min(self.buckets.len() - 1)
    }

    /// The node answered a query of ours. Returns whether it is in the table now.
    pub(crate) fn replied(&mut self, now: Instant, id: NodeId, addr: SocketAddr, limits: &Limits) -> bool {
        if id == self.own {
            return false;
        }
        let index = self.index(&id);
        let bucket = &mut self.buckets[index];
        if let Some(node) = bucket.live.iter_mut().chain(&mut bucket.spare).find(|node| node.id == id) {
            if node.addr == addr {
                (node.heard, node.replied, node.fails) = (now, Some(now), 0);
                node.replies = node.replies.saturating_add(1);
                return true;
            }
            // An id stays where it answered from, as long as it answers there.
            if node.is_good() {
                return false;
            }
            self.remove(&id);
        }
        // One node per address: the one that was first, as long as it answers. The same port with another id has
        // been started anew.
        let same_source = self.all().find(|node| source(node.addr) == source(addr));
        if let Some((old, restarted)) =
            same_source.map(|node| (node.id, node.addr == addr || !node.is_good()))
        {
            if !restarted {
                return false;
            }
            self.remove(&old);
        }
        let fits = id.fits(addr.ip());
        self.insert(
            Node { id, addr, heard: now, replied: Some(now), probed: None, replies: 1, fails: 0, fits },
            limits,
        )
    }

    /// A node from disk: asked soon, told to nobody before it answers.
    pub(crate) fn restore(&mut self, now: Instant, id: NodeId, addr: SocketAddr, limits: &Limits) {
        if self.wants(&id, addr, limits) {
            let fits = id.fits(addr.ip());
            self.insert(
                Node { id, addr, heard: now, replied: None, probed: None, replies: 0, fails: 0, fits },
                limits,
            );
        }
    }

    /// The node asked us something. Returns whether we know it under this id and address.
    pub(crate) fn queried(&mut self, now: Instant, id: &NodeId, addr: SocketAddr) -> bool {
        let index = self.index(id);
        let bucket = &mut self.buckets[index];
        let known = bucket.live.iter_mut().chain(&mut bucket.spare).find(|n| n.id == *id && n.addr == addr);
        if let Some(node) = known {
            if node.is_good() {
                node.heard = now;
            }
            return true;
        }
        false
    }

    /// Whether a stranger is worth a ping: it would get a place, or one of the first spares.
    pub(crate) fn wants(&self, id: &NodeId, addr: SocketAddr, limits: &Limits) -> bool {
        let index = self.index(id);
        let bucket = &self.buckets[index];
        let room = bucket.live.len() < K
            || index + 1 == self.buckets.len()
            || bucket.spare.len() < (limits.bucket_spares as usize).min(K / 2);
        room && *id != self.own
            && bucket.all().all(|node| node.id != *id)
            && self.all().all(|node| source(node.addr) != source(addr))
            && self.is_diverse(index, addr, limits)
    }

    /// Whether this bucket has places free.
    pub(crate) fn is_thin(&self, id: &NodeId) -> bool {
        self.buckets[self.index(id)].live.len() < K
    }

    /// The first bucket from `from` on that has places free, the last one left out: it is as full as our neighbourhood.
    pub(crate) fn next_thin(&self, from: u32) -> Option<u32> {
        let last = self.buckets.len() as u32 - 1;
        (from..last).find(|index| self.buckets[*index as usize].live.len() < K)
    }

    /// Of its subnet and its site the node would not be one too many.
    fn is_diverse(&self, index: usize, addr: SocketAddr, limits: &Limits) -> bool {
        let of = |net: fn(_) -> Option<Subnet>, node: &Node| net(node.addr.ip()) == net(addr.ip());
        subnet(addr.ip()).is_none()
            || (self.buckets[index].all().filter(|node| of(subnet, node)).count()
                < limits.bucket_subnet as usize
                && self.all().filter(|node| of(site, node)).count() < limits.table_site as usize)
    }

    fn insert(&mut self, node: Node, limits: &Limits) -> bool {
        loop {
            let index = self.index(&node.id);
            if !self.is_diverse(index, node.addr, limits) {
                return false;
            }
            let can_split = index + 1 == self.buckets.len() && index + 1 < NodeId::BITS as usize;
            let bucket = &mut self.buckets[index];
            if bucket.live.len() < K {
                bucket.due_from = Instant::ZERO;
                bucket.live.push(node);
                self.changes += 1;
                return true;
            }
            if can_split {
                self.split();
                continue;
            }
            // Full. A node that fits its address takes the place of one that does not; the loser waits as a spare.
            let worst = (0..K).min_by_key(|at| bucket.live[*at].worth()).expect("the bucket is full");
            bucket.due_from = Instant::ZERO;
            self.changes += 1;
            let worse = &bucket.live[worst];
            let spare = if !worse.is_good() || (node.fits && !worse.fits) {
                core::mem::replace(&mut bucket.live[worst], node)
            } else {
                node
            };
            if bucket.spare.len() >= limits.bucket_spares as usize {
                let worst = (0..bucket.spare.len()).min_by_key(|at| bucket.spare[*at].worth());
                match worst.filter(|at| bucket.spare[*at].worth() < spare.worth()) {
                    Some(at) => drop(bucket.spare.remove(at)),
                    None => return false,
                }
            }
            bucket.spare.push(spare);
            return true;
        }
    }

    fn split(&mut self) {
        let bits = self.buckets.len() as u32 - 1;
        let (own, last) = (self.own, self.buckets.pop().expect("a table has a bucket"));
        let near = |node: &Node| own.common_bits(&node.id) > bits;
        let (live_near, live_far) = last.live.into_iter().partition(near);
        let (spare_near, spare_far) = last.spare.into_iter().partition(near);
        for (live, spare) in [(live_far, spare_far), (live_near, spare_near)] {
            let mut bucket = Bucket { live, spare, due_from: Instant::ZERO };
            bucket.fill();
            self.buckets.push(bucket);
        }
    }

    fn remove(&mut self, id: &NodeId) {
        let index = self.index(id);
        let bucket = &mut self.buckets[index];
        bucket.live.retain(|node| node.id != *id);
        bucket.spare.retain(|node| node.id != *id);
        bucket.fill();
        self.changes += 1;
    }

    /// The node at this address did not answer, and others did.
    pub(crate) fn failed(&mut self, now: Instant, id: &NodeId, addr: SocketAddr) {
        let index = self.index(id);
        let bucket = &mut self.buckets[index];
        let has_spare = !bucket.spare.is_empty();
        let Some(node) =
            bucket.live.iter_mut().chain(&mut bucket.spare).find(|n| n.id == *id && n.addr == addr)
        else {
            return;
        };
        node.fails += 1;
        node.probed = Some(now);
        bucket.due_from = Instant::ZERO;
        let patience = if node.replies < 2 { 1 } else { FAILS_MAX - u8::from(has_spare) };
        if node.fails >= patience {
            self.remove(id);
        }
    }

    /// A node answers under another id than the one we knew: the old one is gone.
    pub(crate) fn forget(&mut self, id: &NodeId, addr: SocketAddr) {
        if self.all().any(|node| node.id == *id && node.addr == addr) {
            self.remove(id);
        }
    }

    /// The node that has to be probed first, and when; and a time before which no other has to be.
    pub(crate) fn due(&mut self) -> (Option<(Instant, NodeId, SocketAddr)>, Option<Instant>) {
        loop {
            let filled = |(_, bucket): &(usize, &Bucket)| !bucket.live.is_empty();
            let buckets = self.buckets.iter().enumerate().filter(filled);
            let Some((at, bucket)) = buckets.min_by_key(|(_, bucket)| bucket.due_from) else {
                return (None, None);
            };
            let mut dues: Vec<_> = bucket.live.iter().map(|node| (node.due(), node.id, node.addr)).collect();
            dues.sort_unstable();
            // The bucket's own bound may have been too early; then another one may come first.
            let early = dues[0].0 > bucket.due_from;
            self.buckets[at].due_from = dues[0].0;
            if early {
                continue;
            }
            let others =
                self.buckets.iter().enumerate().filter(|(other, b)| *other != at && !b.live.is_empty());
            let next = others.map(|(_, bucket)| bucket.due_from).chain(dues.get(1).map(|due| due.0)).min();
            return (Some(dues[0]), next);
        }
    }

    /// The node is being probed.
    pub(crate) fn probed(&mut self, now: Instant, id: &NodeId) {
        let index = self.index(id);
        if let Some(node) = self.buckets[index].live.iter_mut().find(|node| node.id == *id) {
            node.probed = Some(now);
        }
    }

    /// The up to `count` nodes closest to `target`: those that are good, or also those that have not failed yet.
    pub(crate) fn closest(&self, target: &NodeId, count: usize, good: bool) -> Vec<(NodeId, SocketAddr)> {
        // Closest of all is the target's own bucket, then whatever lies beyond it, then one bucket after the other
        // back to the first: mostly one or two have to be looked at.
        let (at, len) = (self.index(target), self.buckets.len());
        let near = [at..at + 1, at + 1..len];
        let groups = near.into_iter().chain((0..at).rev().map(|at| at..at + 1));
        let mut best: Vec<([u8; 20], &Node)> = Vec::with_capacity(count.min(2 * K));
        for group in groups {
            if best.len() >= count {
                break;
            }
            let start = best.len();
            let nodes = self.buckets[group].iter().flat_map(|b| &b.live);
            let usable = nodes.filter(|node| node.is_good() || (!good && node.fails == 0));
            best.extend(usable.map(|node| (node.id.distance(target), node)));
            best[start..].sort_unstable_by_key(|(distance, _)| *distance);
        }
        best.truncate(count);
        best.into_iter().map(|(_, node)| (node.id, node.addr)).collect()
    }

    pub(crate) fn check_invariants(&self, limits: &Limits) {
        let deepest = self.buckets.len() - 1;
        assert!(deepest < NodeId::BITS as usize, "there are no more buckets than bits");
        for (index, bucket) in self.buckets.iter().enumerate() {
            assert!(bucket.live.len() <= K, "a bucket has at most {K} nodes");
            assert!(bucket.spare.len() <= limits.bucket_spares as usize, "spares stay within their limit");
            assert!(
                bucket.spare.is_empty() || bucket.live.len() == K,
                "spares wait only where there is no room"
            );
            assert!(
                bucket.live.iter().all(|n| n.due() >= bucket.due_from),
                "no node is due before its bucket"
            );
            for node in bucket.all() {
                assert_eq!(self.index(&node.id), index, "a node is in the bucket of its id");
                assert!(node.id != self.own, "we are not in our own table");
                let same = |net: fn(_) -> Option<Subnet>, other: &&Node| {
                    net(node.addr.ip()).is_some() && net(other.addr.ip()) == net(node.addr.ip())
                };
                let in_bucket = bucket.all().filter(|n| same(subnet, n)).count();
                assert!(in_bucket <= limits.bucket_subnet as usize, "a subnet keeps its share of a bucket");
                let in_table = self.all().filter(|n| same(site, n)).count();
                assert!(in_table <= limits.table_site as usize, "a site keeps its share of the table");
                let twins = self.all().filter(|n| source(n.addr) == source(node.addr) || n.id == node.id);
                assert_eq!(twins.count(), 1, "an address and an id are in the table once");
            }
        }
    }
}

impl Bucket {
    /// Spares move up while there is room, the best first.
    fn fill(&mut self) {
        self.due_from = Instant::ZERO;
        while self.live.len() < K
            && let Some(best) = (0..self.spare.len()).max_by_key(|at| self.spare[*at].worth())
        {
            self.live.push(self.spare.remove(best));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::rng::Rng;

    fn host(n: u32) -> SocketAddr {
        SocketAddr::new(core::net::Ipv4Addr::from_bits(0x1400_0001 + (n << 8)).into(), 6881)
    }

    fn filled(count: u32) -> (Table, Vec<(NodeId, SocketAddr)>) {
        let (mut rng, limits) = (Rng::new([5; 32]), Limits::default());
        let mut table = Table::new(NodeId::random(&mut rng));
        for n in 0..count {
            table.replied(Instant(n.into()), NodeId::random(&mut rng), host(n), &limits);
        }
        table.check_invariants(&limits);
        let nodes = table.live().map(|node| (node.id, node.addr)).collect();
        (table, nodes)
    }

    #[test]
    fn the_closest_are_those_a_full_search_finds() {
        let (table, nodes) = filled(2000);
        assert!(table.len() > 60 && table.len() < 120, "{}", table.len());
        let mut rng = Rng::new([6; 32]);
        for bits in (0..12).cycle().take(200) {
            let target = table.own().random_near(bits, true, &mut rng);
            let mut all = nodes.clone();
            all.sort_by_key(|(id, _)| id.distance(&target));
            all.truncate(K);
            assert_eq!(table.closest(&target, K, true), all);
        }
    }

    #[test]
    fn a_silent_node_goes_and_a_spare_takes_its_place() {
        let (mut table, nodes) = filled(2000);
        let (limits, before) = (Limits::default(), table.len());
        let (id, addr) = nodes[0];
        table.replied(Instant(9999), id, addr, &limits);
        table.failed(Instant(10_000), &id, addr);
        assert!(table.closest(&id, 1, true) != [(id, addr)], "who owes an answer is not passed on");
        table.replied(Instant(10_001), id, addr, &limits);
        assert_eq!(table.closest(&id, 1, true), [(id, addr)]);
        for n in 0..2 {
            table.failed(Instant(10_002 + n), &id, addr);
        }
        assert!(table.live().all(|node| node.id != id));
        assert_eq!(table.len(), before);
        table.check_invariants(&limits);
    }

    #[test]
    fn an_id_stays_where_it_answers_and_an_address_keeps_one_node() {
        let (mut table, nodes) = filled(100);
        let limits = Limits::default();
        let ((id, addr), (other, _)) = (nodes[0], nodes[1]);
        assert!(!table.replied(Instant(500), id, host(9000), &limits), "the id is taken");
        assert!(!table.replied(Instant(500), NodeId([9; 20]), SocketAddr::new(addr.ip(), 99), &limits));
        assert!(table.closest(&id, 1, true) == [(id, addr)]);
        // The same port under another id has been started anew.
        table.replied(Instant(501), NodeId([9; 20]), addr, &limits);
        assert!(table.live().all(|node| node.id != id) && table.live().any(|node| node.id == other));
        table.check_invariants(&limits);
    }

    #[test]
    fn silence_makes_a_node_due_and_queries_alone_do_not_keep_it() {
        let limits = Limits::default();
        let mut table = Table::new(NodeId([0; 20]));
        let (id, addr) = (NodeId([1; 20]), host(1));
        table.replied(Instant(0), id, addr, &limits);
        assert_eq!(table.due().0.map(|(at, ..)| at), Some(Instant(0) + PROBATION));
        table.replied(Instant(1), id, addr, &limits);
        assert_eq!(table.due().0.map(|(at, ..)| at), Some(Instant(1) + QUESTIONABLE_AFTER));
        let mut now = Instant(1);
        for _ in 0..10 {
            now = now + crate::Duration::from_secs(600);
            assert!(table.queried(now, &id, addr));
        }
        assert_eq!(table.due().0.map(|(at, ..)| at), Some(Instant(1) + ANSWER_WITHIN));
        assert!(!table.queried(now, &id, host(2)), "a forged sender is nobody");
    }

    #[test]
    fn a_node_that_fits_its_address_is_preferred() {
        let (limits, mut rng) = (Limits::default(), Rng::new([7; 32]));
        let mut table = Table::new(NodeId([0; 20]));
        let far = |mut id: NodeId| {
            id.0[0] |= 0x80;
            id
        };
        for n in 0..8 {
            table.replied(Instant(n), far(NodeId::random(&mut rng)), host(n as u32), &limits);
        }
        // Split, so that the far bucket is full for good.
        table.replied(Instant(9), NodeId([1; 20]), host(100), &limits);
        let good = (200..)
            .map(|n| (NodeId::for_address(host(n).ip(), &mut rng), host(n)))
            .find(|(id, _)| id.0[0] & 0x80 != 0)
            .expect("half of the ids are far");
        assert!(table.replied(Instant(10), good.0, good.1, &limits));
        assert!(table.live().any(|node| node.id == good.0));
        table.check_invariants(&limits);
    }
}
