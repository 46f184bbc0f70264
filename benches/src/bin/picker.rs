//! What the node keeps per chunk of a job, with 256 peers of which each has another part of the file: growth of the resident set
//! between an empty node and one that has the job, and while the file comes in. The chunk list itself (36 bytes a chunk) is there before.

use zest_benches::crowd::{Crowd, PEERS, manifest};

/// Chunks of the file: 1,048,576, 64 GiB. So many that pages do not blur the figure.
const CHUNKS: u32 = 1 << 20;

/// Bytes resident now.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096
}

fn main() {
    let manifest = manifest(CHUNKS);
    let before = resident();
    let mut crowd = Crowd::new(&manifest);
    let each = |now: u64| now.saturating_sub(before) as f64 / f64::from(CHUNKS);
    println!("{CHUNKS} chunks, {PEERS} peers");
    println!("job begun:  {:5.1} bytes a chunk", each(resident()));
    for part in 1..=4u64 {
        crowd.run(part * u64::from(CHUNKS) * 3 / 2);
        println!("{:3} % in:   {:5.1} bytes a chunk", part * 25, each(resident()));
    }
}
