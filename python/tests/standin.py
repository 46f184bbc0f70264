"""A stand-in for daemons that cannot be had on purpose: mute ones, impostors, ones that break off at a given byte. What a healthy
daemon does is tested with the real program."""

from __future__ import annotations

import hmac
import json
import os
import secrets
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

Bytes = Callable[[dict[str, Any]], bytes]


class StandIn:
    """Listens until closed.

    Args:
        cache: zest's cache, where it says that it is the daemon.
        files: Gives the bytes that a request of /v1/files is for.
        mode: ``healthy``; ``mute``: takes connections and says nothing; ``foreign``: cannot prove itself; ``half-mute``: falls
            silent after ``half`` bytes; ``half-dead``: is gone then; ``old``: has no such route; ``declines``: says no.
    """

    def __init__(self, cache: Path, files: Bytes, mode: str = "healthy", *, half: int = 0, version: str = "0.5.0") -> None:
        self.mode, self.files, self.half = mode, files, half
        self.asked: list[dict[str, Any]] = []
        self.tokens: list[str] = []
        self.gone = threading.Event()
        cache.mkdir(parents=True, exist_ok=True)
        self.secret = secrets.token_hex(32)
        _private(cache / "api-secret", self.secret + "\n")
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                stand_in._health(self)

            def do_POST(self) -> None:
                stand_in._file(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 256

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        record = {**_record(version), "http": [f"127.0.0.1:{self.port}"]}
        _private(cache / "daemon.json", json.dumps(record))

    def close(self) -> None:
        self.gone.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> StandIn:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _health(self, handler: BaseHTTPRequestHandler) -> None:
        if self.mode == "mute":
            self.gone.wait()
            return
        nonce = handler.path.partition("nonce=")[2]
        secret = "0" * 64 if self.mode == "foreign" else self.secret
        proof = hmac.new(secret.encode(), f"port {self.port}\n{nonce}".encode(), "sha256").hexdigest()
        _answer(handler, 200, {"status": "ok", "proof_at": proof})

    def _file(self, handler: BaseHTTPRequestHandler) -> None:
        # Another file's may change it meanwhile: who is asked while it lives is killed with it.
        mode = self.mode
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        self.asked.append(body)
        self.tokens.append(handler.headers.get("X-HF-Token", "(none)"))
        if handler.headers.get("Authorization") != f"Bearer {self.secret}":
            _answer(handler, 401, {"error": {"kind": "auth", "message": "no secret"}})
            return
        if mode == "mute":
            # It has died since this connection was opened.
            _break_off(handler)
            return
        if mode == "old":
            _answer(handler, 404, {})
            return
        if mode == "declines":
            _answer(handler, 404, {"error": {"kind": "not-found", "message": "no such file", "hint": None}})
            return
        data = self.files(body)
        begin = int(handler.headers.get("Range", "bytes=0-").partition("=")[2].rstrip("-"))
        handler.send_response(206 if begin else 200)
        handler.send_header("Content-Length", str(len(data) - begin))
        handler.send_header("ETag", f'"{body["hash"]}"')
        handler.end_headers()
        if mode == "half-dead" and len(data) > self.half:
            _leave(body)
        if mode.startswith("half"):
            handler.wfile.write(data[begin : self.half])
            handler.wfile.flush()
            if mode == "half-mute":
                self.gone.wait()
            else:
                # Gone for good: nobody listens any more.
                self._server.socket.close()
                self.mode = "mute"
            _break_off(handler)
            return
        handler.wfile.write(data[begin:])


def _break_off(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def _leave(body: dict[str, Any]) -> None:
    """What a daemon that is killed leaves of a file that it was fetching."""
    repository = "--".join([f"{body['type']}s", *body["repo"].split("/")])
    blobs = Path(body["cache_dir"], repository, "blobs")
    if blobs.is_dir():
        for suffix in ("partial", "journal"):
            (blobs / f"{body['hash']}.zest-{suffix}").write_bytes(b"so far")


class Neighbour:
    """A daemon of another user of this machine, whose socket our record names. Only root can be another user."""

    _CODE = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1]); os.chmod(sys.argv[1], 0o777); server.listen(64)
print("here", flush=True)
while True:
    other, _ = server.accept()
    while data := other.recv(65536):
        print(data, flush=True)
"""

    def __init__(self, cache: Path) -> None:
        cache.mkdir(parents=True, exist_ok=True)
        self._folder = tempfile.mkdtemp(prefix="zest-")
        os.chmod(self._folder, 0o777)
        path = os.path.join(self._folder, "socket")
        self._child = subprocess.Popen([sys.executable, "-c", self._CODE, path], stdout=subprocess.PIPE, text=True)
        assert self._child.stdout is not None and self._child.stdout.readline() == "here\n"
        _private(cache / "daemon.json", json.dumps({**_record("0.5.0"), "socket": path, "http": []}))

    def __enter__(self) -> Neighbour:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        said, _err = self._child.communicate()
        shutil.rmtree(self._folder)
        assert not said, f"it heard {said}"


def _record(version: str) -> dict[str, Any]:
    hostname = Path("/proc/sys/kernel/hostname")
    boot_id = Path("/proc/sys/kernel/random/boot_id")
    return {
        "version": version,
        "pid": os.getpid(),
        "host": hostname.read_text().strip() if hostname.exists() else "",
        "boot_id": boot_id.read_text().strip() if boot_id.exists() else None,
        "started": 0,
        "listen": [],
    }


def _answer(handler: BaseHTTPRequestHandler, status: int, document: object) -> None:
    data = json.dumps(document).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


def _private(path: Path, text: str) -> None:
    path.touch(0o600)
    path.chmod(0o600)
    path.write_text(text)
