//! `zest bench --synthetic`: what the functions on the way of a chunk cost, one at a time.
//!
//! The first five rows have the names, payloads and JSON keys of the original zest's benchmark, so that programs that read
//! its output read ours. It divides one long run by the number of calls; here every figure is the median of that many
//! samples. The further rows time what decides about a transfer.

use super::sampler::{self, Timing};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::hint::black_box;
use zest_benches::crowd::{self, Crowd};
use zest_benches::{Packed, Weights, link};
use zest_core::InfoHash;
use zest_core::bencode::Encoder;
use zest_core::wire::ext_handshake::ExtHandshake;
use zest_core::wire::frame;
use zest_core::wire::xet::Dialect;
use zest_xet::{
    CHUNK_BYTES_MAX, CHUNK_BYTES_TARGET, ChunkRef, Chunker, Decoder, Hash, Manifest, Rule, SchemeChoice,
    chunk_hash, file_hash,
};

/// The extension handshake that zest 0.4 sends: 40 bytes, the payload of the two bencode rows.
const HANDSHAKE: &[u8] = b"d1:md6:ut_xeti1ee1:pi6881e1:v8:zest/0.3e";

/// Samples of the original's short rows, and of its long one.
const RUNS: u32 = 10_000;
const RUNS_LONG: u32 = 1_000;

/// Bytes that a streaming row goes through per sample: 4 MiB, beyond the second-level cache of one core.
const STREAM_BYTES: usize = 4 << 20;

/// Chunks of the list that is checked: 100,000, a file of about 6.5 GB.
const LIST_CHUNKS: u32 = 100_000;

/// Events of a node in one sample.
const EVENTS: u64 = 20_000;

/// One figure.
#[derive(Debug)]
pub(super) struct Row {
    name: &'static str,
    timing: Timing,
    /// Bytes of the payload of one call.
    bytes: u64,
    /// What is counted beside bytes, and how many one call handles.
    items: Option<(&'static str, u64)>,
    /// What the payload is.
    payload: &'static str,
}

impl Row {
    /// MiB/s, which is what the original calls MB/s.
    fn mib_s(&self) -> f64 {
        self.bytes as f64 / f64::from(1 << 20) / (self.timing.median_ns / 1e9)
    }

    fn items_s(&self) -> Option<f64> {
        self.items.map(|(_, count)| count as f64 / (self.timing.median_ns / 1e9))
    }
}

/// All rows.
#[derive(Debug)]
pub(super) struct Report {
    /// The original's five, in its order.
    original: Vec<Row>,
    more: Vec<Row>,
}

/// Runs everything; about ten seconds.
pub(super) fn run() -> Report {
    let original = vec![bencode_encode(), bencode_decode(), blake3_64kb(), sha1_info_hash(), bt_wire_frame()];
    let more = vec![
        chunk_hash_64kb(),
        xorb_decode_and_proof(),
        chunker(),
        link_chunk_stream(),
        link_requests(),
        node_events(),
        manifest_check(),
    ];
    Report { original, more }
}

fn row(
    name: &'static str,
    timing: Timing,
    bytes: usize,
    items: Option<(&'static str, u64)>,
    payload: &'static str,
) -> Row {
    Row { name, timing, bytes: bytes as u64, items, payload }
}

fn bencode_encode() -> Row {
    let write = || {
        let mut out = Vec::with_capacity(96);
        let mut enc = Encoder::new(&mut out);
        enc.dict().key(b"m").dict().key(b"ut_xet").int(black_box(1)).end();
        enc.key(b"p").int(black_box(6881)).key(b"v").bytes(black_box(b"zest/0.3")).end();
        enc.finish();
        out
    };
    assert_eq!(write(), HANDSHAKE, "the row writes what it says");
    let timing = sampler::sample(RUNS, || drop(black_box(write())));
    row(
        "bencode_encode",
        timing,
        HANDSHAKE.len(),
        None,
        "extension handshake of zest 0.4, 40 bytes, into a new Vec",
    )
}

fn bencode_decode() -> Row {
    let timing = sampler::sample(RUNS, || {
        let mut seen = ExtHandshake::empty(Dialect::Chunk);
        let read = seen.update(black_box(HANDSHAKE));
        assert!(read && seen.listen_port == Some(6881), "the handshake is read");
        black_box(seen);
    });
    row(
        "bencode_decode",
        timing,
        HANDSHAKE.len(),
        None,
        "the same, checked and read into the fields a link keeps",
    )
}

fn blake3_64kb() -> Row {
    let data = vec![0x42; CHUNK_BYTES_TARGET];
    let timing = sampler::sample(RUNS_LONG, || {
        black_box(blake3::hash(black_box(&data)));
    });
    row("blake3_64kb", timing, data.len(), None, "64 KiB of 0x42, no key; nothing in zest hashes so")
}

fn sha1_info_hash() -> Row {
    let xorb = Hash::from_bytes([0xab; 32]);
    let timing = sampler::sample(RUNS, || {
        black_box(InfoHash::of_xorb(black_box(&xorb)));
    });
    row("sha1_info_hash", timing, 44, None, "12 bytes and a xorb's hash, 44 bytes")
}

fn bt_wire_frame() -> Row {
    let payload = [0x42; 63];
    let mut out = Vec::with_capacity(256);
    let timing = sampler::sample(RUNS, || {
        out.clear();
        frame::extended(black_box(&mut out), 1, black_box(&payload));
    });
    assert_eq!(out.len(), 69, "the row writes what it says");
    row(
        "bt_wire_frame",
        timing,
        out.len(),
        None,
        "extended frame of a 63-byte message, 69 bytes, into a Vec that has room",
    )
}

fn chunk_hash_64kb() -> Row {
    let data = Weights::new().make(1, CHUNK_BYTES_TARGET);
    let timing = sampler::sample(RUNS_LONG, || {
        black_box(chunk_hash(black_box(&data)));
    });
    row(
        "chunk_hash_64kb",
        timing,
        data.len(),
        None,
        "keyed BLAKE3 of 64 KiB of bfloat16 weights: the proof of a chunk",
    )
}

fn xorb_decode_and_proof() -> Row {
    let packed = Packed::new(Weights::new().make(2, STREAM_BYTES), SchemeChoice::Bg4Lz4);
    let (mut decoder, mut out) = (Decoder::new(), vec![0; CHUNK_BYTES_MAX]);
    let timing = sampler::sample(200, || packed.unpack(&mut decoder, &mut out, true));
    let chunks = packed.chunks.len() as u64;
    row(
        "xorb_decode_and_proof",
        timing,
        STREAM_BYTES,
        Some(("chunks", chunks)),
        "4 MiB of bfloat16 weights in BG4+LZ4 chunks, unpacked and proven; bytes as unpacked",
    )
}

fn chunker() -> Row {
    let data = Weights::new().make(3, STREAM_BYTES);
    let cut = || {
        let (mut count, mut chunker) = (0_u64, Chunker::new(Rule::Current));
        chunker.push(black_box(&data), &mut |_| count += 1);
        chunker.finish(&mut |_| count += 1);
        count
    };
    let chunks = cut();
    let timing = sampler::sample(200, || {
        black_box(cut());
    });
    row(
        "chunker",
        timing,
        STREAM_BYTES,
        Some(("chunks", chunks)),
        "4 MiB of bfloat16 weights, cut and hashed",
    )
}

fn link_chunk_stream() -> Row {
    let stream = link::answers();
    let timing = sampler::sample_on(200, link::asking, |mut asking| {
        let payload = link::receive(&mut asking, black_box(&stream));
        assert_eq!(payload, u64::from(link::REQUESTS * link::CHUNK_BYTES), "all payloads are found");
        asking
    });
    row(
        "link_chunk_stream",
        timing,
        stream.len(),
        Some(("answers", link::REQUESTS.into())),
        "256 answers of 64 KiB to 256 requests, handed in by 256 KiB; payloads are pointed at, not touched",
    )
}

fn link_requests() -> Row {
    let stream = link::requests();
    let timing = sampler::sample_on(RUNS_LONG, link::talking, |mut talking| {
        assert_eq!(
            link::serve(&mut talking, black_box(&stream)),
            link::REQUESTS,
            "all requests are answered"
        );
        talking
    });
    row(
        "link_requests",
        timing,
        stream.len(),
        Some(("requests", link::REQUESTS.into())),
        "256 requests of 43 bytes, read and answered with the head of a chunk",
    )
}

fn node_events() -> Row {
    let manifest = crowd::manifest(crowd::CHUNKS);
    let timing = sampler::sample_on(
        50,
        || Crowd::new(&manifest),
        |mut crowd| {
            crowd.run(EVENTS);
            crowd
        },
    );
    let events = Crowd::new(&manifest).run(EVENTS);
    row(
        "node_events",
        timing,
        0,
        Some(("events", events)),
        "a node among 256 peers that fetches a file of 16,384 chunks and serves what it has",
    )
}

fn manifest_check() -> Row {
    let list: Vec<ChunkRef> = (0..LIST_CHUNKS)
        .map(|n| ChunkRef {
            hash: chunk_hash(&n.to_le_bytes()),
            len: 1 + (n.wrapping_mul(40_503) & 0x1_ffff),
        })
        .collect();
    let (file, size) = (file_hash(&list), list.iter().map(|chunk| u64::from(chunk.len)).sum());
    let mut records = Vec::new();
    let manifest = Manifest::prove(file, size, list).expect("our own list");
    manifest.write_records(0..LIST_CHUNKS, &mut records);
    let timing = sampler::sample(30, || {
        let proven = Manifest::parse(file, size, black_box(&records)).expect("our own records");
        drop(black_box(proven));
    });
    row(
        "manifest_check",
        timing,
        records.len(),
        Some(("chunks", LIST_CHUNKS.into())),
        "100,000 records as they travel, read and proven against the file hash",
    )
}

impl Report {
    /// `results` is the original's document, byte for byte but for the figures; what it does not have stands beside it.
    pub(super) fn json(&self) -> String {
        let original = |row: &Row| {
            format!(
                r#"{{"name":"{}","runs":{},"median_ns":{},"throughput_mbps":{:.1},"bytes_processed":{}}}"#,
                row.name,
                row.timing.runs,
                row.timing.median_ns.round(),
                row.mib_s(),
                u64::from(row.timing.runs) * row.bytes,
            )
        };
        let details = |row: &Row| {
            let mut value = json!({
                "name": row.name,
                "payload": row.payload,
                "payload_bytes": row.bytes,
                "runs": row.timing.runs,
                "calls_per_run": row.timing.calls,
                "p10_ns": row.timing.p10_ns,
                "median_ns": row.timing.median_ns,
                "p90_ns": row.timing.p90_ns,
                "mib_per_s": (row.bytes > 0).then(|| row.mib_s()),
            });
            if let (Some((what, count)), Some(per_s)) = (row.items, row.items_s()) {
                value["items"] = json!({"what": what, "count": count, "per_s": per_s});
            }
            value
        };
        let results: Vec<String> = self.original.iter().map(original).collect();
        let all: Vec<Value> = self.original.iter().chain(&self.more).map(details).collect();
        format!(r#"{{"results":[{}],"details":{}}}"#, results.join(","), Value::Array(all))
    }

    /// The original's table, then ours.
    pub(super) fn table(&self) -> String {
        let mut out = String::from("\nzest benchmark results\n");
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{:>20} {:>10} {:>12} {:>12}", "Name", "Runs", "Median (ns)", "MB/s");
        let _ = writeln!(out, "{:->20} {:->10} {:->12} {:->12}", "", "", "", "");
        for row in &self.original {
            let (runs, median) = (row.timing.runs, row.timing.median_ns.round());
            let _ = writeln!(out, "{:>20} {runs:>10} {median:>12} {:>12.1}", row.name, row.mib_s());
        }
        let _ = writeln!(
            out,
            "\n{:>22} {:>10} {:>12} {:>12}   per second",
            "Further", "Runs", "Median (µs)", "MB/s"
        );
        for row in &self.more {
            let (runs, median) = (row.timing.runs, row.timing.median_ns / 1e3);
            let rate = if row.bytes > 0 { format!("{:.1}", row.mib_s()) } else { "-".to_owned() };
            let per_s = row
                .items
                .zip(row.items_s())
                .map_or(String::new(), |((what, _), per_s)| format!("   {:.2} M {what}", per_s / 1e6));
            let _ = writeln!(out, "{:>22} {runs:>10} {median:>12.1} {rate:>12}{per_s}", row.name);
        }
        out.push_str("\nMB/s is MiB of payload per second. Payloads:\n");
        for row in self.original.iter().chain(&self.more) {
            let _ = writeln!(out, "{:>22}  {}", row.name, row.payload);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let timing = Timing { runs: 10_000, calls: 8, median_ns: 250.4, p10_ns: 240.0, p90_ns: 300.0 };
        let of = |name, bytes, items| row(name, timing.clone(), bytes, items, "what it is");
        Report {
            original: vec![of("bencode_encode", 40, None)],
            more: vec![of("node_events", 0, Some(("events", 1000)))],
        }
    }

    #[test]
    fn results_have_exactly_the_keys_of_the_original() {
        let json = report().json();
        assert!(
            json.starts_with(
                r#"{"results":[{"name":"bencode_encode","runs":10000,"median_ns":250,"throughput_mbps":152.3,"bytes_processed":400000}],"#
            ),
            "{json}"
        );
        let json: Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(json["results"].as_array().map(Vec::len), Some(1));
        assert_eq!(json["details"].as_array().map(Vec::len), Some(2));
        assert_eq!(json["details"][1]["items"]["what"], "events");
        assert!(json["details"][1]["mib_per_s"].is_null());
    }

    #[test]
    fn the_table_has_the_layout_of_the_original() {
        let table = report().table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(
            lines[..3],
            ["", "zest benchmark results", "                Name       Runs  Median (ns)         MB/s"]
        );
        assert_eq!(lines[3], "-------------------- ---------- ------------ ------------");
        assert_eq!(lines[4], "      bencode_encode      10000          250        152.3");
        assert!(table.contains("M events"), "{table}");
    }
}
