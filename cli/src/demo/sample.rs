//! The demo's sample model: made in a second, the same on every machine, and in all outward respects a small
//! Llama: sharded safetensors with an index, a configuration and a tokenizer.

use super::weights::Weights;
use serde_json::{Map, Value, json};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Bytes of one weight: bfloat16.
const WEIGHT_BYTES: u64 = 2;

/// Weights generated between two looks at the cancel flag: 1 Mi, a few milliseconds.
const WEIGHTS_PER_STEP: u64 = 1 << 20;

/// Largest shard: 2 GB, so that even a huge sample has several files in flight.
const SHARD_BYTES_MAX: u64 = 2_000_000_000;

/// Shards of a model that does not hit [`SHARD_BYTES_MAX`].
const SHARDS: u64 = 3;

/// Words of the tokenizer beside the special ones.
const WORDS: &str = "the of and a to in is you that it he was for on are as with his they I at be this have from \
    or one had by word but not what all were we when your can said there use an each which she do how their if";

/// Sizes of a network, as its configuration names them.
#[derive(Debug, Clone, Copy)]
struct Shape {
    hidden: u64,
    intermediate: u64,
    heads: u64,
    vocabulary: u64,
}

/// One tensor to be written.
#[derive(Debug, Clone)]
struct Tensor {
    name: String,
    shape: Vec<u64>,
    /// Norms are ones, everything else is gaussian.
    ones: bool,
}

impl Tensor {
    fn weights(&self) -> u64 {
        self.shape.iter().product()
    }

    fn bytes(&self) -> u64 {
        self.weights() * WEIGHT_BYTES
    }
}

/// Writes a model of about `size_mb` MB into `dir`, which is made. Returns the bytes written. Stops with
/// [`io::ErrorKind::Interrupted`] as soon as `cancelled` says so.
pub(super) fn write(dir: &Path, size_mb: u64, cancelled: &dyn Fn() -> bool) -> io::Result<u64> {
    fs::create_dir_all(dir)?;
    let size = size_mb * 1_000_000;
    let shape = shape_for(size_mb);
    let (layers, tensors) = tensors(shape, size);
    let shards = shards(tensors, (size / SHARDS).clamp(1, SHARD_BYTES_MAX));
    let weights = Weights::new();
    let mut weight_map = Map::new();
    let (mut total, mut seed) = (0, 0);
    for (i, shard) in shards.iter().enumerate() {
        let name = format!("model-{:05}-of-{:05}.safetensors", i + 1, shards.len());
        for tensor in shard {
            weight_map.insert(tensor.name.clone(), json!(name));
        }
        total += write_shard(&dir.join(&name), shard, &weights, &mut seed, cancelled)?;
    }
    let parameters_bytes: u64 = shards.iter().flatten().map(Tensor::bytes).sum();
    let documents = [
        ("config.json", config(shape, layers)),
        ("generation_config.json", json!({"bos_token_id": 1, "eos_token_id": 2, "do_sample": true})),
        (
            "model.safetensors.index.json",
            json!({"metadata": {"total_size": parameters_bytes}, "weight_map": weight_map}),
        ),
        ("tokenizer.json", tokenizer()),
        (
            "tokenizer_config.json",
            json!({"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "bos_token": "<s>",
                   "eos_token": "</s>", "model_max_length": 2048}),
        ),
    ];
    for (name, value) in documents {
        let text = format!("{value:#}\n");
        fs::write(dir.join(name), &text)?;
        total += text.len() as u64;
    }
    let card = "# Sample\n\nA model with random weights, made by `zest demo`. It has nothing to say.\n";
    fs::write(dir.join("README.md"), card)?;
    Ok(total + card.len() as u64)
}

/// A network whose layers are small against the wanted size, so that the size is met closely.
fn shape_for(size_mb: u64) -> Shape {
    let (hidden, intermediate, heads, vocabulary) = match size_mb {
        0..16 => (128, 352, 4, 1024),
        16..128 => (512, 1408, 8, 4096),
        128..4000 => (1024, 2816, 16, 8192),
        _ => (4096, 11_008, 32, 32_000),
    };
    Shape { hidden, intermediate, heads, vocabulary }
}

/// Number of layers and all tensors of a network of about `size` bytes.
fn tensors(shape: Shape, size: u64) -> (u64, Vec<Tensor>) {
    let Shape { hidden, intermediate, vocabulary, .. } = shape;
    let matrix = |name: String, rows, columns| Tensor { name, shape: vec![rows, columns], ones: false };
    let norm = |name: String| Tensor { name, shape: vec![hidden], ones: true };
    let layer = |n: u64| {
        let at = |part: &str| format!("model.layers.{n}.{part}.weight");
        let mut tensors = vec![norm(at("input_layernorm")), norm(at("post_attention_layernorm"))];
        tensors
            .extend(["q", "k", "v", "o"].map(|p| matrix(at(&format!("self_attn.{p}_proj")), hidden, hidden)));
        tensors.extend(["gate", "up"].map(|p| matrix(at(&format!("mlp.{p}_proj")), intermediate, hidden)));
        tensors.push(matrix(at("mlp.down_proj"), hidden, intermediate));
        tensors
    };
    let embedding = matrix("model.embed_tokens.weight".to_owned(), vocabulary, hidden);
    let layer_bytes: u64 = layer(0).iter().map(Tensor::bytes).sum();
    let layers = (size.saturating_sub(embedding.bytes()) + layer_bytes / 2) / layer_bytes;
    let layers = layers.max(1);
    let mut all = vec![embedding];
    all.extend((0..layers).flat_map(layer));
    all.push(norm("model.norm.weight".to_owned()));
    (layers, all)
}

/// Cuts the list of tensors where a shard has reached `bytes`.
fn shards(tensors: Vec<Tensor>, bytes: u64) -> Vec<Vec<Tensor>> {
    let mut shards = vec![Vec::new()];
    let mut filled = 0;
    for tensor in tensors {
        if filled >= bytes {
            shards.push(Vec::new());
            filled = 0;
        }
        filled += tensor.bytes();
        shards.last_mut().expect("there is always a shard").push(tensor);
    }
    shards
}

fn write_shard(
    path: &Path,
    tensors: &[Tensor],
    weights: &Weights,
    seed: &mut u64,
    cancelled: &dyn Fn() -> bool,
) -> io::Result<u64> {
    let header = header(tensors);
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    let mut buffer = Vec::new();
    for tensor in tensors {
        let mut left = tensor.weights();
        while left > 0 {
            if cancelled() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let count = left.min(WEIGHTS_PER_STEP);
            buffer.clear();
            if tensor.ones {
                weights.ones(count as usize, &mut buffer);
            } else {
                weights.gaussian(*seed, count as usize, &mut buffer);
            }
            *seed += 1;
            file.write_all(&buffer)?;
            left -= count;
        }
    }
    file.flush()?;
    Ok(8 + header.len() as u64 + tensors.iter().map(Tensor::bytes).sum::<u64>())
}

/// The JSON header of a safetensors file, padded with spaces so that the data starts at a multiple of 8.
fn header(tensors: &[Tensor]) -> String {
    let mut entries = Map::new();
    entries.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut offset = 0;
    for tensor in tensors {
        let end = offset + tensor.bytes();
        entries.insert(
            tensor.name.clone(),
            json!({"dtype": "BF16", "shape": tensor.shape, "data_offsets": [offset, end]}),
        );
        offset = end;
    }
    let mut text = Value::Object(entries).to_string();
    text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
    text
}

fn config(shape: Shape, layers: u64) -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "num_hidden_layers": layers,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": 2048,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": true,
        "torch_dtype": "bfloat16",
        "bos_token_id": 1,
        "eos_token_id": 2,
    })
}

fn tokenizer() -> Value {
    let special = ["<unk>", "<s>", "</s>"];
    let vocabulary: Map<String, Value> = special
        .into_iter()
        .chain(WORDS.split_whitespace())
        .enumerate()
        .map(|(id, word)| (word.to_owned(), json!(id)))
        .collect();
    let added: Vec<Value> = special
        .iter()
        .enumerate()
        .map(|(id, word)| {
            json!({"id": id, "content": word, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        })
        .collect();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": null,
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn never() -> bool {
        false
    }

    fn made(size_mb: u64) -> (tempfile::TempDir, u64) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let bytes = write(dir.path(), size_mb, &never).expect("a sample model");
        (dir, bytes)
    }

    fn json_of(path: &Path) -> Value {
        serde_json::from_slice(&fs::read(path).expect("the file")).expect("JSON")
    }

    #[test]
    fn the_size_is_met_within_a_tenth() {
        let (dir, bytes) = made(8);
        assert!((7_200_000..=8_800_000).contains(&bytes), "{bytes}");
        let on_disk: u64 = fs::read_dir(dir.path())
            .expect("a folder")
            .map(|e| e.expect("entry").metadata().expect("file").len())
            .sum();
        assert_eq!(on_disk, bytes);
        for size_mb in [16, 100, 128, 300, 3999, 4000] {
            let (_, tensors) = tensors(shape_for(size_mb), size_mb * 1_000_000);
            let bytes: u64 = tensors.iter().map(Tensor::bytes).sum();
            let off = bytes.abs_diff(size_mb * 1_000_000);
            assert!(off * 10 <= size_mb * 1_000_000, "{size_mb} MB became {bytes} bytes");
        }
    }

    #[test]
    fn two_runs_make_the_same_bytes() {
        let ((one, _), (two, _)) = (made(4), made(4));
        for entry in fs::read_dir(one.path()).expect("a folder") {
            let name = entry.expect("an entry").file_name();
            let read = |dir: &Path| fs::read(dir.join(&name)).expect("the file");
            assert!(read(one.path()) == read(two.path()), "{name:?} differs");
        }
    }

    #[test]
    fn shards_are_valid_safetensors_and_the_index_names_every_tensor() {
        let (dir, _) = made(4);
        let index = json_of(&dir.path().join("model.safetensors.index.json"));
        let map: BTreeMap<String, String> =
            serde_json::from_value(index["weight_map"].clone()).expect("a map");
        let mut seen = 0;
        let shard_names: BTreeSet<&String> = map.values().collect();
        assert!(shard_names.len() >= 3, "several files travel at once");
        for shard in shard_names {
            let bytes = fs::read(dir.path().join(shard)).expect("a shard");
            let header_len = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
            assert_eq!(header_len % 8, 0);
            let header: Map<String, Value> =
                serde_json::from_slice(&bytes[8..8 + header_len]).expect("a header");
            let mut ranges: Vec<(u64, u64)> = Vec::new();
            for (name, entry) in header.iter().filter(|(name, _)| *name != "__metadata__") {
                assert_eq!(map.get(name), Some(shard));
                let (start, end): (u64, u64) =
                    serde_json::from_value(entry["data_offsets"].clone()).expect("two offsets");
                let shape: Vec<u64> = serde_json::from_value(entry["shape"].clone()).expect("a shape");
                assert_eq!(end - start, shape.iter().product::<u64>() * WEIGHT_BYTES);
                ranges.push((start, end));
                seen += 1;
            }
            ranges.sort_unstable();
            assert_eq!(ranges[0].0, 0);
            assert!(ranges.windows(2).all(|pair| pair[0].1 == pair[1].0), "no holes");
            assert_eq!(ranges.last().expect("a tensor").1, (bytes.len() - 8 - header_len) as u64);
        }
        assert_eq!(seen, map.len());
    }

    #[test]
    fn configuration_and_tokenizer_fit_the_weights() {
        let (dir, _) = made(4);
        let config = json_of(&dir.path().join("config.json"));
        let tokenizer = json_of(&dir.path().join("tokenizer.json"));
        let words = tokenizer["model"]["vocab"].as_object().expect("a vocabulary").len() as u64;
        assert!(words > 40 && words < config["vocab_size"].as_u64().expect("a number"));
        assert_eq!(config["model_type"], "llama");
    }

    #[test]
    fn it_stops_when_cancelled() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let error = write(dir.path(), 4, &|| true).expect_err("cancelled");
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    }
}
