"""A gate before a Hub: lets requests through, counts them, and can be closed to what carries the bytes of files."""

from __future__ import annotations

import http.client
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

# Heads that are of one connection, not of what is asked.
_OWN = {"connection", "transfer-encoding", "keep-alive"}


class Gate:
    """Listens until closed. ``url`` is the Hub's for everybody behind it: its answers name the host that was asked."""

    def __init__(self, hub: str) -> None:
        self.bytes_are_off = False
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
                while piece := answer.read(1 << 16):
                    if is_bytes:
                        gate.carried += len(piece)
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

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
