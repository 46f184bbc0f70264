"""What a user's program does, in one process: takes a route to some files and says what came of it.

    python client.py ROUTE OUT

It prints one JSON object: what the route returned or raised, the tree below OUT, what zest's hook counted, and how long it took.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Callable


def tree(root: Path) -> dict[str, str]:
    """Every file below a folder: its hash, or where it leads."""
    found: dict[str, str] = {}
    for folder, folders, files in os.walk(root):
        for name in sorted(folders + files):
            path = Path(folder, name)
            key = str(path.relative_to(root))
            if path.is_symlink():
                found[key] = f"-> {os.readlink(path)}"
            elif path.is_file():
                data = path.read_bytes()
                if path.suffix == ".metadata":
                    # Its last line is the time.
                    data = b"\n".join(data.splitlines()[:2])
                if path.suffix == ".refs":
                    # Who uses a shared blob; hub reads the lines as a set, and zest has added one of them.
                    data = b"\n".join(sorted(set(data.splitlines())))
                found[key] = f"{oct(path.stat().st_mode & 0o777)} {hashlib.sha256(data).hexdigest()}"
    return found


# How long a daemon may take to make a file durable, seconds: a machine that is busy with other things needs some.
REST_S = 20.0


def at_rest(root: Path) -> Path:
    """The same folder once no daemon is at work in it. A download returns when every byte is in its place; the daemon's own file,
    which is the same, is made durable then, and until that is done it has a name of zest's. One that was killed leaves none."""
    until = time.monotonic() + REST_S
    while time.monotonic() < until and any(root.rglob("*.zest-journal")):
        time.sleep(0.02)
    return root


def begin_cache(cache: Path) -> Path:
    """A new cache that several files are fetched into at once. Where two threads begin its shared store, huggingface_hub (1.33 and
    later) takes the marker that the other is about to put into place for a leftover or for somebody else's file, and keeps one file
    out of the store: 525 of 3,000 times, its function alone. So which files are in there would differ by chance; that it is begun
    rightly, the routes with one file say."""
    try:
        from huggingface_hub.utils._shared_blobs import _ensure_shared_blobs_dir, shared_blobs_enabled
    except ImportError:
        return cache
    if shared_blobs_enabled():
        cache.mkdir(parents=True, exist_ok=True)
        assert _ensure_shared_blobs_dir(cache)
    return cache


def snapshot(out: Path) -> Any:
    from huggingface_hub import snapshot_download

    return snapshot_download("org/m", cache_dir=begin_cache(out / "cache"))


def usual(out: Path) -> Any:
    """Into the cache that everybody uses: OUT is then $HF_HOME."""
    from huggingface_hub import snapshot_download

    return snapshot_download("org/m", cache_dir=begin_cache(out / "hub"))


def one(out: Path) -> Any:
    from huggingface_hub import hf_hub_download

    return hf_hub_download("org/m", "big.safetensors", cache_dir=out / "cache")


def api(out: Path) -> Any:
    from huggingface_hub import HfApi

    return HfApi().snapshot_download("org/m", cache_dir=str(begin_cache(out / "cache")), allow_patterns=["*.safetensors", "*.json"])


def dataset(out: Path) -> Any:
    from huggingface_hub import snapshot_download

    return snapshot_download("org/d", repo_type="dataset", cache_dir=out / "cache")


def local_dir(out: Path) -> Any:
    from huggingface_hub import snapshot_download

    return snapshot_download("org/m", local_dir=out / "here", ignore_patterns="*.txt")


def filesystem(out: Path) -> Any:
    from huggingface_hub import HfFileSystem

    (out / "fs").mkdir()
    HfFileSystem().get_file("org/m/sub/part.bin", str(out / "fs" / "part.bin"))
    HfFileSystem().get_file("datasets/org/d@main/data.parquet", str(out / "fs" / "data.parquet"))


def command(out: Path) -> Any:
    sys.argv = ["hf", "download", "org/m", "--cache-dir", str(begin_cache(out / "cache"))]
    from huggingface_hub.cli.hf import main

    return main()


def again(out: Path) -> Any:
    first = one(out)
    from huggingface_hub import hf_hub_download

    forced = hf_hub_download("org/m", "big.safetensors", cache_dir=out / "cache", force_download=True)
    offline = hf_hub_download("org/m", "big.safetensors", cache_dir=out / "cache", local_files_only=True)
    return [first, forced, offline]


def slash(out: Path) -> Any:
    from huggingface_hub import hf_hub_download

    return hf_hub_download("org/m", "other.bin", revision="feature/x", cache_dir=out / "cache")


def dry_run(out: Path) -> Any:
    from huggingface_hub import snapshot_download

    # In the order in which its threads are done.
    return sorted(str(file) for file in snapshot_download("org/m", cache_dir=out / "cache", dry_run=True))


def missing(out: Path) -> Any:
    from huggingface_hub import hf_hub_download

    return hf_hub_download("org/m", "nothing.bin", cache_dir=out / "cache")


def closed(out: Path) -> Any:
    from huggingface_hub import snapshot_download

    return snapshot_download("org/closed", cache_dir=out / "cache")


def opened(out: Path) -> Any:
    from huggingface_hub import snapshot_download

    return snapshot_download("org/closed", cache_dir=out / "cache", token="hf_of_the_test")


def offline(out: Path) -> Any:
    from huggingface_hub import snapshot_download

    return snapshot_download("org/m", cache_dir=out / "cache", local_files_only=True)


ROUTES: dict[str, Callable[[Path], Any]] = {
    route.__name__: route
    for route in (
        snapshot,
        usual,
        one,
        api,
        dataset,
        local_dir,
        filesystem,
        command,
        again,
        slash,
        dry_run,
        missing,
        closed,
        opened,
        offline,
    )
}


def kill_at_the_start(pid: int) -> Callable[[], None]:
    """Has the daemon die when it has been found, and before it is asked; gives what undoes that."""
    import signal

    from zest import _daemon

    ensure = _daemon.ensure

    def kill(*args: Any) -> Any:
        connection = ensure(*args)
        os.kill(pid, signal.SIGKILL)
        return connection

    _daemon.ensure = kill
    return lambda: setattr(_daemon, "ensure", ensure)


def kill_in_the_midst(pid: int) -> Callable[[], None]:
    """Has the daemon die when the first bytes of a file have come through it; gives what undoes that."""
    import signal

    import zest._fetch as fetch

    wrote, duplicate, passed = fetch._Stream._wrote, fetch._Stream._duplicate, fetch.Landing._passed

    def die() -> None:
        os.kill(pid, signal.SIGKILL)
        raise fetch.Broken("killed")

    def kill(self: Any, data: memoryview) -> None:
        wrote(self, data[: 1 << 16])
        die()

    def kill_instead(self: Any, source: int, size: int) -> None:
        duplicate(self, source, min(size, self.got + (1 << 16)))
        die()

    def kill_before_it_lands(self: Any, end: int) -> None:
        passed(self, min(end, self.got + (1 << 16)))
        die()

    fetch._Stream._wrote, fetch._Stream._duplicate, fetch.Landing._passed = kill, kill_instead, kill_before_it_lands

    def undo() -> None:
        fetch._Stream._wrote, fetch._Stream._duplicate, fetch.Landing._passed = wrote, duplicate, passed

    return undo


def see_another_disk(when: str) -> None:
    """Has the daemon's files be out of sight, as in a container; found out at once, when the daemon is done with them, or when it
    has put one where there is nothing to be seen of it."""
    import zest._fetch as fetch

    def gone(path: str, which: object) -> int:
        print(f"looked for {path}", file=sys.stderr)
        if when == "late":
            at_rest(Path(path).parent)
        raise fetch.Moved("out of sight")

    fetch.open_that = gone
    if when == "landed":

        def elsewhere(place: str, size: object) -> bool:
            """The daemon has put it into that place of its own disk."""
            os.unlink(place)
            return False

        fetch._is_there = elsewhere
    else:
        fetch.Order.may_land = False


def take(name: str, out: Path) -> dict[str, Any]:
    """Takes a route, and says what came of it."""
    out.mkdir(parents=True, exist_ok=True)
    returned, raised = None, None
    began = time.monotonic()
    try:
        returned = ROUTES[name](out)
    except SystemExit as error:
        returned = f"exit {error.code}"
    except Exception as error:
        # Of hub's own kind; the texts have request ids.
        raised = [kind.__name__ for kind in type(error).__mro__]
        print(f"raised: {type(error).__name__}: {error}", file=sys.stderr)
    seconds = time.monotonic() - began
    # Before the files are looked at.
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    hooked: Any = None
    if "zest._hook" in sys.modules:
        import zest

        hooked = vars(zest.counters())
    return {
        "returned": json.loads(json.dumps(returned, default=str).replace(str(out), "OUT")),
        "raised": raised,
        "tree": tree(at_rest(out)),
        "hooked": hooked,
        "seconds": seconds,
        "cpu": used.ru_utime + used.ru_stime,
        "rss_kib": used.ru_maxrss,
    }


def take_as_told() -> None:
    """Takes one route after the other, each as a line of standard input says, as if each were a process of its own."""
    answers, patience = sys.stdout, None
    # What a route prints is no answer.
    sys.stdout = sys.stderr
    for line in sys.stdin:
        order = json.loads(line)
        os.environ.update(order["environ"])
        undo: Callable[[], None] = lambda: None  # noqa: E731
        if "zest._hook" in sys.modules:
            import zest._fetch as fetch
            import zest._hook as hook

            fetch.forget()
            patience = patience or fetch.SILENCE_S
            fetch.SILENCE_S = order["silence"] or patience
            hook._counters = hook.Counters()
            kill = {"start": kill_at_the_start, "midst": kill_in_the_midst}.get(order["kill"])
            undo = kill(order["pid"]) if kill else undo
        said = take(order["route"], Path(order["out"]).resolve())
        undo()
        print(json.dumps(said), file=answers, flush=True)


def main() -> None:
    began = time.monotonic()
    import huggingface_hub.file_download  # noqa: F401

    import_s = time.monotonic() - began
    if sys.argv[1] == "as-told":
        take_as_told()
        return
    if os.environ.get("ZEST_TEST_KILL"):
        kill_in_the_midst(int(os.environ["ZEST_TEST_KILL"]))
    if os.environ.get("ZEST_TEST_ELSEWHERE"):
        see_another_disk(os.environ["ZEST_TEST_ELSEWHERE"])
    if os.environ.get("ZEST_TEST_PATIENCE"):
        import zest._fetch

        zest._fetch.SILENCE_S = float(os.environ["ZEST_TEST_PATIENCE"])
    said = {**take(sys.argv[1], Path(sys.argv[2]).resolve()), "import_s": import_s}
    sys.stdout.flush()
    print("RESULT " + json.dumps(said))


if __name__ == "__main__":
    main()
