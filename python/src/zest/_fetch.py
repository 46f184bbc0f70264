"""One file through the daemon, into a file of the caller's: quickly, or not at all.

Nothing here raises but what the caller's own callbacks raise, and an interruption: whatever else goes wrong, the caller is told how
much of the file is in its place and does the rest as it would have without zest.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from zest import _daemon, _landing
from zest._errors import ZestError, of_document
from zest._files import Moved, Nowhere, Sink, clone, link, open_that
from zest._signs import Signs, interrupted
from zest._wire import Broken, Connection, Response, Silent

log = logging.getLogger("zest")

# Silence after which a file is fetched without zest, seconds. Also all the time that zest may cost before anything comes. Bytes
# that the daemon receives and cannot prove yet are no silence. With what it takes to notice and to begin anew it is below 3 s,
# also on a machine with other things to do.
SILENCE_S = 2.0

# What a first byte is waited for at least, where earlier files have used up patience, seconds. Rests double: they are few.
_PATIENCE_MIN_S = 0.2

# For how long zest is not asked after it failed: at first and at most, seconds. It doubles.
_REST_S = 30.0
_REST_MAX_S = 600.0

# Bytes that are read at once. More makes nothing quicker, and each stream has its own.
_PIECE_BYTES = 1 << 20

# Bytes that are copied between two looks at whether to go on.
_COPY_BYTES = 32 << 20

# Whether it is worth it to be told where bytes lie instead of being sent them: where the kernel copies between files.
_IN_PLACE = hasattr(os, "copy_file_range")

# What has fewer bytes is sent sooner than it is put into its place: 1 MiB.
_LANDS_BYTES_MIN = 1 << 20

# Between two looks at whether the main thread was interrupted, seconds.
_LOOK_S = 0.1


@dataclass(frozen=True)
class Order:
    """A file: which one, of which Hub, as whom."""

    endpoint: str
    repo: str
    type: str
    revision: str
    path: str
    hash: str
    size: int | None
    token: str
    # The cache that the daemon puts it into.
    cache_dir: str
    # huggingface_hub holds the file's lock in that cache.
    locked: bool = False
    # Blobs of that cache may be in the store that huggingface_hub shares among repositories (since 1.32).
    shared_blobs: bool = False
    # A blob that is on this machine may be named instead of sent.
    may_name: bool = True
    # The caller keeps it in a cache whose files nobody changes: one inode may serve two names.
    may_link: bool = False

    @property
    def may_land(self) -> bool:
        """Whether the daemon's own file may be the one at the caller's place."""
        return _IN_PLACE and self.locked and self.may_name and (self.size or 0) >= _LANDS_BYTES_MIN

    @property
    def may_pass(self) -> bool:
        """Whether the daemon's own file may become the caller's, who has no cache."""
        return _IN_PLACE and _landing.is_passing(self.cache_dir) and bool(self.size)


@dataclass(frozen=True)
class Outcome:
    """What became of it: done, or how many of its first bytes are in their place."""

    done: bool
    got: int
    linked: bool = False


class Health:
    """Whether zest is worth a try, and how much time it may cost. One for the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lost = 0.0
        self._rest = _REST_S
        self._until = 0.0
        # Files that are waited for, and when the daemon was heard last, or the first of them began.
        self._active = 0
        self._heard = 0.0
        self._said: set[str] = set()

    def begin(self) -> float | None:
        """Seconds that a first byte may take, of a file that is over with :meth:`end`; ``None`` if zest is left alone for now."""
        with self._lock:
            now = time.monotonic()
            if now < self._until:
                return None
            if self._active == 0:
                self._heard = now
            self._active += 1
            # Who begins while others wait in vain already does not wait for all that time again.
            return max(SILENCE_S - self._lost - (now - self._heard), _PATIENCE_MIN_S)

    def end(self) -> None:
        """A file is over."""
        with self._lock:
            self._active -= 1

    def alive(self) -> None:
        """The daemon has said something."""
        with self._lock:
            self._heard = time.monotonic()

    def good(self) -> None:
        """A file came whole."""
        with self._lock:
            self._lost, self._rest, self._until = 0.0, _REST_S, 0.0

    def bad(self, lost: float, why: str, *, hopeless: bool = False) -> None:
        """It cost so many seconds and brought nothing."""
        with self._lock:
            self._lost += lost
            self._until = time.monotonic() + (_REST_MAX_S if hopeless else self._rest)
            self._rest = min(2 * self._rest, _REST_MAX_S)
        self.say(why)

    def say(self, why: str) -> None:
        """Says why zest is not used, once for each reason."""
        with self._lock:
            is_new = why not in self._said and len(self._said) < 64
            self._said.add(why)
        if is_new:
            log.warning("going on without zest: %s", why)


health = Health()


def forget() -> None:
    """Begins anew: after a fork, and for ``enable()``."""
    global health
    health = Health()


if hasattr(os, "register_at_fork"):
    # A lock that another thread held while this process was copied is never released here.
    os.register_at_fork(after_in_child=forget)


def deliver(
    order: Order,
    sink: Sink,
    tell: Callable[[int], None],
    came: Callable[[int], None] | None = None,
    landing: Landing | None = None,
) -> Outcome:
    """Fetches a file through the daemon.

    Args:
        sink: Gets the bytes, from its present position on.
        tell: Called with the count of each piece that is written. What it raises is raised.
        came: Called, while nothing can be written, with the count of the bytes that the daemon has received so far.
        landing: What was tried before, and whose answer is still to be read, if it has one.

    Raises:
        KeyboardInterrupt: Here, or in the main thread while this is another.
    """
    stream = _Stream(order, sink, tell, came)
    if landing is not None:
        stream.begun, landing.begun = landing.begun, None
        # Where it lies cannot be seen from here.
        stream.sees = False
    outcome = _tried(stream)
    if outcome.done:
        _land(order, sink, outcome.got)
    return outcome


def land(order: Order, tell: Callable[[int], None], came: Callable[[int], None] | None = None, place: str | None = None) -> Landing:
    """Has the daemon put a file into its place in a cache, so that there is nothing to copy.

    Args:
        tell, came: As for :func:`deliver`.
        place: Where it is then, if the cache is the caller's.

    Raises:
        KeyboardInterrupt: As for :func:`deliver`.
    """
    landing = Landing(order, tell, came)
    try:
        landing.outcome = _tried(landing)
        # A daemon that is silent or dead by now may have put it there all the same.
        is_there = _is_there(place or landing.landed, order.size)
        if landing.outcome.done and not is_there:
            log.info("%s/%s: the daemon has put it elsewhere", order.repo, order.path)
        if is_there and order.size is not None and landing.got < order.size:
            rest, landing.got = order.size - landing.got, order.size
            tell(rest)
        landing.outcome = Outcome(is_there, landing.got)
    except BaseException:
        landing.close()
        raise
    return landing


def _is_there(place: str, size: int | None) -> bool:
    try:
        meta = os.stat(place)
    except OSError:
        return False
    return stat.S_ISREG(meta.st_mode) and meta.st_size == size


def _tried(stream: _Stream) -> Outcome:
    now = health
    patience = now.begin()
    if patience is None:
        return Outcome(False, 0)
    try:
        return _tried_now(stream, now, patience)
    finally:
        now.end()


def _tried_now(stream: _Stream, now: Health, patience: float) -> Outcome:
    order = stream.order
    began = time.monotonic()
    hopeless = False
    try:
        connection = stream.begun[0] if stream.begun is not None else _daemon.ensure(patience, interrupted)
        try:
            connection.patience = max(patience - (time.monotonic() - began), _PATIENCE_MIN_S / 2)
            linked = stream.run(connection)
        finally:
            if stream.begun is None:
                connection.close()
        now.good()
        return Outcome(True, stream.got, linked)
    except Moved as error:
        why = None
        log.info("%s/%s: %s", order.repo, order.path, error)
    except _Declined as error:
        # The daemon is well; the Hub's own words are for the original to hear.
        log.info("%s/%s: %s", order.repo, order.path, error)
        hopeless = error.is_old
        why = str(error) if hopeless else None
    except Silent as error:
        why = f"the daemon is silent: {error}"
    except Broken as error:
        if stream.got and _again(stream):
            now.good()
            return Outcome(True, stream.got)
        why = f"the daemon is gone: {error}"
    except ZestError as error:
        hopeless = not isinstance(error, _daemon.Absent)
        why = str(error)
    except _Disk as error:
        why = None
        log.info("%s/%s: %s", order.repo, order.path, error)
    except (OSError, ValueError) as error:
        why = f"{type(error).__name__}: {error}"
    if why is not None:
        now.bad(time.monotonic() - began if not stream.got else 0.0, why, hopeless=hopeless)
    return Outcome(False, stream.got)


def _land(order: Order, sink: Sink, size: int) -> None:
    """One copy is left of a file that the daemon has put into a cache, too."""
    only = _landing.is_passing(order.cache_dir)
    # What was fetched although it is there is not to be what was there.
    if sink.path is not None and (only or (order.may_name and not order.shared_blobs)):
        name = _landing.place(order.cache_dir, order.type, order.repo, order.revision, order.path)
        _landing.take(name, sink.path, size, only=only)


def take_over(order: Order, sink: Sink, tell: Callable[[int], None], came: Callable[[int], None] | None = None) -> Outcome:
    """The daemon's own file becomes the caller's, who keeps it where no cache is: nothing is copied on one file system.

    Args:
        sink, tell, came: As for :func:`deliver`.

    Raises:
        KeyboardInterrupt: As for :func:`deliver`.
    """
    if sink.path is None or not order.may_pass:
        return deliver(order, sink, tell, came)
    with contextlib.closing(land(order, tell, came)) as landing:
        landing.keep_hold()
        if landing.outcome.done and _landing.take(landing.landed, sink.path, landing.got, only=True):
            return replace(landing.outcome, linked=True)
        if landing.is_out_of_sight:
            return deliver(order, sink, tell, came, landing)
        got = landing.copy(sink)
        return Outcome(got == order.size, got)


def _again(stream: _Stream) -> bool:
    """Once more from where it broke: the daemon may have closed this connection only."""
    try:
        with contextlib.closing(_daemon.connect(_PATIENCE_MIN_S, interrupted)) as connection:
            connection.patience = SILENCE_S - _PATIENCE_MIN_S
            stream.run(connection)
        return True
    except (ZestError, Broken, _Declined, _Disk, OSError, ValueError):
        return False


class _Declined(Exception):
    """The daemon answered, and the answer is no file."""

    def __init__(self, why: str, *, is_old: bool = False) -> None:
        super().__init__(why)
        self.is_old = is_old


class _Disk(Exception):
    """The file cannot be written."""


class _Stream:
    """A file on its way; several requests can be made of it, each goes on where the last one ended."""

    # The daemon is to put it into its place itself.
    lands = False

    def __init__(self, order: Order, sink: Sink, tell: Callable[[int], None], came: Callable[[int], None] | None = None) -> None:
        self.order = order
        self.sink = sink
        self.tell = tell
        self.came = came
        self.got = 0
        # The daemon may say where bytes lie instead of sending them.
        self.sees = _IN_PLACE
        # What was asked already, and the answer.
        self.begun: tuple[Connection, Response] | None = None

    def run(self, connection: Connection) -> bool:
        """Returns whether the file is another name of a blob, or shares its blocks."""
        try:
            return self._with_signs(connection, self.sees and self.sink.path is not None)
        except Moved as error:
            log.info("%s/%s: %s", self.order.repo, self.order.path, error)
        with contextlib.closing(_daemon.connect(_PATIENCE_MIN_S, interrupted)) as other:
            other.patience = connection.patience
            return self._with_signs(other, False)

    def _with_signs(self, connection: Connection, in_place: bool) -> bool:
        with contextlib.closing(Signs(self.came)) as signs:

            def are_there() -> bool:
                alive = signs.ask()
                if alive:
                    health.alive()
                    # The daemon is at work: what it took to begin is forgiven.
                    connection.patience = SILENCE_S
                return alive

            connection.signs = are_there
            try:
                return self._run(connection, signs, in_place)
            finally:
                connection.signs = None

    def _run(self, connection: Connection, signs: Signs, in_place: bool) -> bool:
        order = self.order
        body: dict[str, Any] = {
            "repo": order.repo,
            "type": order.type,
            "revision": order.revision,
            "path": order.path,
            "hash": order.hash,
            "endpoint": order.endpoint,
            "link": not self.lands and order.may_name and self.sink.path is not None and self.got == 0,
        }
        if order.size is not None:
            body["size"] = order.size
        body["cache_dir"] = order.cache_dir
        body["locked"] = order.locked
        body["own_blobs"] = not order.shared_blobs
        headers = {"X-HF-Token": order.token, "X-Zest-Read": signs.name}
        if in_place:
            headers["X-Zest-In-Place"] = "1"
        if self.lands:
            headers["X-Zest-Landed"] = "1"
        if self.got:
            headers["Range"] = f"bytes={self.got}-"
        began = time.monotonic()
        if self.begun is not None:
            response, self.begun = self.begun[1], None
        else:
            response = connection.ask("POST", "/v1/files", json.dumps(body).encode(), headers)
        if response.status not in (200, 206) or signs.seen:
            health.alive()
        if response.status not in (200, 206):
            _decline(response)
        if response.headers.get("content-type", "").startswith("application/json") and body["link"]:
            return self._take(response.json())
        etag = response.headers.get("etag", "").strip('"')
        if etag and etag != order.hash:
            raise _Declined(f"the daemon gives {etag} instead of {order.hash}")
        if (response.status == 206) != bool(self.got):
            raise _Declined(f"the daemon answers with status {response.status}")
        left = int(response.headers.get("content-length") or -1)
        if order.size is not None and left not in (-1, order.size - self.got):
            raise _Declined(f"the daemon has {left} bytes, not {order.size - self.got}")
        # The head is not yet a byte of the file.
        if not signs.seen:
            connection.patience = max(connection.patience - (time.monotonic() - began), _PATIENCE_MIN_S / 2)
        if in_place and response.headers.get("content-type", "").startswith("application/x-ndjson"):
            self._follow(connection, response)
        else:
            self._copy(connection, response)
        if order.size is not None and self.got != order.size:
            raise Broken(f"{self.got} bytes of {order.size}")
        return False

    def _copy(self, connection: Connection, response: Response) -> None:
        view = memoryview(bytearray(_PIECE_BYTES))
        looked = time.monotonic()
        while count := response.readinto(view):
            connection.patience = SILENCE_S
            health.alive()
            self._wrote(view[:count])
            if time.monotonic() - looked >= _LOOK_S:
                interrupted()
                looked = time.monotonic()

    def _follow(self, connection: Connection, response: Response) -> None:
        """Copies what the daemon says is proven out of the file in which it lies."""
        source, meant = -1, None
        try:
            for line in response.lines():
                connection.patience = SILENCE_S
                health.alive()
                lies = json.loads(line)
                which, end = (lies["dev"], lies["ino"]), self._end_of(lies)
                if which != meant:
                    fresh = open_that(lies["path"], which)
                    if source >= 0:
                        os.close(source)
                    source, meant = fresh, which
                    os.lseek(source, self.got, os.SEEK_SET)
                self._duplicate(source, end)
        except (KeyError, TypeError) as error:
            raise ValueError(f"the daemon does not say where the bytes lie: {error}") from error
        finally:
            if source >= 0:
                os.close(source)

    def _end_of(self, lies: Any) -> int:
        begin, end = lies["from"], lies["to"]
        if begin != self.got or not isinstance(end, int) or end <= begin:
            raise ValueError(f"bytes {begin} to {end} behind {self.got}")
        return end

    def _wrote(self, data: memoryview) -> None:
        try:
            self.sink.write(data)
        except OSError as error:
            raise _Disk(f"cannot be written: {error}") from error
        self.got += len(data)
        self.tell(len(data))

    def _take(self, document: Any) -> bool:
        """The blob that the daemon named, as the caller's file: by sharing its blocks, by another name of it, by a copy."""
        order, blob = self.order, document.get("blob") if isinstance(document, dict) else None
        if not isinstance(blob, str) or not os.path.isabs(blob) or document.get("hash", order.hash) != order.hash:
            raise _Declined("the daemon names no blob of this file")
        try:
            source = os.open(blob, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
        except OSError as error:
            raise _Declined(f"the daemon names a blob that cannot be read: {error}") from error
        try:
            meta = os.fstat(source)
            if not stat.S_ISREG(meta.st_mode) or (order.size is not None and meta.st_size != order.size):
                raise _Declined(f"{blob} has {meta.st_size} bytes, not {order.size}")
            shared = clone(source, self.sink) or (order.may_link and link(blob, meta, self.sink))
            if shared:
                self.got = meta.st_size
                self.tell(meta.st_size)
                return True
            self._duplicate(source, meta.st_size)
            return False
        finally:
            os.close(source)

    def _duplicate(self, source: int, size: int) -> None:
        """A copy that the kernel makes; else one by hand."""
        target = self._fileno()
        by_kernel = getattr(os, "copy_file_range", None)
        while self.got < size:
            interrupted()
            if by_kernel is not None:
                try:
                    count = by_kernel(source, target, min(_COPY_BYTES, size - self.got))
                except OSError as error:
                    if error.errno == errno.ENOSPC:
                        raise _Disk(f"cannot be written: {error}") from error
                    # Between file systems, or one that cannot.
                    by_kernel = None
                    continue
                if count == 0:
                    by_kernel = None
                    continue
                self.got += count
                self.tell(count)
                continue
            data = os.read(source, min(_PIECE_BYTES, size - self.got))
            if not data:
                raise Broken(f"{self.got} bytes of {size}")
            self._wrote(memoryview(data))

    def _fileno(self) -> int:
        try:
            return self.sink.fileno()
        except OSError as error:
            raise _Disk(f"cannot be written: {error}") from error


class Landing(_Stream):
    """A file that the daemon puts into its place. Should it break off, what is proven is had out of the daemon's own file, which is
    kept open until this is closed."""

    lands = True

    def __init__(self, order: Order, tell: Callable[[int], None], came: Callable[[int], None] | None = None) -> None:
        super().__init__(order, Nowhere(), tell, came)
        self.outcome = Outcome(False, 0)
        self._source = -1
        self._meant: tuple[object, object] | None = None
        # Its name in the snapshot, once it has it.
        self.landed = ""

    def run(self, connection: Connection) -> bool:
        if self.got:
            # It broke off: who asks once more has nothing to go on with but what is proven.
            raise Broken("the daemon broke off")
        self._with_signs(connection, True)
        if not self.landed:
            raise Moved("the daemon puts nothing into its place")
        return True

    @property
    def is_out_of_sight(self) -> bool:
        """Whether the daemon had it, and nothing of it can be had but by being sent."""
        return not self.outcome.done and self._source < 0 and (self.begun is not None or self.got == self.order.size)

    def keep_hold(self) -> None:
        """Opens it under its name, if it could not be opened before: it may be taken away."""
        if self._source < 0 and self.landed and self._meant is not None:
            self._open(os.path.realpath(self.landed))

    def copy(self, sink: Sink) -> int:
        """Copies what is proven to the beginning of the caller's file, which nobody is told anew. Gives how many bytes that are."""
        copier = _Stream(self.order, sink, lambda _count: None)
        if self._source >= 0 and self.got:
            try:
                os.lseek(self._source, 0, os.SEEK_SET)
                copier._duplicate(self._source, self.got)
            except (Broken, _Disk, OSError) as error:
                log.info("%s/%s: %s", self.order.repo, self.order.path, error)
        return copier.got

    def close(self) -> None:
        source, self._source = self._source, -1
        if source >= 0:
            os.close(source)
        begun, self.begun = self.begun, None
        if begun is not None:
            begun[0].close()

    def _follow(self, connection: Connection, response: Response) -> None:
        try:
            for line in response.lines():
                connection.patience = SILENCE_S
                health.alive()
                lies = json.loads(line)
                if "landed" in lies:
                    self.landed = str(lies["landed"])
                    continue
                which, end = (lies["dev"], lies["ino"]), self._end_of(lies)
                if which != self._meant:
                    self._meant = which
                    self._open(lies["path"])
                self._passed(end)
        except (KeyError, TypeError) as error:
            raise ValueError(f"the daemon does not say where the bytes lie: {error}") from error

    def _open(self, path: object) -> None:
        assert self._meant is not None
        self.close()
        # A small one may have its own name by now; and where the disk is another, it is not found at its place, either.
        with contextlib.suppress(Moved):
            self._source = open_that(path, self._meant)

    def _passed(self, end: int) -> None:
        interrupted()
        count, self.got = end - self.got, end
        self.tell(count)

    def _copy(self, connection: Connection, response: Response) -> None:
        self.begun = (connection, response)
        raise Moved("the daemon sends what it should put into its place")


def _decline(response: Response) -> None:
    document = response.json()
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict) or response.status in (405, 501):
        raise _Declined(f"the daemon does not know /v1/files (status {response.status})", is_old=True)
    raise _Declined(str(of_document(error, f"status {response.status}")))
