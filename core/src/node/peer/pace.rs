//! How much is asked of a peer at a time, how fast it answers, and how long its silence is borne.

use super::{Peer, Pending, Request};
use crate::node::rng::Rng;
use crate::{Duration, Instant, ReqId};
use alloc::vec::Vec;

/// Mean length of a chunk (target of the chunker), for turning rates into pipelines.
const CHUNK_BYTES_MEAN: u64 = zest_xet::CHUNK_BYTES_TARGET as u64;
/// Chunks asked of a peer at once before its rate is known: 1 MiB. Grows by one with each answer, so it doubles every
/// round trip; what a mute peer can hold up stays a handful.
const WINDOW_START: u32 = 16;
/// Chunks asked of a peer that has just come back from silence: 256 KiB.
const WINDOW_DOUBT: u32 = 4;
/// Most chunks in a pipeline: 16 MiB, half of the link's own limit of outstanding requests.
pub(super) const WINDOW_MAX: u32 = 256;
/// Requests of other kinds (manifests, one per job) that fit beside a full pipeline.
pub(super) const OTHERS_MAX: u32 = 64;
const _: () = assert!((WINDOW_MAX + OTHERS_MAX) as usize <= crate::link::OUTSTANDING_MAX);
/// A pipeline holds this much of the peer's rate, on top of one and a half times its latency: 100 ms. Ours; all pipelines
/// together are held shorter, see `picker.rs`.
const WINDOW_TIME: Duration = Duration::from_millis(100);
/// An answer that takes twice the quickest and this much more has waited in line: 20 ms. Ours.
const QUEUES: Duration = Duration::from_millis(20);
/// Chunks asked of a peer at first that gives and takes the same file as many others: 2. Ours; each asks for what was new
/// a moment ago, and so do the others.
const WINDOW_CROWDED: u32 = 2;
/// Least pipeline of a peer that answers: one chunk on its way, one being asked for.
const WINDOW_MIN: u32 = 2;
/// All pipelines together hold this much of each peer's rate, on top of one and a half times its latency: 40 ms. Ours.
/// What is asked for earlier only waits longer at a peer that others ask, too, and spreads a new chunk more slowly.
pub(crate) const SHARE_TIME: Duration = Duration::from_millis(40);
/// The same for who streams from the origin what others wait for: 5 ms. Ours; what waits in its line waits before the origin's bytes.
pub(crate) const SHARE_TIME_STREAMING: Duration = Duration::from_millis(5);
/// Shortest time of work that a rate is taken from: 20 ms. Ours; less says nothing.
const RATE_TIME_MIN: Duration = Duration::from_millis(20);
/// Measurements without work after which a peer's rate is unknown again: 4, a second. Ours.
const IDLE_MAX: u32 = 4;
/// No answer for this long and what the peer was asked for may go to others as well: 400 ms, more for a peer that is far
/// away. Ours; a few round trips on any path worth having.
const DOUBT: Duration = Duration::from_millis(400);
/// The same for the farthest peer: 1 s.
const DOUBT_MAX: Duration = Duration::from_secs(1);
/// The same where many ask each other and answers wait in line: 1 s, and 4 s for the slowest.
const DOUBT_CROWDED: Duration = Duration::from_secs(1);
const DOUBT_CROWDED_MAX: Duration = Duration::from_secs(4);
/// No answer for this long and the peer is on probation: 2 s, more for a peer that has been slow but steady.
const STALL: Duration = Duration::from_secs(2);
/// The same for a peer that has given nothing yet: 1 s. Ours; it is believed again as soon as it does.
const STALL_NEW: Duration = Duration::from_secs(1);
/// The same for the slowest peer: 20 s.
const STALL_MAX: Duration = Duration::from_secs(20);
/// A peer on probation that does not answer its one request for this long is let go: 8 s.
const STALL_PROBATION: Duration = Duration::from_secs(8);
/// Least rate expected of a peer that sends a whole block, of which nothing is seen before its end: 2 MB/s.
const BLOCK_BYTES_S: u64 = 2_000_000;

/// What a peer's silence amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    Doubt,
    Stall,
}

/// How fast a peer answers, and how much is asked of it at a time.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Chunks asked of it at once.
    pub(super) window: u32,
    pub(super) window_max: u32,
    /// It gives a file that others are still fetching, too, and so do they.
    pub(crate) crowded: bool,
    /// The window grows with every answer.
    ramp: bool,
    /// The window was full since the last measurement.
    saturated: bool,
    /// Requests so far.
    seq: u64,
    pub(super) progress_at: Instant,
    /// It answered nothing for so long before what it was asked for was asked of others.
    silent: Duration,
    /// Shortest time from request to answer.
    latency: Option<Duration>,
    /// The same on average, µs; the last answers weigh most.
    answer_us: u64,
    pub(crate) rate_bytes_s: u64,
    /// Bytes since the last measurement, and the time that it took it to give them.
    bytes: u64,
    busy: Duration,
    pub(super) busy_since: Option<Instant>,
    /// Measurements in a row that found nothing to measure.
    idle: u32,
    pub(crate) doubted: bool,
    pub(super) stalls: u32,
    /// Serialised bytes of the block it was asked for.
    pub(crate) block_bytes: u64,
    /// We do not read what it sends for now: its silence is ours.
    unread: bool,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            window: WINDOW_START,
            window_max: WINDOW_MAX,
            crowded: false,
            ramp: true,
            saturated: false,
            seq: 0,
            progress_at: now,
            silent: Duration::ZERO,
            latency: None,
            answer_us: 0,
            rate_bytes_s: 0,
            bytes: 0,
            busy: Duration::ZERO,
            busy_since: None,
            idle: 0,
            doubted: false,
            stalls: 0,
            block_bytes: 0,
            unread: false,
        }
    }
}

impl Peer {
    /// Draws a request id nobody can guess, and puts the request on the list.
    pub(crate) fn draw(&mut self, rng: &mut Rng, now: Instant, what: Pending, owned: bool) -> ReqId {
        loop {
            let req = ReqId(rng.u32());
            if !self.asked.requests.contains_key(&req) && !self.asked.plain.contains(&req) {
                self.enlist(now, req, what, owned);
                return req;
            }
        }
    }

    /// Whether one more chunk may be asked of it.
    pub(crate) fn wants_more(&self) -> bool {
        (self.asked.requests.len() as u32) < self.pace.window
    }

    /// Whether one more request of another kind may be sent.
    pub(crate) fn has_room(&self) -> bool {
        (self.asked.requests.len() as u32) < WINDOW_MAX + OTHERS_MAX
    }

    fn doubt_after(&self) -> Duration {
        (self.pace.latency.unwrap_or_default() * 3).max(self.usual_answer() * 4).clamp(
            if self.pace.crowded { DOUBT_CROWDED } else { DOUBT },
            if self.pace.crowded { DOUBT_CROWDED_MAX } else { DOUBT_MAX },
        )
    }

    fn stall_after(&self) -> Duration {
        let block = self.asked.requests.values().any(|r| matches!(r.what, Pending::Block { .. }));
        let extra = if block {
            Duration::from_micros(self.pace.block_bytes * 1_000_000 / BLOCK_BYTES_S)
        } else {
            Duration::ZERO
        };
        let wait = match self.pace.stalls {
            0 => (self.pace.latency.unwrap_or_default() * 3)
                .max(self.doubt_after() * 2)
                .clamp(if self.word.useful || self.pace.crowded { STALL } else { STALL_NEW }, STALL_MAX),
            _ => STALL_PROBATION,
        };
        wait + extra
    }

    /// When its silence has to be looked at again, and whether that would be a stall or only reason for doubt.
    pub(crate) fn deadline(&self) -> Option<(Instant, Silence)> {
        if self.asked.requests.is_empty() || self.closing || self.pace.unread {
            return None;
        }
        let owns = self.asked.requests.values().any(|r| r.owned);
        Some(match owns && !self.pace.doubted && !self.probation() {
            true => (self.pace.progress_at + self.doubt_after(), Silence::Doubt),
            false => (self.pace.progress_at + self.stall_after(), Silence::Stall),
        })
    }

    /// What it sends is read from now on, or left lying.
    pub(crate) fn intake(&mut self, now: Instant, open: bool) {
        if core::mem::replace(&mut self.pace.unread, !open) && open {
            self.pace.progress_at = now;
        }
    }

    /// Puts a request on the list.
    fn enlist(&mut self, now: Instant, req: ReqId, what: Pending, owned: bool) {
        if self.asked.requests.is_empty() {
            self.pace.progress_at = now - core::mem::take(&mut self.pace.silent);
            self.pace.busy_since = Some(now);
        }
        self.pace.seq += 1;
        self.asked.requests.insert(req, Request { what, seq: self.pace.seq, at: now, owned });
        self.asked.unowned += u32::from(!owned);
        self.pace.saturated |= !self.wants_more();
    }

    /// Takes a request off the list.
    pub(crate) fn strike(&mut self, now: Instant, req: ReqId) -> Option<Request> {
        let request = self.asked.requests.remove(&req)?;
        self.asked.unowned -= u32::from(!request.owned);
        if self.asked.requests.is_empty() {
            self.pace.doubted = false;
            if let Some(since) = self.pace.busy_since.take() {
                self.pace.busy += now.since(since);
            }
        }
        Some(request)
    }

    /// Others are asked instead. That it has answered nothing so far counts when it is asked again, if it has given nothing at all.
    pub(crate) fn passed_over(&mut self, now: Instant) {
        if !self.word.useful && !self.asked.requests.is_empty() {
            self.pace.silent = now.since(self.pace.progress_at);
        }
    }

    /// It gave an answer of `bytes` to something asked at `asked`; a list is no proof that it gives what is `data`. Gives the requests to count on again, oldest first,
    /// if it had been in doubt.
    pub(crate) fn progressed(&mut self, now: Instant, asked: Instant, bytes: u32, data: bool) -> Vec<ReqId> {
        self.pace.bytes += u64::from(bytes);
        self.pace.progress_at = now;
        self.pace.silent = Duration::ZERO;
        self.word.nothing = 0;
        self.word.waited = 0;
        if data {
            self.word.useful = true;
            self.word.refused = 0;
            self.word.denied = false;
            self.word.given = self.word.given.saturating_add(1);
            self.word.gave_at = now;
        }
        let took = now.since(asked);
        self.pace.latency = Some(self.pace.latency.map_or(took, |best| best.min(took)));
        let took_us = took.as_micros() as u64;
        self.pace.answer_us =
            if self.pace.answer_us == 0 { took_us } else { (7 * self.pace.answer_us + took_us) / 8 };
        if !data {
            return Vec::new();
        }
        if self.pace.stalls > 0 {
            self.pace.stalls = 0;
            self.pace.window = WINDOW_DOUBT.min(self.pace.window_max);
            self.pace.ramp = true;
        } else if self.pace.crowded {
            // Others ask it, too: what waits there is better asked elsewhere, or later.
            if self.queues(took) {
                self.pace.ramp = false;
                self.pace.window = (self.pace.window - self.pace.window.div_ceil(4)).max(1);
            } else if !self.wants_more() {
                self.pace.window = (self.pace.window + 1).min(self.pace.window_max);
            }
        } else if self.pace.ramp {
            self.pace.ramp = !self.queues(took);
            self.pace.window = (self.pace.window + 1).min(self.pace.window_max);
        }
        if !core::mem::take(&mut self.pace.doubted) {
            return Vec::new();
        }
        let mut open: Vec<(u64, ReqId)> =
            self.asked.requests.iter().filter(|(_, r)| !r.owned).map(|(req, r)| (r.seq, *req)).collect();
        open.sort_unstable();
        open.into_iter().take(self.pace.window as usize).map(|(_, req)| req).collect()
    }

    /// Whether an answer took so much longer than the quickest that it must have waited in line: its line is full.
    pub(crate) fn queues(&self, took: Duration) -> bool {
        took > self.pace.latency.unwrap_or_default() * 2 + QUEUES
    }

    /// Takes the period that ends now into the rate, and sizes the pipeline by it.
    pub(crate) fn measure(&mut self, now: Instant) {
        self.word.haves = 0;
        let mut busy = core::mem::take(&mut self.pace.busy);
        if let Some(since) = &mut self.pace.busy_since {
            busy += now.since(*since);
            *since = now;
        }
        let saturated = core::mem::take(&mut self.pace.saturated) || !self.wants_more();
        if busy < RATE_TIME_MIN {
            self.pace.busy = busy;
            // What it gave long ago says little: it is asked again to see.
            self.pace.idle += 1;
            if self.pace.idle >= IDLE_MAX && self.asked.requests.is_empty() {
                self.pace.rate_bytes_s = 0;
                self.told_wait = None;
            }
            return;
        }
        self.pace.idle = 0;
        let bytes = core::mem::take(&mut self.pace.bytes);
        let rate = (u128::from(bytes) * 1_000_000 / busy.as_micros().max(1)) as u64;
        self.pace.rate_bytes_s =
            if self.pace.rate_bytes_s == 0 { rate } else { self.pace.rate_bytes_s.midpoint(rate) };
        if self.probation() || self.pace.doubted || self.pace.crowded {
            return;
        }
        let time = WINDOW_TIME + self.pace.latency.unwrap_or_default().min(DOUBT_MAX) * 3 / 2;
        let want =
            u128::from(self.pace.rate_bytes_s) * time.as_micros() / 1_000_000 / u128::from(CHUNK_BYTES_MEAN);
        let want = (want as u32).max(WINDOW_MIN).min(self.pace.window_max);
        // A pipeline that was not full shows what there was to ask, not what the peer can give. A ramp goes on until the
        // rate says enough.
        if want > self.pace.window {
            self.pace.window = want;
        } else if saturated && bytes > 0 && !self.pace.ramp {
            // The rate lags behind a window that has just grown.
            self.pace.window = want.max(self.pace.window * 3 / 4);
        }
    }

    /// From now on it is one of many that give and take the same file.
    pub(crate) fn crowd(&mut self) {
        if !core::mem::replace(&mut self.pace.crowded, true) {
            self.pace.window = self.pace.window.min(WINDOW_CROWDED);
        }
    }

    /// Marks a request as one that somebody waits for, or nobody. Gives what it was before.
    pub(crate) fn set_owned(&mut self, req: ReqId, owned: bool) -> Option<Request> {
        let request = self.asked.requests.get_mut(&req)?;
        let before = *request;
        request.owned = owned;
        match (before.owned, owned) {
            (true, false) => self.asked.unowned += 1,
            (false, true) => self.asked.unowned -= 1,
            _ => {}
        }
        Some(before)
    }

    /// What its answers usually take.
    pub(crate) fn usual_answer(&self) -> Duration {
        Duration::from_micros(self.pace.answer_us)
    }

    /// Whether its word counts and its answers usually take less than this.
    pub(crate) fn is_quicker(&self, than: Duration) -> bool {
        self.counts() && !self.pace.doubted && self.usual_answer() < than
    }

    /// Whether it was asked this at least so long ago, and still is.
    pub(crate) fn asked_before(&self, req: ReqId, now: Instant, ago: Duration) -> bool {
        self.asked.requests.get(&req).is_some_and(|request| now.since(request.at) >= ago)
    }

    /// What it adds to the pipelines of all peers together, in 1/256 chunks, if those hold so much of its rate.
    pub(crate) fn share(&self, time: Duration) -> u64 {
        if !self.counts() || self.pace.rate_bytes_s == 0 {
            return 0;
        }
        let time = time + self.pace.latency.unwrap_or_default().min(DOUBT_MAX) * 3 / 2;
        let bytes = u128::from(self.pace.rate_bytes_s) * time.as_micros() / 1_000_000;
        (bytes * 256 / u128::from(CHUNK_BYTES_MEAN)) as u64
    }

    /// How long one more request would wait for its answer, in µs, as far as can be told. `usual` is what one chunk takes
    /// at a peer of which nothing is known.
    pub(crate) fn expected_wait(&self, now: Instant, usual_us: u64) -> u64 {
        let each = match self.pace.rate_bytes_s {
            0 => usual_us,
            rate => CHUNK_BYTES_MEAN * 1_000_000 / rate,
        };
        let told =
            self.told_wait.map_or(0, |(at, wait)| wait.saturating_sub(now.since(at).as_micros() as u64));
        told.saturating_add(each.saturating_mul(self.asked.requests.len() as u64 + 1))
    }

    /// Requests beyond what the peer will answer soon, newest first: others may be asked for those too.
    pub(crate) fn excess(&self) -> Vec<ReqId> {
        let mut owned: Vec<(u64, ReqId)> =
            self.asked.requests.iter().filter(|(_, r)| r.owned).map(|(req, r)| (r.seq, *req)).collect();
        owned.sort_unstable();
        let keep = (2 * self.pace.window + 2).min(WINDOW_MAX) as usize;
        owned.into_iter().skip(keep).map(|(_, req)| req).rev().collect()
    }

    /// Its silence makes one doubt it: it keeps its requests, but nobody relies on them.
    pub(crate) fn doubt(&mut self) {
        self.pace.doubted = true;
        self.pace.rate_bytes_s /= 2;
        self.pace.window = self.pace.window.min(WINDOW_DOUBT);
        self.pace.ramp = true;
    }

    /// It stalled; false if that was once too often.
    pub(crate) fn stalled(&mut self, now: Instant) -> bool {
        self.pace.stalls += 1;
        self.pace.rate_bytes_s = 0;
        self.pace.window = 1;
        self.pace.progress_at = now;
        self.pace.stalls == 1
    }
}

const _: () = assert!(WINDOW_START <= WINDOW_MAX && WINDOW_DOUBT <= WINDOW_START);
