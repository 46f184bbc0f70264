//! Whether strangers can reach us. Only then do we offer ourselves as a node; otherwise we are read-only (BEP 43).
//!
//! A query that arrives from an address to which we have sent nothing for five minutes has come through without our
//! help, so no NAT holds it back. To be found by strangers a node must first be known: during a **trial** the queries of
//! the lookup for our own id are sent without `ro`, all others with it, and everybody is answered. Two
//! strangers end the trial well; if none come the node retires to read-only and tries again after a pause.

use super::addr::source;
use super::limits::{REACHED_LIFE, STRANGER_AFTER, TRIAL, TRIAL_PAUSE};
use crate::{Duration, Instant};
use core::net::{IpAddr, SocketAddr};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first answer of anybody.
    Offline,
    Trial {
        until: Instant,
        stranger: Option<IpAddr>,
    },
    Open {
        until: Instant,
    },
    ReadOnly {
        until: Instant,
    },
}

#[derive(Debug)]
pub(crate) struct Reach {
    state: State,
    pause: Duration,
    /// What the runtime knows for sure.
    told: Option<bool>,
    contacts: Contacts,
}

impl Reach {
    pub(crate) fn new() -> Self {
        Self { state: State::Offline, pause: TRIAL_PAUSE.0, told: None, contacts: Contacts::default() }
    }

    /// The runtime knows (a port mapping, a public address), or no longer does.
    pub(crate) fn tell(&mut self, told: Option<bool>) {
        self.told = told;
    }

    /// The network has changed: what was found out no longer counts.
    pub(crate) fn restart(&mut self) {
        self.state = State::Offline;
        self.pause = TRIAL_PAUSE.0;
    }

    /// Somebody answered us.
    pub(crate) fn online(&mut self, now: Instant) {
        if self.state == State::Offline {
            self.state = State::Trial { until: now + TRIAL, stranger: None };
        }
    }

    /// Something is sent there.
    pub(crate) fn contact(&mut self, now: Instant, addr: SocketAddr) {
        self.contacts.add(now, addr);
    }

    /// Something was sent there in the last five to ten minutes.
    pub(crate) fn contacted(&mut self, now: Instant, addr: SocketAddr) -> bool {
        self.contacts.has(now, addr)
    }

    /// A query came. Returns whether it shows for the first time that strangers reach us.
    pub(crate) fn queried(&mut self, now: Instant, from: SocketAddr) -> bool {
        let ip = from.ip();
        if self.contacts.has(now, from) {
            return false;
        }
        let until = now + REACHED_LIFE;
        match self.state {
            State::Trial { stranger: None, until } => {
                self.state = State::Trial { until, stranger: Some(ip) };
                false
            }
            State::Trial { stranger: Some(first), .. } if first != ip => {
                self.state = State::Open { until };
                self.pause = TRIAL_PAUSE.0;
                true
            }
            State::Open { .. } => {
                self.state = State::Open { until };
                false
            }
            State::Trial { .. } | State::ReadOnly { .. } | State::Offline => false,
        }
    }

    /// Time passes. `small` networks have no strangers, so nobody retires from them.
    pub(crate) fn tick(&mut self, now: Instant, small: bool) {
        match self.state {
            State::Trial { until, .. } if until <= now && !small => {
                self.state = State::ReadOnly { until: now + self.pause };
                self.pause = (self.pause * 2).min(TRIAL_PAUSE.1);
            }
            State::Open { until } | State::ReadOnly { until } if until <= now => {
                self.state = State::Trial { until: now + TRIAL, stranger: None };
            }
            State::Trial { .. } | State::Open { .. } | State::ReadOnly { .. } | State::Offline => {}
        }
    }

    /// Strangers reach us as far as anybody knows.
    pub(crate) fn is_open(&self) -> bool {
        self.told.unwrap_or(matches!(self.state, State::Open { .. }))
    }

    /// Queries of others are answered.
    pub(crate) fn answers(&self) -> bool {
        self.told.unwrap_or(!matches!(self.state, State::ReadOnly { .. }))
    }

    /// A query goes out as that of a full node. `card`: it belongs to the lookup of our own id.
    pub(crate) fn offers(&self, card: bool) -> bool {
        self.told.unwrap_or(match self.state {
            State::Open { .. } => true,
            State::Trial { .. } | State::Offline => card,
            State::ReadOnly { .. } => false,
        })
    }
}

/// Which addresses were sent something lately: two generations of a small Bloom filter. It errs towards "was sent", which
/// at worst leaves a reachable node on trial a little longer.
#[derive(Debug, Default)]
struct Contacts {
    now: [u64; 32],
    before: [u64; 32],
    since: Instant,
}

impl Contacts {
    fn turn(&mut self, now: Instant) {
        let age = now.since(self.since);
        if age >= STRANGER_AFTER {
            let old = core::mem::take(&mut self.now);
            self.before = if age < STRANGER_AFTER * 2 { old } else { [0; 32] };
            self.since = now;
        }
    }

    /// Three bits of 2,048.
    fn bits(addr: SocketAddr) -> [usize; 3] {
        let addr = source(addr);
        let hash = match addr.ip() {
            IpAddr::V4(ip) => u64::from(ip.to_bits()),
            IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64 ^ ip.to_bits() as u64,
        };
        // Fibonacci hashing; whoever makes collisions only keeps itself from being a witness.
        let hash = (hash ^ u64::from(addr.port()) << 40).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        [(hash >> 53) as usize, (hash >> 42) as usize & 2047, (hash >> 31) as usize & 2047]
    }

    fn add(&mut self, now: Instant, addr: SocketAddr) {
        self.turn(now);
        Self::bits(addr).iter().for_each(|bit| self.now[bit / 64] |= 1 << (bit % 64));
    }

    fn has(&mut self, now: Instant, addr: SocketAddr) -> bool {
        self.turn(now);
        let all = |set: &[u64; 32]| Self::bits(addr).iter().all(|bit| set[bit / 64] >> (bit % 64) & 1 == 1);
        all(&self.now) || all(&self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u8) -> SocketAddr {
        SocketAddr::new([20, n, 3, 4].into(), 6881)
    }

    fn minutes(n: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(60 * n)
    }

    #[test]
    fn two_strangers_prove_that_we_can_be_reached() {
        let mut reach = Reach::new();
        reach.online(minutes(0));
        assert!(reach.answers() && !reach.is_open() && reach.offers(true) && !reach.offers(false));
        reach.contact(minutes(0), ip(1));
        assert!(!reach.queried(minutes(1), ip(1)), "we opened that door ourselves");
        assert!(!reach.queried(minutes(1), ip(2)));
        assert!(!reach.queried(minutes(2), ip(2)), "one witness twice");
        assert!(reach.queried(minutes(3), ip(3)));
        assert!(reach.is_open() && reach.offers(false));
        reach.tick(minutes(60), false);
        assert!(reach.is_open());
        reach.tick(minutes(64), false);
        assert!(!reach.is_open() && reach.answers(), "on trial again");
    }

    #[test]
    fn without_strangers_a_node_retires_and_tries_again_ever_more_seldom() {
        let mut reach = Reach::new();
        reach.online(minutes(0));
        reach.tick(minutes(19), false);
        assert!(reach.answers());
        reach.tick(minutes(20), true);
        assert!(reach.answers(), "a small network has no strangers");
        reach.tick(minutes(20), false);
        assert!(!reach.answers() && !reach.offers(true));
        reach.tick(minutes(50), false);
        assert!(reach.answers() && reach.offers(true));
        reach.tick(minutes(70), false);
        reach.tick(minutes(129), false);
        assert!(!reach.answers());
        reach.tick(minutes(130), false);
        assert!(reach.answers());
        reach.tell(Some(false));
        assert!(!reach.answers() && !reach.offers(true));
        reach.tell(Some(true));
        assert!(reach.is_open() && reach.offers(false));
    }

    #[test]
    fn contacts_are_remembered_for_five_to_ten_minutes() {
        let mut contacts = Contacts::default();
        contacts.add(minutes(1), ip(1));
        assert!(contacts.has(minutes(5), ip(1)));
        assert!(contacts.has(minutes(6), ip(1)));
        assert!(!contacts.has(minutes(12), ip(1)));
        (0..100).for_each(|n| contacts.add(minutes(12), ip(n)));
        assert!((100..=255).filter(|n| contacts.has(minutes(12), ip(*n))).count() < 8, "few are mistaken");
    }
}
