//! Times one function: a warm-up, then many samples, and their true median.

use std::time::{Duration, Instant};

/// Time a function is called before anything counts: 50 ms, until caches, branch predictors and the processor's clock
/// have settled.
const WARM_UP: Duration = Duration::from_millis(50);

/// Least time of one sample: 2 µs, eighty times what reading the clock costs.
const SAMPLE_NS: u64 = 2_000;

/// What one function took.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Timing {
    /// Samples taken.
    pub(super) runs: u32,
    /// Calls in a row that make one sample.
    pub(super) calls: u32,
    /// Time per call, in nanoseconds: the median of the samples.
    pub(super) median_ns: f64,
    /// The tenth and the ninetieth percentile.
    pub(super) p10_ns: f64,
    pub(super) p90_ns: f64,
}

/// Takes `runs` samples of `work`. Calls that are too short for the clock are timed several in a row.
pub(super) fn sample(runs: u32, mut work: impl FnMut()) -> Timing {
    let (start, mut called) = (Instant::now(), 0_u32);
    while called == 0 || start.elapsed() < WARM_UP {
        work();
        called += 1;
    }
    let each_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX) / u64::from(called);
    let calls = u32::try_from((SAMPLE_NS / each_ns.max(1)).max(1)).unwrap_or(u32::MAX);
    let mut samples: Vec<f64> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..calls {
                work();
            }
            start.elapsed().as_nanos() as f64 / f64::from(calls)
        })
        .collect();
    of(&mut samples, calls)
}

/// Takes `runs` samples of `work` on something made anew by `prepare`, which is not timed.
pub(super) fn sample_on<T>(
    runs: u32,
    mut prepare: impl FnMut() -> T,
    mut work: impl FnMut(T) -> T,
) -> Timing {
    let start = Instant::now();
    let mut warm = false;
    let mut samples = Vec::new();
    while samples.len() < runs as usize {
        let on = prepare();
        let begin = Instant::now();
        let done = work(on);
        let took = begin.elapsed();
        drop(done);
        if warm {
            samples.push(took.as_nanos() as f64);
        }
        warm = warm || start.elapsed() >= WARM_UP;
    }
    of(&mut samples, 1)
}

fn of(samples: &mut [f64], calls: u32) -> Timing {
    samples.sort_by(f64::total_cmp);
    let at = |share: f64| samples[((samples.len() - 1) as f64 * share).round() as usize];
    let middle = samples.len() / 2;
    let median_ns = match samples.len() % 2 {
        0 => f64::midpoint(samples[middle - 1], samples[middle]),
        _ => samples[middle],
    };
    let runs = u32::try_from(samples.len()).unwrap_or(u32::MAX);
    Timing { runs, calls, median_ns, p10_ns: at(0.1), p90_ns: at(0.9) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_a_median_and_not_a_mean() {
        let timing = of(&mut [1.0, 900.0, 2.0, 3.0, 2.0], 7);
        assert_eq!((timing.median_ns, timing.runs, timing.calls), (2.0, 5, 7));
        assert_eq!(of(&mut [4.0, 1.0, 2.0, 30.0], 1).median_ns, 3.0);
    }

    #[test]
    fn every_sample_is_taken_after_a_warm_up() {
        let mut calls = 0_u64;
        let timing = sample(3, || calls += 1);
        assert_eq!(timing.runs, 3);
        assert!(calls > 3 * u64::from(timing.calls), "{calls} calls, {timing:?}");
        let (mut made, mut used) = (0, 0);
        let timing = sample_on(4, || made += 1, |()| used += 1);
        assert_eq!((timing.runs, timing.calls, made), (4, 1, used));
        assert!(made > 4, "the warm-up is none of the samples");
    }
}
