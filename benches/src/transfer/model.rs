//! The sample: a model as the Hub has them, sharded safetensors of bfloat16 weights beside some small files.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::Weights;
use serde_json::json;

/// Shards of the sample: as many as the models of this size have.
const SHARDS: u64 = 3;

/// Bytes made and written at once: 8 MiB.
const STEP_BYTES: u64 = 8 << 20;

/// Bytes of a row of the one tensor in each shard: 1,024 weights.
const ROW_BYTES: u64 = 2048;

/// Writes a model of about `bytes` bytes into `dir`, which is made.
///
/// # Errors
/// Those of the disk.
pub fn write(dir: &Path, bytes: u64) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let weights = Weights::new();
    for shard in 0..SHARDS {
        let path = dir.join(format!("model-{:05}-of-{SHARDS:05}.safetensors", shard + 1));
        write_shard(&path, &weights, shard, bytes / SHARDS / ROW_BYTES)?;
    }
    fs::write(
        dir.join("config.json"),
        json!({"model_type": "llama", "torch_dtype": "bfloat16"}).to_string(),
    )?;
    fs::write(dir.join("README.md"), "# Sample\n\nRandom weights, made for a benchmark.\n")
}

fn write_shard(path: &Path, weights: &Weights, shard: u64, rows: u64) -> io::Result<()> {
    let bytes = rows * ROW_BYTES;
    let tensor = json!({"dtype": "BF16", "shape": [rows, ROW_BYTES / 2], "data_offsets": [0, bytes]});
    let mut header = json!({format!("layers.{shard}.weight"): tensor}).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let mut file = File::create(path)?;
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    let mut done = 0;
    while done < bytes {
        let step = STEP_BYTES.min(bytes - done);
        file.write_all(&weights.make(shard << 32 | done, step as usize))?;
        done += step;
    }
    Ok(())
}
