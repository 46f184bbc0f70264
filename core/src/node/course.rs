//! How a job goes: what the user wants of it, and since when nothing happened.

use crate::Instant;

/// How soon the user wants a job, compared with others of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Priority {
    /// After all others.
    Low,
    /// As usual.
    #[default]
    Normal,
    /// Before all others.
    High,
}

#[derive(Debug)]
pub(crate) struct Course {
    /// Complete or failed: nothing more is asked for.
    pub(crate) ended: bool,
    /// Resting by the user's wish.
    pub(crate) paused: bool,
    /// How soon the user wants it.
    pub(crate) wish: Priority,
    /// Measurements in a row that found chunks waiting behind full pipelines.
    pub(crate) waiting: u32,
    /// When it was begun.
    pub(crate) since: Instant,
    /// When something useful last happened.
    pub(crate) progress_at: Instant,
}

impl Course {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            ended: false,
            paused: false,
            wish: Priority::default(),
            waiting: 0,
            since: now,
            progress_at: now,
        }
    }
}
