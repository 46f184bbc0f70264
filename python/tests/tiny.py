"""A model that is small, and one all the same: it loads, and says something. Run by a Python that has what it takes.

python tiny.py MODEL [DATA]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

WIDTH, INNER, LAYERS, HEADS = 256, 512, 2, 4


def tokenizer(out: Path) -> int:
    bytewise = Tokenizer(models.BPE())
    bytewise.pre_tokenizer, bytewise.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet)
    bytewise.train_from_iterator(["hello world " * 50], trainer)
    bytewise.save(str(out / "tokenizer.json"))
    kind = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "model_max_length": 512}
    (out / "tokenizer_config.json").write_text(json.dumps(kind))
    return int(bytewise.get_vocab_size())


def model(out: Path, words: int, draw: np.random.Generator) -> None:
    shape = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "rms_norm_eps": 1e-5,
        "vocab_size": words,
        "max_position_embeddings": 512,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "torch_dtype": "float16",
    }
    (out / "config.json").write_text(json.dumps(shape))

    def some(*size: int) -> np.ndarray:
        return (draw.standard_normal(size) * 0.02).astype(np.float16)

    ones = np.ones(WIDTH, np.float16)
    weights = {"model.embed_tokens.weight": some(words, WIDTH), "model.norm.weight": ones, "lm_head.weight": some(words, WIDTH)}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        weights |= {f"{at}self_attn.{part}_proj.weight": some(WIDTH, WIDTH) for part in "qkvo"}
        weights |= {f"{at}mlp.{part}_proj.weight": some(INNER, WIDTH) for part in ("gate", "up")}
        weights |= {f"{at}mlp.down_proj.weight": some(WIDTH, INNER)}
        weights |= {f"{at}{part}_layernorm.weight": ones for part in ("input", "post_attention")}
    save_file(weights, str(out / "model.safetensors"), metadata={"format": "mlx"})


def rows(data: Path, draw: np.random.Generator) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    data.mkdir(parents=True)
    # Large and random enough to be a file in Xet.
    text = [bytes(draw.integers(97, 123, 60).astype(np.uint8)).decode() for _ in range(100_000)]
    table = pa.table({"number": list(range(100_000)), "text": text})
    pq.write_table(table, data / "train-00000-of-00001.parquet")


def main() -> None:
    out = Path(sys.argv[1])
    out.mkdir(parents=True)
    draw = np.random.default_rng(1)
    model(out, tokenizer(out), draw)
    if len(sys.argv) > 2:
        rows(Path(sys.argv[2]), draw)


if __name__ == "__main__":
    main()
