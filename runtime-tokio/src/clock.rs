//! The process's clock in core's terms.

use std::time::{Duration, Instant as StdInstant};
use zest_core::Instant;

/// Microseconds since the engine started, starting at 1 s so that "long ago" can be said.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(StdInstant);

const START: Duration = Duration::from_secs(1);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(StdInstant::now())
    }

    pub(crate) fn now(&self) -> Instant {
        Instant(u64::try_from((self.0.elapsed() + START).as_micros()).unwrap_or(u64::MAX))
    }

    /// The same point in tokio's terms.
    pub(crate) fn to_tokio(self, at: Instant) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.0 + Duration::from_micros(at.0).saturating_sub(START))
    }
}

/// Waits until then; for ever if there is no such time.
pub(crate) async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
