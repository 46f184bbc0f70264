"""huggingface_hub and zest's own functions with the real daemon, which the test or the package itself has started."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest
from conftest import HANG_S, OLDER, TOKEN, Client, Hub, daemon, environment, program, versions
from gate import Gate

# A sound daemon on a machine that is busy with other things may be silent for longer than a user is to wait.
ENABLED = {"ZEST": "1", "ZEST_NO_START": "1", "ZEST_TEST_PATIENCE": "60"}


def script(client: Client, code: str, *arguments: object, **more: str) -> str:
    path = client.home / "script.py"
    path.write_text(textwrap.dedent(code))
    ran = subprocess.run(
        [client.python, path, *map(str, arguments)],
        env=client.environ(ZEST_BIN=str(program()), **more),
        cwd=client.home,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


@pytest.fixture
def newest(hub: Hub, tmp_path: Path, known: dict[Any, Any]) -> Client:
    """For what does not depend on huggingface_hub."""
    (tmp_path / "run").mkdir(mode=0o700)
    return Client(environment(versions()[-1]), tmp_path, hub.url, known)


def tree(said_tree: dict[str, str]) -> dict[str, str]:
    """Without what zest's cache has, and that of older versions of huggingface_hub has not: the tag for backup programs, and lists
    of files."""
    return {
        name: value
        for name, value in said_tree.items()
        # The last is a log of hf_xet's.
        if "CACHEDIR.TAG" not in name and "/trees" not in name and not name.startswith("xet/")
    }


@pytest.mark.parametrize("route", ["snapshot", "one", "dataset", "local_dir", "filesystem", "again", "closed", "opened"])
def test_a_sound_daemon_serves_every_route(client: Client, route: str) -> None:
    plain = client.plain(route)
    with daemon(client):
        said = client.run(route, **ENABLED)
    assert (said.returned, said.raised) == (plain.returned, plain.raised), said.stderr
    assert tree(said.tree) == tree(plain.tree), said.stderr
    if route == "filesystem" and "hub-2" not in str(client.python):
        return
    expected = {"snapshot": 2, "local_dir": 2, "filesystem": 2, "again": 2, "closed": 0}.get(route, 1)
    assert (said.hooked or {}).get("files", 0) == expected, (said.hooked, said.stderr)
    assert not (said.hooked or {}).get("fell_open"), said.stderr


# Where huggingface_hub has no store of shared blobs, it changes a file after the daemon has proven it, which has to prove it again.
NEWEST = "2.4.0"


def test_files_come_from_a_peer_while_the_hubs_cdn_is_off(client: Client, hub: Hub, tmp_path: Path) -> None:
    gate = Gate(hub.url)
    neighbour = Client(environment(NEWEST), tmp_path / "neighbour", gate.url)
    neighbour.home.mkdir()
    ours = Client(client.python, tmp_path / "ours", gate.url)
    ours.home.mkdir()
    with daemon(neighbour) as _:
        said = neighbour.run("usual", neighbour.hf_home, **ENABLED)
        assert (said.hooked or {})["files"] == 2, said.stderr
        peer = json.loads((neighbour.zest_cache / "daemon.json").read_text())["listen"][0]
        gate.bytes_are_off = True
        carried = gate.carried
        with daemon(ours, "--peer", peer):
            said = ours.run("usual", ours.hf_home, **ENABLED)
            status = json.loads(script(ours, "import zest, json; print(json.dumps(dict(zest.status())))"))
        assert said.raised is None, said.stderr
        assert said.hooked == {"files": 2, "bytes": 15_000_000, "linked": 2, "fell_open": 0, "passed_by": 0}, said.stderr
        assert gate.carried == carried
        assert status["stats"]["downloaded"] >= 15_000_000, status["stats"]
    gate.close()
    plain = Client(client.python, tmp_path / "plain", hub.url)
    plain.home.mkdir()
    assert tree(said.tree) == tree(plain.run("usual", plain.hf_home, ZEST="0").tree)


def test_nothing_is_copied_into_a_cache(client: Client, hub: Hub) -> None:
    plain = client.plain("snapshot")
    with daemon(client):
        out = client.home / "here"
        said = client.run("snapshot", out, **ENABLED)
        # What it keeps to give is that very file, however it came there.
        cached = [path for path in (out / "cache").rglob("*") if path.stat().st_size == 12_000_000]
        assert cached and len({path.stat().st_ino for path in cached}) == 1, cached
    assert said.hooked == {"files": 2, "bytes": 15_000_000, "linked": 2, "fell_open": 0, "passed_by": 0}, said.stderr
    assert (said.returned, said.raised) == (plain.returned, plain.raised), said.stderr
    assert tree(said.tree) == tree(plain.tree)


@pytest.mark.parametrize("when", ["early", "late", "landed"])
def test_what_lies_out_of_sight_is_sent(client: Client, when: str) -> None:
    plain = client.plain("one")
    with daemon(client):
        said = client.run("one", **ENABLED, ZEST_TEST_ELSEWHERE=when)
    assert said.stderr.count("looked for /") == 1, said.stderr
    # By then it may be whole, and linked: that is another name of it.
    hooked = said.hooked or {}
    assert (hooked["files"], hooked["bytes"], hooked["fell_open"]) == (1, 12_000_000, 0), (hooked, said.stderr)
    assert tree(said.tree) == tree(plain.tree)


# With the patience that users have.
AS_USERS_HAVE_IT = {"ZEST": "1", "ZEST_NO_START": "1"}


def test_what_comes_slowly_is_waited_for(client: Client, hub: Hub, hub_version: str, tmp_path: Path) -> None:
    # Six seconds without a proven byte: nobody knows the chunks of the xorb before all of it is here.
    gate = Gate(hub.url, rate=2_000_000)
    slow = Client(client.python, tmp_path / "slow", gate.url)
    slow.home.mkdir()
    with daemon(slow):
        said = slow.run("one", **AS_USERS_HAVE_IT, TQDM_POSITION="-1")
    gate.close()
    assert said.hooked == {"files": 1, "bytes": 12_000_000, "linked": 1, "fell_open": 0, "passed_by": 0}, said.stderr
    # Meanwhile the bar of what comes over the line moves, where huggingface_hub has one.
    came = [float(count) for count in re.findall(r"downloading bytes:.*?\|\s*([\d.]+)MB", said.stderr)]
    assert any(0 < count < 11 for count in came) or hub_version in OLDER, said.stderr
    plain = client.plain("one")
    assert (said.returned, said.raised) == (plain.returned, plain.raised), said.stderr
    assert tree(said.tree) == tree(plain.tree)


def test_where_nothing_comes_any_more_the_original_is_asked(client: Client, hub: Hub, tmp_path: Path) -> None:
    gate = Gate(hub.url, rate=2_000_000, zest_gets=5_000_000)
    slow = Client(client.python, tmp_path / "slow", gate.url)
    slow.home.mkdir()
    with daemon(slow):
        said = slow.run("one", **AS_USERS_HAVE_IT)
    gate.close()
    assert (said.hooked or {})["fell_open"] == 1, said.stderr
    assert "silent" in said.stderr
    plain = client.plain("one")
    assert (said.returned, said.raised) == (plain.returned, plain.raised), said.stderr
    assert tree(said.tree) == tree(plain.tree)


def test_a_daemon_that_is_killed_in_the_midst_costs_nothing_but_time(client: Client) -> None:
    plain = client.plain("one")
    with daemon(client) as process:
        said = client.run("one", **ENABLED, ZEST_TEST_KILL=str(process.pid))
    assert process.returncode == -signal.SIGKILL
    assert (said.returned, said.raised) == (plain.returned, plain.raised), said.stderr
    assert tree(said.tree) == tree(plain.tree)
    # It may have put the file into its place just before.
    hooked = said.hooked or {}
    assert hooked["files"] + hooked["fell_open"] == 1, said.stderr


def test_the_first_file_starts_a_daemon_that_is_nobodys_but_ours(client: Client) -> None:
    secret = {"HF_TOKEN": TOKEN}
    said = client.run("opened", ZEST="1", ZEST_BIN=str(program()), ZEST_TEST_PATIENCE="60", **secret)
    try:
        assert (said.hooked or {})["files"] == 1, said.stderr
        status = json.loads(script(client, "import zest, json; print(json.dumps(dict(zest.status())))"))
        # What it opens is said, by the variables that switch it off, and once.
        assert said.stderr.count("first run: ") == 1 and "ZEST_SHARE=0" in said.stderr, said.stderr
        assert status["on_demand"] is True and status["running"] is True
        assert status["ways"]["local_only"] is True and status["ways"]["dht"] is False
        for name in ("environ", "cmdline"):
            assert TOKEN not in Path(f"/proc/{status['pid']}/{name}").read_text()
        assert TOKEN not in (client.zest_cache / "zest.log").read_text()
    finally:
        assert script(client, "import zest; print(zest.stop(), zest.status().running)") == "True False"


def test_one_that_its_user_started_is_not_ended_by_a_program(newest: Client) -> None:
    with daemon(newest) as process:
        assert script(newest, "import zest; print(zest.stop(), zest.status().running)") == "False True"
        assert script(newest, "import zest; print(zest.stop(force=True), zest.status().running)") == "True False"
        process.wait(HANG_S)


def test_it_ends_when_nobody_needs_it(newest: Client) -> None:
    with daemon(newest, "--on-demand=1s") as process:
        assert process.wait(HANG_S) == 0
    assert "nobody has needed it" in (newest.home / "daemon.log").read_text()


def test_processes_that_start_at_once_have_one_daemon(newest: Client) -> None:
    count = int(os.environ.get("ZEST_TEST_CROWD", "10"))
    environ = newest.environ(ZEST_BIN=str(program()))
    code = "import zest; print(zest.start(within=100).pid)"
    crowd = [
        subprocess.Popen([newest.python, "-c", code], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    said = [one.communicate(timeout=HANG_S) for one in crowd]
    try:
        assert len({out for out, _ in said}) == 1, said
        log = (newest.zest_cache / "zest.log").read_text()
        assert log.count("started on demand") == 1, log
    finally:
        script(newest, "import zest; zest.stop()")


def test_pulls_are_told_of_and_fail_by_their_kinds(newest: Client) -> None:
    code = """
        import asyncio, zest
        assert not zest.status().running and not zest.stop()
        seen = []
        path = zest.pull("org/m", allow_patterns="*.safetensors", ignore_patterns=["x"], progress=seen.append)
        assert path.endswith(zest.pull("org/m", "main", progress=False, dry_run=True).rpartition("/")[2])
        assert seen and seen[-1].bytes_done <= 12_000_000
        names = [event.name for event in zest.Session().pull("org/d", repo_type="dataset").events()]
        assert names[-1] == "done", names
        for wrong, kind in ((dict(repo_id="org/none"), "not-found"), (dict(repo_id="a//b"), "usage"),
                            (dict(repo_id="org/m", revision="none"), "not-found"), (dict(repo_id="org/closed"), "not-found"),
                            (dict(repo_id="org/m", repo_type="thing"), "usage")):
            try:
                zest.pull(**wrong, progress=False)
            except zest.ZestError as error:
                assert error.kind == kind and type(error) is not zest.ZestError, (wrong, error.kind, error)
            else:
                raise AssertionError(wrong)
        zest.pull("org/closed", token="hf_of_the_test", progress=False)
        here = zest.pull("org/m", local_dir="here", progress=False)
        assert here.endswith("/here"), here

        class Stop(Exception): ...
        def stop(progress): raise Stop
        try:
            zest.pull("org/m", cache_dir="elsewhere", progress=stop)
        except Stop:
            pass
        async def cancelled():
            task = asyncio.ensure_future(zest.pull_async("org/m", cache_dir="a-third", progress=False))
            await asyncio.sleep(0)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                return await zest.pull_async("org/m", progress=False)
        assert asyncio.run(cancelled()) == zest.pull("org/m", progress=False)
        assert any(model["name"] == "org/m" for model in zest.Session().models())
        status = zest.status()
        assert status.running and status["http_port"] == status.http_port and len(status) > 7
        print("good", zest.stop())
    """
    assert script(newest, code) == "good True"


def test_the_module_runs_the_program(newest: Client) -> None:
    environ = newest.environ(ZEST_BIN=str(program()))
    ran = subprocess.run([newest.python, "-m", "zest", "version"], env=environ, capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("zest ")
    missing = newest.environ(PATH="", ZEST_BIN="/nowhere")
    ran = subprocess.run([newest.python, "-m", "zest"], env=missing, capture_output=True, text=True, check=False)
    assert ran.returncode == 127 and ran.stderr.startswith("error: ")
