//! A home line with one queue before it: a pull, a ping, and maybe somebody's download, packet by packet. The pull is held by the real
//! [`Nice`], or not at all.
//!
//! What the worlds of [`crate::run()`] leave out is in here: a queue of finite length that all share, and senders that fill it. A
//! connection is TCP as far as this needs it: slow start, one more segment per round trip, half the window at a loss, a receive
//! window that grows with what is read, and closes when nothing is. Left out: SACK and time-outs in detail, delayed acknowledgements, the line's other direction
//! (acknowledgements and requests are never held up).

use crate::queue::Queue;
use crate::rng::Rng;
use crate::scenario::{MS, SEC};
use std::fmt;
use zest_core::nice::{Event, Nice, ROUND_START};
use zest_core::{Duration, Instant};

/// Bytes of a segment's payload.
const SEGMENT: u64 = 1448;
/// Bytes of a packet around its payload.
const HEAD: u64 = 52;
/// Segments at once at first (RFC 6928).
const WINDOW_FIRST: u64 = 10 * SEGMENT;
/// Bytes that a receiver has room for at first, as Linux has it.
const BUFFER_FIRST: u64 = 64 << 10;
/// The same at most.
const BUFFER_MAX: u64 = 6 << 20;
/// The same where somebody is held back: Linux 6.18 was seen to leave 80 to 130 KB, as little is read in a round trip but in turns.
const BUFFER_HELD: u64 = 128 << 10;
/// A sender that was silent for so long begins anew with its window (RFC 5681, 4.1; the least time-out of RFC 6298 in Linux and a little).
const RESTART: u64 = 250 * MS;
/// The ping beside it.
const PING_EVERY: u64 = 20 * MS;
/// A connection that nobody answered is tried again after this (RFC 6298).
const AGAIN: Duration = Duration::from_secs(1);
/// Bytes that the HTTP library reads at once at first, and at most; in between twice as much each time that so much was there (hyper 1).
const READ_FIRST: u64 = 8 << 10;
const READ_MAX: u64 = 408 << 10;
/// Bytes that are read at once at most while the pull is nice: as `zest-hub` has it.
const PIECE: u64 = 16 << 10;
/// What may be caught up, as the download cap of `zest-runtime-tokio` has it.
const SLACK: u64 = 50 * MS;

/// A line, and who is on it.
#[derive(Debug, Clone)]
pub struct Home {
    /// What goes through, bytes per second.
    pub bytes_s: u64,
    /// What waits before it at most, bytes; what comes then is lost.
    pub queue_bytes: u64,
    /// A round trip without any queue.
    pub rtt_ns: u64,
    /// Connections of the pull.
    pub streams: usize,
    /// Bytes asked for at once over one of them.
    pub block_bytes: u64,
    /// Bytes per second that the pull's sources give together, at most.
    pub source_bytes_s: u64,
    /// Whether it is nice.
    pub nice: bool,
    /// Bytes that are read from a socket at once, at most, while it is nice.
    pub read_bytes: u64,
    /// Somebody's download, from when to when.
    pub other: Option<(u64, u64)>,
    /// Round trips take so much longer, at random.
    pub jitter_ns: u64,
    /// How long it is watched.
    pub until: u64,
}

impl Home {
    /// So many Mbit/s, milliseconds of queue and of a round trip; else as usual.
    #[must_use]
    pub fn of(nice: bool, mbit: u64, queue_ms: u64, rtt_ms: u64) -> Self {
        let bytes_s = mbit * 125_000;
        let queue_bytes = bytes_s * queue_ms / 1000;
        Self { bytes_s, queue_bytes, rtt_ns: rtt_ms * MS, ..Self::usual(nice) }
    }

    /// 20 Mbit/s with a second of queue, 30 ms to everybody, eight connections, for a minute.
    #[must_use]
    pub fn usual(nice: bool) -> Self {
        Self {
            bytes_s: 2_500_000,
            queue_bytes: 2_500_000,
            rtt_ns: 30 * MS,
            streams: 8,
            block_bytes: 32 << 20,
            source_bytes_s: u64::MAX,
            nice,
            read_bytes: PIECE,
            other: None,
            jitter_ns: 2 * MS,
            until: 60 * SEC,
        }
    }
}

/// The rows of [`table`]: Mbit/s of the line, milliseconds of its queue, milliseconds of a round trip.
const ROWS: [(u64, u64, u64); 5] =
    [(8, 2000, 30), (20, 1000, 10), (20, 1000, 30), (20, 1000, 100), (100, 300, 30)];

/// Lines with and without `--nice`, and beside somebody's download, as text.
#[must_use]
pub fn table() -> String {
    let mut text = String::from(
        "# A home line with a pull on it: how long a ping waits in its queue, and what goes through from the fifth second on.\n\
         # Written by `cargo run --workspace --bin zest-sim -- home`.\n",
    );
    for (mbit, queue_ms, rtt_ms) in ROWS {
        for nice in [false, true] {
            let home = Home::of(nice, mbit, queue_ms, rtt_ms);
            let name = if nice { "nice" } else { "off" };
            text += &format!(
                "{mbit:>4} Mbit/s {queue_ms:>4} ms  rtt {rtt_ms:>3} ms  {name:<14} {}\n",
                watch(home, 1)
            );
        }
    }
    let home = Home { read_bytes: u64::MAX, ..Home::usual(true) };
    text += &format!("  20 Mbit/s 1000 ms  rtt  30 ms  {:<14} {}\n", "nice, all read", watch(home, 1));
    for nice in [false, true] {
        let home = Home { other: Some((10 * SEC, 60 * SEC)), ..Home::usual(nice) };
        let name = if nice { "nice, another" } else { "off, another" };
        text += &format!("  20 Mbit/s 1000 ms  rtt  30 ms  {name:<14} {}\n", watch(home, 1));
    }
    text
}

/// What was seen, second by second.
#[derive(Debug, Clone, Copy, Default)]
pub struct Second {
    /// Bytes of the pull.
    pub pulled: u64,
    /// Bytes of the other download.
    pub other: u64,
    /// The longest wait of a ping.
    pub wait_ns: u64,
    /// The rate that is held at its end, if one is.
    pub rate: u64,
}

/// What was seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Time in the queue of each ping from a second on, in order of length; lost ones as long as the whole queue.
    waits: Vec<u64>,
    /// Each second.
    pub seconds: Vec<Second>,
}

impl Seen {
    /// So many per mille of the pings waited no longer.
    #[must_use]
    pub fn wait_ns(&self, permille: usize) -> u64 {
        let last = self.waits.len().saturating_sub(1);
        self.waits.get((self.waits.len() * permille / 1000).min(last)).copied().unwrap_or(0)
    }

    /// Bytes per second of the pull and of the other download within these seconds.
    #[must_use]
    pub fn rates(&self, from: usize, to: usize) -> (u64, u64) {
        let seconds = &self.seconds[from..to];
        let n = seconds.len() as u64;
        (seconds.iter().map(|s| s.pulled).sum::<u64>() / n, seconds.iter().map(|s| s.other).sum::<u64>() / n)
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |permille| self.wait_ns(permille) as f64 / 1e6;
        let (pulled, other) = self.rates(5.min(self.seconds.len() - 1), self.seconds.len());
        let mbit = |bytes_s: u64| bytes_s as f64 * 8.0 / 1e6;
        write!(
            f,
            "p50 {:>6.1} ms  p95 {:>6.1} ms  max {:>6.1} ms  pull {:>7.2} Mbit/s  other {:>7.2} Mbit/s",
            ms(500),
            ms(950),
            ms(1000),
            mbit(pulled),
            mbit(other)
        )
    }
}

#[derive(Debug, Clone, Copy)]
enum Happening {
    /// A segment is through.
    Segment {
        flow: usize,
        bytes: u64,
    },
    /// The sender hears that it is, and how far it may go.
    Ack {
        flow: usize,
        bytes: u64,
        edge: u64,
    },
    /// The sender finds one missing.
    Lost {
        flow: usize,
        bytes: u64,
    },
    /// A request has reached the sender.
    Asked {
        flow: usize,
    },
    /// The pull may read again.
    Turn,
    /// The source may send again.
    Source {
        flow: usize,
    },
    Ping,
    Probe,
    /// A connection to somewhere reaches the line from outside.
    ProbeBack {
        sent: u64,
    },
    Probed {
        sent: u64,
    },
    ProbeLost,
    Decide,
    OtherBegins,
    OtherEnds,
}

/// One connection, both ends.
#[derive(Debug, Default)]
struct Flow {
    window: u64,
    threshold: u64,
    in_flight: u64,
    /// Bytes sent, and how far may be sent: by the receiver's window, and by what was asked for.
    sent: u64,
    edge: u64,
    asked: u64,
    lost: u64,
    /// When it sent last.
    sent_at: u64,
    /// Losses up to then are one.
    recovers: u64,
    open: bool,

    received: u64,
    read: u64,
    buffer: u64,
    told: u64,
    /// Read from the socket, and not taken yet; and how much is read at once.
    slot: u64,
    reads: u64,
    /// Since when so much was read.
    looked: (u64, u64),
}

impl Flow {
    fn new(asked: u64) -> Self {
        Self {
            window: WINDOW_FIRST,
            threshold: u64::MAX,
            edge: BUFFER_FIRST,
            asked,
            buffer: BUFFER_FIRST,
            told: BUFFER_FIRST,
            reads: READ_FIRST,
            open: true,
            ..Self::default()
        }
    }
}

struct Watch {
    home: Home,
    now: u64,
    queue: Queue<Happening>,
    dice: Rng,
    /// The line is busy until then.
    free_at: u64,
    /// The pull's, then the other.
    flows: Vec<Flow>,
    nice: Option<Nice>,
    /// When what was read is paid for, and whether a turn is due.
    paid_at: u64,
    turn_due: bool,
    next_reader: usize,
    source_free_at: u64,
    seen: Seen,
}

/// Watches a line.
#[must_use]
pub fn watch(mut home: Home, seed: u64) -> Seen {
    home.block_bytes = home.block_bytes.next_multiple_of(SEGMENT);
    let mut watch = Watch {
        now: 0,
        queue: Queue::new(),
        dice: Rng::of(seed, "home"),
        free_at: 0,
        flows: (1..=home.streams)
            .map(|at| Flow::new(home.block_bytes * at as u64 / home.streams as u64))
            .collect(),
        nice: home.nice.then(|| Nice::new(Instant(0))),
        paid_at: 0,
        turn_due: false,
        next_reader: 0,
        source_free_at: 0,
        seen: Seen { waits: Vec::new(), seconds: vec![Second::default(); (home.until / SEC) as usize] },
        home,
    };
    watch.play();
    watch.seen.waits.sort_unstable();
    watch.seen
}

impl Watch {
    fn play(&mut self) {
        self.queue.push(SEC, Happening::Ping);
        self.queue.push(0, Happening::Probe);
        if let Some((from, until)) = self.home.other {
            self.queue.push(from, Happening::OtherBegins);
            self.queue.push(until, Happening::OtherEnds);
        }
        if self.nice.is_some() {
            self.queue.push(ROUND_START.as_nanos() as u64, Happening::Decide);
        }
        for flow in 0..self.flows.len() {
            self.send(flow);
        }
        while let Some((at, what)) = self.queue.pop() {
            if at >= self.home.until {
                break;
            }
            self.now = at;
            self.happens(what);
        }
    }

    fn second(&mut self) -> &mut Second {
        let at = (self.now / SEC) as usize;
        &mut self.seen.seconds[at]
    }

    fn later(&mut self, after: u64, what: Happening) {
        self.queue.push(self.now + after, what);
    }

    fn half(&mut self) -> u64 {
        self.home.rtt_ns / 2 + self.dice.below(self.home.jitter_ns + 1)
    }

    /// A packet comes to the line: how long it waits and takes, or nothing if there is no room.
    fn queued(&mut self, bytes: u64) -> Option<(u64, u64)> {
        let wait = self.free_at.saturating_sub(self.now);
        if u128::from(wait) * u128::from(self.home.bytes_s)
            > u128::from(self.home.queue_bytes) * u128::from(SEC)
        {
            return None;
        }
        let takes = bytes * SEC / self.home.bytes_s;
        self.free_at = self.now + wait + takes;
        Some((wait, wait + takes))
    }

    fn is_pull(&self, flow: usize) -> bool {
        flow < self.home.streams
    }

    fn send(&mut self, number: usize) {
        loop {
            let pull = self.is_pull(number);
            let flow = &mut self.flows[number];
            let again = flow.lost > 0;
            let may = flow.open
                && flow.in_flight + SEGMENT <= flow.window
                && (again || flow.sent + SEGMENT <= flow.edge.min(flow.asked));
            if !may {
                return;
            }
            if pull && self.home.source_bytes_s < u64::MAX {
                if self.source_free_at > self.now {
                    let at = self.source_free_at;
                    self.queue.push(at, Happening::Source { flow: number });
                    return;
                }
                self.source_free_at = self.now + SEGMENT * SEC / self.home.source_bytes_s;
            }
            let now = self.now;
            let flow = &mut self.flows[number];
            if flow.in_flight == 0 && now > flow.sent_at + RESTART {
                flow.window = flow.window.min(WINDOW_FIRST);
            }
            flow.sent_at = now;
            flow.in_flight += SEGMENT;
            match again {
                true => flow.lost -= SEGMENT,
                false => flow.sent += SEGMENT,
            }
            match self.queued(SEGMENT + HEAD) {
                Some((_, takes)) => {
                    let half = self.home.rtt_ns / 2;
                    self.later(takes + half, Happening::Segment { flow: number, bytes: SEGMENT });
                }
                None => {
                    // The next one that gets through tells of it.
                    let heard = self.free_at - self.now + self.home.rtt_ns;
                    self.later(heard, Happening::Lost { flow: number, bytes: SEGMENT });
                }
            }
        }
    }

    fn happens(&mut self, what: Happening) {
        match what {
            Happening::Segment { flow, bytes } => self.segment(flow, bytes),
            Happening::Ack { flow: number, bytes, edge } => {
                let flow = &mut self.flows[number];
                // What limits is what grows.
                if flow.in_flight + 2 * SEGMENT > flow.window {
                    let grows = if flow.window < flow.threshold {
                        bytes
                    } else {
                        SEGMENT * bytes / flow.window.max(1)
                    };
                    flow.window += grows;
                }
                flow.in_flight = flow.in_flight.saturating_sub(bytes);
                flow.edge = flow.edge.max(edge);
                self.send(number);
            }
            Happening::Lost { flow: number, bytes } => {
                let now = self.now;
                let takes = self.free_at.saturating_sub(now) + self.home.rtt_ns;
                let flow = &mut self.flows[number];
                flow.in_flight = flow.in_flight.saturating_sub(bytes);
                flow.lost += bytes;
                if now >= flow.recovers {
                    flow.threshold = (flow.window / 2).max(2 * SEGMENT);
                    flow.window = flow.threshold;
                    flow.recovers = now + takes;
                }
                self.send(number);
            }
            Happening::Asked { flow } => {
                self.flows[flow].asked = self.flows[flow].read + self.home.block_bytes;
                self.send(flow);
            }
            Happening::Source { flow } => self.send(flow),
            Happening::Turn => self.turn(),
            Happening::Ping => {
                let whole = self.home.queue_bytes * SEC / self.home.bytes_s;
                let wait = self.queued(100).map_or(whole, |(wait, _)| wait);
                self.seen.waits.push(wait);
                let second = self.second();
                second.wait_ns = second.wait_ns.max(wait);
                self.later(PING_EVERY, Happening::Ping);
            }
            Happening::Probe => {
                let half = self.half();
                self.later(half, Happening::ProbeBack { sent: self.now });
            }
            Happening::ProbeBack { sent } => match self.queued(60) {
                Some((_, takes)) => self.later(takes + self.home.rtt_ns / 2, Happening::Probed { sent }),
                None => self.queue.push(sent + AGAIN.as_nanos() as u64, Happening::ProbeLost),
            },
            Happening::Probed { sent } => {
                let rtt = Duration::from_nanos(self.now - sent);
                let event = if rtt < AGAIN {
                    Event::Rtt { path: 1, rtt }
                } else {
                    Event::Unanswered { path: 1, waited: AGAIN }
                };
                self.tell(event);
            }
            Happening::ProbeLost => self.tell(Event::Unanswered { path: 1, waited: AGAIN }),
            Happening::Decide => {
                self.tell(Event::Timer);
                if let Some(nice) = &self.nice {
                    nice.check_invariants();
                    let (rate, at) = (nice.rate(), nice.poll_timeout());
                    self.second().rate = rate;
                    self.queue.push(at.0 * 1000, Happening::Decide);
                    self.later(0, Happening::Probe);
                }
            }
            Happening::OtherBegins => {
                self.flows.push(Flow::new(u64::MAX));
                self.send(self.flows.len() - 1);
            }
            Happening::OtherEnds => {
                if let Some(other) = self.flows.get_mut(self.home.streams) {
                    other.open = false;
                }
            }
        }
    }

    fn tell(&mut self, event: Event) {
        let now = Instant(self.now / 1000);
        if let Some(nice) = &mut self.nice {
            nice.handle(now, event);
        }
    }

    fn segment(&mut self, number: usize, bytes: u64) {
        self.flows[number].received += bytes;
        if self.is_pull(number) {
            self.second().pulled += bytes;
        } else {
            self.second().other += bytes;
        }
        if self.nice.is_some() && self.is_pull(number) {
            self.read_ahead(number);
            if !self.turn_due {
                self.turn_due = true;
                self.queue.push(self.paid_at, Happening::Turn);
            }
        } else {
            self.read(number, u64::MAX);
        }
        let edge = self.flows[number].told;
        let half = self.half();
        self.later(half, Happening::Ack { flow: number, bytes, edge });
    }

    /// The application reads; the window grows with what it reads in a round trip.
    fn read(&mut self, number: usize, most: u64) -> u64 {
        let rtt = self.home.rtt_ns + self.free_at.saturating_sub(self.now);
        let (now, pull, held) = (self.now, self.is_pull(number), self.nice.is_some());
        // Twice what the line brings in a round trip, as a receiver that is not held back has it.
        let held_most =
            BUFFER_HELD.max(2 * self.home.bytes_s * self.home.rtt_ns / SEC / self.home.streams as u64);
        let flow = &mut self.flows[number];
        let bytes = (flow.received - flow.read).min(most);
        flow.read += bytes;
        let (since, from) = flow.looked;
        if now >= since + rtt {
            let most = if pull && held { held_most } else { BUFFER_MAX };
            flow.buffer = (2 * (flow.read - from) + 16 * SEGMENT).min(most).max(flow.buffer);
            flow.looked = (now, flow.read);
        }
        let next = pull && flow.read / SEGMENT >= flow.asked / SEGMENT;
        let edge = flow.read + flow.buffer;
        let opens = edge >= flow.told + 2 * SEGMENT;
        if opens {
            flow.told = edge;
            let half = self.half();
            self.later(half, Happening::Ack { flow: number, bytes: 0, edge });
        }
        if next {
            let half = self.half();
            self.later(half, Happening::Asked { flow: number });
        }
        bytes
    }

    /// The HTTP library reads one piece ahead of who takes them.
    fn read_ahead(&mut self, number: usize) {
        let flow = &self.flows[number];
        if flow.slot > 0 || flow.received == flow.read {
            return;
        }
        let reads = flow.reads;
        let bytes = self.read(number, self.home.read_bytes.min(reads));
        let flow = &mut self.flows[number];
        flow.slot = bytes;
        flow.reads = match bytes {
            _ if bytes == reads => (2 * reads).min(READ_MAX),
            _ if bytes < reads / 4 => (reads / 2).max(READ_FIRST),
            _ => reads,
        };
    }

    /// One connection takes what was read, if what was taken before is paid for.
    fn turn(&mut self) {
        self.turn_due = false;
        let Some(rate) = self.nice.as_ref().map(Nice::rate) else { return };
        let n = self.home.streams;
        let Some(at) = (0..n).map(|at| (self.next_reader + at) % n).find(|at| self.flows[*at].slot > 0)
        else {
            return;
        };
        self.next_reader = at + 1;
        let bytes = std::mem::take(&mut self.flows[at].slot);
        self.read_ahead(at);
        self.tell(Event::Received { bytes });
        self.paid_at = self.paid_at.max(self.now.saturating_sub(SLACK)) + bytes * SEC / rate;
        self.turn_due = true;
        self.queue.push(self.paid_at, Happening::Turn);
    }
}
