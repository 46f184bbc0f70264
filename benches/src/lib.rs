//! What the benchmarks share: sample data that behaves like model weights, and the same data packed.
//!
//! - `cargo bench -p zest-benches`: the hot pure functions, with criterion.
//! - `cargo run --release -p zest-benches --bin transfer`: real processes moving a model; see `docs/benchmarks.md`.

mod packed;
mod weights;

pub use packed::Packed;
pub use weights::Weights;
