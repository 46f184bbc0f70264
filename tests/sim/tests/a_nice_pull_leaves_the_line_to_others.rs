//! A home line with one queue before it: what `--nice` makes of it.

use zest_core::nice::TARGET;
use zest_sim::SEC;
use zest_sim::home::{Home, table, watch};

#[test]
fn alone_it_fills_the_line_and_nobody_waits_long() {
    for rtt_ms in [10, 30] {
        let mut waits = Vec::new();
        for seed in 1..8 {
            let seen = watch(Home::of(true, 20, 1000, rtt_ms), seed);
            let wait_ns = u128::from(seen.wait_ns(950));
            assert!(wait_ns < TARGET.as_nanos() / 4 * 5, "{rtt_ms} ms, seed {seed}: {seen}");
            assert!(seen.rates(5, 60).0 >= 2_500_000 / 100 * 85, "{rtt_ms} ms, seed {seed}: {seen}");
            waits.push(wait_ns);
        }
        waits.sort_unstable();
        assert!(waits[3] < TARGET.as_nanos(), "{rtt_ms} ms: {waits:?}");
    }
}

#[test]
fn far_from_the_source_and_on_a_faster_line_nobody_waits_much_longer() {
    for (mbit, queue_ms, rtt_ms, wait_ms) in [(20, 1000, 100, 90), (100, 300, 30, 60), (100, 300, 100, 60)] {
        for seed in 1..4 {
            let seen = watch(Home::of(true, mbit, queue_ms, rtt_ms), seed);
            assert!(
                seen.wait_ns(950) < wait_ms * 1_000_000,
                "{mbit} Mbit/s, {rtt_ms} ms, seed {seed}: {seen}"
            );
            assert!(
                seen.rates(5, 60).0 >= mbit * 1_250 * 85,
                "{mbit} Mbit/s, {rtt_ms} ms, seed {seed}: {seen}"
            );
        }
    }
}

#[test]
fn who_reads_all_that_is_there_calls_for_much_at_once() {
    let wait_ns = |read_bytes| {
        let mut waits: Vec<u64> =
            (1..8).map(|seed| watch(Home { read_bytes, ..Home::usual(true) }, seed).wait_ns(950)).collect();
        waits.sort_unstable();
        u128::from(waits[3])
    };
    let [little, all] = [Home::usual(true).read_bytes, u64::MAX].map(wait_ns);
    assert!(all > TARGET.as_nanos(), "{all} ns where all is read");
    assert!(little < TARGET.as_nanos() / 10 * 9, "{little} ns where little is");
}

#[test]
fn round_trips_that_are_now_and_then_longer_cost_little() {
    for seed in 1..4 {
        let seen = watch(Home { jitter_ns: 12_000_000, ..Home::usual(true) }, seed);
        assert!(u128::from(seen.wait_ns(950)) < TARGET.as_nanos(), "seed {seed}: {seen}");
        assert!(seen.rates(5, 60).0 >= 2_500_000 / 100 * 85, "seed {seed}: {seen}");
    }
}

#[test]
fn without_it_the_delay_is_the_whole_queue() {
    let seen = watch(Home::usual(false), 1);
    assert!(seen.wait_ns(500) > 750_000_000 && seen.wait_ns(950) > 900_000_000, "{seen}");
}

#[test]
fn it_gives_way_to_a_download_and_comes_back() {
    let seen = watch(Home { other: Some((20 * SEC, 40 * SEC)), ..Home::usual(true) }, 1);
    let ((pulled, other), after) = (seen.rates(25, 40), seen.rates(48, 60).0);
    assert!(other >= 2_500_000 / 100 * 80, "the other has {other} bytes/s beside {pulled}");
    assert!(pulled < 2_500_000 / 100 * 15, "it keeps {pulled} bytes/s");
    assert!(after >= 2_500_000 / 100 * 85, "{after} bytes/s once the line is free again");
}

#[test]
fn a_source_that_gives_less_than_the_line_is_not_held_up() {
    let seen = watch(Home { source_bytes_s: 1_000_000, ..Home::usual(true) }, 1);
    assert!(seen.rates(5, 60).0 > 950_000, "{seen}");
    assert!(u128::from(seen.wait_ns(950)) < TARGET.as_nanos(), "{seen}");
}

#[test]
fn the_table_is_up_to_date() {
    let written = include_str!("../../snapshots/home.txt");
    assert_eq!(written, table(), "write it anew: cargo run --workspace --bin zest-sim -- home");
}
