//! Playing one run, or many.

use crate::check::{Canary, check_scenario, words};
use crate::report::Report;
use crate::scenario::{Made, Scenario};
use crate::shrink::shrink;
use crate::trace::Trace;
use crate::world::World;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// A run that broke a promise.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// What was played.
    pub scenario: Scenario,
    /// The first promise that was broken.
    pub why: String,
    /// When, in nanoseconds of virtual time.
    pub at_ns: u64,
    /// Hash of everything that nodes had been told by then.
    pub trace_hash: u64,
    /// What happened last, oldest first; empty unless lines were asked for.
    pub lines: Vec<String>,
}

/// Plays a scenario to its end.
///
/// # Errors
/// The first promise that was broken, by a node or by the world.
pub fn run(scenario: Scenario) -> Result<Report, Box<Failure>> {
    run_with(scenario, Trace::default(), Canary::None)
}

/// As [`run`], with a trace that may keep or print lines, and a bug on purpose.
///
/// # Errors
/// As [`run`].
pub fn run_with(scenario: Scenario, trace: Trace, canary: Canary) -> Result<Report, Box<Failure>> {
    check_scenario(&scenario);
    let mut world = World::new(scenario, trace, canary);
    let panic = catch_unwind(AssertUnwindSafe(|| world.run_checked())).err();
    let why = panic.map(|panic| words(panic.as_ref())).or_else(|| world.failure.take());
    match why {
        None => Ok(world.report()),
        Some(why) => Err(Box::new(Failure {
            at_ns: world.now,
            trace_hash: world.trace.hash(),
            lines: world.trace.lines().map(str::to_owned).collect(),
            scenario: world.scenario,
            why,
        })),
    }
}

/// Plays seeds on all cores, each as `make` says, and gives the failure with the lowest seed.
#[must_use]
pub fn run_seeds(
    seeds: std::ops::Range<u64>,
    canary: Canary,
    make: impl Fn(u64) -> Scenario + Sync,
) -> Option<Box<Failure>> {
    let next = AtomicU64::new(seeds.start);
    let lowest = AtomicU64::new(u64::MAX);
    let found: Mutex<Option<Box<Failure>>> = Mutex::new(None);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || seed > lowest.load(Ordering::Relaxed) {
                return;
            }
            if let Err(failure) = run_with(make(seed), Trace::default(), canary) {
                lowest.fetch_min(seed, Ordering::Relaxed);
                let mut found = found.lock().expect("no holder panics");
                if found.as_ref().is_none_or(|before| before.scenario.seed > seed) {
                    *found = Some(failure);
                }
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        (1..cores).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    found.into_inner().expect("no holder panics")
}

/// A failure made small and put into words: seed, options, the last lines, the command that plays it again.
#[must_use]
pub fn explain(failure: &Failure, made: Made, canary: Canary) -> String {
    let small = shrink(failure, canary);
    let again = run_with(small.scenario.clone(), Trace::with_lines(false), canary);
    let told = again.err().map_or(small, |failure| *failure);
    let mut text = String::new();
    told.lines.iter().for_each(|line| {
        let _ = writeln!(text, "{line}");
    });
    let _ = writeln!(text, "seed {}: {}", failure.scenario.seed, failure.why);
    let seconds = told.at_ns as f64 / 1e9;
    let _ = writeln!(text, "made small: {} ({seconds:.6} s, trace {:016x})", told.why, told.trace_hash);
    let _ = writeln!(text, "options: {:?}", told.scenario);
    let _ = writeln!(text, "replay: {}", told.scenario.replay(made));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_chunk_that_is_taken_for_proven_is_caught_and_told() {
        let canary = Canary::WrongChunk(0);
        let failure = run_seeds(0..200, canary, Scenario::from_seed).expect("a bug this size is found");
        // Whoever served it on is caught in the act, too.
        let caught = ["wrong", "bans", "another chunk"];
        assert!(caught.iter().any(|word| failure.why.contains(word)), "{}", failure.why);
        let again = run_with(failure.scenario.clone(), Trace::default(), canary).expect_err("it fails again");
        assert_eq!((again.trace_hash, &again.why), (failure.trace_hash, &failure.why));
        let told = explain(&failure, Made::Seed, canary);
        let seed = failure.scenario.seed;
        assert!(told.contains(&format!("replay: cargo run -p zest-sim -- --seed {seed}")), "{told}");
        assert!(told.lines().count() > 10, "the last events are told: {told}");
    }

    #[test]
    fn a_lost_chunk_is_caught() {
        let failure = run_seeds(0..50, Canary::LostChunk(0), Scenario::from_seed).expect("it is found");
        assert!(failure.why.contains("hang") || failure.why.contains("buffers"), "{}", failure.why);
    }

    #[test]
    fn a_journal_that_is_believed_is_caught() {
        let failure = run_seeds(0..400, Canary::OldChunk, Scenario::from_seed).expect("it is found");
        assert!(failure.why.contains("wrong") || failure.why.contains("bans"), "{}", failure.why);
    }

    #[test]
    fn a_shrunk_failure_is_no_larger_and_still_fails() {
        let canary = Canary::WrongChunk(0);
        let failure = run_seeds(0..200, canary, Scenario::from_seed).expect("a bug this size is found");
        let small = shrink(&failure, canary);
        assert!(small.scenario.nodes <= failure.scenario.nodes);
        assert!(!small.scenario.off.is_empty(), "not every kind of trouble is needed");
        assert!(run_with(small.scenario, Trace::default(), canary).is_err());
    }
}
