"""The table: every route, with every huggingface_hub, with and without Xet, beside a daemon in every state.

    python python/tests/table.py [VERSION...]       huggingface_hub's versions; all of docs/python.md without one

In each cell the outcome must be that of huggingface_hub alone: what is returned or raised, and every file. The test asserts that
(test_table.py); run as a program it also says what each state cost.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import HANG_S, TESTS, VERSIONS, Client, Hub, Said, daemon, environment, serve
from standin import Neighbour, StandIn

ROUTES = (
    "snapshot",
    "one",
    "api",
    "dataset",
    "local_dir",
    "filesystem",
    "command",
    "again",
    "slash",
    "dry_run",
    "missing",
    "closed",
    "opened",
    "offline",
)

# Files in Xet that a route fetches, where it is not one.
FILES = {"snapshot": 2, "local_dir": 2, "filesystem": 2, "command": 2, "again": 2} | dict.fromkeys(
    ("dry_run", "missing", "closed", "offline"), 0
)

# The states, and whether all files come through zest, none, or it depends.
STATES = {
    "healthy": True,
    "other file system": True,
    "absent": False,
    "killed at start": False,
    "killed midway": None,
    "mute": False,
    "half mute": None,
    "foreign": False,
    "another user's": False,
    "wrong version": False,
    "without the route": False,
}

# After so many bytes a half-mute one falls silent: beyond those from which only the rest is fetched.
HALF = 1_500_000


def files() -> dict[str, bytes]:
    """Small, since it is about how, not how fast; large enough to be files in Xet, and to break off in."""
    make = random.Random(16)
    return {
        "models/org/m/main/big.safetensors": make.randbytes(3_000_000),
        "models/org/m/main/sub/part.bin": make.randbytes(1_200_000),
        "models/org/m/main/config.json": b'{"a": 1}\n',
        "models/org/m/main/vocab.txt": b"word\n" * 4_000,
        "models/org/m/feature%2Fx/other.bin": make.randbytes(1_100_000),
        "models/org/closed/access": b"private\n",
        "models/org/closed/main/weights.bin": make.randbytes(1_100_000),
        "datasets/org/d/main/data.parquet": make.randbytes(1_100_000),
    }


def table_hub(root: Path) -> Iterator[Hub]:
    for name, data in files().items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    yield from serve(root)


@dataclass
class Cell:
    route: str
    alone: Said
    hooked: Said

    def differences(self, state: str, version: str, is_plain: bool) -> list[str]:
        """What is not as it is without zest, or not by the way that the state allows."""
        found = []
        for name in ("returned", "raised"):
            ours, theirs = getattr(self.hooked, name), getattr(self.alone, name)
            if ours != theirs:
                found.append(f"{self.route}: {name} {ours}, not {theirs}")
        ours, theirs = of_hub(self.hooked.tree), of_hub(self.alone.tree)
        found += [
            f"{self.route}: {name} is {ours.get(name)}, not {theirs.get(name)}"
            for name in sorted(set(ours) | set(theirs))
            if ours.get(name) != theirs.get(name)
        ]
        expected = FILES.get(self.route, 1)
        # Until 2.1.1, and without Xet, HfFileSystem fetches by HTTP, with a function that is not hooked.
        if self.route == "filesystem" and (is_plain or not version.startswith("2.")):
            expected = 0
        came = (self.hooked.hooked or {}).get("files", 0)
        whole = STATES[state]
        if whole is not None and came != (expected if whole else 0):
            found.append(f"{self.route}: {came} files came through zest, of {expected}")
        return found


def of_hub(tree: dict[str, str]) -> dict[str, str]:
    """Without what zest's cache has, and that of older versions of huggingface_hub has not: the tag for backup programs, and lists
    of files. The last is a log of hf_xet's."""
    return {
        name: value
        for name, value in tree.items()
        if "CACHEDIR.TAG" not in name and "/trees" not in name and not name.startswith("xet/")
    }


class Routes:
    """A process that takes the routes, one after the other."""

    def __init__(self, client: Client, **more: str) -> None:
        self.log = client.home / "client.log"
        command = [client.python, TESTS / "client.py", "as-told"]
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(
                command, env=client.environ(**more), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )

    def take(self, route: str, out: Path, cache: Path, silence: float | None, kill: str | None = None, pid: int = 0) -> Said:
        assert self.child.stdin is not None and self.child.stdout is not None
        environ = {"ZEST_CACHE_DIR": str(cache)}
        order = {"route": route, "out": str(out), "environ": environ, "silence": silence, "kill": kill, "pid": pid}
        self.child.stdin.write(json.dumps(order) + "\n")
        self.child.stdin.flush()
        line = self.child.stdout.readline()
        assert line, self.log.read_text()[-4000:]
        return Said(**json.loads(line))

    def close(self) -> None:
        assert self.child.stdin is not None
        self.child.stdin.close()
        self.child.wait(HANG_S)


def column(hub: Hub, home: Path, version: str, state: str, is_plain: bool, routes: tuple[str, ...] = ROUTES) -> list[Cell]:
    """A column of the table."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "run").mkdir(mode=0o700)
    client = Client(environment(version), home, hub.url)
    more = {"HF_HUB_DISABLE_XET": "1"} if is_plain else {}
    alone = Routes(client, ZEST="0", **more)
    hooked = Routes(client, ZEST="1", ZEST_NO_START="1", **more)
    cells = []
    with contextlib.ExitStack() as ends:
        ends.callback(alone.close)
        ends.callback(hooked.close)
        there = home
        if state == "other file system":
            there = Path(ends.enter_context(tempfile.TemporaryDirectory(dir=other_file_system())))
        for route in routes:
            cache = home / f"zest-{route}"
            with beside(hub, client, cache, state) as how:
                ours = hooked.take(route, there / f"with-{route}", cache, **how)
            theirs = alone.take(route, there / f"alone-{route}", cache, None)
            cells.append(Cell(route, theirs, ours))
    return cells


def other_file_system() -> str:
    here = os.stat(tempfile.gettempdir()).st_dev
    for folder in ("/dev/shm", "/run/shm", "/var/tmp"):
        if os.path.isdir(folder) and os.access(folder, os.W_OK) and os.stat(folder).st_dev != here:
            return folder
    raise LookupError("there is no other file system")


@contextlib.contextmanager
def beside(hub: Hub, client: Client, cache: Path, state: str) -> Iterator[dict[str, Any]]:
    """A daemon in this state, and how the client is to take it: with the patience of a busy machine where it is sound, with
    its own where it is not."""
    user = Client(client.python, client.home, client.endpoint)
    if state in ("healthy", "other file system", "killed at start", "killed midway"):
        with daemon(user, ZEST_CACHE_DIR=str(cache)) as process:
            kill = {"killed at start": "start", "killed midway": "midst"}.get(state)
            yield {"silence": 60.0, "kill": kill, "pid": process.pid}
        return
    if state == "absent":
        yield {"silence": None}
        return
    if state == "another user's":
        with Neighbour(cache):
            yield {"silence": None}
        return
    mode = {"mute": "mute", "half mute": "half-mute", "without the route": "old", "foreign": "foreign"}.get(state, "healthy")
    version = "0.4.2" if state == "wrong version" else "0.5.0"
    with StandIn(cache, hub.file, mode, half=HALF, version=version):
        yield {"silence": None}


def main() -> int:
    wanted = tuple(sys.argv[1:]) or VERSIONS
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        hubs = table_hub(Path(folder, "hub"))
        hub = next(hubs)
        try:
            print("state | " + " | ".join(f"{version} {way}" for version in wanted for way in ("Xet", "plain")), flush=True)
            for state in STATES:
                costs = []
                for number, (version, is_plain) in enumerate((version, way) for version in wanted for way in (False, True)):
                    try:
                        cells = column(hub, Path(folder, f"{state}-{number}".replace(" ", "-")), version, state, is_plain)
                    except LookupError as error:
                        costs.append(str(error))
                        continue
                    wrong += [
                        f"{state}, {version}, {'plain' if is_plain else 'Xet'}: {text}"
                        for cell in cells
                        for text in cell.differences(state, version, is_plain)
                    ]
                    costs.append(f"{max(cell.hooked.seconds - cell.alone.seconds for cell in cells):+.2f} s")
                print(f"{state} | " + " | ".join(costs), flush=True)
        finally:
            hub.process.terminate()
    print("\n".join(wrong) or f"{len(STATES) * len(wanted) * 2 * len(ROUTES)} cells, each as without zest")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
