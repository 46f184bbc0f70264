//! Faults a test or the demo can inject while the hub runs. There is deliberately no way to reach them over HTTP.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

/// The three services that share the hub's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Hub API and `resolve`.
    Hub,
    /// Reconstructions.
    Cas,
    /// Bytes: xorb ranges and whole files.
    Cdn,
}

impl Service {
    const COUNT: usize = 3;

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Hub => 0,
            Self::Cas => 1,
            Self::Cdn => 2,
        }
    }
}

/// Life of signed URLs and Xet tokens unless a fault says otherwise: one hour, as the public Hub gives.
pub(crate) const TTL_SECS_DEFAULT: u64 = 3600;

/// Entries per page of a tree listing unless a fault says otherwise: 1000, the public Hub's figure.
pub(crate) const TREE_PAGE_ENTRIES_DEFAULT: usize = 1000;

/// Unused time of a link with a rate, one body's or all bodies', that may be caught up: 20 ms, because timers fire late.
const RATE_SLACK: Duration = Duration::from_millis(20);

/// Marks "no fault set" in the integer cells.
const UNSET: u64 = u64::MAX;

/// What goes wrong with one CDN body. Decided when the answer starts, so one body has one fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BodyFate {
    /// The connection breaks off after the middle byte.
    pub(crate) cut: bool,
    /// Nothing follows the middle byte, for ever.
    pub(crate) stall: bool,
    /// One bit of the middle byte is flipped.
    pub(crate) corrupt: bool,
}

/// Fault switches of a running hub. All are off at the start; every setter takes effect with the next request.
///
/// Probabilities are drawn from a counter-driven generator, so the same seed and the same order of requests give the same faults.
#[derive(Debug)]
pub struct Faults {
    off: [AtomicBool; Service::COUNT],
    fail: [AtomicU32; Service::COUNT],
    cut: AtomicU32,
    stall: AtomicU32,
    corrupt: AtomicU32,
    limited: [AtomicU64; Service::COUNT],
    retry_after_secs: AtomicU64,
    latency_ms: [AtomicU64; Service::COUNT],
    url_ttl_secs: AtomicU64,
    token_ttl_secs: AtomicU64,
    no_v2: AtomicBool,
    tree_page: AtomicU64,
    cdn_bytes_per_sec: AtomicU64,
    body_bytes_per_sec: AtomicU64,
    link_free: Mutex<Option<Instant>>,
    dice: AtomicU64,
}

impl Faults {
    pub(crate) fn new() -> Self {
        Self {
            off: Default::default(),
            fail: Default::default(),
            cut: AtomicU32::new(0),
            stall: AtomicU32::new(0),
            corrupt: AtomicU32::new(0),
            limited: Default::default(),
            retry_after_secs: AtomicU64::new(UNSET),
            latency_ms: Default::default(),
            url_ttl_secs: AtomicU64::new(TTL_SECS_DEFAULT),
            token_ttl_secs: AtomicU64::new(TTL_SECS_DEFAULT),
            no_v2: AtomicBool::new(false),
            tree_page: AtomicU64::new(TREE_PAGE_ENTRIES_DEFAULT as u64),
            cdn_bytes_per_sec: AtomicU64::new(0),
            body_bytes_per_sec: AtomicU64::new(0),
            link_free: Mutex::new(None),
            dice: AtomicU64::new(0),
        }
    }

    /// Starts the fault generator over from `seed`.
    pub fn seed(&self, seed: u64) {
        self.dice.store(seed, Relaxed);
    }

    /// Every CDN request is answered 503.
    pub fn set_cdn_off(&self, off: bool) {
        self.set_off(Service::Cdn, off);
    }

    /// Every CAS request is answered 503.
    pub fn set_cas_off(&self, off: bool) {
        self.set_off(Service::Cas, off);
    }

    /// Every Hub request is answered 503.
    pub fn set_hub_off(&self, off: bool) {
        self.set_off(Service::Hub, off);
    }

    /// Every request of `service` is answered 503.
    pub fn set_off(&self, service: Service, off: bool) {
        self.off[service.index()].store(off, Relaxed);
    }

    /// Probability (0 to 1) that a request of `service` is answered 503.
    pub fn set_fail(&self, service: Service, probability: f64) {
        self.fail[service.index()].store(parts_per_million(probability), Relaxed);
    }

    /// Probability (0 to 1) that a CDN body breaks off in its middle.
    pub fn set_cdn_cut(&self, probability: f64) {
        self.cut.store(parts_per_million(probability), Relaxed);
    }

    /// Probability (0 to 1) that a CDN body stops in its middle and stays open.
    pub fn set_cdn_stall(&self, probability: f64) {
        self.stall.store(parts_per_million(probability), Relaxed);
    }

    /// Probability (0 to 1) that a CDN body has one flipped bit in its middle.
    pub fn set_cdn_corrupt(&self, probability: f64) {
        self.corrupt.store(parts_per_million(probability), Relaxed);
    }

    /// The next `requests` requests of `service` are answered 429, with `Retry-After` in seconds if given.
    pub fn set_limited(&self, service: Service, requests: u64, retry_after_secs: Option<u64>) {
        self.retry_after_secs.store(retry_after_secs.unwrap_or(UNSET), Relaxed);
        self.limited[service.index()].store(requests, Relaxed);
    }

    /// Waiting time before each answer of `service`.
    pub fn set_latency(&self, service: Service, latency: Duration) {
        let ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        self.latency_ms[service.index()].store(ms, Relaxed);
    }

    /// Life in seconds of signed URLs given out from now on; `None` is an hour, 0 gives URLs that are refused at once.
    pub fn set_url_ttl(&self, secs: Option<u64>) {
        self.url_ttl_secs.store(secs.unwrap_or(TTL_SECS_DEFAULT), Relaxed);
    }

    /// Life in seconds of Xet tokens given out from now on; `None` is an hour, 0 gives tokens that are refused at once.
    pub fn set_token_ttl(&self, secs: Option<u64>) {
        self.token_ttl_secs.store(secs.unwrap_or(TTL_SECS_DEFAULT), Relaxed);
    }

    /// `/v2/reconstructions` is answered 404, as by an old CAS.
    pub fn set_no_v2(&self, no_v2: bool) {
        self.no_v2.store(no_v2, Relaxed);
    }

    /// Entries per page of a tree listing; `None` is 1000.
    pub fn set_tree_page(&self, entries: Option<usize>) {
        self.tree_page.store(entries.unwrap_or(TREE_PAGE_ENTRIES_DEFAULT).max(1) as u64, Relaxed);
    }

    /// Bytes per second for all CDN bodies together; `None` is unlimited.
    pub fn set_cdn_rate(&self, bytes_per_sec: Option<u64>) {
        self.cdn_bytes_per_sec.store(bytes_per_sec.unwrap_or(0), Relaxed);
    }

    /// Bytes per second of each CDN body; `None` is unlimited. Beside the rate of all together.
    pub fn set_cdn_body_rate(&self, bytes_per_sec: Option<u64>) {
        self.body_bytes_per_sec.store(bytes_per_sec.unwrap_or(0), Relaxed);
    }

    /// Switches everything off, keeping the generator's state.
    pub fn clear(&self) {
        for service in [Service::Hub, Service::Cas, Service::Cdn] {
            self.set_off(service, false);
            self.set_fail(service, 0.0);
            self.set_limited(service, 0, None);
            self.set_latency(service, Duration::ZERO);
        }
        self.set_cdn_cut(0.0);
        self.set_cdn_stall(0.0);
        self.set_cdn_corrupt(0.0);
        self.set_url_ttl(None);
        self.set_token_ttl(None);
        self.set_no_v2(false);
        self.set_tree_page(None);
        self.set_cdn_rate(None);
        self.set_cdn_body_rate(None);
    }

    /// Whether this request of `service` fails with 503.
    pub(crate) fn refuses(&self, service: Service) -> bool {
        self.off[service.index()].load(Relaxed) || self.chance(&self.fail[service.index()])
    }

    /// `Some(Retry-After)` if this request of `service` is to be answered 429; counts it down.
    pub(crate) fn take_limited(&self, service: Service) -> Option<Option<u64>> {
        let left = &self.limited[service.index()];
        left.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1)).ok()?;
        let secs = self.retry_after_secs.load(Relaxed);
        Some((secs != UNSET).then_some(secs))
    }

    pub(crate) fn latency(&self, service: Service) -> Duration {
        Duration::from_millis(self.latency_ms[service.index()].load(Relaxed))
    }

    pub(crate) fn url_ttl_secs(&self) -> u64 {
        self.url_ttl_secs.load(Relaxed)
    }

    pub(crate) fn token_ttl_secs(&self) -> u64 {
        self.token_ttl_secs.load(Relaxed)
    }

    pub(crate) fn no_v2(&self) -> bool {
        self.no_v2.load(Relaxed)
    }

    pub(crate) fn tree_page(&self) -> usize {
        usize::try_from(self.tree_page.load(Relaxed)).unwrap_or(usize::MAX)
    }

    pub(crate) fn body_fate(&self) -> BodyFate {
        BodyFate {
            cut: self.chance(&self.cut),
            stall: self.chance(&self.stall),
            corrupt: self.chance(&self.corrupt),
        }
    }

    /// Whether CDN bodies are paced at the moment.
    pub(crate) fn is_paced(&self) -> bool {
        self.cdn_bytes_per_sec.load(Relaxed) > 0 || self.body_bytes_per_sec.load(Relaxed) > 0
    }

    /// Books `bytes` of one CDN body, whose own link is free from `free` on, and tells when they may leave; `None` is now.
    pub(crate) fn book_body(&self, bytes: usize, free: &mut Instant, now: Instant) -> Option<Instant> {
        let rate = self.body_bytes_per_sec.load(Relaxed);
        let until = (rate > 0).then(|| booked(*free, bytes, rate, now));
        *free = until.unwrap_or(now);
        until
    }

    /// Books `bytes` on the one link all CDN bodies share and tells when they may leave; `None` is now.
    pub(crate) fn book(&self, bytes: usize, now: Instant) -> Option<Instant> {
        let rate = self.cdn_bytes_per_sec.load(Relaxed);
        if rate == 0 {
            return None;
        }
        let mut link_free = self.link_free.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let until = booked(link_free.unwrap_or(now), bytes, rate, now);
        *link_free = Some(until);
        Some(until)
    }

    /// Draws once if `probability` is not zero, so that unused faults do not shift the sequence of the used ones.
    fn chance(&self, probability: &AtomicU32) -> bool {
        let parts = u64::from(probability.load(Relaxed));
        if parts == 0 {
            return false;
        }
        // SplitMix64: the state is a plain counter, so concurrent draws need no lock.
        let mut x = self.dice.fetch_add(0x9E37_79B9_7F4A_7C15, Relaxed).wrapping_add(0x9E37_79B9_7F4A_7C15);
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^= x >> 31;
        x % 1_000_000 < parts
    }
}

/// When `bytes` have left over a link that is free from `free` on.
fn booked(free: Instant, bytes: usize, rate: u64, now: Instant) -> Instant {
    let earliest = now.checked_sub(RATE_SLACK).unwrap_or(now);
    free.max(earliest) + Duration::from_secs_f64(bytes as f64 / rate as f64)
}

fn parts_per_million(probability: f64) -> u32 {
    // `as` saturates and turns NaN into 0, which is what a switch should do with nonsense.
    (probability.clamp(0.0, 1.0) * 1_000_000.0).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probability_is_met_and_repeatable_from_its_seed() {
        let faults = Faults::new();
        faults.set_cdn_cut(0.25);
        let draw = || -> Vec<bool> { (0..4000).map(|_| faults.body_fate().cut).collect() };
        faults.seed(7);
        let first = draw();
        faults.seed(7);
        assert_eq!(first, draw());
        let hits = first.iter().filter(|&&hit| hit).count();
        assert!((900..1100).contains(&hits), "{hits} of 4000 at a probability of 0.25");
    }

    #[test]
    fn limited_counts_down_and_then_stops() {
        let faults = Faults::new();
        faults.set_limited(Service::Cas, 2, Some(3));
        assert_eq!(faults.take_limited(Service::Hub), None);
        assert_eq!(faults.take_limited(Service::Cas), Some(Some(3)));
        assert_eq!(faults.take_limited(Service::Cas), Some(Some(3)));
        assert_eq!(faults.take_limited(Service::Cas), None);
    }

    #[test]
    fn pacing_books_bytes_one_after_another() {
        let faults = Faults::new();
        let now = Instant::now();
        assert_eq!(faults.book(1000, now), None);
        faults.set_cdn_rate(Some(1000));
        let first = faults.book(500, now).expect("paced");
        let second = faults.book(500, now).expect("paced");
        assert_eq!(second - first, Duration::from_millis(500));
    }

    #[test]
    fn a_body_makes_up_for_timers_that_fire_late() {
        let faults = Faults::new();
        let began = Instant::now();
        let (mut now, mut free) = (began, began);
        faults.set_cdn_body_rate(Some(10_000_000));
        for _ in 0..1000 {
            let until = faults.book_body(32 << 10, &mut free, now).expect("paced");
            // Each piece is asked for when the one before has left, a little late.
            now = now.max(until) + Duration::from_millis(1);
        }
        let took = (now - began).as_secs_f64() * 10_000_000.0 / f64::from(1000 * (32 << 10));
        assert!((0.99..1.01).contains(&took), "{took:.3} of the time that its rate gives it");
    }
}
