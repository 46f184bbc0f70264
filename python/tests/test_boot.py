"""`ZEST=1` and nothing else: the hook is there when huggingface_hub is, and costs nothing before."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from conftest import HANG_S, OLDER, PYTHON, Client, Hub
from standin import StandIn


def python(client: Client, code: str, *flags: str, **more: str) -> str:
    command = [client.python, *flags, "-c", textwrap.dedent(code)]
    environ = client.environ(**{"ZEST": "1", "ZEST_NO_START": "1", **more})
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


HOOKED = """
import sys
from huggingface_hub import file_download
hook = sys.modules.get("zest._hook")
print(bool(hook and hook.is_hooked(file_download)))
"""


@pytest.mark.parametrize("flags", [(), ("-I",), ("-E", "-s")])
def test_the_hook_is_there_without_a_line_of_code(client: Client, flags: tuple[str, ...]) -> None:
    # -I and -E ignore PYTHON* variables; ZEST is none.
    assert python(client, HOOKED, *flags) == "True"
    assert python(client, HOOKED, *flags, ZEST="0") == "False"


def test_until_hub_is_imported_next_to_nothing_is(client: Client) -> None:
    code = """
        import sys
        before = set(sys.modules)
        print(sorted(name for name in before if name.split('.')[0] == 'zest'))
    """
    with_it = python(client, code)
    assert with_it == "['zest', 'zest._boot']"
    assert python(client, code, ZEST="0") == "[]"
    names = "import sys; print(' '.join(sys.modules))"
    # Those two, and nothing that they would import.
    more = set(python(client, names).split()) - set(python(client, names, ZEST="0").split())
    assert more <= {"zest", "zest._boot", "__future__"}


def test_children_of_every_kind_are_hooked(client: Client) -> None:
    code = """
        import multiprocessing, os, sys
        import zest
        os.environ.pop("ZEST")

        def look(queue):
            from huggingface_hub import file_download
            from zest._hook import is_hooked
            queue.put(is_hooked(file_download))

        if __name__ == "__main__":
            zest.enable()
            assert os.environ["ZEST"] == "1"
            for method in multiprocessing.get_all_start_methods():
                context = multiprocessing.get_context(method)
                queue = context.Queue()
                child = context.Process(target=look, args=(queue,))
                child.start()
                print(method, queue.get(timeout=60))
                child.join()
            zest.disable()
            assert "ZEST" not in os.environ
    """
    script = client.home / "children.py"
    script.write_text(textwrap.dedent(code))
    ran = subprocess.run(
        [client.python, script],
        env=client.environ(ZEST="1", ZEST_NO_START="1"),
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["fork", "True", "spawn", "True", "forkserver", "True"], ran.stderr


def test_late_is_early_enough_and_what_was_there_comes_back(client: Client) -> None:
    code = """
        from huggingface_hub import snapshot_download, file_download
        from huggingface_hub.file_download import xet_get
        import huggingface_hub.hf_file_system as fs
        import zest
        before = dict(vars(file_download)), dict(vars(fs))
        assert not zest.is_enabled()
        zest.enable()
        zest.enable()
        assert zest.is_enabled() and file_download.xet_get is not xet_get
        changed = sorted(name for name, value in before[0].items() if vars(file_download)[name] is not value)
        assert changed == ["_download_to_tmp_and_move", "http_get", "xet_get"], changed
        zest.disable()
        assert not zest.is_enabled()
        for module, names in zip((file_download, fs), before):
            assert all(vars(module)[name] is value for name, value in names.items())
        with zest.enabled():
            assert zest.is_enabled()
            with zest.enabled(progress=False):
                pass
            assert zest.is_enabled()
        assert file_download.xet_get is xet_get
        # Somebody else's stays, also one that wraps ours.
        import functools
        zest.enable()
        ours = file_download.xet_get
        theirs = functools.wraps(ours)(lambda **k: ours(**k))
        file_download.xet_get = theirs
        zest.disable()
        assert file_download.xet_get is theirs
        print("good")
    """
    assert python(client, code, ZEST="0") == "good"


def test_a_hub_that_is_not_known_is_left_alone_with_one_word(client: Client) -> None:
    code = """
        import logging, sys
        logging.basicConfig(stream=sys.stdout, format="%(message)s")
        from huggingface_hub import file_download as f
        def xet_get(*, incomplete_path, xet_file_data, headers, something_new): ...
        f.xet_get = xet_get
        import zest
        zest.enable()
        assert f.xet_get is xet_get
        try:
            zest.enable(hook="files")
        except zest.UsageError:
            print("refused")
    """
    said = python(client, code, ZEST="0").splitlines()
    assert said[-1] == "refused"
    assert all("not known, and not hooked" in line for line in said[:-1]) and len(said) >= 2, said


def test_ctrl_c_in_the_midst_ends_the_program_and_is_no_reason_to_begin_anew(client: Client, hub: Hub, hub_version: str) -> None:
    # A signal as the terminal sends it: `_thread.interrupt_main` wakes nobody who waits for a thread.
    code = """
        import signal, sys
        from huggingface_hub import snapshot_download
        import zest._fetch as fetch
        def wrote(self, data, _wrote=fetch._Stream._wrote):
            _wrote(self, data)
            if self.got == len(data):
                print("began", flush=True)
        fetch._Stream._wrote = wrote
        fetch.SILENCE_S = 3600
        # What is started in the background of a shell ignores it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            snapshot_download("org/m", cache_dir=sys.argv[1], allow_patterns="*.safetensors")
        except KeyboardInterrupt:
            print("interrupted")
    """
    with StandIn(client.zest_cache, hub.file, "half-mute", half=5_000_000):
        script = client.home / "interrupted.py"
        script.write_text(textwrap.dedent(code))
        environ = client.environ(ZEST="1", ZEST_NO_START="1")
        command = [client.python, script, client.home / "cache"]
        with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            try:
                assert child.stdout is not None
                began = child.stdout.readline()
                wait_until_it_sleeps(child.pid)
                child.send_signal(signal.SIGINT)
                said, errors = child.communicate(timeout=HANG_S)
            finally:
                child.kill()
    assert (began, said) == ("began\n", "interrupted\n"), (began, said, errors)
    assert not list((client.home / "cache").rglob("*.incomplete")) or hub_version in OLDER


def wait_until_it_sleeps(pid: int) -> None:
    """Until all threads of a process sleep, where that can be seen. A thread that is just being born takes a signal that is for the
    process, if it runs sooner than the main thread does; then Python's main thread goes on sleeping, without zest as with it."""
    tasks, seen = Path(f"/proc/{pid}/task"), 0
    while tasks.is_dir() and seen < 3:
        states = {(task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks.iterdir()}
        seen = seen + 1 if states == {"S"} else 0
        time.sleep(0.002)


def test_what_a_bar_raises_is_raised(client: Client, hub: Hub) -> None:
    code = """
        import sys
        from huggingface_hub import HfApi, hf_hub_download, file_download
        import zest._progress as progress
        class Stop(Exception): pass
        def add(self, count): raise Stop
        progress.Bars.add = add
        try:
            hf_hub_download("org/m", "big.safetensors", cache_dir=sys.argv[1])
        except Stop:
            print("stopped")
    """
    with StandIn(client.zest_cache, hub.file):
        script = client.home / "raises.py"
        script.write_text(textwrap.dedent(code))
        environ = client.environ(ZEST="1", ZEST_NO_START="1")
        ran = subprocess.run(
            [client.python, script, client.home / "cache"], env=environ, capture_output=True, text=True, timeout=HANG_S, check=False
        )
    assert ran.stdout.strip() == "stopped", ran.stderr


def test_the_oldest_python_can_read_it() -> None:
    for path in sorted((PYTHON / "src").rglob("*.py")):
        compile(path.read_text(), str(path), "exec", flags=0, dont_inherit=True)
    assert sys.version_info >= (3, 9) and Path(PYTHON / "src" / "zest" / "py.typed").exists()
