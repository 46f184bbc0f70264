"""Threads, coroutines, children and bars: whoever downloads, and in whatever process, does it through zest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import textwrap
from typing import Any

from conftest import HANG_S, TOKEN, Client, Hub
from standin import StandIn


def run(client: Client, code: str, **more: str) -> list[Any]:
    """What a program prints, line by line, as JSON. It is told by `CACHE` where to download to."""
    script = client.home / "program.py"
    # A stand-in on a busy machine may be silent for longer than a user is to wait.
    script.write_text("import zest._fetch\nzest._fetch.SILENCE_S = 60.0\n" + textwrap.dedent(code))
    environ = client.environ(**{"ZEST_NO_START": "1", "CACHE": str(client.home / "cache"), **more})
    ran = subprocess.run([client.python, script], env=environ, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_threads_and_coroutines_each_get_their_file(client: Client, hub: Hub) -> None:
    code = """
        import asyncio, json, os
        from concurrent.futures import ThreadPoolExecutor
        from huggingface_hub import hf_hub_download
        import zest
        zest.enable()
        files = [("org/m", "big.safetensors", None), ("org/m", "sub/part.bin", None), ("org/d", "data.parquet", "dataset")]
        def get(number):
            repo, name, kind = files[number % 3]
            cache = f"{os.environ['CACHE']}-{number}"
            path = hf_hub_download(repo, name, repo_type=kind, cache_dir=cache)
            return os.path.getsize(path)
        with ThreadPoolExecutor(9) as pool:
            print(json.dumps(list(pool.map(get, range(9)))))
        async def all_of_them():
            loop = asyncio.get_running_loop()
            return await asyncio.gather(*(loop.run_in_executor(None, get, number) for number in range(9, 15)))
        print(json.dumps(asyncio.run(all_of_them())))
        print(json.dumps(vars(zest.counters())))
    """
    with StandIn(client.zest_cache, hub.file) as stand_in:
        threads, coroutines, counted = run(client, code)
    assert threads == [12_000_000, 3_000_000, 2_500_000] * 3
    assert coroutines == [12_000_000, 3_000_000, 2_500_000] * 2
    assert (counted["files"], counted["fell_open"], counted["passed_by"]) == (15, 0, 0), counted
    assert len(stand_in.asked) == 15


def test_a_child_that_is_forked_in_the_midst_of_a_download_has_a_hook_of_its_own(client: Client, hub: Hub) -> None:
    # The parent's other thread holds whatever it holds while the child is made.
    code = """
        import json, os, sys, threading
        from huggingface_hub import hf_hub_download
        import zest, zest._fetch as fetch
        zest.enable()
        fetch.SILENCE_S = 100
        hf_hub_download("org/d", "data.parquet", repo_type="dataset", cache_dir=os.environ["CACHE"])
        begun, go_on = threading.Event(), threading.Event()
        def wrote(self, data, _wrote=fetch._Stream._wrote):
            if self.order.path == "big.safetensors" and not begun.is_set():
                with fetch.health._lock:
                    begun.set()
                    go_on.wait()
            _wrote(self, data)
        fetch._Stream._wrote = wrote
        def get(name, cache):
            return os.path.getsize(hf_hub_download("org/m", name, cache_dir=os.environ["CACHE"] + cache))
        sizes = []
        other = threading.Thread(target=lambda: sizes.append(get("big.safetensors", "")))
        other.start()
        begun.wait()
        child = os.fork()
        if child == 0:
            fetch._Stream._wrote = wrote.__defaults__[0]
            print(json.dumps([get("sub/part.bin", "-child"), zest.counters().files - 1]), flush=True)
            os._exit(0)
        ended = os.waitpid(child, 0)[1]
        go_on.set()
        other.join()
        print(json.dumps([ended, *sizes, zest.counters().files]))
    """
    with StandIn(client.zest_cache, hub.file):
        child, parent = run(client, code)
    assert child == [3_000_000, 1]
    assert parent == [0, 12_000_000, 2]


def test_bars_are_those_of_huggingface_hub(client: Client, hub: Hub) -> None:
    # As tqdm.notebook does in Jupyter: another class, which somebody passes or which tqdm.auto chooses.
    code = """
        import json, os
        from huggingface_hub import snapshot_download
        from huggingface_hub.utils import tqdm
        bars = []
        class Notebook(tqdm):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                bars.append(self)
        snapshot_download("org/m", cache_dir=os.environ["CACHE"], tqdm_class=Notebook)
        print(json.dumps(sorted([str(bar.desc), bar.total, bar.n] for bar in bars)))
    """
    (plain,) = run(client, code, ZEST="0", CACHE=str(client.home / "plain"))
    with StandIn(client.zest_cache, hub.file) as stand_in:
        (hooked,) = run(client, code, ZEST="1")
    assert hooked == plain
    assert len(stand_in.asked) == 2
    assert any(done == total for _, total, done in hooked)


def test_a_token_is_in_no_argument_and_no_environment(client: Client, hub: Hub) -> None:
    # Given in code, not by a variable: it reaches the daemon in the request alone, and no file, log or child knows it.
    code = """
        import json, os
        from huggingface_hub import snapshot_download
        import zest
        zest.enable()
        snapshot_download("org/closed", cache_dir=os.environ["CACHE"], token=os.environ.pop("SECRET"))
        print(json.dumps(vars(zest.counters())))
    """
    with StandIn(client.zest_cache, hub.file) as stand_in:
        (counted,) = run(client, code, SECRET=TOKEN, ZEST="0")
        assert stand_in.tokens == [TOKEN] and counted["files"] == 1
    found = [path for path in client.home.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert not found


def test_who_is_ended_by_a_signal_leaves_no_lock_that_the_next_one_waits_for(client: Client, hub: Hub) -> None:
    code = """
        import json, os, signal
        from huggingface_hub import hf_hub_download
        import zest, zest._fetch as fetch
        def wrote(self, data):
            os.kill(os.getpid(), int(os.environ["SIGNAL"]))
        zest.enable()
        if os.environ["SIGNAL"] != "0":
            fetch._Stream._wrote = wrote
        path = hf_hub_download("org/m", "big.safetensors", cache_dir=os.environ["CACHE"])
        print(json.dumps([os.path.getsize(path), zest.counters().files]))
    """
    script = client.home / "killed.py"
    script.write_text(textwrap.dedent(code))
    with StandIn(client.zest_cache, hub.file):
        for number in (signal.SIGKILL, signal.SIGTERM):
            environ = client.environ(ZEST_NO_START="1", CACHE=str(client.home / "cache"), SIGNAL=str(int(number)))
            ran = subprocess.run([client.python, script], env=environ, capture_output=True, timeout=HANG_S, check=False)
            assert ran.returncode == -number, ran.stderr
        assert run(client, code, SIGNAL="0") == [[12_000_000, 1]]
    assert os.path.getsize(next((client.home / "cache").rglob("big.safetensors"))) == 12_000_000
