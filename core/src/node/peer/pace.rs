//! How much is asked of a peer at a time, how fast it answers, and how long its silence is borne.

use super::{Peer, Pending, Request};
use crate::node::rng::Rng;
use crate::{Duration, Instant, ReqId};
use alloc::vec::Vec;

/// Mean length of a chunk (target of the chunker), for turning rates into pipelines.
const CHUNK_BYTES_MEAN: u64 = zest_xet::CHUNK_BYTES_TARGET as u64;
/// Chunks asked of a peer at once before its rate is known: 1 MiB. Grows by one with each answer, so it doubles every
/// round trip; what a mute peer can hold up stays a handful.
pub(super) const WINDOW_START: u32 = 16;
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
const SHARE_TIME: Duration = Duration::from_millis(40);
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

impl Peer {
    /// Draws a request id nobody can guess, and puts the request on the list.
    pub(crate) fn draw(&mut self, rng: &mut Rng, now: Instant, what: Pending, owned: bool) -> ReqId {
        loop {
            let req = ReqId(rng.u32());
            if !self.requests.contains_key(&req) {
                self.enlist(now, req, what, owned);
                return req;
            }
        }
    }

    /// Whether one more chunk may be asked of it.
    pub(crate) fn wants_more(&self) -> bool {
        (self.requests.len() as u32) < self.window
    }

    /// Whether one more request of another kind may be sent.
    pub(crate) fn has_room(&self) -> bool {
        (self.requests.len() as u32) < WINDOW_MAX + OTHERS_MAX
    }

    fn doubt_after(&self) -> Duration {
        (self.latency.unwrap_or_default() * 3).max(self.usual_answer() * 4).clamp(
            if self.crowded { DOUBT_CROWDED } else { DOUBT },
            if self.crowded { DOUBT_CROWDED_MAX } else { DOUBT_MAX },
        )
    }

    fn stall_after(&self) -> Duration {
        let block = self.requests.values().any(|r| matches!(r.what, Pending::Block { .. }));
        let extra = if block {
            Duration::from_micros(self.block_bytes * 1_000_000 / BLOCK_BYTES_S)
        } else {
            Duration::ZERO
        };
        let wait = match self.stalls {
            0 => (self.latency.unwrap_or_default() * 3).max(self.doubt_after() * 2).clamp(STALL, STALL_MAX),
            _ => STALL_PROBATION,
        };
        wait + extra
    }

    /// When its silence has to be looked at again, and whether that would be a stall or only reason for doubt.
    pub(crate) fn deadline(&self) -> Option<(Instant, Silence)> {
        if self.requests.is_empty() || self.closing || self.unread {
            return None;
        }
        let owns = self.requests.values().any(|r| r.owned);
        Some(match owns && !self.doubted && !self.probation() {
            true => (self.progress_at + self.doubt_after(), Silence::Doubt),
            false => (self.progress_at + self.stall_after(), Silence::Stall),
        })
    }

    /// What it sends is read from now on, or left lying.
    pub(crate) fn intake(&mut self, now: Instant, open: bool) {
        if core::mem::replace(&mut self.unread, !open) && open {
            self.progress_at = now;
        }
    }

    /// Puts a request on the list.
    fn enlist(&mut self, now: Instant, req: ReqId, what: Pending, owned: bool) {
        if self.requests.is_empty() {
            self.progress_at = now;
            self.busy_since = Some(now);
        }
        self.seq += 1;
        self.requests.insert(req, Request { what, seq: self.seq, at: now, owned });
        self.unowned += u32::from(!owned);
        self.saturated |= !self.wants_more();
    }

    /// Takes a request off the list.
    pub(crate) fn strike(&mut self, now: Instant, req: ReqId) -> Option<Request> {
        let request = self.requests.remove(&req)?;
        self.unowned -= u32::from(!request.owned);
        if self.requests.is_empty() {
            self.doubted = false;
            if let Some(since) = self.busy_since.take() {
                self.busy += now.since(since);
            }
        }
        Some(request)
    }

    /// It gave an answer of `bytes` to something asked at `asked`; a list is no proof that it gives what is `data`. Gives the requests to count on again, oldest first,
    /// if it had been in doubt.
    pub(crate) fn progressed(&mut self, now: Instant, asked: Instant, bytes: u32, data: bool) -> Vec<ReqId> {
        self.bytes += u64::from(bytes);
        self.progress_at = now;
        self.nothing = 0;
        self.waited = 0;
        if data {
            self.useful = true;
            self.refused = 0;
            self.gave_at = now;
        }
        let took = now.since(asked);
        self.latency = Some(self.latency.map_or(took, |best| best.min(took)));
        let took_us = took.as_micros() as u64;
        self.answer_us = if self.answer_us == 0 { took_us } else { (7 * self.answer_us + took_us) / 8 };
        if !data {
            return Vec::new();
        }
        if self.stalls > 0 {
            self.stalls = 0;
            self.window = WINDOW_DOUBT.min(self.window_max);
            self.ramp = true;
        } else if self.crowded {
            // Others ask it, too: what waits there is better asked elsewhere, or later.
            if self.queues(took) {
                self.ramp = false;
                self.window = (self.window - self.window.div_ceil(4)).max(1);
            } else if !self.wants_more() {
                self.window = (self.window + 1).min(self.window_max);
            }
        } else if self.ramp {
            self.ramp = !self.queues(took);
            self.window = (self.window + 1).min(self.window_max);
        }
        if !core::mem::take(&mut self.doubted) {
            return Vec::new();
        }
        let mut open: Vec<(u64, ReqId)> =
            self.requests.iter().filter(|(_, r)| !r.owned).map(|(req, r)| (r.seq, *req)).collect();
        open.sort_unstable();
        open.into_iter().take(self.window as usize).map(|(_, req)| req).collect()
    }

    /// Whether an answer took so much longer than the quickest that it must have waited in line: its line is full.
    pub(crate) fn queues(&self, took: Duration) -> bool {
        took > self.latency.unwrap_or_default() * 2 + QUEUES
    }

    /// Takes the period that ends now into the rate, and sizes the pipeline by it.
    pub(crate) fn measure(&mut self, now: Instant) {
        self.haves = 0;
        let mut busy = core::mem::take(&mut self.busy);
        if let Some(since) = &mut self.busy_since {
            busy += now.since(*since);
            *since = now;
        }
        let saturated = core::mem::take(&mut self.saturated) || !self.wants_more();
        if busy < RATE_TIME_MIN {
            self.busy = busy;
            // What it gave long ago says little: it is asked again to see.
            self.idle += 1;
            if self.idle >= IDLE_MAX && self.requests.is_empty() {
                self.rate_bytes_s = 0;
                self.told_wait = None;
            }
            return;
        }
        self.idle = 0;
        let bytes = core::mem::take(&mut self.bytes);
        let rate = (u128::from(bytes) * 1_000_000 / busy.as_micros().max(1)) as u64;
        self.rate_bytes_s = if self.rate_bytes_s == 0 { rate } else { self.rate_bytes_s.midpoint(rate) };
        if self.probation() || self.doubted || self.crowded {
            return;
        }
        let time = WINDOW_TIME + self.latency.unwrap_or_default().min(DOUBT_MAX) * 3 / 2;
        let want =
            u128::from(self.rate_bytes_s) * time.as_micros() / 1_000_000 / u128::from(CHUNK_BYTES_MEAN);
        let want = (want as u32).max(WINDOW_MIN).min(self.window_max);
        // A pipeline that was not full shows what there was to ask, not what the peer can give. A ramp goes on until the
        // rate says enough.
        if want > self.window {
            self.window = want;
        } else if saturated && bytes > 0 && !self.ramp {
            // The rate lags behind a window that has just grown.
            self.window = want.max(self.window * 3 / 4);
        }
    }

    /// From now on it is one of many that give and take the same file.
    pub(crate) fn crowd(&mut self) {
        if !core::mem::replace(&mut self.crowded, true) {
            self.window = self.window.min(WINDOW_CROWDED);
        }
    }

    /// Marks a request as one that somebody waits for, or nobody. Gives what it was before.
    pub(crate) fn set_owned(&mut self, req: ReqId, owned: bool) -> Option<Request> {
        let request = self.requests.get_mut(&req)?;
        let before = *request;
        request.owned = owned;
        match (before.owned, owned) {
            (true, false) => self.unowned += 1,
            (false, true) => self.unowned -= 1,
            _ => {}
        }
        Some(before)
    }

    /// What its answers usually take.
    pub(crate) fn usual_answer(&self) -> Duration {
        Duration::from_micros(self.answer_us)
    }

    /// Whether its word counts and its answers usually take less than this.
    pub(crate) fn is_quicker(&self, than: Duration) -> bool {
        self.counts() && !self.doubted && self.usual_answer() < than
    }

    /// Whether it was asked this at least so long ago, and still is.
    pub(crate) fn asked_before(&self, req: ReqId, now: Instant, ago: Duration) -> bool {
        self.requests.get(&req).is_some_and(|request| now.since(request.at) >= ago)
    }

    /// What it adds to the pipelines of all peers together, in 1/256 chunks.
    pub(crate) fn share(&self) -> u64 {
        if !self.counts() || self.rate_bytes_s == 0 {
            return 0;
        }
        let time = SHARE_TIME + self.latency.unwrap_or_default().min(DOUBT_MAX) * 3 / 2;
        let bytes = u128::from(self.rate_bytes_s) * time.as_micros() / 1_000_000;
        (bytes * 256 / u128::from(CHUNK_BYTES_MEAN)) as u64
    }

    /// How long one more request would wait for its answer, in µs, as far as can be told. `usual` is what one chunk takes
    /// at a peer of which nothing is known.
    pub(crate) fn expected_wait(&self, now: Instant, usual_us: u64) -> u64 {
        let each = match self.rate_bytes_s {
            0 => usual_us,
            rate => CHUNK_BYTES_MEAN * 1_000_000 / rate,
        };
        let told =
            self.told_wait.map_or(0, |(at, wait)| wait.saturating_sub(now.since(at).as_micros() as u64));
        told.saturating_add(each.saturating_mul(self.requests.len() as u64 + 1))
    }

    /// Requests beyond what the peer will answer soon, newest first: others may be asked for those too.
    pub(crate) fn excess(&self) -> Vec<ReqId> {
        let mut owned: Vec<(u64, ReqId)> =
            self.requests.iter().filter(|(_, r)| r.owned).map(|(req, r)| (r.seq, *req)).collect();
        owned.sort_unstable();
        let keep = (2 * self.window + 2).min(WINDOW_MAX) as usize;
        owned.into_iter().skip(keep).map(|(_, req)| req).rev().collect()
    }

    /// Its silence makes one doubt it: it keeps its requests, but nobody relies on them.
    pub(crate) fn doubt(&mut self) {
        self.doubted = true;
        self.rate_bytes_s /= 2;
        self.window = self.window.min(WINDOW_DOUBT);
        self.ramp = true;
    }

    /// It stalled; false if that was once too often.
    pub(crate) fn stalled(&mut self, now: Instant) -> bool {
        self.stalls += 1;
        self.rate_bytes_s = 0;
        self.window = 1;
        self.progress_at = now;
        self.stalls == 1
    }
}

const _: () = assert!(WINDOW_START <= WINDOW_MAX && WINDOW_DOUBT <= WINDOW_START);
