"""HTTP/1.1 over a socket of our own, with an eye on the clock.

Not ``http.client``: a read of it that runs out of time loses what had come, so it can neither look up between two pieces nor say
how much is there. And never the client of huggingface_hub: a ConnectionError there closes what other threads are using.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

# Longest head of an answer, bytes.
_HEAD_BYTES_MAX = 64 << 10

# Longest answer that is read into memory, bytes: the report of a million files.
_BODY_BYTES_MAX = 256 << 20

# Longest line of a stream of events, bytes.
_LINE_BYTES_MAX = 16 << 20

# Between two looks at whether to go on, seconds.
_LOOK_S = 0.1

# Silence after which it is asked whether the other end is at work, seconds.
_ASK_S = 1.0

# Python 3.9 has two errors of this meaning.
_TIMEOUT = (TimeoutError, socket.timeout)


class Broken(ConnectionError):
    """The connection ended, or what came over it is no HTTP."""


class Silent(Broken):
    """Nothing came for too long."""


Check = Callable[[], None]
Signs = Callable[[], bool]


class Connection:
    """One connection, for one request after the other.

    Args:
        sock: Connected. Closed with this.
        host: What to send as ``Host``.
        patience: Seconds without a byte from the other end after which it is :class:`Silent`.
        check: Called about ten times a second while nothing comes; what it raises ends the wait.
    """

    def __init__(self, sock: socket.socket, host: str, patience: float, check: Check | None = None) -> None:
        self._sock = sock
        self._host = host
        self._check = check
        self._buffer = b""
        self._heard = self._asked = time.monotonic()
        self.patience = patience
        self.headers: dict[str, str] = {}
        # Asked about once a second while nothing comes: whether the other end shows that it has not been idle since it was asked
        # last. Then it is not silent.
        self.signs: Signs | None = None

    def close(self) -> None:
        self._sock.close()

    def ask(self, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Response:
        """Sends a request and reads the head of its answer.

        Raises:
            Broken: The other end is gone, silent, or no HTTP server.
        """
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._host}"]
        fields = {**self.headers, **(headers or {})}
        if body is not None:
            fields.setdefault("Content-Type", "application/json")
            fields["Content-Length"] = str(len(body))
        for name, value in fields.items():
            if any(sign in value for sign in "\r\n\0"):
                raise ValueError(f"{name} has a line break")
            lines.append(f"{name}: {value}")
        head = "\r\n".join(lines) + "\r\n\r\n"
        self._send(head.encode("latin-1", "replace") + (body or b""))
        return self._response(method)

    def _send(self, data: bytes) -> None:
        self._heard = time.monotonic()
        view = memoryview(data)
        while view:
            try:
                self._sock.settimeout(_LOOK_S)
                view = view[self._sock.send(view) :]
            except _TIMEOUT:
                self._look()
            except OSError as error:
                # It may have answered before it stopped listening: that answer says more.
                if self._buffer or self._readable():
                    return
                raise Broken(f"sending: {error}") from error

    def _readable(self) -> bool:
        try:
            self._buffer += self._sock.recv(4096)
        except OSError:
            return False
        return bool(self._buffer)

    def _look(self) -> None:
        if self._check is not None:
            self._check()
        now = time.monotonic()
        if self.signs is not None and now - max(self._heard, self._asked) >= min(_ASK_S, self.patience / 3):
            if self.signs():
                self._heard = now
            self._asked = time.monotonic()
        waited = now - self._heard
        if waited >= self.patience:
            raise Silent(f"nothing came for {waited:.1f} s")

    def recv_into(self, view: memoryview) -> int:
        """As ``socket.recv_into``, but patient: 0 is the end."""
        if self._buffer:
            count = min(len(self._buffer), len(view))
            view[:count] = self._buffer[:count]
            self._buffer = self._buffer[count:]
            return count
        while True:
            left = self.patience - (time.monotonic() - self._heard)
            try:
                self._sock.settimeout(max(0.001, min(_LOOK_S, left)))
                count = self._sock.recv_into(view)
            except _TIMEOUT:
                self._look()
                continue
            except OSError as error:
                raise Broken(f"receiving: {error}") from error
            self._heard = time.monotonic()
            return count

    def _more(self) -> bytes:
        piece = bytearray(16 << 10)
        count = self.recv_into(memoryview(piece))
        if count == 0:
            raise Broken("the connection ended")
        return bytes(piece[:count])

    def line(self, longest: int = _HEAD_BYTES_MAX) -> bytes:
        """The next line without its end."""
        kept = bytearray()
        while True:
            piece = self._more()
            end = piece.find(b"\n")
            if end >= 0:
                kept += piece[:end]
                self._buffer = piece[end + 1 :] + self._buffer
                return bytes(kept).rstrip(b"\r")
            kept += piece
            if len(kept) > longest:
                raise Broken(f"a line of more than {longest} bytes")

    def _response(self, method: str) -> Response:
        while True:
            version, _, rest = self.line().decode("latin-1").partition(" ")
            code = rest[:3]
            if not version.startswith("HTTP/1.") or not code.isdigit():
                raise Broken("what answers does not speak HTTP")
            fields: dict[str, str] = {}
            size = 0
            while True:
                line = self.line()
                if not line:
                    break
                size += len(line)
                if size > _HEAD_BYTES_MAX:
                    raise Broken(f"a head of more than {_HEAD_BYTES_MAX} bytes")
                name, _, value = line.decode("latin-1").partition(":")
                fields[name.strip().lower()] = value.strip()
            # 100 Continue and its like come before the answer.
            if code[0] != "1":
                return Response(self, int(code), fields, method)


class Response:
    """An answer whose body is still on its way."""

    def __init__(self, connection: Connection, status: int, headers: dict[str, str], method: str) -> None:
        self._connection = connection
        self.status = status
        self.headers = headers
        self._chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        length = headers.get("content-length", "")
        self._left: int | None = None
        if method == "HEAD" or status in (204, 304):
            self._left, self._chunked = 0, False
        elif self._chunked:
            self._left = 0
        elif length:
            if not length.isdigit():
                raise Broken(f"a content-length of {length!r}")
            self._left = int(length)
        self._over = self._left == 0 and not self._chunked
        self._first = True

    def readinto(self, view: memoryview) -> int:
        """The next bytes of the body, as many as are there; 0 at its end.

        Raises:
            Broken: The connection ended before the body did.
        """
        if self._chunked and self._left == 0 and not self._over:
            self._next_chunk()
        if self._over:
            return 0
        if self._left is None:
            count = self._connection.recv_into(view)
            self._over = count == 0
            return count
        count = self._connection.recv_into(view[: self._left])
        if count == 0:
            raise Broken(f"the connection ended {self._left} bytes early")
        self._left -= count
        self._over = self._left == 0 and not self._chunked
        return count

    def _next_chunk(self) -> None:
        if not self._first:
            self._connection.line()
        self._first = False
        digits = self._connection.line().split(b";")[0].strip()
        try:
            self._left = int(digits, 16)
        except ValueError:
            raise Broken(f"a chunk of {digits[:16]!r} bytes") from None
        if self._left == 0:
            while self._connection.line():
                pass
            self._over = True

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes."""
        buffer = bytearray(64 << 10)
        view = memoryview(buffer)
        while count := self.readinto(view):
            yield bytes(view[:count])

    def read(self) -> bytes:
        """The whole body."""
        body = bytearray()
        for piece in self.pieces():
            body += piece
            if len(body) > _BODY_BYTES_MAX:
                raise Broken(f"an answer of more than {_BODY_BYTES_MAX} bytes")
        return bytes(body)

    def json(self) -> Any:
        """The body as a document; ``None`` if it is none."""
        try:
            return json.loads(self.read())
        except ValueError:
            return None

    def lines(self) -> Iterator[str]:
        """The body's lines as they come."""
        kept = b""
        for piece in self.pieces():
            kept += piece
            *whole, kept = kept.split(b"\n")
            if len(kept) > _LINE_BYTES_MAX:
                raise Broken(f"a line of more than {_LINE_BYTES_MAX} bytes")
            for line in whole:
                yield line.decode("utf-8", "replace").rstrip("\r")
