//! What was learnt of a peer holds for all jobs, and for the links it opens after this one.
//!
//! Who fell silent, or refused what it said it has, is believed again as soon as it gives something: until then it is asked for
//! one thing at a time that others may give as well, and nobody waits for it. Many small files would else pay for it one by one.

use super::Node;
use super::event::Direction;
use super::peer::Peer;
use crate::{Duration, Instant, LinkId, PeerId};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// What was learnt is forgotten after this: 10 min. Ours.
const LESSON: Duration = Duration::from_secs(600);
/// Lessons remembered at most, by address and by id each: 1,024. Ours; the oldest makes room.
pub const LESSONS_MAX: usize = 1024;
/// Ids at one address that gave nothing, after which no other one there is believed before it gives something: 3. Ours; who has one address
/// can have any number of ids.
const USELESS_IDS: usize = 3;
/// Peers that were found too slow are taken to be for this long: 30 s. Ours.
const SLOW: Duration = Duration::from_secs(30);

/// Who gave nothing when it was asked.
#[derive(Debug, Default)]
pub(crate) struct Lessons {
    /// Addresses that we dialled.
    by_addr: BTreeMap<SocketAddr, Instant>,
    /// Ids at the addresses from which they came.
    by_id: BTreeMap<(IpAddr, PeerId), Instant>,
    /// Until when all peers together are taken to be slower than the origin's help is worth.
    slow_until: Option<Instant>,
}

impl Lessons {
    fn learn(&mut self, now: Instant, addr: SocketAddr, direction: Direction, id: PeerId) {
        if direction == Direction::Outbound {
            insert(&mut self.by_addr, addr, now + LESSON);
        }
        insert(&mut self.by_id, (addr.ip(), id), now + LESSON);
    }

    fn forget(&mut self, addr: SocketAddr, id: PeerId) {
        self.by_addr.remove(&addr);
        self.by_id.remove(&(addr.ip(), id));
    }

    /// Whether an address gave nothing when it was last linked.
    pub(super) fn is_useless(&self, now: Instant, addr: SocketAddr) -> bool {
        self.by_addr.get(&addr).is_some_and(|until| now < *until)
    }

    fn knows(&self, now: Instant, addr: SocketAddr, direction: Direction, id: PeerId) -> bool {
        let by_id = self.by_id.get(&(addr.ip(), id)).is_some_and(|until| now < *until);
        by_id || direction == Direction::Outbound && self.is_useless(now, addr)
    }

    /// Whether so many ids at an address gave nothing that it is no longer a matter of one. On this machine unrelated processes live.
    fn is_home_of_useless(&self, now: Instant, ip: IpAddr) -> bool {
        let here = (ip, PeerId([0; 20]))..=(ip, PeerId([0xff; 20]));
        let useless = self.by_id.range(here).filter(|(_, until)| now < **until);
        !ip.to_canonical().is_loopback() && useless.take(USELESS_IDS).count() == USELESS_IDS
    }

    pub(super) fn slow(&mut self, now: Instant) {
        self.slow_until = Some(now + SLOW);
    }

    pub(super) fn not_slow(&mut self) {
        self.slow_until = None;
    }

    pub(super) fn is_slow(&self, now: Instant) -> bool {
        self.slow_until.is_some_and(|until| now < until)
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.by_addr.len().max(self.by_id.len()) <= LESSONS_MAX, "lessons stay within their limit");
    }
}

fn insert<K: Ord + Copy>(map: &mut BTreeMap<K, Instant>, key: K, until: Instant) {
    map.insert(key, until);
    if map.len() > LESSONS_MAX
        && let Some(oldest) = map.iter().min_by_key(|(_, until)| **until).map(|(key, _)| *key)
    {
        map.remove(&oldest);
    }
}

impl Node {
    /// A link came up. Whom we know to give nothing is on probation from the start.
    pub(super) fn remember(&self, now: Instant, peer: &mut Peer) {
        let useless = self.contacts.lessons.knows(now, peer.who.addr, peer.who.direction, peer.who.id);
        if useless || self.is_useless_place(now, peer.who.addr.ip()) {
            peer.distrust();
        }
    }

    /// Whether several ids at an address gave nothing, and none that is linked gave anything.
    fn is_useless_place(&self, now: Instant, ip: IpAddr) -> bool {
        let gave = |peer: &Peer| peer.word.useful && peer.who.addr.ip() == ip;
        self.contacts.lessons.is_home_of_useless(now, ip) && !self.peers.values().any(gave)
    }

    /// The peer is on probation, and will be when it comes back. So are its other links, and others there, if it is not the first one.
    pub(super) fn learn(&mut self, now: Instant, link: LinkId) {
        let Some(peer) = self.peers.get(&link) else { return };
        let (ip, id) = (peer.who.addr.ip(), peer.who.id);
        self.contacts.lessons.learn(now, peer.who.addr, peer.who.direction, id);
        let all = self.is_useless_place(now, ip);
        let fresh = |peer: &Peer| !peer.word.useful && !peer.probation() && !peer.closing;
        let theirs = |peer: &Peer| peer.who.addr.ip() == ip && (all || peer.who.id == id) && fresh(peer);
        let others: Vec<LinkId> =
            self.peers.iter().filter(|(_, peer)| theirs(peer)).map(|(link, _)| *link).collect();
        others.into_iter().for_each(|other| self.put_on_probation(other));
    }

    /// What the peer is asked for is asked of others, too, and what it says it has counts no more.
    fn put_on_probation(&mut self, link: LinkId) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        peer.distrust();
        self.count_all_off(link);
        self.sync_counted(link);
    }

    /// It gave something after all.
    pub(super) fn unlearn(&mut self, link: LinkId) {
        if let Some(peer) = self.peers.get(&link) {
            self.contacts.lessons.forget(peer.who.addr, peer.who.id);
        }
    }

    /// It refused too often what it said it has: nobody relies on what it says any more, of whatever file.
    pub(super) fn distrust(&mut self, now: Instant, link: LinkId) {
        if self.peers.get(&link).is_some_and(|peer| !peer.probation()) {
            self.put_on_probation(link);
            self.learn(now, link);
        }
    }

    /// Nothing is asked of a peer any more that was silent when it was: others gave it meanwhile. If it never gave anything, the
    /// next file does not wait for it again.
    pub(super) fn silent_to_the_end(&mut self, now: Instant, link: LinkId) {
        let never_gave = |peer: &&Peer| !peer.word.useful && !peer.pace.crowded && !peer.closing;
        if self.peers.get(&link).filter(never_gave).is_some_and(|peer| peer.asked.requests.is_empty()) {
            self.distrust(now, link);
        }
    }

    /// Peers were silent for so long that the origin had to help: unless the others are quick, it helps from the start next time.
    pub(super) fn learn_how_slow(&mut self, now: Instant) {
        let together: u64 = self.peers.values().map(|peer| peer.pace.rate_bytes_s).sum();
        if self.is_fast() && together < self.config.joins_below() {
            self.contacts.lessons.slow(now);
        }
    }

    /// Whether somebody is linked, or may be soon, of whom something can be expected.
    pub(super) fn somebody_is_worth_waiting_for(&self, now: Instant) -> bool {
        self.peers.values().any(Peer::is_worth_waiting_for) || self.dialling_somebody_new(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_judged_by_several_ids_and_this_machine_never() {
        let (mut lessons, now) = (Lessons::default(), Instant(1));
        let learn = |lessons: &mut Lessons, ip: &str, id: u8| {
            let addr = SocketAddr::new(ip.parse().unwrap(), 5000 + u16::from(id));
            lessons.learn(now, addr, Direction::Inbound, PeerId([id; 20]));
        };
        let there = |ip: &str| ip.parse::<IpAddr>().unwrap();
        for id in [0, 0, 0xff] {
            learn(&mut lessons, "10.0.0.2", id);
            learn(&mut lessons, "10.0.0.1", 7);
            learn(&mut lessons, "10.0.0.3", 7);
        }
        assert!(!lessons.is_home_of_useless(now, there("10.0.0.2")), "the same one twice is one");
        learn(&mut lessons, "10.0.0.2", 1);
        assert!(lessons.is_home_of_useless(now, there("10.0.0.2")));
        assert!(!lessons.is_home_of_useless(now, there("10.0.0.1")), "a neighbour is another");
        assert!(!lessons.is_home_of_useless(now + LESSON, there("10.0.0.2")), "it is forgotten");
        (0..9).for_each(|id| learn(&mut lessons, "127.0.0.1", id));
        assert!(!lessons.is_home_of_useless(now, there("127.0.0.1")));
    }
}
