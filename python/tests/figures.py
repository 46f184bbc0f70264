"""Figures for docs/benchmarks.md: huggingface_hub alone against huggingface_hub with zest, same files, same Hub, in turn.

python python/tests/figures.py [MB] [RUNS] [MBIT]

Each run has a new home and a cold cache. Wall and processor time are the client's; that of the daemon is said beside it. With MBIT
the Hub is at the other end of a line of so many megabits per second, in a network namespace (needs root, ip and tc).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conftest import Client, daemon, environment, program, serve
from standin import StandIn

VERSION = os.environ.get("ZEST_TEST_HUBS", "2.4.0").split()[0]


# Both ends of the line, and its names.
OURS, THEIRS, SPACE, NEAR, FAR = "10.77.0.2", "10.77.0.1", "zest-figures", "zest-near", "zest-far"


@contextlib.contextmanager
def line(mbit: str | None) -> Iterator[dict[str, Any]]:
    """How to begin a Hub at the other end of a line."""
    if mbit is None:
        yield {}
        return
    inside = ("ip", "netns", "exec", SPACE)
    steps = [
        f"ip netns add {SPACE}",
        f"ip link add {NEAR} type veth peer name {FAR} netns {SPACE}",
        f"ip addr add {OURS}/24 dev {NEAR}",
        f"ip link set {NEAR} up",
        f"ip -n {SPACE} addr add {THEIRS}/24 dev {FAR}",
        f"ip -n {SPACE} link set {FAR} up",
        f"{' '.join(inside)} tc qdisc add dev {FAR} root tbf rate {mbit}mbit burst 512kb latency 50ms",
    ]
    try:
        for step in steps:
            subprocess.run(step.split(), check=True)
        yield {"inside": inside, "host": THEIRS}
    finally:
        subprocess.run(["ip", "netns", "del", SPACE], check=True)


def cpu(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak(pid: int) -> int:
    """MiB that it had at most."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) >> 10


def client_run(client: Client, **more: str) -> dict[str, float]:
    # Into the cache that the user's daemon shares: what lies elsewhere is given to nobody.
    command = [client.python, Path(__file__).with_name("client.py"), "usual", client.hf_home]
    # What the one before has written is not this one's to pay for.
    os.sync()
    began = time.monotonic()
    child = subprocess.Popen(command, env=client.environ(ZEST_NO_START="1", **more), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    said, _ = child.communicate()
    wall = time.monotonic() - began
    result = json.loads(said.decode().rpartition("RESULT ")[2])
    assert result["raised"] is None, result
    return {
        "wall": result["seconds"],
        "process": wall,
        "cpu": result["cpu"],
        "rss": result["rss_kib"] / 1024,
        **(result["hooked"] or {}),
    }


def main() -> None:
    size, runs = int(([*sys.argv[1:], "512"])[0]), int(([*sys.argv[2:], "5"])[0])
    mbit = ([*sys.argv[3:], None])[0]
    with tempfile.TemporaryDirectory() as folder, line(mbit) as there:
        root = Path(folder, "root")
        make = random.Random(size)
        files = 4
        for number in range(files):
            path = root / "models" / "org" / "m" / "main" / f"model-{number}.safetensors"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                for _ in range(size // files):
                    file.write(make.randbytes(1 << 20))
        hubs = serve(root, **there)
        hub = next(hubs)
        python = environment(VERSION)
        found: dict[str, list[dict[str, float]]] = {}

        def home(name: str) -> Client:
            path = Path(folder, name)
            path.mkdir()
            (path / "run").mkdir(mode=0o700)
            return Client(python, path, hub.url)

        def once(number: int) -> None:
            def note(name: str, figures: dict[str, float]) -> None:
                found.setdefault(name, []).append(figures)

            note("hub alone", client_run(home(f"alone-{number}"), ZEST="0"))
            note("no daemon, none started", client_run(home(f"none-{number}"), ZEST="1"))
            client = home(f"cdn-{number}")
            with daemon(client) as process:
                figures = client_run(client, ZEST="1")
                note("zest, no peers", {**figures, "daemon_cpu": cpu(process.pid), "daemon_rss": peak(process.pid)})
                peer = json.loads((client.zest_cache / "daemon.json").read_text())["listen"][0]
                other = home(f"peer-{number}")
                with daemon(other, "--peer", peer) as second:
                    figures = client_run(other, ZEST="1")
                    note("zest, one peer", {**figures, "daemon_cpu": cpu(second.pid), "daemon_rss": peak(second.pid)})
            client = home(f"mute-{number}")
            with StandIn(client.zest_cache, hub.file, "mute"):
                note("a mute daemon", client_run(client, ZEST="1"))

        try:
            for number in range(runs):
                once(number)
        finally:
            hub.process.terminate()
        over = f"a line of {mbit} Mbit/s" if mbit else "loopback"
        print(f"{size} MiB in {files} files over {over}, huggingface_hub {VERSION}, medians of {runs} runs, {program()}")
        for name, all_of_it in found.items():
            middle = {key: statistics.median(one.get(key, 0) for one in all_of_it) for key in all_of_it[0]}
            print(f"{name:26}", "  ".join(f"{key} {value:.2f}" for key, value in middle.items()))


if __name__ == "__main__":
    main()
