//! What the hub counted and, for tests, which requests it saw.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use super::App;

/// Counters since the hub started. Taken at one moment, not atomically across fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests for the Hub API and `resolve`, refused ones included.
    pub hub_requests: u64,
    /// Requests for the CAS, refused ones included.
    pub cas_requests: u64,
    /// Requests for bytes (xorb ranges and whole files), refused ones included.
    pub cdn_requests: u64,
    /// Answers to `revision` requests.
    pub revisions: u64,
    /// Pages of tree listings sent.
    pub tree_pages: u64,
    /// Xet tokens given out.
    pub xet_tokens: u64,
    /// Answers to `resolve` requests, redirects included.
    pub resolves: u64,
    /// Reconstructions sent, v1 and v2.
    pub reconstructions: u64,
    /// Xorb range answers started.
    pub xorb_ranges: u64,
    /// Whole-file answers started on the CDN side (plain HTTP instead of Xet).
    pub whole_files: u64,
    /// Body bytes of files that do not go through Xet.
    pub hub_bytes: u64,
    /// Body bytes of xorb ranges and whole files.
    pub cdn_bytes: u64,
    /// Such bodies that are being sent.
    pub cdn_bodies: u64,
    /// The most of them at once so far.
    pub cdn_bodies_most: u64,
    /// Files read through for the index since the start: those that no earlier run knew.
    pub indexed_files: u64,
    /// Their bytes.
    pub indexed_bytes: u64,
}

macro_rules! counters {
    ($($name:ident),* $(,)?) => {
        /// The live counters behind [`Stats`].
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: AtomicU64),* }

        impl Counters {
            pub(crate) fn snapshot(&self) -> Stats {
                Stats { $($name: self.$name.load(Relaxed)),* }
            }
        }

        impl Stats {
            /// What was counted between `earlier` and `self`.
            #[must_use]
            pub fn since(&self, earlier: &Self) -> Self {
                Self { $($name: self.$name.saturating_sub(earlier.$name)),* }
            }
        }
    };
}

counters!(
    hub_requests,
    cas_requests,
    cdn_requests,
    revisions,
    tree_pages,
    xet_tokens,
    resolves,
    reconstructions,
    xorb_ranges,
    whole_files,
    hub_bytes,
    cdn_bytes,
    cdn_bodies,
    cdn_bodies_most,
    indexed_files,
    indexed_bytes,
);

/// Adds to a counter; the one place that fixes the memory ordering.
pub(crate) fn count(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}

/// A CDN body while it is being sent.
pub(crate) struct Sending(Arc<App>);

impl Sending {
    pub(crate) fn new(app: Arc<App>) -> Self {
        let now = app.counters.cdn_bodies.fetch_add(1, Relaxed) + 1;
        app.counters.cdn_bodies_most.fetch_max(now, Relaxed);
        Self(app)
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.counters.cdn_bodies.fetch_sub(1, Relaxed);
    }
}

/// One request as the hub saw it. Never holds a token or a query (which may hold a signature).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedRequest {
    /// `GET`, `HEAD`, ...
    pub method: String,
    /// Path as sent, still percent-encoded, without the query.
    pub path: String,
    /// Whether an `Authorization` header came with it.
    pub had_authorization: bool,
}

/// Bounded request log, off until given a capacity.
#[derive(Debug, Default)]
pub(crate) struct RequestLog {
    capacity: AtomicUsize,
    entries: Mutex<VecDeque<LoggedRequest>>,
}

impl RequestLog {
    pub(crate) fn set_capacity(&self, requests: usize) {
        self.capacity.store(requests, Relaxed);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        while entries.len() > requests {
            entries.pop_front();
        }
    }

    pub(crate) fn record(&self, method: &str, path: &str, had_authorization: bool) {
        let capacity = self.capacity.load(Relaxed);
        if capacity == 0 {
            return;
        }
        let entry = LoggedRequest { method: method.to_owned(), path: path.to_owned(), had_authorization };
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        while entries.len() >= capacity {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    pub(crate) fn take(&self) -> Vec<LoggedRequest> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_is_off_at_first_then_bounded_and_keeps_the_newest() {
        let log = RequestLog::default();
        log.record("GET", "/a", false);
        assert!(log.take().is_empty());
        log.set_capacity(2);
        for path in ["/a", "/b", "/c"] {
            log.record("GET", path, true);
        }
        let paths: Vec<String> = log.take().into_iter().map(|entry| entry.path).collect();
        assert_eq!(paths, ["/b", "/c"]);
    }
}
