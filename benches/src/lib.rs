//! What the benchmarks share: sample data, machines in the state in which they are measured, and other processes.
//!
//! - `zest bench --synthetic` and `zest bench --transfer`: what everybody can run; see `docs/benchmarks.md`.
//! - `cargo bench -p zest-benches`: the hot pure functions, with criterion.
//! - `cargo run --release -p zest-benches --bin transfer`: pulls, beside the official client.
//! - `cargo run --release -p zest-benches --bin seed`: seeders only, with more knobs than `zest bench` has.
//! - `cargo run --release -p zest-benches --bin dht`: the DHT and what announcing costs.
//! - `.ci/instructions`: instructions of hot functions, against numbers in the repository.

pub mod crowd;
pub mod link;
mod packed;
#[cfg(all(feature = "processes", target_os = "linux"))]
pub mod transfer;
mod weights;

pub use packed::Packed;
pub use weights::Weights;

/// SplitMix64 (Steele, Lea and Flood, 2014): moves `state` on and gives 64 random bits.
#[must_use]
pub fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
