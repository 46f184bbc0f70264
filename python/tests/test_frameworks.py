"""Frameworks that load what came through zest: transformers, datasets, and mlx-lm, which generates text.

Slow to install, so only with ZEST_TEST_FRAMEWORKS=1: every night.
"""

from __future__ import annotations

import json
import os
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import HANG_S, TARGET, Client, Hub, daemon, install, serve

pytestmark = pytest.mark.skipif(os.environ.get("ZEST_TEST_FRAMEWORKS") != "1", reason="ZEST_TEST_FRAMEWORKS=1 is not set")

PACKAGES = ("transformers==5.*", "datasets==5.*", "mlx[cpu]==0.32.*", "mlx-lm==0.32.*", "hf_xet")

# A model that is small, and one all the same: it loads, and says something.
MAKE = """
    import json, sys, numpy as np
    from pathlib import Path
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    out = Path(sys.argv[1])
    out.mkdir(parents=True)
    t = Tokenizer(models.BPE())
    t.pre_tokenizer, t.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    t.train_from_iterator(["hello world " * 50], trainers.BpeTrainer(vocab_size=300, special_tokens=["<s>", "</s>"],
                                                                     initial_alphabet=alphabet))
    t.save(str(out / "tokenizer.json"))
    (out / "tokenizer_config.json").write_text(json.dumps(dict(
        tokenizer_class="PreTrainedTokenizerFast", bos_token="<s>", eos_token="</s>", model_max_length=512)))
    V, D, F, L, H = t.get_vocab_size(), 256, 512, 2, 4
    (out / "config.json").write_text(json.dumps(dict(
        architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=D, intermediate_size=F, num_hidden_layers=L,
        num_attention_heads=H, num_key_value_heads=H, rms_norm_eps=1e-5, vocab_size=V, max_position_embeddings=512,
        rope_theta=10000.0, tie_word_embeddings=False, bos_token_id=0, eos_token_id=1, torch_dtype="float16")))
    r = np.random.default_rng(1)
    R = lambda *shape: (r.standard_normal(shape) * 0.02).astype(np.float16)
    w = {"model.embed_tokens.weight": R(V, D), "model.norm.weight": np.ones(D, np.float16), "lm_head.weight": R(V, D)}
    for i in range(L):
        p = f"model.layers.{i}."
        for n in "qkvo":
            w[p + f"self_attn.{n}_proj.weight"] = R(D, D)
        w |= {p + "mlp.gate_proj.weight": R(F, D), p + "mlp.up_proj.weight": R(F, D), p + "mlp.down_proj.weight": R(D, F),
              p + "input_layernorm.weight": np.ones(D, np.float16), p + "post_attention_layernorm.weight": np.ones(D, np.float16)}
    save_file(w, str(out / "model.safetensors"), metadata={"format": "mlx"})
    import pyarrow as pa, pyarrow.parquet as pq
    data = Path(sys.argv[2])
    data.mkdir(parents=True)
    # Large and random enough to be a file in Xet.
    text = [bytes(r.integers(97, 123, 60).astype(np.uint8)).decode() for _ in range(100_000)]
    pq.write_table(pa.table({"number": list(range(100_000)), "text": text}), data / "train-00000-of-00001.parquet")
"""


@pytest.fixture(scope="module")
def python() -> Path:
    return install(Path(os.environ.get("ZEST_TEST_ENVS", TARGET / "python")) / "frameworks", PACKAGES)


@pytest.fixture(scope="module")
def models(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    root = tmp_path_factory.mktemp("models")
    model, data = root / "models" / "org" / "tiny" / "main", root / "datasets" / "org" / "rows" / "main"
    environ = {**os.environ, "ZEST": "0"}
    subprocess.run([python, "-c", textwrap.dedent(MAKE), model, data], check=True, env=environ)
    yield from serve(root)


@pytest.fixture
def user(python: Path, models: Hub, tmp_path: Path) -> Client:
    (tmp_path / "run").mkdir(mode=0o700)
    return Client(python, tmp_path, models.url)


def run(user: Client, code: str) -> Any:
    """Runs a program that knows nothing of zest, and gives what it prints and what the hook counted."""
    count = "\nimport zest, json\nprint('COUNTED ' + json.dumps(vars(zest.counters())))\n"
    environ = user.environ(ZEST="1", ZEST_NO_START="1")
    command = [user.python, "-c", textwrap.dedent(code) + count]
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=4 * HANG_S, check=False)
    assert ran.returncode == 0, ran.stderr[-4000:]
    said, _, counted = ran.stdout.rpartition("COUNTED ")
    return said.strip(), json.loads(counted)


def test_transformers_finds_its_files(user: Client) -> None:
    code = """
        from transformers import AutoConfig, AutoTokenizer
        from transformers.utils import cached_file
        tokens = AutoTokenizer.from_pretrained("org/tiny")("hello").input_ids
        print(AutoConfig.from_pretrained("org/tiny").hidden_size, len(tokens) > 0)
        cached_file("org/tiny", "model.safetensors")
    """
    with daemon(user):
        said, counted = run(user, code)
    assert said.splitlines()[-1] == "256 True"
    assert counted["files"] == 1 and not counted["fell_open"], counted


def test_datasets_reads_its_rows(user: Client) -> None:
    code = """
        from datasets import load_dataset
        rows = load_dataset("org/rows", split="train")
        print(len(rows), rows[99_999]["number"])
    """
    with daemon(user):
        said, counted = run(user, code)
    assert said.splitlines()[-1] == "100000 99999"
    assert counted["files"] == 1 and not counted["fell_open"], counted


def test_mlx_loads_weights_and_says_something(user: Client) -> None:
    code = """
        from mlx_lm import generate, load
        model, tokenizer = load("org/tiny")
        print("SAID", len(generate(model, tokenizer, prompt="hello", max_tokens=8)) > 0)
    """
    with daemon(user):
        said, counted = run(user, code)
    assert said.splitlines()[-1] == "SAID True"
    assert counted["files"] == 1 and not counted["fell_open"], counted
