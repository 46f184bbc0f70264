"""A gate before a Hub: lets requests through, counts them, and can be narrow, or closed, to what carries the bytes of files."""

from __future__ import annotations

import http.client
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

# Heads that are of one connection, not of what is asked.
_OWN = {"connection", "transfer-encoding", "keep-alive"}

# How zest names itself to a Hub.
_ZEST = "zest/"


class Gate:
    """Listens until closed. ``url`` is the Hub's for everybody behind it: its answers name the host that was asked.

    Args:
        hub: What lies behind it.
        rate: Bytes of files that get through in a second, for all together.
        zest_gets: Bytes of files after which nothing more gets through to zest, though nobody tells it. Others are let through, and
            as fast as they like.
    """

    def __init__(self, hub: str, *, rate: int | None = None, zest_gets: int | None = None) -> None:
        self.bytes_are_off = False
        self.rate, self.zest_gets = rate, zest_gets
        self._pace, self._free_at, self._closed = threading.Lock(), 0.0, threading.Event()
        self.paths: list[str] = []
        self.carried = 0
        target = urlsplit(hub)
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                gate.paths.append(self.path)
                is_bytes = "/api/cdn/" in self.path or "/api/cas/" in self.path
                if is_bytes and gate.bytes_are_off:
                    self.send_response(503)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                length = int(self.headers.get("Content-Length") or 0)
                behind = http.client.HTTPConnection(target.hostname or "", target.port)
                body = self.rfile.read(length) if length else None
                behind.request(self.command, self.path, body, dict(self.headers))
                answer = behind.getresponse()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in _OWN:
                        self.send_header(name, value)
                if answer.length is None:
                    self.close_connection = True
                    self.send_header("Connection", "close")
                self.end_headers()
                is_zest = str(self.headers.get("User-Agent")).startswith(_ZEST)
                while piece := answer.read(1 << 16):
                    if is_bytes and not gate._lets_through(len(piece), is_zest):
                        break
                    self.wfile.write(piece)
                behind.close()

            do_HEAD = do_POST = do_GET

            def log_message(self, *_: object) -> None:
                pass

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_: object) -> None:
                """Who hangs up is no error of ours."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def _lets_through(self, count: int, is_zest: bool) -> bool:
        """Waits for the turn of so many bytes; false if it never comes."""
        wait = 0.0
        with self._pace:
            is_mute = is_zest and self.zest_gets is not None and self.carried + count > self.zest_gets
            if not is_mute:
                self.carried += count
                if self.rate is not None and (is_zest or self.zest_gets is None):
                    now = time.monotonic()
                    begins = max(self._free_at, now)
                    self._free_at = begins + count / self.rate
                    wait = begins - now
        return not self._closed.wait(None if is_mute else wait)

    def close(self) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
