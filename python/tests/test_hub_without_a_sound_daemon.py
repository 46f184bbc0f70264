"""Whatever is wrong with the daemon, huggingface_hub does what it does without zest."""

from __future__ import annotations

import subprocess

import pytest
from conftest import HANG_S, Client, Hub, Said
from standin import StandIn

ENABLED = {"ZEST": "1", "ZEST_NO_START": "1"}


def same(client: Client, route: str, **more: str) -> Said:
    """Takes a route without zest and with it: the outcome must be the same. Gives what the second said."""
    plain = client.plain(route, **more)
    hooked = client.run(route, **{**ENABLED, **more})
    assert hooked.outcome == plain.outcome, hooked.stderr
    return hooked


def test_no_daemon_is_no_harm(client: Client) -> None:
    said = same(client, "snapshot")
    assert said.hooked
    assert said.hooked["files"] == 0
    assert said.stderr.count("going on without zest") == 1, said.stderr


@pytest.mark.parametrize("mode", ["mute", "foreign", "half-mute", "half-dead", "old", "declines"])
def test_a_daemon_that_fails_is_left(client: Client, hub: Hub, mode: str) -> None:
    with StandIn(client.zest_cache, hub.file, mode, half=5_000_000) as stand_in:
        said = same(client, "one")
    assert said.hooked and said.hooked["files"] == 0 and said.hooked["fell_open"] == 1, said.hooked
    if mode in ("mute", "foreign"):
        assert not stand_in.asked, "nothing is said to who has not shown who it is"


def test_a_daemon_that_dies_in_the_midst_costs_only_the_rest(client: Client, hub: Hub) -> None:
    with StandIn(client.zest_cache, hub.file, "half-dead", half=5_000_000) as stand_in:
        said = same(client, "snapshot", HF_HUB_VERBOSITY="info")
    assert stand_in.asked
    assert "cannot be had alone" not in said.stderr and "short" not in said.stderr, said.stderr


def test_a_daemon_of_another_version_is_not_asked(client: Client, hub: Hub) -> None:
    with StandIn(client.zest_cache, hub.file, version="0.4.2") as stand_in:
        said = same(client, "snapshot")
    assert not stand_in.asked
    assert "0.4.2" in said.stderr


@pytest.mark.parametrize(
    "route",
    ["snapshot", "one", "api", "dataset", "local_dir", "filesystem", "command", "again", "missing", "closed", "opened", "offline"],
)
def test_every_route_passes_the_hook_and_nothing_else_changes(client: Client, hub: Hub, route: str) -> None:
    with StandIn(client.zest_cache, hub.file) as stand_in:
        said = same(client, route)
    expected = {"snapshot": 2, "api": 1, "filesystem": 2, "again": 2, "missing": 0, "closed": 0, "offline": 0}
    # Until 2.1.1 HfFileSystem fetched by HTTP, with a function that is not hooked.
    if route == "filesystem" and not client.python.parts[-3].startswith("hub-2"):
        return
    files = expected.get(route, 1) if route not in ("local_dir", "command") else 2
    assert (said.hooked or {}).get("files", 0) == files, (said.hooked, said.stderr)
    assert len(stand_in.asked) == files
    if route == "opened":
        assert stand_in.tokens == ["hf_of_the_test"]


@pytest.mark.parametrize("route", ["snapshot", "one", "local_dir"])
def test_files_in_xet_pass_the_hook_also_where_xet_is_switched_off(client: Client, hub: Hub, route: str) -> None:
    with StandIn(client.zest_cache, hub.file) as stand_in:
        said = same(client, route, HF_HUB_DISABLE_XET="1")
    assert said.hooked and said.hooked["files"] == len(stand_in.asked) >= 1, said.hooked


@pytest.mark.parametrize("mode", ["half-mute", "half-dead"])
def test_http_goes_on_where_the_daemon_stopped(client: Client, hub: Hub, mode: str) -> None:
    with StandIn(client.zest_cache, hub.file, mode, half=5_000_000):
        same(client, "one", HF_HUB_DISABLE_XET="1")


def test_files_that_begin_one_after_the_other_wait_for_a_mute_daemon_once(client: Client) -> None:
    # A second file that begins just before the first one gives up does not wait for as long again.
    code = """
import time
from zest import _fetch
clock = [100.0]
time.monotonic = lambda: clock[0]
health = _fetch.Health()
print(health.begin() == _fetch.SILENCE_S)
clock[0] += _fetch.SILENCE_S - 0.1
print(health.begin() == _fetch._PATIENCE_MIN_S)
health.alive()
print(health.begin() == _fetch.SILENCE_S)
for _ in range(3):
    health.end()
clock[0] += 100
print(health.begin() == _fetch.SILENCE_S)
health.bad(_fetch.SILENCE_S, "silent")
print(health.begin() is None)
"""
    ran = subprocess.run(
        [client.python, "-c", code], env=client.environ(), capture_output=True, text=True, timeout=HANG_S, check=True
    )
    assert ran.stdout.split() == ["True"] * 5, ran.stdout


def test_the_bar_of_a_pull_does_not_call_linked_peers_givers(client: Client) -> None:
    code = """
from zest._session import Progress, _split
print(_split(Progress.of({"phase": "fetching", "from_cdn": 1_500_000, "peers": 3})))
print(_split(Progress.of({"from_peers": 2_000_000})))
"""
    ran = subprocess.run(
        [client.python, "-c", code], env=client.environ(), capture_output=True, text=True, timeout=HANG_S, check=True
    )
    said = ["peers 0.0 MB, CDN 1.5 MB; 3 peers linked", "peers 2.0 MB, CDN 0.0 MB"]
    assert ran.stdout.splitlines() == said, ran.stdout
