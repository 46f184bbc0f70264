"""What the tests stand on: environments with versions of huggingface_hub, a Hub of our own with some files, and caches that are
nobody's.

    ZEST_TEST_HUBS="0.36.2 2.4"   versions of huggingface_hub; "all" for every one of the table
    ZEST_TEST_ENVS=DIR            where their environments are, or are made (default: target/python)
    ZEST_TEST_BIN=FILE            the zest program (default: target/debug/zest)
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parent
PYTHON = TESTS.parent
ROOT = PYTHON.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))

# The table's versions: the oldest and the newest first.
VERSIONS = ("0.36.2", "2.4.0", "1.16.4", "1.28.0", "1.33.0")

# Those that keep NAME.incomplete when a download is interrupted, and have no bar for what comes over the line.
OLDER = ("0.36.2", "1.16.4")

TOKEN = "hf_of_the_test"

# A program that hangs is ended after so many seconds: it is no measure of how long it should take.
HANG_S = 120.0


def versions() -> tuple[str, ...]:
    named = os.environ.get("ZEST_TEST_HUBS", "").split()
    return VERSIONS if named == ["all"] else tuple(named) or VERSIONS[:2]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "hub_version" in metafunc.fixturenames:
        metafunc.parametrize("hub_version", versions())


@functools.cache
def environment(version: str) -> Path:
    """The interpreter of an environment with this huggingface_hub, and with zest as its wheel would install it."""
    folder = Path(os.environ.get("ZEST_TEST_ENVS", TARGET / "python")) / f"hub-{version}"
    return install(folder, (f"huggingface_hub=={version}", "hf_xet"))


def install(folder: Path, packages: tuple[str, ...]) -> Path:
    """The interpreter of an environment with these packages, and with zest."""
    python = folder / "bin" / "python"
    done = folder / "done"
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Several workers of pytest want the same one.
    with open(folder.with_name(f"{folder.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists() or done.read_text() not in ("", repr(packages)):
            try:
                subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True, capture_output=True)
                pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages]
                subprocess.run(pip, check=True, capture_output=True, text=True)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"no environment with {', '.join(packages)}: {error.stderr[-300:] if error.stderr else error}")
            done.write_text(repr(packages))
        site = subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], check=True, capture_output=True, text=True
        ).stdout.strip()
        boot = f"{PYTHON / 'src'}\n{(PYTHON / 'data' / 'purelib' / 'zest.pth').read_text()}"
        if not Path(site, "zest.pth").exists() or Path(site, "zest.pth").read_text() != boot:
            Path(site, "zest.pth").write_text(boot)
    return python


def program() -> Path:
    path = Path(os.environ.get("ZEST_TEST_BIN", TARGET / "debug" / "zest"))
    if not path.exists():
        pytest.skip(f"{path} is not built")
    return path


@dataclass
class Hub:
    """``zest hub`` with a few repositories."""

    url: str
    root: Path
    process: subprocess.Popen[str]

    def file(self, body: dict[str, Any]) -> bytes:
        """The bytes that a request of /v1/files asks for."""
        for revision in ("main", "feature%2Fx"):
            path = self.root / f"{body['type']}s" / body["repo"] / revision / body["path"]
            if path.exists():
                return path.read_bytes()
        raise AssertionError(f"asked for what is not there: {body}")


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    root = tmp_path_factory.mktemp("hub")
    make = random.Random(16)
    files = {
        "models/org/m/main/big.safetensors": make.randbytes(12_000_000),
        "models/org/m/main/sub/part.bin": make.randbytes(3_000_000),
        "models/org/m/main/config.json": b'{"a": 1}\n',
        "models/org/m/main/vocab.txt": b"word\n" * 40_000,
        "models/org/closed/access": b"private\n",
        "models/org/closed/main/weights.bin": make.randbytes(2_000_000),
        "datasets/org/d/main/data.parquet": make.randbytes(2_500_000),
    }
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    yield from serve(root)


def serve(root: Path, inside: tuple[str, ...] = (), host: str = "127.0.0.1") -> Iterator[Hub]:
    """A Hub on these files, at this address; ``inside`` is what its command is begun by, if anything."""
    command = [*inside, program(), "hub", "--root", root, "--host", host, "--port", "0", "--json", "--token", TOKEN]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["endpoint"]
        yield Hub(url, root, process)
    finally:
        process.terminate()
        process.wait()


@dataclass
class Said:
    """What a client said of itself."""

    returned: Any
    raised: list[str] | None
    tree: dict[str, str]
    hooked: dict[str, int] | None
    seconds: float
    cpu: float
    rss_kib: int
    import_s: float = 0.0
    stderr: str = field(default="", repr=False)

    @property
    def outcome(self) -> tuple[Any, Any, Any]:
        """What must be the same with zest and without."""
        return self.returned, self.raised, self.tree


@dataclass
class Client:
    """A user: a home, a cache of zest's, and an interpreter."""

    python: Path
    home: Path
    endpoint: str
    known: dict[Any, Said] = field(default_factory=dict, repr=False)
    count: int = 0

    @property
    def zest_cache(self) -> Path:
        return self.home / ".cache" / "zest"

    @property
    def hf_home(self) -> Path:
        return self.home / ".cache" / "huggingface"

    def environ(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "ZEST", "XDG_", "PYTHON"))}
        return {
            **kept,
            "HOME": str(self.home),
            "HF_ENDPOINT": self.endpoint,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "XDG_RUNTIME_DIR": str(self.home / "run"),
            **more,
        }

    def run(self, route: str, out: Path | None = None, **more: str) -> Said:
        """Takes a route of client.py to a new folder, or this one."""
        self.count += 1
        out = out or self.home / f"out-{self.count}"
        command = [self.python, TESTS / "client.py", route, out]
        ran = subprocess.run(command, env=self.environ(**more), capture_output=True, text=True, timeout=HANG_S, check=False)
        last = [line for line in ran.stdout.splitlines() if line.startswith("RESULT ")]
        assert last, f"{ran.returncode}: {ran.stdout[-2000:]}\n{ran.stderr[-4000:]}"
        return Said(**json.loads(last[-1].partition(" ")[2]), stderr=ran.stderr)

    def plain(self, route: str, **more: str) -> Said:
        """The same without zest: once for all tests, since nothing depends on which of them asks."""
        key = (self.python, self.endpoint, route, tuple(sorted(more.items())))
        if key not in self.known:
            self.known[key] = self.run(route, ZEST="0", **more)
            assert self.known[key].hooked is None
        return self.known[key]


@pytest.fixture(scope="session")
def known() -> dict[Any, Said]:
    return {}


@pytest.fixture
def client(hub: Hub, hub_version: str, tmp_path: Path, known: dict[Any, Said]) -> Client:
    (tmp_path / "run").mkdir(mode=0o700)
    return Client(environment(hub_version), tmp_path, hub.url, known)


def wait_for(what: str, condition: Any, seconds: float = HANG_S) -> Any:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited in vain for {what}")


def get(url: str) -> Any:
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)


# What keeps a daemon of a test to this machine, and off the usual ports.
PRIVATE = ("--http-port", "0", "--no-dht", "--no-lan", "--listen", "127.0.0.1:0")


@contextlib.contextmanager
def daemon(client: Client, *flags: str, binary: Path | None = None, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """`zest serve` as this client's daemon."""
    record = Path(more.get("ZEST_CACHE_DIR", client.zest_cache)) / "daemon.json"
    log = open(client.home / "daemon.log", "ab")
    command = [binary or program(), "serve", *PRIVATE, *flags]
    process = subprocess.Popen(command, env=client.environ(**more), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_for("the daemon", lambda: record.exists() and json.loads(record.read_text())["pid"] == process.pid)
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(HANG_S)
        log.close()
