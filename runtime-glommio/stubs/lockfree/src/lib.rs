//! Empty on purpose. Why it is here: `[patch.crates-io]` in the workspace's Cargo.toml.
