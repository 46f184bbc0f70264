"""Ctrl-C wherever it falls: the program ends, what is not meant goes on, and nothing is left behind."""

from __future__ import annotations

import subprocess
import textwrap

from conftest import HANG_S, Client, Hub
from standin import StandIn


def said_by(client: Client, code: str) -> str:
    script = client.home / "program.py"
    script.write_text("import os, sys, threading, time\n" + textwrap.dedent(code))
    environ = client.environ(ZEST="1", ZEST_NO_START="1", CACHE=str(client.home / "cache"))
    ran = subprocess.run([client.python, script], env=environ, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_who_downloads_while_an_interruption_is_handled_means_it(client: Client, hub: Hub) -> None:
    code = """
        from huggingface_hub import snapshot_download
        import zest, zest._fetch as fetch
        # Looked at with every piece.
        fetch._LOOK_S = -1.0
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            snapshot_download("org/m", cache_dir=os.environ["CACHE"])
        print(zest.counters().files)
    """
    with StandIn(client.zest_cache, hub.file):
        assert said_by(client, code) == "2"


def test_an_interruption_that_became_another_error_is_one(client: Client, hub: Hub) -> None:
    # As click does: its Abort is raised while the KeyboardInterrupt is handled, and passes the threads that are waited for.
    code = """
        from concurrent.futures import ThreadPoolExecutor
        from huggingface_hub import hf_hub_download
        import zest._fetch as fetch
        began = threading.Event()
        def wrote(self, data, _wrote=fetch._Stream._wrote):
            _wrote(self, data)
            began.set()
        fetch._Stream._wrote = wrote
        fetch.SILENCE_S = 3600
        class Abort(Exception): ...
        try:
            with ThreadPoolExecutor(1) as pool:
                file = pool.submit(hf_hub_download, "org/m", "big.safetensors", cache_dir=os.environ["CACHE"])
                began.wait()
                try:
                    raise KeyboardInterrupt
                except KeyboardInterrupt:
                    raise Abort
        except Abort:
            print(type(file.exception()).__name__)
    """
    with StandIn(client.zest_cache, hub.file, "half-mute", half=5_000_000):
        # Python 3.9 does not tell what another thread handles.
        assert said_by(client, code) == "KeyboardInterrupt"


def test_garbage_that_is_collected_while_the_main_thread_is_looked_at_stops_nobody(client: Client) -> None:
    # Before Python 3.12 the interpreter holds a lock then which what is taken away may need: here, the values of a threading.local.
    code = """
        import gc
        from zest import _signs
        keep, look = [], sys._current_exceptions
        def kept():
            keep.append(look())
            return keep[-1]
        sys._current_exceptions = kept
        over = threading.Event()
        for _ in range(8):
            threading.Thread(target=over.wait).start()
        class Cycle: ...
        def work():
            for _ in range(2000):
                cycle = Cycle()
                cycle.me, cycle.local = cycle, threading.local()
                cycle.local.value = 1
                del cycle
                _signs.interrupted()
        gc.set_threshold(2)
        worker = threading.Thread(target=work)
        worker.start()
        worker.join()
        over.set()
        print(len(keep), gc.isenabled())
    """
    assert said_by(client, code) == "2000 True"


def test_a_link_that_is_interrupted_leaves_no_other_name(client: Client) -> None:
    code = """
        from zest import _files
        os.makedirs("links")
        blob, target = (os.path.abspath(f"links/{name}") for name in ("blob", "target"))
        for path in (blob, target):
            open(path, "w").close()
        def replace(*_):
            raise KeyboardInterrupt
        os.replace = replace
        try:
            _files.link(blob, os.stat(blob), _files.FileSink(target))
        except KeyboardInterrupt:
            print(sorted(os.listdir("links")))
    """
    assert said_by(client, f"os.chdir({str(client.home)!r})\n" + textwrap.dedent(code)) == "['blob', 'target']"
