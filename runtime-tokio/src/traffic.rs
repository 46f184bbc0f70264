//! What goes over the line: how much went, and how much may.

use crate::clock::Clock;
use crate::steering::Steering;
use crate::throttle::Throttle;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use zest_core::networks::House;
use zest_hub::Body;

/// By what way bytes come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Over the line whose queue is to stay short.
    Line,
    /// From this machine or this network; or nobody minds.
    House,
}

/// The account of all links together, and of the origin where a cap is shared with it.
pub(crate) struct Traffic {
    /// Bytes that sockets took.
    uploaded: Cell<u64>,
    /// Payload bytes that links were told to send: what the upload budget counts.
    given: Cell<u64>,
    /// Bytes from links that have ended.
    downloaded_past: Cell<u64>,
    /// What was left of today's budget of uploads, where there is one, and what was given until then.
    budget_left: Cell<Option<(u64, u64)>>,
    /// The user's cap on what is received, if there is one.
    cap: Throttle,
    /// The cap on what comes over the line, while its queue is to stay short.
    line: Throttle,
    /// What moves that.
    steering: Steering,
    /// What is on this side of the line.
    house: RefCell<House>,
    clock: Clock,
}

fn add(count: &Cell<u64>, bytes: u64) {
    count.set(count.get() + bytes);
}

impl Traffic {
    pub(crate) fn new(clock: Clock, cap: Option<u64>) -> Self {
        Self {
            uploaded: Cell::new(0),
            given: Cell::new(0),
            downloaded_past: Cell::new(0),
            budget_left: Cell::new(None),
            cap: Throttle::new(cap),
            line: Throttle::new(None),
            steering: Steering::default(),
            house: RefCell::default(),
            clock,
        }
    }

    /// A socket took so many bytes.
    pub(crate) fn sent(&self, bytes: u64) {
        add(&self.uploaded, bytes);
    }

    /// So many payload bytes more are given.
    pub(crate) fn gave(&self, bytes: u64) {
        add(&self.given, bytes);
    }

    /// The way by which a peer's bytes come.
    pub(crate) fn way_of(&self, addr: SocketAddr) -> Way {
        if !self.steering.is_on() || self.is_near(addr) { Way::House } else { Way::Line }
    }

    /// The way by which the origin's bytes come. Of a proxy nobody knows from where it has them.
    pub(crate) fn way_of_origin(&self, body: &Body) -> Way {
        if !self.steering.is_on() {
            return Way::House;
        }
        let Some(addr) = body.peer() else { return Way::Line };
        if !body.is_by_proxy() && self.is_near(addr) {
            return Way::House;
        }
        self.steering.origin_at(self.clock.now(), addr);
        Way::Line
    }

    fn is_near(&self, addr: SocketAddr) -> bool {
        let read = |name: &str| std::fs::read_to_string(name).unwrap_or_default();
        self.house.borrow_mut().holds(self.clock.now(), addr.ip(), read)
    }

    /// Waits until more may be received by this way; gives how many bytes at once. [`Traffic::took`] has to follow without a pause
    /// where the bytes are there already.
    pub(crate) async fn turn(&self, way: Way) -> usize {
        // Who waits for the line keeps nobody of this network waiting, and is alone in waiting for both.
        let line = match way {
            Way::Line if self.line.is_set() => Some(self.line.hold().await),
            _ => None,
        };
        let most = if self.cap.is_set() { self.cap.turn().await } else { usize::MAX };
        line.map_or(most, |line| line.bytes().min(most))
    }

    /// Bytes came in by this way.
    pub(crate) fn took(&self, bytes: usize, way: Way) {
        if self.cap.is_set() {
            self.cap.took(bytes);
        }
        if way == Way::Line && self.steering.is_on() {
            self.line.took(bytes);
            self.steering.took(self.clock.now(), bytes);
        }
    }

    /// A peer that we dialled gives bytes from there over the line.
    pub(crate) fn peer_at(&self, addr: SocketAddr) {
        self.steering.peer_at(self.clock.now(), addr);
    }

    /// What moves the cap.
    pub(crate) fn steering(&self) -> &Steering {
        &self.steering
    }

    /// Whether the line's queue is to stay short, from now on.
    pub(crate) fn set_nice(&self, nice: bool) {
        if self.steering.set(self.clock.now(), nice) {
            self.line.set(self.steering.rate());
        }
    }

    /// The cap follows what moves it.
    pub(crate) fn steer(&self) {
        if let Some(rate) = self.steering.rate() {
            self.line.steer(rate);
        }
    }

    /// A link has ended over which so much came.
    pub(crate) fn parted(&self, downloaded: u64) {
        add(&self.downloaded_past, downloaded);
    }

    pub(crate) fn uploaded(&self) -> u64 {
        self.uploaded.get()
    }

    pub(crate) fn given(&self) -> u64 {
        self.given.get()
    }

    /// From links that have ended.
    pub(crate) fn downloaded_past(&self) -> u64 {
        self.downloaded_past.get()
    }

    /// Whether what comes by this way is held up by a cap.
    pub(crate) fn is_capped(&self, way: Way) -> bool {
        self.cap.is_set() || (way == Way::Line && self.line.is_set())
    }

    /// Another cap from now on, or none.
    pub(crate) fn set_cap(&self, bytes_s: Option<u64>) {
        self.cap.set(bytes_s);
    }

    /// So much of the budget is left today.
    pub(crate) fn set_budget_left(&self, bytes: u64) {
        self.budget_left.set(Some((bytes, self.given.get())));
    }

    /// What is left of today's budget, where there is one.
    pub(crate) fn budget_left(&self) -> Option<u64> {
        let (left, given) = self.budget_left.get()?;
        Some(left.saturating_sub(self.given.get() - given))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn traffic(cap: Option<u64>) -> Traffic {
        let traffic = Traffic::new(Clock::start(), cap);
        traffic.set_nice(true);
        traffic
    }

    #[tokio::test]
    async fn who_waits_for_the_line_keeps_nobody_of_this_network_waiting() {
        let traffic = traffic(None);
        let ways =
            ["127.0.0.1:1", "203.0.113.1:1"].map(|addr| traffic.way_of(addr.parse().expect("an address")));
        assert_eq!(ways, [Way::House, Way::Line]);
        traffic.took(1 << 40, Way::House);
        assert!(traffic.turn(Way::Line).now_or_never().is_some(), "that came by another way");
        traffic.took(1 << 40, Way::Line);
        let waits = traffic.turn(Way::Line);
        tokio::pin!(waits);
        assert!((&mut waits).now_or_never().is_none());
        assert_eq!(traffic.turn(Way::House).now_or_never(), Some(usize::MAX));
        traffic.set_nice(false);
        assert_eq!(traffic.way_of("203.0.113.1:1".parse().expect("an address")), Way::House, "nobody minds");
    }

    #[tokio::test]
    async fn the_users_cap_is_for_all_that_comes() {
        let traffic = traffic(Some(1 << 20));
        traffic.took(1 << 30, Way::House);
        for way in [Way::House, Way::Line] {
            assert!(traffic.is_capped(way) && traffic.turn(way).now_or_never().is_none(), "{way:?}");
        }
    }
}
