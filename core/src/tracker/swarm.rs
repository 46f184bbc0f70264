//! One swarm: when it is announced where, and who knows of it.

use super::{INTERVAL_MAX, INTERVAL_MIN, REFUSED_RETRY, Rank};
use crate::{Duration, Instant};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// How one swarm stands in one lane.
#[derive(Debug, Clone)]
pub(super) struct LaneState {
    /// When it is announced next; `None` while it is.
    pub(super) due: Option<Instant>,
    /// The last answer.
    pub(super) last: Option<Instant>,
    /// What the tracker wants between two announces.
    pub(super) pause_min: Duration,
    /// To be announced again at once: something happened while it was announced.
    pub(super) again: bool,
    /// Trackers that did not answer this time.
    pub(super) tried: Vec<usize>,
}

/// What one tracker knows of us.
#[derive(Debug, Clone, Copy)]
pub(super) struct Joined {
    /// That we have everything.
    pub(super) completed: bool,
}

#[derive(Debug)]
pub(super) struct Swarm {
    pub(super) rank: Rank,
    pub(super) uploaded: u64,
    pub(super) downloaded: u64,
    pub(super) left: u64,
    pub(super) lanes: Vec<LaneState>,
    pub(super) joined: BTreeMap<usize, Joined>,
    /// Trackers that refused it: how often, and until when they are left alone.
    refused: BTreeMap<usize, (u32, Instant)>,
}

impl Swarm {
    pub(super) fn new(rank: Rank, left: u64, lanes: usize) -> Self {
        let lane =
            LaneState { due: None, last: None, pause_min: INTERVAL_MIN, again: false, tried: Vec::new() };
        Self {
            rank,
            uploaded: 0,
            downloaded: 0,
            left,
            lanes: alloc::vec![lane; lanes],
            joined: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// A tracker refused it; it may name a pause. Tells until when it is left alone.
    pub(super) fn refused(&mut self, now: Instant, server: usize, retry_in: Option<Duration>) -> Instant {
        let times = self.refused.get(&server).map_or(0, |(times, _)| *times);
        let ours = REFUSED_RETRY * (1 << times.min(8));
        let until = now + retry_in.unwrap_or(ours).clamp(INTERVAL_MIN, INTERVAL_MAX);
        self.refused.insert(server, (times.saturating_add(1), until));
        until
    }

    pub(super) fn welcome(&mut self, server: usize) {
        self.refused.remove(&server);
    }

    pub(super) fn refused_until(&self, now: Instant, server: usize) -> Option<Instant> {
        self.refused.get(&server).map(|(_, until)| *until).filter(|until| *until > now)
    }
}
