//! One tracker: whether it answers, and what is open at it.

use super::url::{TrackerUrl, Transport};
use super::{
    ANSWER_WAIT, CONNECTION_LIFE, FAREWELL_AGAIN, OPEN_MAX, RESOLVED_LIFE, RETRY, RETRY_MAX, Standing,
};
use crate::endpoint::canonical;
use crate::{Duration, InfoHash, Instant};
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::announce::AnnounceEvent;

/// Addresses of one name that are used: 8. Ours.
const ADDRS_MAX: usize = 8;
/// Requests that wait for a connection id: as many as there are farewells when the process ends.
const WAITING_MAX: usize = super::FAREWELLS_MAX;

/// What is asked of a tracker.
#[derive(Debug, Clone)]
pub(super) enum Task {
    /// `seed`: sent as one who has everything.
    Announce {
        swarm: InfoHash,
        lane: usize,
        event: AnnounceEvent,
        seed: bool,
        retried: bool,
    },
    /// `tries`: how often it was sent.
    Stop {
        swarm: InfoHash,
        uploaded: u64,
        downloaded: u64,
        left: u64,
        tries: u32,
    },
    Scrape {
        swarms: Vec<InfoHash>,
    },
}

impl Task {
    pub(super) fn is_stop(&self) -> bool {
        matches!(self, Self::Stop { .. })
    }

    pub(super) fn is_about(&self, hash: InfoHash) -> bool {
        match self {
            Self::Announce { swarm, .. } | Self::Stop { swarm, .. } => *swarm == hash,
            Self::Scrape { swarms } => swarms.contains(&hash),
        }
    }
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) server: usize,
    pub(super) task: Task,
    pub(super) at: Instant,
    /// Where it went, over UDP; where its answer comes from, over HTTP.
    pub(super) to: Option<SocketAddr>,
}

impl Sent {
    pub(super) fn deadline(&self) -> Instant {
        match self.task {
            Task::Stop { .. } => self.at + FAREWELL_AGAIN,
            Task::Announce { .. } | Task::Scrape { .. } => self.at + ANSWER_WAIT,
        }
    }
}

/// A connection id, and how many requests have used it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: u64,
    until: Instant,
    pub(super) uses: u32,
}

/// What a UDP tracker needs before it can be asked.
#[derive(Debug, Default)]
pub(super) struct Udp {
    addrs: Vec<SocketAddr>,
    resolved: Option<Instant>,
    /// Since when a resolver is at work.
    pub(super) resolving: Option<Instant>,
    pub(super) connection: Option<Connection>,
    /// Transaction, address, time of an open connect request.
    pub(super) connecting: Option<(u32, SocketAddr, Instant)>,
    pub(super) waiting: VecDeque<Task>,
}

/// What a UDP tracker needs next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Resolve,
    Connect(SocketAddr),
    Ready(SocketAddr, u64),
    /// The outcome of an earlier step.
    Wait,
}

impl Udp {
    pub(super) fn step(&mut self, now: Instant) -> Step {
        if self.resolving.is_some() || self.connecting.is_some() {
            return Step::Wait;
        }
        // A farewell has no time for name servers: it goes where the tracker was.
        let parting = self.waiting.iter().all(Task::is_stop);
        let fresh = parting || self.resolved.is_some_and(|at| now.since(at) < RESOLVED_LIFE);
        let Some(&addr) = self.addrs.first().filter(|_| fresh) else { return Step::Resolve };
        self.connection = self.connection.take().filter(|connection| now < connection.until);
        match &self.connection {
            Some(connection) => Step::Ready(addr, connection.id),
            None => Step::Connect(addr),
        }
    }

    pub(super) fn resolved(&mut self, now: Instant, addrs: &[SocketAddr]) {
        self.resolving = None;
        self.resolved = Some(now);
        self.addrs = addrs
            .iter()
            .map(|addr| canonical(*addr))
            .filter(|addr| crate::endpoint::is_dialable(*addr))
            .take(ADDRS_MAX)
            .collect();
        // An id belongs to the address that gave it.
        self.connection = None;
    }

    pub(super) fn has_addrs(&self) -> bool {
        !self.addrs.is_empty()
    }

    pub(super) fn connected(&mut self, now: Instant, id: u64) {
        self.connecting = None;
        self.connection = Some(Connection { id, until: now + CONNECTION_LIFE, uses: 0 });
    }

    /// Keeps a task until there is a connection. Announces are bounded by [`OPEN_MAX`]; of the others those beyond the
    /// limit are left out.
    pub(super) fn wait(&mut self, task: Task) {
        if matches!(task, Task::Announce { .. }) || self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(task);
        }
    }
}

/// One tracker.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) url: TrackerUrl,
    pub(super) udp: Udp,
    /// Failures in a row.
    pub(super) failures: u32,
    failed_at: Instant,
    /// Not asked before.
    pub(super) retry_at: Instant,
    proven: bool,
    /// Announces open or waiting.
    pub(super) open: usize,
    pub(super) tracker_id: Option<Vec<u8>>,
    /// Whether it is known to answer.
    answers: Option<bool>,
    /// What it said last, of its own or about its failure.
    said: Option<String>,
}

impl Server {
    pub(super) fn new(url: TrackerUrl) -> Self {
        let mut udp = Udp::default();
        if let Some(ip) = url.ip() {
            // No name, nothing to look up, ever.
            udp.resolved(Instant(u64::MAX), &[SocketAddr::new(ip, url.port())]);
        }
        Self {
            url,
            udp,
            failures: 0,
            failed_at: Instant::ZERO,
            retry_at: Instant::ZERO,
            proven: false,
            open: 0,
            tracker_id: None,
            answers: None,
            said: None,
        }
    }

    pub(super) fn is_udp(&self) -> bool {
        self.url.transport() == Transport::Udp
    }

    pub(super) fn is_busy(&self) -> bool {
        let max = if self.answers() { OPEN_MAX } else { 1 };
        self.open >= max
    }

    /// It answered.
    pub(super) fn works(&mut self) {
        self.failures = 0;
        self.proven = true;
        self.retry_at = Instant::ZERO;
    }

    /// It did not answer a request of `asked`; tells the pause. What was asked before the last failure is no new one.
    pub(super) fn fails(&mut self, now: Instant, asked: Instant, jitter: impl FnOnce(Duration) -> Duration) {
        if self.failures > 0 && asked < self.failed_at {
            return;
        }
        let full = (RETRY * (1 << self.failures.min(8))).min(RETRY_MAX);
        // BEP 15 counts from the request: what was waited already is part of the pause.
        let pause = if self.is_udp() { full.saturating_sub(now.since(asked)) } else { full };
        self.failures += 1;
        self.failed_at = now;
        self.retry_at = now + pause + jitter(pause / 4);
        self.udp.connection = None;
        // Perhaps another address of the same name answers, perhaps the name moved.
        if self.url.ip().is_none() && !self.udp.addrs.is_empty() {
            self.udp.addrs.rotate_left(1);
            if self.failures > 1 {
                self.udp.resolved = None;
            }
        }
    }

    /// Notes how it does; tells whether that is news. That it works is none while it keeps refusing some swarms.
    pub(super) fn stands(&mut self, standing: &Standing) -> bool {
        let (answers, text) = match standing {
            Standing::Works => (true, None),
            Standing::Warns(text) | Standing::Refuses(text) => (true, Some(text)),
            Standing::Fails { why, .. } => (false, Some(why)),
        };
        let turned = self.answers.replace(answers) != Some(answers);
        let new_words = text.is_some() && self.said.as_ref() != text;
        if new_words {
            self.said = text.cloned();
        }
        turned || new_words
    }

    /// Whether it answers, as far as is known: nobody waits for one that does not.
    pub(super) fn answers(&self) -> bool {
        self.proven && self.failures == 0
    }

    /// Whether farewells wait for a connection.
    pub(super) fn is_parting(&self) -> bool {
        self.answers() && !self.udp.waiting.is_empty()
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.open <= OPEN_MAX, "requests at a tracker are bounded");
        assert!(self.udp.waiting.len() <= WAITING_MAX + OPEN_MAX, "requests that wait are bounded");
        assert!(self.udp.addrs.len() <= ADDRS_MAX, "addresses are bounded");
        assert!(self.is_udp() || self.udp.waiting.is_empty(), "nothing waits for a connection over HTTP");
        assert!(
            self.udp.resolving.is_none() || self.udp.connecting.is_none(),
            "an address comes before a connection"
        );
    }
}
