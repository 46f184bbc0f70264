//! Does a known amount of work, for a tool that counts instructions; see `.ci/instructions`.
//!
//! ```text
//! instructions CASE PASSES     does it
//! instructions CASE            says what one pass consists of
//! ```
//! Everything is set up for [`PASSES_MAX`] passes whatever is asked for, so that the difference between two counts is that of
//! the passes alone.

use std::hint::black_box;
use std::process::ExitCode;
use zest_benches::link::{self, REQUESTS};
use zest_benches::{Packed, Weights};
use zest_core::wire::ext_handshake::ExtHandshake;
use zest_core::wire::xet::Dialect;
use zest_xet::{CHUNK_BYTES_MAX, Decoder, SchemeChoice};

/// Passes that are set up: 4.
const PASSES_MAX: usize = 4;

/// Bytes of the data that is unpacked in one pass: 1 MiB, some sixteen chunks.
const DATA_BYTES: usize = 1 << 20;

/// Handshakes read in one pass.
const HANDSHAKES: u32 = 256;

/// What zest sends when a link begins.
const HANDSHAKE: &[u8] =
    b"d1:md6:ut_pexi4e6:ut_xeti1e3:xeti2e4:zesti3ee1:pi6881e4:reqqi512e1:v10:zest/0.5.0e";

/// What is counted, and what one pass has of it.
const CASES: [(&str, &str, u32); 5] = [
    ("link-answers", "answer", REQUESTS),
    ("link-requests", "request", REQUESTS),
    ("handshake", "handshake", HANDSHAKES),
    ("decode-bg4-lz4", "KiB", DATA_BYTES as u32 >> 10),
    ("decode-lz4", "KiB", DATA_BYTES as u32 >> 10),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [] => CASES.iter().for_each(|(name, ..)| println!("{name}")),
        [case] => match CASES.iter().find(|(name, ..)| *name == case) {
            Some((_, what, count)) => println!("{count} {what}"),
            None => return usage(),
        },
        [case, passes] => match passes.parse() {
            Ok(passes) if passes <= PASSES_MAX && run(case, passes) => {}
            _ => return usage(),
        },
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("instructions [CASE [PASSES]], at most {PASSES_MAX} passes");
    ExitCode::from(2)
}

/// Does so many passes of a case; false if there is no such case.
fn run(case: &str, passes: usize) -> bool {
    match case {
        "link-answers" => {
            let stream = link::answers();
            let mut links: Vec<_> = (0..PASSES_MAX).map(|_| link::asking()).collect();
            for link in &mut links[..passes] {
                black_box(link::receive(link, black_box(&stream)));
            }
        }
        "link-requests" => {
            let stream = link::requests();
            let mut links: Vec<_> = (0..PASSES_MAX).map(|_| link::talking()).collect();
            for link in &mut links[..passes] {
                black_box(link::serve(link, black_box(&stream)));
            }
        }
        "handshake" => {
            for _ in 0..passes * HANDSHAKES as usize {
                let mut seen = ExtHandshake::empty(Dialect::Chunk);
                assert!(seen.update(black_box(HANDSHAKE)), "our own handshake");
                black_box(seen);
            }
        }
        "decode-bg4-lz4" => decode(&Weights::new().make(1, DATA_BYTES), SchemeChoice::Bg4Lz4, passes),
        "decode-lz4" => {
            let digits: Vec<u8> =
                (0u32..).flat_map(|n| n.to_string().into_bytes()).take(DATA_BYTES).collect();
            decode(&digits, SchemeChoice::Lz4, passes);
        }
        _ => return false,
    }
    true
}

/// Without the proof: BLAKE3 picks its instructions by processor.
fn decode(data: &[u8], scheme: SchemeChoice, passes: usize) {
    let packed = Packed::new(data.to_vec(), scheme);
    let (mut decoder, mut out) = (Decoder::new(), vec![0; CHUNK_BYTES_MAX]);
    for _ in 0..passes {
        packed.unpack(&mut decoder, &mut out, false);
    }
}
