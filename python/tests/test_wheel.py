"""The wheel in environments that have nothing else: what `pip install zest-transfer` gives.

    ZEST_TEST_WHEEL=FILE    the wheel, as python/wheel made it; else one is packed here from the programs of ZEST_TEST_BIN's folder

Python versions that cannot be had here are skipped, and said.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import HANG_S, PYTHON, ROOT, Client, Hub, daemon, program
from contents import problems
from gate import Gate
from standin import StandIn

# One worker makes what all of them need.
pytestmark = pytest.mark.xdist_group("wheel")

# The oldest that is promised, and the newest.
PYTHONS = ("3.9", "3.14")

# Named for a run where the newest cannot be had.
INSTEAD = {"3.14": ("3.13", "3.12", "3.11")}


def interpreter(version: str) -> Path | None:
    """An interpreter of this version: on ``PATH``, or of pyenv's."""
    candidates = [shutil.which(f"python{version}")]
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    candidates += [str(path) for path in sorted(versions.glob(f"{version}.*/bin/python"))]
    code = "import sys, ensurepip, venv; print('%d.%d' % sys.version_info[:2])"
    for path in filter(None, candidates):
        ran = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False)
        if ran.stdout.strip() == version:
            return Path(path)
    return None


def an_interpreter(version: str) -> Path:
    for name in (version, *INSTEAD.get(version, ())):
        found = interpreter(name)
        if found is not None:
            if name != version:
                print(f"Python {version} cannot be had here: {name} instead", file=sys.stderr)
            return found
    pytest.skip(f"Python {version} cannot be had here")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("ZEST_TEST_WHEEL")
    if named:
        return Path(named).resolve()
    beside = Path(sys.executable).with_name("maturin")
    maturin = str(beside) if beside.exists() else shutil.which("maturin")
    if maturin is None:
        pytest.skip("there is no maturin")
    if not program().with_name("zest-seed").exists():
        pytest.skip("zest-seed is not built")
    out = tmp_path_factory.mktemp("dist")
    built = tmp_path_factory.mktemp("built")
    for name in ("zest", "zest-seed"):
        # Without the lines of its source, which are most of it.
        if subprocess.run(["strip", "-o", built / name, program().with_name(name)], check=False).returncode != 0:
            shutil.copy(program().with_name(name), built / name)
    environ = {**os.environ, "CARGO": str(PYTHON / "tests" / "as_built.py"), "ZEST_TEST_BUILT": str(built)}
    # maturin gathers what it packs below it.
    environ["CARGO_TARGET_DIR"] = str(tmp_path_factory.mktemp("target"))
    command = [maturin, "build", "--profile", "dev", "--locked", "--compatibility", "linux", "--out", out]
    if sys.platform != "linux":
        del command[5:7]
    ran = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="session", params=PYTHONS)
def clean(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with nothing but the wheel and huggingface_hub."""
    base = an_interpreter(request.param)
    folder = tmp_path_factory.mktemp(f"python-{request.param}")
    subprocess.run([base, "-m", "venv", folder], check=True, capture_output=True)
    python = folder / "bin" / "python"
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-cache-dir"]
    # It needs no other package.
    ran = subprocess.run([*pip, "--no-index", wheel], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    ran = subprocess.run([*pip[:-1], "huggingface_hub", "hf_xet"], capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        pytest.skip(f"no huggingface_hub for it: {ran.stderr[-300:]}")
    return python


def a_user(python: Path, home: Path, endpoint: str) -> Client:
    home.mkdir(exist_ok=True)
    (home / "run").mkdir(mode=0o700)
    return Client(python, home, endpoint)


def run(user: Client, *command: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    # No cargo, no other zest: what the environment has, and the system.
    path = os.pathsep.join((str(user.python.parent), "/usr/bin", "/bin"))
    environ = user.environ(PATH=path, **more)
    return subprocess.run(command, env=environ, cwd=user.home, capture_output=True, text=True, timeout=HANG_S, check=False)


def test_it_brings_what_it_has_to(wheel: Path) -> None:
    assert problems(wheel, development="ZEST_TEST_WHEEL" not in os.environ) == []


def test_the_example_works_where_there_is_nothing_else(clean: Path, hub: Hub, tmp_path: Path) -> None:
    user = a_user(clean, tmp_path / "user", hub.url)
    try:
        ran = run(user, clean, PYTHON / "examples" / "pull.py", "org/m")
        assert ran.returncode == 0, ran.stderr
        # Its path, what came from where, and the daemon that was started for it.
        assert "/snapshots/" in ran.stdout.splitlines()[0]
        assert "'from_cdn'" in ran.stdout and "zest 0." in ran.stdout, ran.stdout
        assert run(user, "zest", "version").stdout.startswith("zest ")
        assert run(user, "zest-seed", "--help").returncode == 0
        assert run(user, clean, "-m", "zest", "status", "--json").returncode == 0
    finally:
        ended = run(user, clean, "-c", "import zest; print(zest.stop())")
    assert ended.stdout == "True\n", ended.stderr


SNAPSHOT = 'from huggingface_hub import snapshot_download; print(snapshot_download("org/m"))'
COUNTED = "; import json, zest; print(json.dumps(vars(zest.counters())))"


def test_one_variable_is_enough_and_a_peer_has_what_the_cdn_has_not(clean: Path, hub: Hub, tmp_path: Path) -> None:
    gate = Gate(hub.url)
    zest = clean.with_name("zest")
    first, second = (a_user(clean, tmp_path / name, gate.url) for name in ("first", "second"))
    patient = {"ZEST": "1", "ZEST_NO_START": "1"}
    # Where hub keeps no store of shared blobs, a file is given after the daemon has seen it again: so it is pulled here.
    with daemon(first, binary=zest):
        ran = run(first, clean, "-c", 'import zest; zest.pull("org/m", progress=False)')
        assert ran.returncode == 0, ran.stderr
        peer = json.loads((first.zest_cache / "daemon.json").read_text())["listen"][0]
        gate.bytes_are_off, carried = True, gate.carried
        with daemon(second, "--peer", peer, binary=zest):
            ran = run(second, clean, "-c", SNAPSHOT + COUNTED, **patient)
            assert ran.returncode == 0, ran.stderr
            status = json.loads(run(second, clean, "-c", "import json, zest; print(json.dumps(dict(zest.status())))").stdout)
    gate.close()
    counted = json.loads(ran.stdout.splitlines()[-1])
    assert (counted["files"], counted["bytes"], counted["fell_open"]) == (2, 15_000_000, 0), (counted, ran.stderr)
    assert status["stats"]["downloaded"] >= 15_000_000 and gate.carried == carried
    got = Path(ran.stdout.splitlines()[0], "big.safetensors").read_bytes()
    assert got == (hub.root / "models/org/m/main/big.safetensors").read_bytes()


def test_vllm_finds_the_plug_in(clean: Path, tmp_path: Path) -> None:
    user = a_user(clean, tmp_path / "user", "http://127.0.0.1:9")
    # As vllm.plugins.load_general_plugins does it; `entry_points(group=…)` is newer than 3.9.
    code = (
        "from importlib.metadata import entry_points as found; all = found();"
        "group = all.select(group='vllm.general_plugins') if hasattr(all, 'select') else all['vllm.general_plugins'];"
        "[one.load()() for one in group if one.name == 'zest'];"
        "import huggingface_hub.file_download as f, zest; from zest._hook import is_hooked; print(zest.is_enabled(), is_hooked(f))"
    )
    assert run(user, clean, "-c", code).stdout == "False False\n"
    for more in ({"ZEST": "1"}, {"VLLM_PLUGINS": "zest"}):
        ran = run(user, clean, "-c", code, **more)
        assert ran.stdout == "True True\n", (more, ran)


def test_uvx_takes_it_along(wheel: Path, hub: Hub, tmp_path: Path) -> None:
    beside = Path(sys.executable).with_name("uvx")
    uvx = str(beside) if beside.exists() else shutil.which("uvx")
    if uvx is None:
        pytest.skip("there is no uvx")
    user = a_user(Path(sys.executable), tmp_path / "user", hub.url)
    with StandIn(user.zest_cache, hub.file) as stand_in:
        command = [uvx, "--python", sys.executable, "--from", "huggingface_hub", "--with", str(wheel), "hf", "download", "org/m"]
        index = {name: value for name, value in os.environ.items() if name.startswith("UV_")}
        ran = run(user, *command, ZEST="1", ZEST_NO_START="1", UV_CACHE_DIR=str(tmp_path / "uv"), **index)
    if "Failed to fetch" in ran.stderr:
        pytest.skip(f"no package index: {ran.stderr[-300:]}")
    assert ran.returncode == 0, ran.stderr
    assert sorted(asked["path"] for asked in stand_in.asked) == ["big.safetensors", "sub/part.bin"], ran.stderr
