//! What `--nice` knows: the rate, and where bytes come from. `nice.rs` measures and moves the cap.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::sync::Notify;
use zest_core::Instant;
use zest_core::nice::{Event, Nice};

/// Measurements under way at once, at most: 8. Ours; ten are begun in a second that is given to none.
const PROBES_MAX: usize = 8;
/// Where bytes came from within 10 s is measured. Ours; what is received comes in turns.
const RECENT: Duration = Duration::from_secs(10);

/// What the line's state is, while `--nice` is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NiceStats {
    /// Bytes per second that may be received over the line at present: from whoever is not on this machine or this network.
    pub rate: u64,
    /// How long packets waited in the line's queue in the last tenths of a second, in microseconds; nothing if nothing could be measured.
    #[serde(default)]
    pub queueing_us: Option<u64>,
}

/// A place where bytes come from.
#[derive(Debug, Clone, Copy)]
struct Source {
    addr: SocketAddr,
    at: Instant,
}

/// What moves the cap.
#[derive(Debug, Default)]
pub(crate) struct Steering {
    nice: RefCell<Option<Nice>>,
    /// The origin, and a peer that we dialled.
    origin: Cell<Option<Source>>,
    peer: Cell<Option<Source>>,
    probes: Cell<usize>,
    /// It was switched on, or bytes came after a rest.
    wakes: Notify,
    rests: Cell<bool>,
}

impl Steering {
    /// On or off from now on; whether that is news.
    pub(crate) fn set(&self, now: Instant, on: bool) -> bool {
        let news = on != self.is_on();
        if news {
            *self.nice.borrow_mut() = on.then(|| Nice::new(now));
            self.wakes.notify_one();
        }
        news
    }

    pub(crate) fn is_on(&self) -> bool {
        self.nice.borrow().is_some()
    }

    /// The rate that keeps the queue short, while it is on.
    pub(crate) fn rate(&self) -> Option<u64> {
        self.nice.borrow().as_ref().map(Nice::rate)
    }

    pub(crate) fn stats(&self) -> Option<NiceStats> {
        let nice = self.nice.borrow();
        let us = |queueing: Duration| u64::try_from(queueing.as_micros()).unwrap_or(u64::MAX);
        nice.as_ref().map(|nice| NiceStats { rate: nice.rate(), queueing_us: nice.queueing().map(us) })
    }

    /// Bytes came in.
    pub(crate) fn took(&self, now: Instant, bytes: usize) {
        self.tell(now, Event::Received { bytes: bytes as u64 });
    }

    /// The origin gives bytes from there.
    pub(crate) fn origin_at(&self, now: Instant, addr: SocketAddr) {
        self.came_from(&self.origin, now, addr);
    }

    /// A peer that we dialled gives bytes from there.
    pub(crate) fn peer_at(&self, now: Instant, addr: SocketAddr) {
        self.came_from(&self.peer, now, addr);
    }

    /// One place is kept to as long as it gives: round trips of different places say little about each other.
    fn came_from(&self, source: &Cell<Option<Source>>, now: Instant, addr: SocketAddr) {
        if !self.is_on() {
            return;
        }
        let addr = match source.get().filter(|source| now.since(source.at) < RECENT) {
            Some(old) if old.addr != addr => old.addr,
            _ => addr,
        };
        // Another place that gives keeps this one: it is the same line.
        source.set(Some(Source { addr, at: now }));
        if self.rests.replace(false) {
            self.wakes.notify_one();
        }
    }

    /// Where to measure: outside this site if anything comes from there. What comes over the line from an address of this site
    /// comes through a proxy, which is measured where there is nothing else.
    pub(crate) fn place(&self, now: Instant) -> Option<SocketAddr> {
        let recent = |source: &Cell<Option<Source>>| {
            source.get().filter(|source| now.since(source.at) < RECENT).map(|source| source.addr)
        };
        let (origin, peer) = (recent(&self.origin), recent(&self.peer));
        [origin, peer].into_iter().flatten().find(|addr| is_far(addr.ip())).or(origin).or(peer)
    }

    /// A measurement may begin.
    pub(crate) fn may_probe(&self) -> bool {
        let free = self.probes.get() < PROBES_MAX;
        self.probes.set(self.probes.get() + usize::from(free));
        free
    }

    /// A measurement has ended.
    pub(crate) fn probed(&self) {
        self.probes.set(self.probes.get() - 1);
    }

    /// Nothing comes: waits until something does, or it is switched on.
    pub(crate) async fn rest(&self) {
        self.rests.set(true);
        self.wakes.notified().await;
    }

    pub(crate) fn tell(&self, now: Instant, event: Event) {
        if let Some(nice) = &mut *self.nice.borrow_mut() {
            nice.handle(now, event);
        }
    }

    /// When the next decision is due, while it is on.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.nice.borrow().as_ref().map(Nice::poll_timeout)
    }
}

/// Whether an address is surely none of this network.
fn is_far(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => !(v4.is_private() || v4.is_loopback() || v4.is_link_local()),
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn at(seconds: u64) -> Instant {
        Instant(seconds * 1_000_000)
    }

    #[test]
    fn it_is_measured_where_bytes_come_from_and_that_is_kept_to() {
        let steering = Steering::default();
        steering.origin_at(at(1), addr("203.0.113.1:443"));
        assert_eq!(steering.place(at(1)), None, "it is off");
        steering.set(at(1), true);
        steering.peer_at(at(1), addr("192.168.1.7:6881"));
        assert_eq!(steering.place(at(1)), Some(addr("192.168.1.7:6881")), "nothing else gives");
        steering.peer_at(at(1), addr("198.51.100.9:6881"));
        steering.origin_at(at(2), addr("203.0.113.1:443"));
        steering.origin_at(at(3), addr("203.0.113.2:443"));
        assert_eq!(steering.place(at(3)), Some(addr("203.0.113.1:443")), "the line, not the house");
        assert_eq!(steering.place(at(12)), Some(addr("203.0.113.1:443")));
        steering.origin_at(at(14), addr("203.0.113.2:443"));
        assert_eq!(steering.place(at(14)), Some(addr("203.0.113.2:443")), "the first is silent");
        assert_eq!(steering.place(at(24)), None);
        steering.set(at(24), false);
        assert_eq!((steering.rate(), steering.stats()), (None, None));
    }

    #[test]
    fn this_network_is_told_from_the_world() {
        for near in ["192.168.0.1", "10.1.2.3", "127.0.0.1", "::1", "fd00::1", "fe80::1", "::ffff:10.0.0.1"] {
            assert!(!is_far(near.parse().expect("an address")), "{near}");
        }
        for far in ["203.0.113.1", "2001:db8::1"] {
            assert!(is_far(far.parse().expect("an address")), "{far}");
        }
    }
}
