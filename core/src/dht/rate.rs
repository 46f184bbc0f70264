//! Allowances: how much of something may happen per second.

use super::addr::source;
use super::limits::Limits;
use crate::{Duration, Instant};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// A token bucket in thousandths.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    left_milli: u64,
    at: Instant,
}

impl Allowance {
    pub(crate) fn full(burst: u32) -> Self {
        Self { left_milli: u64::from(burst) * 1000, at: Instant::ZERO }
    }

    fn refill(&mut self, now: Instant, per_s: u32, burst: u32) {
        let since_us = u64::try_from(now.since(self.at).as_micros()).unwrap_or(u64::MAX);
        let gain = since_us.saturating_mul(per_s.into()) / 1000;
        if gain > 0 {
            self.left_milli = self.left_milli.saturating_add(gain).min(u64::from(burst) * 1000);
            self.at = now;
        }
    }

    /// Takes `amount` if there is as much.
    pub(crate) fn take(&mut self, now: Instant, amount: u32, per_s: u32, burst: u32) -> bool {
        self.refill(now, per_s, burst);
        match self.left_milli.checked_sub(u64::from(amount) * 1000) {
            Some(left) => {
                self.left_milli = left;
                true
            }
            None => false,
        }
    }

    /// Whether there is one.
    pub(crate) fn has(&mut self, now: Instant, per_s: u32, burst: u32) -> bool {
        self.refill(now, per_s, burst);
        self.left_milli >= 1000
    }

    /// Nothing is left.
    pub(crate) fn drain(&mut self, now: Instant) {
        *self = Self { left_milli: 0, at: now };
    }

    /// When one will be there.
    pub(crate) fn ready_at(&self, now: Instant, per_s: u32) -> Instant {
        let lack_milli = 1000u64.saturating_sub(self.left_milli);
        now + Duration::from_micros((lack_milli * 1000).div_ceil(u64::from(per_s.max(1))).max(1))
    }
}

/// Packets per address. Addresses are spread over a fixed number of counters by a keyed hash, so that no number of
/// addresses makes it grow, and nobody can choose whom it shares a counter with.
pub(crate) struct Sources {
    key: [u8; 32],
    counters: Vec<Allowance>,
}

impl Sources {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self { key, counters: Vec::new() }
    }

    /// Whether a packet from there may still be looked at.
    pub(crate) fn allow(&mut self, now: Instant, from: SocketAddr, limits: &Limits) -> bool {
        let burst = limits.source_packets_burst;
        if self.counters.is_empty() {
            self.counters = alloc::vec![Allowance::full(burst); limits.source_counters.max(1) as usize];
        }
        let mut bytes = [0; 18];
        let from = source(from);
        match from.ip() {
            IpAddr::V4(ip) => bytes[..4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => bytes[..16].copy_from_slice(&ip.octets()),
        }
        bytes[16..].copy_from_slice(&from.port().to_be_bytes());
        let hash = blake3::keyed_hash(&self.key, &bytes);
        let (first, _) = hash.as_bytes().split_first_chunk::<8>().expect("a hash has 32 bytes");
        let at = u64::from_le_bytes(*first) % self.counters.len() as u64;
        self.counters[at as usize].take(now, 1, limits.source_packets_per_s, burst)
    }
}

impl core::fmt::Debug for Sources {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Sources({} counters)", self.counters.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_used_up_and_grows_back() {
        let mut allowance = Allowance::full(3);
        let second = |s: u64| Instant(s * 1_000_000);
        assert!((0..3).all(|_| allowance.take(second(1), 1, 2, 3)));
        assert!(!allowance.take(second(1), 1, 2, 3));
        let ready = allowance.ready_at(second(1), 2);
        assert_eq!(ready, Instant(1_500_000));
        assert!(allowance.take(ready, 1, 2, 3));
        assert!(!allowance.take(second(1), 1, 2, 3), "a clock that jumps back gives nothing");
        assert!((0..3).all(|_| allowance.take(second(100), 1, 2, 3)));
        assert!(!allowance.take(second(100), 1, 2, 3));
    }

    #[test]
    fn one_noisy_address_silences_only_itself() {
        let (mut sources, limits) = (Sources::new([3; 32]), Limits::default());
        let noisy = "8.8.8.8:53".parse().unwrap();
        let passed = (0..100_000).filter(|_| sources.allow(Instant(5), noisy, &limits)).count();
        assert_eq!(passed, limits.source_packets_burst as usize);
        let others = (0..200u8)
            .filter(|n| sources.allow(Instant(5), SocketAddr::new([9, 9, *n, 1].into(), 1), &limits));
        assert!(others.count() >= 198);
    }
}
