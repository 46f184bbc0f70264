//! How much may be received per second while the line's queue stays short: LEDBAT++ turned round, for the receiving side.
//!
//! A home line's queue stands before its receiver: whoever receives as fast as it can fills it, and everything else on that line
//! waits behind (a second and more). [`Nice`] is told how long a small packet takes there and back ([`Event::Rtt`]) and what
//! was received; it answers with a rate. What a round trip takes longer than its least is the queue
//! ([`Nice::queueing`]); the rate is such that this stays about [`AIM`], and below [`TARGET`] when others are modest. Others who
//! fill the queue themselves get the line: the rate falls to [`RATE_MIN`].
//!
//! It stands between LEDBAT++ (draft-irtf-iccrg-ledbat-plus-plus: target, multiplicative decrease, slowdowns) and rLEDBAT (RFC 9840: at
//! the receiver). It differs in that it holds a rate for the whole line, since what is received comes from many: connections of the origin and
//! links to peers. A window over the round trip is such a rate, too; it falls as the queue grows, which keeps it from swinging, and so does
//! this one.
//!
//! It owns what was measured and the rate. It never reads a clock, opens no socket, and holds nothing up by itself: who uses it
//! keeps to [`Nice::rate`] and calls again at [`Nice::poll_timeout`]. There is no `poll_action`: the rate is all it decides.
//!
//! ```
//! use zest_core::nice::{AIM, Event, Nice};
//! use zest_core::{Duration, Instant};
//!
//! let (mut nice, mut now) = (Nice::new(Instant(0)), Instant(0));
//! let rtt = |ms| Event::Rtt { path: 1, rtt: Duration::from_millis(ms) };
//! nice.handle(now, rtt(20));
//! let first = nice.rate();
//! for _ in 0..5 {
//!     now = nice.poll_timeout();
//!     nice.handle(now, Event::Received { bytes: nice.rate() / 5 });
//!     nice.handle(now, rtt(20));
//!     nice.handle(now, Event::Timer);
//! }
//! assert!(nice.rate() > first, "nothing waits: there is room");
//! now = nice.poll_timeout();
//! let before = nice.rate();
//! nice.handle(now, rtt(500));
//! nice.handle(now, rtt(500));
//! nice.handle(now, Event::Timer);
//! assert!(nice.queueing().unwrap() > AIM && nice.rate() < before);
//! ```

use crate::{Duration, Instant};
use alloc::collections::{BTreeMap, VecDeque};

/// The queue that others on the line are to find at most: 60 ms (LEDBAT++ 4.2).
pub const TARGET: Duration = Duration::from_millis(60);
/// The queue that is held: 20 ms. Ours; a third of the target, so that what swings round it stays below the target, and enough
/// for the line never to be idle.
pub const AIM: Duration = Duration::from_millis(20);
/// A decision is taken this often: 200 ms. Ours; LEDBAT++ takes one per round trip, but here each needs a measurement of its own.
pub const ROUND: Duration = Duration::from_millis(200);
/// While the line's end is looked for, and while the queue is longer than the target: 100 ms. Ours; what is heard late was too much for
/// longer.
pub const ROUND_RESTLESS: Duration = Duration::from_millis(100);
/// At first a decision is taken once per round trip, and every 25 ms at most. Ours; a fast line is filled within half a second.
pub const ROUND_START: Duration = Duration::from_millis(25);
/// The rate at first: 512 KiB/s. Ours; four home lines of ten have no less.
pub const RATE_FIRST: u64 = 512 << 10;
/// The rate never falls below 256 KiB/s, the least download cap: below that a source looks dead. A line with less than that is not kept short.
pub const RATE_MIN: u64 = 256 << 10;
/// Nor does it grow above 64 GiB/s. Ours; no line has that.
pub const RATE_MAX: u64 = 64 << 30;
/// Paths remembered: 32, of which the one that was silent longest is forgotten. Ours; a CDN has a handful of addresses.
pub const PATHS_MAX: usize = 32;

/// Rates remembered: 16, of as many rounds.
const RATES: usize = 16;
/// Minutes over which the least round trip is remembered: 10 (RFC 6817, BASE_HISTORY).
const MINUTES: usize = 10;
/// Microseconds of a minute.
const MINUTE_US: u64 = 60_000_000;
/// A measurement counts for 1 s. Ours; five rounds.
const FRESH: Duration = Duration::from_secs(1);
/// A queue that is off the aim by so much halves the rate, or would double it: 400 ms, and four round trips. Ours; more than twice the
/// time after which a change of the rate is seen, or the rate would swing.
const REACH_US: i64 = 400_000;
const REACH_RTTS: i64 = 4;
/// What the queue has beyond the target counts four times more at once: what connections send when they are asked anew should be gone soon.
/// Ours; the rate is halved at twice the target.
const STEEP: i64 = 4;
/// What is off by more than 60 ms moves the rate that is held no more than this does. Ours; that is what the multiplicative decrease is for.
const REST_OFF_US: i64 = 60_000;
/// From one slowdown to the next: 30 s. Ours; LEDBAT++ 4.4 takes nine times as long as the slowdown, this is fifty times.
const SLOWDOWN_EVERY: Duration = Duration::from_secs(30);
/// A slowdown takes 3 rounds: one for the queue to run dry, two to measure. LEDBAT++ 4.4 has two round trips.
const SLOWDOWN_ROUNDS: u32 = 3;
/// What stands in the line has to go first, but somebody else's queue stays: 20 rounds at most. Ours; two seconds.
const SLOWDOWN_ROUNDS_MAX: u32 = 20;
/// Rounds with next to no queue after which the line is taken to have room: 5. Ours; a second.
const EMPTY_ROUNDS: u32 = 5;
/// Where the queue is felt while the line's end is looked for: 15 ms if it is seen twice, 20 ms if once. Ours; less than what is held, as it
/// is heard of late, and more than a line's usual jitter.
const FELT_TWICE: Duration = Duration::from_millis(15);
const FELT_ONCE: Duration = Duration::from_millis(20);
/// At first a round adds a quarter, and a 16th where the queue was felt before. Ours; LEDBAT++ 4.3 doubles. What is too much is heard of after
/// five rounds, and a line that was once full of what connections may send stays so for longer than it takes to look again.
const START_FAR: u64 = 4;
const START_NEAR: u64 = 16;
/// In the climb after others had the line, and far below where the queue was felt last, a round adds an eighth. Ours; LEDBAT++ 4.3 doubles per round trip,
/// but hears of the queue after one.
const CLIMB_FAR: u64 = 8;
/// Where the queue was felt a round adds a 64th. Ours; half as much beyond that it is a third more with each round, as the line must have changed.
const CLIMB_NEAR: u64 = 64;
/// Rounds in a row beyond the target after which the rate itself is too high, or somebody else is at it: 6, of which one beyond twice the target counts
/// for two. Ours; a connection that begins sends its whole window at once.
const OVER_ROUNDS: u32 = 6;

/// What [`Nice`] is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A small packet went to a place and its answer came back.
    Rtt {
        /// The place: round trips of different places are never compared.
        path: u64,
        /// How long that took.
        rtt: Duration,
    },
    /// A small packet was sent, and for so long nothing came back.
    Unanswered {
        /// The place.
        path: u64,
        /// Time since.
        waited: Duration,
    },
    /// So much was received, from whomever.
    Received {
        /// Payload or not.
        bytes: u64,
    },
    /// [`Nice::poll_timeout`] has come.
    Timer,
}

/// One place that is measured.
#[derive(Debug, Clone)]
struct Path {
    /// The least round trip of each of the last minutes, µs.
    least: [u64; MINUTES],
    minute: u64,
    /// The last two measurements.
    last: [Option<(Instant, u64)>; 2],
    /// It was measured while the line was given rest: its least is not somebody's queue.
    rested: bool,
}

impl Path {
    fn new(minute: u64) -> Self {
        Self { least: [u64::MAX; MINUTES], minute, last: [None; 2], rested: false }
    }

    /// Moves on to this minute.
    fn at(&mut self, minute: u64) {
        let passed = minute.saturating_sub(self.minute).min(MINUTES as u64);
        for at in 0..passed {
            self.least[((self.minute + 1 + at) % MINUTES as u64) as usize] = u64::MAX;
        }
        self.minute = self.minute.max(minute);
    }

    fn note(&mut self, now: Instant, us: u64, answered: bool) {
        self.at(now.0 / MINUTE_US);
        if answered {
            let least = &mut self.least[(self.minute % MINUTES as u64) as usize];
            *least = us.min(*least);
        }
        self.last = [Some((now, us)), self.last[0]];
    }

    /// How much longer than the least it takes at present, µs: the better of the last `of` measurements, as one may have been held up by
    /// something else. And that least.
    fn queue(&self, now: Instant, of: usize) -> Option<(u64, u64)> {
        let least = self.least.iter().copied().min().filter(|least| *least < u64::MAX)?;
        let fresh = self.last[..of].iter().flatten().filter(|(at, _)| now.since(*at) <= FRESH);
        fresh.map(|&(_, us)| (us.saturating_sub(least), least)).min()
    }

    fn heard(&self) -> Instant {
        self.last[0].map_or(Instant::ZERO, |(at, _)| at)
    }
}

/// What it is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing is known of the line: each round trip adds a quarter, until the queue is felt twice at about the same rate (LEDBAT++ 4.3, which doubles).
    Start,
    /// Looks for the line's end: each round adds the rate over `part`.
    Climb { part: u64 },
    /// Keeps the queue where it should be; for so many rounds there was none, or too much.
    Hold { empty: u32, over: u32 },
    /// Gives the line rest, so many rounds up to now.
    Slowdown { rounds: u32, then: Then },
}

/// What comes after a slowdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Start,
    Hold,
}

/// The rate of a line whose queue is to stay short. See the module's text.
#[derive(Debug, Clone)]
pub struct Nice {
    paths: BTreeMap<u64, Path>,
    phase: Phase,
    /// What is held, before the queue of this moment is looked at.
    held: u64,
    rate: u64,
    queueing: Option<Duration>,
    /// The same by the last measurement alone.
    last: Option<Duration>,
    /// The least round trip of where that was measured, µs.
    least_us: u64,
    received: u64,
    began: Instant,
    slowdown_at: Instant,
    /// Where the queue was last felt.
    felt: u64,
    /// What was decreased is not seen before then.
    decrease_at: Instant,
    /// The last rates, and since when they were.
    rates: VecDeque<(Instant, u64)>,
}

impl Nice {
    /// A line of which nothing is known.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            paths: BTreeMap::new(),
            phase: Phase::Start,
            held: RATE_FIRST,
            rate: RATE_FIRST,
            queueing: None,
            last: None,
            least_us: 0,
            received: 0,
            began: now,
            slowdown_at: now + SLOWDOWN_EVERY,
            felt: 0,
            decrease_at: now,
            rates: VecDeque::new(),
        }
    }

    /// Bytes per second that may be received: [`RATE_MIN`]..=[`RATE_MAX`].
    #[must_use]
    pub fn rate(&self) -> u64 {
        self.rate
    }

    /// How long the line's queue was in the last round, as far as it was measured.
    #[must_use]
    pub fn queueing(&self) -> Option<Duration> {
        self.queueing
    }

    /// When the next decision is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        let looks =
            matches!(self.phase, Phase::Start | Phase::Climb { .. }) || self.last > Some(TARGET * 3 / 4);
        self.began + if looks { self.round_to_look() } else { ROUND }
    }

    /// Takes note of something. The rate changes with [`Event::Timer`] alone.
    pub fn handle(&mut self, now: Instant, event: Event) {
        match event {
            Event::Rtt { path, rtt } => self.measured(now, path, rtt, true),
            Event::Unanswered { path, waited } => self.measured(now, path, waited, false),
            Event::Received { bytes } => self.received = self.received.saturating_add(bytes),
            Event::Timer if now >= self.poll_timeout() => self.decide(now),
            Event::Timer => {}
        }
    }

    fn measured(&mut self, now: Instant, path: u64, rtt: Duration, answered: bool) {
        if !self.paths.contains_key(&path) && self.paths.len() == PATHS_MAX {
            let oldest = self.paths.iter().min_by_key(|(_, path)| path.heard()).map(|(number, _)| *number);
            oldest.and_then(|oldest| self.paths.remove(&oldest));
        }
        let path = self.paths.entry(path).or_insert_with(|| Path::new(now.0 / MINUTE_US));
        path.note(now, u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX), answered);
        // The first round was for the queue to run dry.
        path.rested |= answered && matches!(self.phase, Phase::Slowdown { rounds, .. } if rounds > 1);
    }

    /// What all paths have in common is the line. One that was first measured while the queue stood knows no better than that
    /// this is its least, and has no say beside others that do.
    fn queue(&self, now: Instant, of: usize) -> Option<(Duration, u64)> {
        let by = |rested: bool| {
            let paths = self.paths.values().filter(move |path| path.rested || !rested);
            paths.filter_map(|path| path.queue(now, of)).min()
        };
        by(true).or_else(|| by(false)).map(|(us, least)| (Duration::from_micros(us), least))
    }

    fn decide(&mut self, now: Instant) {
        let elapsed_us = now.since(self.began).as_micros().clamp(1, u128::from(u64::MAX));
        let came = (u128::from(self.received) * 1_000_000 / elapsed_us).min(u128::from(RATE_MAX)) as u64;
        // Else it is others who hold it up: that the queue is short says nothing about a rate that is not used.
        let used = came >= self.rate / 4 * 3;
        let news = self.paths.values().any(|path| path.heard() >= self.began);
        (self.received, self.began) = (0, now);
        let measured = self.queue(now, 2);
        self.queueing = measured.map(|(queue, _)| queue);
        self.last = self.queue(now, 1).map(|(last, _)| last);
        let Some((queue, least_us)) = measured else { return };
        self.least_us = least_us;
        let reach = self.reach();
        self.phase = match self.phase {
            Phase::Start => self.start(now, queue, self.last.unwrap_or(queue), news.then_some(came)),
            Phase::Climb { part } => self.climb(now, queue, self.last.unwrap_or(queue), used, part),
            Phase::Hold { empty, over } => self.hold(now, queue, used, (empty, over)),
            Phase::Slowdown { rounds, then }
                if rounds >= SLOWDOWN_ROUNDS && (queue < FELT_TWICE || rounds >= SLOWDOWN_ROUNDS_MAX) =>
            {
                self.slowdown_at = now + SLOWDOWN_EVERY;
                match then {
                    Then::Start => Phase::Start,
                    Then::Hold => Phase::Hold { empty: 0, over: 0 },
                }
            }
            Phase::Slowdown { rounds, then } => Phase::Slowdown { rounds: rounds + 1, then },
        };
        if matches!(self.phase, Phase::Hold { .. }) && now >= self.slowdown_at && used {
            self.phase = Phase::Slowdown { rounds: 1, then: Then::Hold };
        }
        self.held = self.held.clamp(RATE_MIN, RATE_MAX);
        self.rate = match self.phase {
            Phase::Start | Phase::Climb { .. } => self.held,
            // Around the rate that is held, against the queue of this moment.
            Phase::Hold { .. } => {
                self.part((off(queue) + STEEP * over(queue)).clamp(-reach / 2, reach / 8), reach)
            }
            Phase::Slowdown { .. } => self.held / 4,
        };
        self.rate = self.rate.clamp(RATE_MIN, RATE_MAX);
        if self.rates.len() == RATES {
            self.rates.pop_front();
        }
        self.rates.push_back((now, self.rate));
    }

    /// The rate at which the line was full, when its queue is felt: a change of the rate is seen in the queue after a round trip, the
    /// queue is measured in another, grows in a round, and is seen twice. What is received meanwhile says nothing of the line: it was
    /// in this machine's sockets before.
    fn when_full(&self, now: Instant) -> u64 {
        let back = Duration::from_micros(2 * self.least_us.min(1_000_000)) + 3 * self.round_to_look();
        let before = self.rates.iter().rev().find(|(at, _)| now.since(*at) >= back);
        before.or(self.rates.front()).map_or(self.held, |&(_, rate)| rate)
    }

    /// How long a round is while the line's end is looked for.
    fn round_to_look(&self) -> Duration {
        let least = if self.phase == Phase::Start { ROUND_START } else { ROUND_RESTLESS };
        least.max(Duration::from_micros(self.least_us)).min(ROUND)
    }

    fn reach(&self) -> i64 {
        REACH_US + REACH_RTTS * self.least_us.min(1_000_000) as i64
    }

    /// The held rate and so many parts of it more.
    fn part(&self, parts: i64, of: i64) -> u64 {
        let held = i128::from(self.held);
        (held + held * i128::from(parts) / i128::from(of)).clamp(0, i128::from(RATE_MAX)) as u64
    }

    /// `came`: what was received since the last round, if the queue was measured in it, too.
    fn start(&mut self, now: Instant, queue: Duration, last: Duration, came: Option<u64>) -> Phase {
        if queue >= FELT_TWICE {
            let felt = self.when_full(now);
            // What connections begin with stands in the queue, too, whatever the rate: only what is felt twice at the same rate is the
            // line's. What stands in it has to go first (LEDBAT++ 4.4).
            let then = if felt > self.felt / 4 * 5 { Then::Start } else { Then::Hold };
            self.felt = felt;
            self.held = self.felt / 8 * 7;
            return Phase::Slowdown { rounds: 1, then };
        }
        // The less the longer the queue is, and nothing where it is felt: once may be chance, so it is looked at once more.
        let (room, whole) = (FELT_TWICE - last.min(FELT_TWICE), FELT_TWICE.as_micros() as u64);
        if came.is_some_and(|came| came >= self.held / 4 * 3) {
            let near = self.held > self.felt / 2 && self.held < 2 * self.felt;
            self.held +=
                self.held / (whole * if near { START_NEAR } else { START_FAR }) * room.as_micros() as u64;
        }
        Phase::Start
    }

    fn climb(&mut self, now: Instant, queue: Duration, last: Duration, used: bool, part: u64) -> Phase {
        if queue >= FELT_TWICE || last >= FELT_ONCE {
            // What the last rounds added was too much.
            self.felt = self.when_full(now).min(self.held);
            self.held = self.felt.saturating_sub(self.felt / part);
            return Phase::Hold { empty: 0, over: 0 };
        }
        if !used {
            return Phase::Climb { part };
        }
        self.held += self.held / part;
        let part = match self.held {
            far if far < self.felt / 2 => CLIMB_FAR,
            near if near < self.felt / 2 * 3 => CLIMB_NEAR,
            _ => (part / 4 * 3).max(CLIMB_FAR),
        };
        Phase::Climb { part }
    }

    fn hold(&mut self, now: Instant, queue: Duration, used: bool, (empty, over): (u32, u32)) -> Phase {
        let off = off(queue).max(-REST_OFF_US);
        if off <= 0 || used {
            let reach = i128::from(self.reach());
            // Where a loop of this shape comes to rest without swinging: (2 × reach)² for a second of queue and a second of time.
            let rest = 4 * reach * reach / ROUND.as_micros() as i128;
            self.held = self.part(off, rest as i64);
        }
        let over = match queue {
            _ if queue > 2 * TARGET => over + 2,
            _ if queue > TARGET => over + 1,
            _ => 0,
        };
        if over >= OVER_ROUNDS && now >= self.decrease_at {
            // Multiplicative decrease (LEDBAT++ 4.2): an eighth for each target too much, at most a half, once per round trip.
            let eighths = (queue.as_micros() / TARGET.as_micros()).clamp(2, 5) as i64;
            self.held = self.part(1 - eighths, 8);
            self.decrease_at = now + queue.min(FRESH);
        }
        let empty = if queue < AIM / 4 && used { empty + 1 } else { 0 };
        if empty < EMPTY_ROUNDS { Phase::Hold { empty, over } } else { Phase::Climb { part: CLIMB_NEAR } }
    }

    /// # Panics
    /// If a promise of its own does not hold.
    pub fn check_invariants(&self) {
        for rate in [self.rate, self.held] {
            assert!((RATE_MIN..=RATE_MAX).contains(&rate), "a rate of {rate} is out of bounds");
        }
        assert!(self.paths.len() <= PATHS_MAX, "{} paths", self.paths.len());
    }
}

/// How far a queue is from the aim, µs: above 0 if there is room.
fn off(queue: Duration) -> i64 {
    let us = i64::try_from(queue.as_micros()).unwrap_or(i64::MAX).min(60_000_000);
    AIM.as_micros() as i64 - us
}

/// How far it is beyond the target, µs: below 0 if it is.
fn over(queue: Duration) -> i64 {
    (off(queue) + (TARGET - AIM).as_micros() as i64).min(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// One round in which the rate is used and this round trip measured.
    fn round(nice: &mut Nice, path: u64, rtt: Duration) -> Instant {
        let now = nice.poll_timeout();
        let used = nice.rate() * now.since(nice.began).as_micros() as u64 / 1_000_000;
        nice.handle(now, Event::Received { bytes: used });
        nice.handle(now, Event::Rtt { path, rtt });
        nice.handle(now, Event::Timer);
        nice.check_invariants();
        now
    }

    /// At rest on a line, with the rate it was left at.
    fn settled() -> Nice {
        let mut nice = Nice::new(Instant(0));
        for _ in 0..200 {
            let full = nice.rate() > 10 * RATE_FIRST;
            round(&mut nice, 1, ms(20) + if full { AIM } else { Duration::ZERO });
            if matches!(nice.phase, Phase::Hold { .. }) {
                for _ in 0..5 {
                    round(&mut nice, 1, ms(20) + AIM);
                }
                return nice;
            }
        }
        panic!("{nice:?}");
    }

    #[test]
    fn it_climbs_while_there_is_no_queue_and_stops_where_there_is_one() {
        let mut nice = Nice::new(Instant(0));
        for _ in 0..20 {
            round(&mut nice, 1, ms(20));
        }
        let top = nice.rate();
        assert!(top > 50 * RATE_FIRST, "{top}");
        round(&mut nice, 1, ms(20) + AIM);
        assert_eq!(nice.rate(), top, "once may be chance");
        round(&mut nice, 1, ms(20) + AIM);
        assert!(nice.rate() < top / 4, "what stands in the line has to go: {top}, then {}", nice.rate());
        for _ in 0..4 {
            round(&mut nice, 1, ms(20));
        }
        assert!(nice.rate() < top && nice.rate() > top / 4, "{top}, then {}", nice.rate());
    }

    #[test]
    fn what_connections_begin_with_is_not_the_line() {
        let mut nice = Nice::new(Instant(0));
        // Eight windows of 64 KiB, on a line of 20 Mbit/s.
        for at in 0..40 {
            let queue = ms(200u64.saturating_sub(at * 50));
            round(&mut nice, 1, ms(20) + if at < 2 { Duration::ZERO } else { queue });
        }
        assert!(nice.rate() > 20 * RATE_FIRST, "{nice:?}");
    }

    #[test]
    fn rest_lasts_until_what_stands_in_the_line_is_gone_but_not_for_somebody_elses() {
        let mut nice = Nice::new(Instant(0));
        for queue in [0, 0, 0, 200, 200, 200, 200, 200, 200, 200] {
            round(&mut nice, 1, ms(20 + queue));
        }
        assert!(matches!(nice.phase, Phase::Slowdown { .. }), "{:?}", nice.phase);
        // It looks for the line's end once more, and rests once more.
        for _ in 0..2 * SLOWDOWN_ROUNDS_MAX + 2 {
            round(&mut nice, 1, ms(220));
        }
        assert!(matches!(nice.phase, Phase::Hold { .. }), "{:?}", nice.phase);
    }

    #[test]
    fn a_line_of_a_gbit_is_filled_within_a_second() {
        for least in [1, 20, 40] {
            let mut nice = Nice::new(Instant(0));
            let mut now = Instant(0);
            while nice.rate() < 125_000_000 {
                now = round(&mut nice, 1, ms(least));
            }
            assert!(now < Instant(1_000_000), "{now:?} at a round trip of {least} ms");
        }
    }

    #[test]
    fn a_rate_that_nobody_uses_does_not_grow() {
        let mut nice = Nice::new(Instant(0));
        for _ in 0..100 {
            let now = nice.poll_timeout();
            nice.handle(now, Event::Rtt { path: 1, rtt: ms(20) });
            nice.handle(now, Event::Received { bytes: 1 });
            nice.handle(now, Event::Timer);
        }
        assert_eq!(nice.rate(), RATE_FIRST);
    }

    #[test]
    fn what_is_not_measured_changes_nothing() {
        let mut nice = settled();
        let rate = nice.rate();
        for _ in 0..30 {
            let now = nice.poll_timeout() + FRESH;
            nice.handle(now, Event::Received { bytes: 1 << 30 });
            nice.handle(now, Event::Timer);
        }
        assert_eq!((nice.rate(), nice.queueing()), (rate, None));
    }

    #[test]
    fn who_fills_the_queue_gets_the_line() {
        let mut nice = settled();
        let began = nice.began;
        while nice.rate() > RATE_MIN {
            let now = round(&mut nice, 1, ms(900));
            assert!(now.since(began) < ms(10_000), "still {} bytes/s", nice.rate());
        }
        // One long answer is not yet somebody.
        let mut nice = settled();
        let held = nice.held;
        round(&mut nice, 1, ms(900));
        round(&mut nice, 1, ms(20) + AIM);
        assert!(nice.held > held / 10 * 9, "{held}, then {}", nice.held);
    }

    #[test]
    fn an_answer_that_never_comes_is_a_queue_and_no_least() {
        let mut nice = settled();
        for _ in 0..4 {
            let now = nice.poll_timeout();
            nice.handle(now, Event::Unanswered { path: 1, waited: ms(1000) });
            nice.handle(now, Event::Unanswered { path: 2, waited: ms(1000) });
            nice.handle(now, Event::Timer);
        }
        assert_eq!(nice.queueing(), Some(ms(980)), "of the place whose least is known");
    }

    #[test]
    fn the_line_is_what_all_paths_have_in_common() {
        let mut nice = settled();
        let now = nice.poll_timeout();
        nice.handle(now, Event::Rtt { path: 2, rtt: ms(100) });
        // Far away, and busy there.
        round(&mut nice, 2, ms(300));
        let now = round(&mut nice, 2, ms(300));
        nice.handle(now, Event::Rtt { path: 1, rtt: ms(25) });
        round(&mut nice, 1, ms(25));
        assert_eq!(nice.queueing(), Some(ms(5)));
    }

    #[test]
    fn now_and_then_the_line_is_given_rest_and_who_was_measured_then_has_the_say() {
        let mut nice = settled();
        let mut slowed = None;
        for _ in 0..400 {
            let now = round(&mut nice, 1, ms(20) + AIM);
            if matches!(nice.phase, Phase::Slowdown { .. }) {
                slowed.get_or_insert((now, nice.rate()));
                nice.handle(now, Event::Rtt { path: 1, rtt: ms(20) });
            } else if slowed.is_some() {
                break;
            }
        }
        let (at, rate) = slowed.expect("within 80 s");
        assert!(at.since(Instant(0)) >= SLOWDOWN_EVERY && rate < nice.rate() / 3, "{at:?}: {rate}");
        // A newcomer who never saw the line empty: its least is the queue.
        let now = nice.poll_timeout();
        nice.handle(now, Event::Rtt { path: 2, rtt: ms(80) });
        round(&mut nice, 1, ms(20) + AIM);
        assert_eq!(nice.queueing(), Some(AIM));
    }

    #[test]
    fn a_least_is_forgotten_after_ten_minutes() {
        let mut path = Path::new(0);
        path.note(Instant(0), 10_000, true);
        path.note(Instant(9 * MINUTE_US), 50_000, true);
        assert_eq!(path.queue(Instant(9 * MINUTE_US), 1), Some((40_000, 10_000)));
        path.note(Instant(10 * MINUTE_US), 50_000, true);
        assert_eq!(path.queue(Instant(10 * MINUTE_US), 1), Some((0, 50_000)));
    }

    fn any_event() -> impl Strategy<Value = (u64, Event)> {
        let event = prop_oneof![
            (0..100u64, any::<u64>())
                .prop_map(|(path, us)| Event::Rtt { path, rtt: Duration::from_micros(us) }),
            (0..100u64, 0..3_000_000u64)
                .prop_map(|(path, us)| Event::Rtt { path, rtt: Duration::from_micros(us) }),
            (0..100u64, any::<u64>())
                .prop_map(|(path, us)| Event::Unanswered { path, waited: Duration::from_micros(us) }),
            any::<u64>().prop_map(|bytes| Event::Received { bytes }),
            (0..1u64 << 24).prop_map(|bytes| Event::Received { bytes }),
            Just(Event::Timer),
        ];
        (prop_oneof![0..300_000u64, Just(0), any::<u64>()], event)
    }

    proptest! {
        #[test]
        fn any_events_keep_it_within_its_bounds(events in proptest::collection::vec(any_event(), 1..300)) {
            let (mut nice, mut now) = (Nice::new(Instant(0)), 0u64);
            for (later, event) in events {
                // A clock that jumps, and one that goes back.
                now = now.wrapping_add(later);
                nice.handle(Instant(now), event);
                nice.check_invariants();
            }
        }

        /// Whatever the line: with a queue that the rate itself makes, it comes to rest near the line's rate.
        #[test]
        fn it_finds_the_rate_of_any_line(line in 400_000..200_000_000u64, least_ms in 1..200u64) {
            let (mut nice, mut queue_us) = (Nice::new(Instant(0)), 0i128);
            let mut seen = Vec::new();
            for _ in 0..900 {
                let now = nice.poll_timeout();
                let us = i128::from(now.since(nice.began).as_micros() as u64);
                let (rate, line) = (i128::from(nice.rate()), i128::from(line));
                let through = if queue_us > 0 { line } else { rate.min(line) };
                queue_us = (queue_us + (rate - line) * us / line).max(0);
                let bytes = (through * us / 1_000_000) as u64;
                nice.handle(now, Event::Received { bytes });
                let rtt = ms(least_ms) + Duration::from_micros(queue_us as u64);
                nice.handle(now, Event::Rtt { path: 1, rtt });
                nice.handle(now, Event::Timer);
                nice.check_invariants();
                seen.push((through, queue_us));
            }
            let last = &seen[450..];
            let mean = last.iter().map(|(through, _)| through).sum::<i128>() / last.len() as i128;
            prop_assert!(mean * 100 >= i128::from(line) * 85, "{mean} of {line} bytes/s");
            let over = last.iter().filter(|(_, us)| *us > TARGET.as_micros() as i128).count();
            prop_assert!(over * 20 <= last.len(), "{over} of {} rounds above the target", last.len());
        }
    }
}
