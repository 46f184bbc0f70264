//! What goes over the line: how much went, and how much may.

use crate::clock::Clock;
use crate::steering::Steering;
use crate::throttle::Throttle;
use std::cell::Cell;
use std::net::SocketAddr;

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
    /// The cap on what is received, if there is one.
    throttle: Throttle,
    /// What the user set it to.
    cap: Cell<Option<u64>>,
    /// What moves it below that.
    steering: Steering,
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
            throttle: Throttle::new(cap),
            cap: Cell::new(cap),
            steering: Steering::default(),
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

    /// Bytes came in, from whomever.
    pub(crate) fn took(&self, bytes: usize) {
        if let Some(throttle) = self.throttle() {
            throttle.took(bytes);
        }
        if self.steering.is_on() {
            self.steering.took(self.clock.now(), bytes);
        }
    }

    /// The origin gives bytes from there, or a peer that we dialled.
    pub(crate) fn comes_from(&self, addr: SocketAddr, is_origin: bool) {
        if self.steering.is_on() {
            match is_origin {
                true => self.steering.origin_at(self.clock.now(), addr),
                false => self.steering.peer_at(self.clock.now(), addr),
            }
        }
    }

    /// What moves the cap.
    pub(crate) fn steering(&self) -> &Steering {
        &self.steering
    }

    /// Whether the line's queue is to stay short, from now on.
    pub(crate) fn set_nice(&self, nice: bool) {
        self.steering.set(self.clock.now(), nice);
        self.set_cap(self.cap.get());
    }

    /// The cap follows what moves it.
    pub(crate) fn steer(&self) {
        if let Some(rate) = self.steering.rate() {
            self.throttle.steer(self.cap.get().map_or(rate, |cap| cap.min(rate)));
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

    /// The cap on what is received, if there is one.
    pub(crate) fn throttle(&self) -> Option<&Throttle> {
        Some(&self.throttle).filter(|throttle| throttle.is_set())
    }

    /// Another cap from now on, or none.
    pub(crate) fn set_cap(&self, bytes_s: Option<u64>) {
        self.cap.set(bytes_s);
        let rate = self.steering.rate();
        self.throttle.set(bytes_s.into_iter().chain(rate).min());
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
