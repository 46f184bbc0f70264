//! The bodies of the fuzz targets: plain functions that take any bytes and panic only if zest has a bug.
//!
//! Three callers share them: libFuzzer through `fuzz/fuzz_targets`, the replay test, which runs the committed inputs on
//! stable Rust, and whoever debugs one input. A body has no state and no randomness, so an input tells the same
//! story every time.
//!
//! Each file shows how its bodies read their input. Lengths and counts come first and are small, so that a mutated
//! input stays meaningful.

mod cursor;
mod dht;
mod disk;
mod finding;
mod formats;
mod http;
mod link;
mod local_seeds;
mod lz4;
mod node;
mod seeds;
mod wire;

pub use dht::{dht, krpc};
pub use disk::{catalog, journal, tree_file};
pub use finding::{lsd, pex, tracker_http, tracker_udp};
pub use formats::{manifest, reconstruction, xorb_chunk};
pub use http::{hub_answers, hub_request, safetensors};
pub use link::link;
pub use lz4::lz4_frame;
pub use node::node;
pub use seeds::seeds;
pub use wire::{bencode, ext_handshake, xet_message, zest_message};

/// What every target is: any bytes in, nothing out.
pub type Body = fn(&[u8]);

/// Every target by name. The name is that of its folder of inputs and of its file in `fuzz/fuzz_targets`.
pub const TARGETS: &[(&str, Body)] = &[
    ("bencode", bencode),
    ("catalog", catalog),
    ("dht", dht),
    ("ext_handshake", ext_handshake),
    ("hub_answers", hub_answers),
    ("hub_request", hub_request),
    ("journal", journal),
    ("krpc", krpc),
    ("link", link),
    ("lsd", lsd),
    ("lz4_frame", lz4_frame),
    ("manifest", manifest),
    ("node", node),
    ("pex", pex),
    ("reconstruction", reconstruction),
    ("safetensors", safetensors),
    ("tracker_http", tracker_http),
    ("tracker_udp", tracker_udp),
    ("tree_file", tree_file),
    ("xet_message", xet_message),
    ("xorb_chunk", xorb_chunk),
    ("zest_message", zest_message),
];
