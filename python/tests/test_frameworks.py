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
from conftest import HANG_S, TARGET, TESTS, Client, Hub, daemon, install, serve

pytestmark = pytest.mark.skipif(os.environ.get("ZEST_TEST_FRAMEWORKS") != "1", reason="ZEST_TEST_FRAMEWORKS=1 is not set")

PACKAGES = ("transformers==5.*", "datasets==5.*", "mlx[cpu]==0.32.*", "mlx-lm==0.32.*", "hf_xet")


@pytest.fixture(scope="module")
def python() -> Path:
    return install(Path(os.environ.get("ZEST_TEST_ENVS", TARGET / "python")) / "frameworks", PACKAGES)


@pytest.fixture(scope="module")
def models(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    root = tmp_path_factory.mktemp("models")
    model, data = root / "models" / "org" / "tiny" / "main", root / "datasets" / "org" / "rows" / "main"
    environ = {**os.environ, "ZEST": "0"}
    subprocess.run([python, TESTS / "tiny.py", model, data], check=True, env=environ)
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
