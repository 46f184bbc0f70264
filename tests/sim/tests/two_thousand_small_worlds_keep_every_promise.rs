//! Random small worlds, 8 to 24 peers, full of trouble: every node checks its own promises, the world its own, and in the end
//! every job is complete or has failed for a reason. `SEEDS=n FROM=s cargo test -p zest-sim` plays others.

use zest_sim::{Canary, Made, Scenario, explain, run_seeds};

/// Worlds in message mode.
const SEEDS: u64 = 2000;
/// Worlds through real links.
const BYTE_SEEDS: u64 = 100;

/// Worlds that once broke a promise: chunks that were being looked up did not count when the cap let a chunk list go out; a
/// line that came back in the pause between two tries was not noticed; claims that were no news woke those who heard them; a
/// job that was paused when it ended rested for ever once it was opened again; who gave up an origin had not tried it once more,
/// because a neighbour had claimed all that could be tried; who was not run for a while heard of its last chunk before the list
/// that showed an earlier one to be wrong, and the world took that for a false end instead of letting the seal find it; a
/// cap that was full of what a dead socket had not taken was looked at twenty times a second; an origin that came back in the
/// very last try, slowly, was given up because its first chunk was not whole two seconds later.
const ONCE_BROKEN: [u64; 10] = [
    7_702_800, 7_703_169, 9_301_595, 509, 40_000_053, 50_000_711, 50_004_703, 60_001_169, 70_021_756,
    70_134_327,
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn play(count: u64, made: Made) {
    let from = number("FROM").unwrap_or(0);
    let make = |seed| match made {
        Made::Seed => Scenario::from_seed(seed),
        Made::ByteSeed => Scenario::bytes_from_seed(seed),
    };
    if let Some(failure) = run_seeds(from..from + count, Canary::None, make) {
        panic!("{}", explain(&failure, made, Canary::None));
    }
}

#[test]
fn two_thousand_small_worlds_keep_every_promise() {
    play(number("SEEDS").unwrap_or(SEEDS), Made::Seed);
    play(number("SEEDS").unwrap_or(BYTE_SEEDS), Made::ByteSeed);
}

#[test]
fn worlds_that_once_broke_a_promise_keep_it() {
    for seed in ONCE_BROKEN {
        if let Some(failure) = run_seeds(seed..seed + 1, Canary::None, Scenario::from_seed) {
            panic!("{}", explain(&failure, Made::Seed, Canary::None));
        }
    }
}
