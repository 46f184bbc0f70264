"""The daemon of this user and cache: where it is, whether it is the right one, and how to have one.

Whoever listens on a port may be somebody else. So nothing secret is sent before the other end has shown who it is: over the Unix
socket by the user it runs as, over loopback by a proof that only who has the secret can give for that port and our nonce.
"""

from __future__ import annotations

import atexit
import contextlib
import hmac
import json
import logging
import os
import secrets
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import IO, Any

from zest import _env
from zest._errors import DaemonError, of_document
from zest._find import find_zest_bin
from zest._status import Status
from zest._wire import Broken, Check, Connection, Response

log = logging.getLogger("zest")

# How long a connection and its proof may take, seconds. A daemon answers within milliseconds; a machine that swaps does not.
CONNECT_S = 5.0

# How long an answer may take, seconds.
ANSWER_S = 30.0

# How long a daemon may take to begin, seconds. One with a large catalogue on a cold disk needs a few.
START_S = 30.0

# How long it may take to end, seconds.
STOP_S = 60.0

# How long a program that ends waits for what `zest start` says, seconds: it ends when the daemon answers.
SAY_S = 1.0

# Between two looks at a daemon that begins or ends, seconds.
_LOOK_S = 0.02

# The API that is spoken here begins with this version of the program.
VERSION_MIN = (0, 5)

# Files of the daemon that are read, at most, bytes.
_FILE_BYTES_MAX = 64 << 10

# What `zest start` says once on a machine begins so, and goes on in the next line.
_FIRST_RUN = "first run: "

# Variables with tokens: the daemon gets tokens over its socket only, each for one request.
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN", "HF_API_TOKEN")


class Absent(DaemonError):
    """There is none."""


class Foreign(DaemonError):
    """What is there is another user's, or of a version that does not understand us."""


def connect(within: float = CONNECT_S, check: Check | None = None) -> Connection:
    """A connection to the daemon of this cache, which has shown that it is that.

    Args:
        within: Seconds.
        check: See :class:`Connection`.

    Raises:
        Absent: There is none, or none that answers.
        Foreign: Somebody else is there.
    """
    record = _record()
    version = _version(record.get("version"))
    if version < VERSION_MIN:
        text = f"the daemon is zest {record.get('version')}, and {'.'.join(map(str, VERSION_MIN))} is needed"
        raise Foreign(text, hint="zest stop, and start the new one")
    path = record.get("socket")
    if isinstance(path, str) and hasattr(socket, "AF_UNIX"):
        with contextlib.suppress(OSError):
            return _by_socket(path, within, check)
    http = record.get("http")
    if not isinstance(http, list) or not http:
        raise Absent("the daemon has no API to ask")
    return _by_port(str(http[0]), within, check)


def request(method: str, target: str, body: Any = None, headers: dict[str, str] | None = None, patience: float = ANSWER_S) -> Any:
    """Asks the daemon and reads its answer.

    Returns:
        The document that it answers with; ``None`` without one.

    Raises:
        ZestError: Of its kind; :class:`DaemonError` if there is no daemon or it does not answer.
    """
    connection = connect()
    with contextlib.closing(connection):
        connection.patience = patience
        data = None if body is None else json.dumps(body).encode()
        try:
            response = connection.ask(method, target, data, headers)
            return answer_of(response)
        except Broken as error:
            raise DaemonError(f"the daemon does not answer: {error}") from error


def answer_of(response: Response) -> Any:
    """The document of a good answer; raises what the others stand for."""
    document = response.json()
    if 200 <= response.status < 300:
        return document
    error = document.get("error") if isinstance(document, dict) else None
    raise of_document(error, f"the daemon answers with status {response.status}")


def status() -> Status:
    """How the daemon does. Without one, ``running`` is false; nothing is started and nothing raised.

    Raises:
        DaemonError: One is there and cannot be asked.
    """
    try:
        return Status(request("GET", "/v1/status"))
    except Absent:
        return Status()


def start(*, within: float = START_S) -> Status:
    """Has a daemon: the one that runs, or one that is started now and ends by itself when nobody has needed it for a while.

    However many processes do this at once, one daemon is started. What it fetched it gives to this network only;
    ``ZEST_SHARE=0`` keeps it silent.

    Args:
        within: Seconds that it may take.

    Raises:
        DaemonError: There is no zest program, or it does not start.
    """
    ensure(within).close()
    return status()


def stop(*, force: bool = False) -> bool:
    """Ends the daemon if it was started on demand.

    Args:
        force: End any daemon, also one that its user started.

    Returns:
        Whether one ended.

    Raises:
        DaemonError: It does not end.
    """
    now = status()
    if not now.running or not (force or now.on_demand):
        return False
    pid = now.pid
    with contextlib.suppress(Absent):
        request("POST", "/v1/stop")
    until = time.monotonic() + STOP_S
    while time.monotonic() < until:
        if not _holds_lock() or _pid() not in (pid, None):
            return True
        time.sleep(_LOOK_S)
    raise DaemonError(f"the daemon (process {pid}) has not ended after {STOP_S:.0f} s", hint="zest stop --now kills it")


def ensure(within: float = START_S, check: Check | None = None) -> Connection:
    """A connection to the daemon, which is started if there is none.

    Raises:
        Absent: It cannot be had within that time.
        Foreign: Somebody else is there.
    """
    until = time.monotonic() + within
    why: DaemonError
    try:
        return connect(within, check)
    except Absent as error:
        why = error
    if _env.is_true(os.environ.get("ZEST_NO_START")):
        raise why
    with _one_starter(until, check) as is_ours:
        child: subprocess.Popen[bytes] | None = None
        while True:
            left = until - time.monotonic()
            with contextlib.suppress(Absent):
                return connect(max(left, _LOOK_S), check)
            if is_ours and child is None and not _holds_lock():
                child = _spawn()
            if child is not None and child.poll() not in (None, 0):
                raise Absent("zest did not start", hint="`zest start` says why")
            if left <= 0:
                raise Absent(f"zest did not start within {within:.1f} s")
            if check is not None:
                check()
            time.sleep(_LOOK_S)


def _spawn() -> subprocess.Popen[bytes]:
    """Starts a daemon in the background. Neither its arguments nor its environment have a token."""
    environment = {name: value for name, value in os.environ.items() if name not in _TOKENS}
    program = find_zest_bin()
    child = subprocess.Popen(
        [program, "start", "--on-demand"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # It must not keep the caller's folder busy.
        cwd=os.path.abspath(os.sep),
        # Ctrl-C is for us.
        start_new_session=sys.platform != "win32",
    )
    # `zest start` ends once the daemon answers, and somebody has to ask how it ended.
    thread = threading.Thread(target=_see_off, args=(child,), name="zest-start", daemon=True)
    thread.start()
    # What it says is for whoever uses this program, also where that is short.
    atexit.register(thread.join, SAY_S)
    return child


def _see_off(child: subprocess.Popen[bytes]) -> None:
    """Waits for `zest start`, and passes on what it says once on a machine: what is opened, and who learns what."""
    assert child.stderr is not None
    with child.stderr as pipe:
        lines = pipe.read().decode(errors="replace").splitlines()
    child.wait()
    for at, line in enumerate(lines):
        if line.startswith(_FIRST_RUN):
            log.warning("zest, %s", "; ".join(lines[at : at + 2]))


@contextlib.contextmanager
def _one_starter(until: float, check: Check | None) -> Iterator[bool]:
    """Whether this process is the one that starts the daemon. The others wait for it, not for the lock."""
    folder = _env.zest_cache()
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        file: IO[bytes] = open(os.path.join(folder, "start.lock"), "ab")  # noqa: SIM115
    except OSError as error:
        raise Absent(f"cannot write into {folder}: {error}") from error
    with file:
        yield _lock(file)


def _lock(file: IO[bytes]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # Held by another on Windows; where there are no locks, the daemon's own claim lets one win.
        return not isinstance(error, PermissionError)
    return True


def _holds_lock() -> bool:
    """Whether somebody has the claim on this cache: it runs, begins, or ends."""
    path = os.path.join(_env.zest_cache(), "zest.pid")
    if sys.platform == "win32":
        return os.path.exists(path)
    import fcntl

    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _pid() -> int | None:
    try:
        with open(os.path.join(_env.zest_cache(), "zest.pid"), "rb") as file:
            return int(file.read(64))
    except (OSError, ValueError):
        return None


def _record() -> dict[str, Any]:
    """``daemon.json``, if it is ours alone and of this machine since it was switched on."""
    try:
        record = json.loads(_private("daemon.json"))
    except FileNotFoundError:
        raise Absent("there is no daemon") from None
    except (OSError, ValueError) as error:
        raise Absent(f"daemon.json cannot be used: {error}") from error
    if not isinstance(record, dict):
        raise Absent("daemon.json is no record of a daemon")
    here = (_system("hostname"), _system("random/boot_id") or None)
    if record.get("host") != here[0] or record.get("boot_id") not in (None, here[1]):
        raise Absent(f"the daemon ran on {record.get('host') or 'another machine'}")
    return record


def _system(name: str) -> str:
    """What the kernel calls this machine, where it keeps that in files (Linux)."""
    try:
        with open(f"/proc/sys/kernel/{name}", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def _private(name: str) -> bytes:
    """A file of zest's cache that nobody else can have read or written."""
    path = os.path.join(_env.zest_cache(), name)
    file = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        meta = os.fstat(file)
        if sys.platform != "win32" and (not stat.S_ISREG(meta.st_mode) or meta.st_uid != os.geteuid() or meta.st_mode & 0o077):
            raise PermissionError(f"{path} is not for its owner alone")
        return os.read(file, _FILE_BYTES_MAX)
    finally:
        os.close(file)


def _secret() -> str:
    try:
        secret = _private("api-secret").decode("ascii").strip()
    except (OSError, ValueError) as error:
        raise Absent(f"the secret of the API cannot be read: {error}") from error
    if len(secret) != 64 or any(digit not in "0123456789abcdefABCDEF" for digit in secret):
        raise Absent("api-secret holds no secret")
    return secret


def _version(text: Any) -> tuple[int, ...]:
    parts = str(text or "").split(".")[:2]
    return tuple(int(part) for part in parts if part.isdigit())


def _by_socket(path: str, within: float, check: Check | None) -> Connection:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(within)
        sock.connect(path)
        if not _is_ours(sock, path):
            raise Foreign(f"what listens at {path} is another user's")
    except BaseException:
        sock.close()
        raise
    # The system has told each of us who the other is: no secret has to cross it.
    return Connection(sock, "localhost", within, check)


def _is_ours(sock: socket.socket, path: str) -> bool:
    """Whether the other end runs as this user."""
    if hasattr(socket, "SO_PEERCRED"):
        _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return bool(uid == os.geteuid())
    folder = os.lstat(os.path.dirname(path))
    return sys.platform != "win32" and folder.st_uid == os.geteuid() and not folder.st_mode & 0o077


def _by_port(addr: str, within: float, check: Check | None) -> Connection:
    host, _, digits = addr.rpartition(":")
    until = time.monotonic() + within
    secret = _secret()
    try:
        sock = socket.create_connection((host.strip("[]"), int(digits)), within)
    except (OSError, ValueError) as error:
        raise Absent(f"the daemon at {addr} does not answer: {error}") from error
    connection = Connection(sock, addr, max(until - time.monotonic(), _LOOK_S), check)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        nonce = secrets.token_hex(16)
        answer = connection.ask("GET", f"/v1/health?nonce={nonce}").json()
        proof = str(answer.get("proof_at") or "") if isinstance(answer, dict) else ""
        wanted = hmac.new(secret.encode(), f"port {digits}\n{nonce}".encode(), "sha256").hexdigest()
        if not hmac.compare_digest(proof.encode(), wanted.encode()):
            raise Foreign(f"what answers at {addr} is not the daemon of this cache")
    except Broken as error:
        connection.close()
        raise Absent(f"the daemon at {addr} does not answer: {error}") from error
    except BaseException:
        connection.close()
        raise
    connection.headers["Authorization"] = f"Bearer {secret}"
    return connection
