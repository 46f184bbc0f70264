"""Files of this machine as the hook meets them: what is written into, what is read from, and one that becomes another's."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import threading
from typing import Protocol

# linux/fs.h: _IOW(0x94, 9, int).
_FICLONE = 0x40049409


class Sink(Protocol):
    """Where the bytes go."""

    # Where it is, if it may be replaced as a whole.
    path: str | None

    def write(self, data: memoryview) -> object: ...
    def fileno(self) -> int: ...


class FileSink:
    """A file by its path, written from its beginning."""

    def __init__(self, path: str) -> None:
        self.path: str | None = path
        self._file: int | None = None

    def fileno(self) -> int:
        if self._file is None:
            assert self.path is not None
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
            self._file = os.open(self.path, flags, 0o666)
        return self._file

    def write(self, data: memoryview) -> object:
        file = self.fileno()
        while data:
            data = data[os.write(file, data) :]
        return None

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


class Nowhere:
    """A sink for what is not written here."""

    path: str | None = ""

    def write(self, data: memoryview) -> object:
        raise OSError(errno.EBADF, "nothing is written")

    def fileno(self) -> int:
        raise OSError(errno.EBADF, "nothing is written")


class Moved(Exception):
    """What the daemon named is not there under that name: it has another by now, or is out of our sight."""


def open_that(path: object, which: tuple[object, object]) -> int:
    """Opens the very file that the daemon means: in another view of the disk the same name may be another's."""
    if not isinstance(path, str) or not os.path.isabs(path):
        raise ValueError(f"{path!r} is no absolute path")
    try:
        source = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        raise Moved(f"{path}: {error}") from error
    meta = os.fstat(source)
    if (meta.st_dev, meta.st_ino) != which or not stat.S_ISREG(meta.st_mode):
        os.close(source)
        raise Moved(f"{path} is another file")
    return source


def clone(source: int, sink: Sink) -> bool:
    """Shares the blocks, where the file system can do that."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fcntl.ioctl(sink.fileno(), _FICLONE, source)
    except OSError:
        return False
    return True


def link(blob: str, meta: os.stat_result, sink: Sink) -> bool:
    """Gives the blob another name, in place of the caller's file. What is read-only belongs to a store with rules of its own."""
    if sink.path is None or sys.platform == "win32" or meta.st_uid != os.geteuid() or not meta.st_mode & stat.S_IWUSR:
        return False
    fresh = f"{sink.path}.{os.getpid()}-{threading.get_ident()}"
    try:
        # The caller is about to give it the mode of its own file, and both names would get it.
        if os.stat(sink.path).st_mode != meta.st_mode:
            return False
        if _is_bound_for(sink.path, blob):
            # It came there since the caller looked. Renaming one name of a file to another of the same does nothing, and would
            # leave both: so the caller gets the only one, and puts it back.
            os.replace(blob, sink.path)
            return True
        try:
            os.link(blob, fresh, follow_symlinks=True)
            made = os.lstat(fresh)
            if (made.st_dev, made.st_ino) != (meta.st_dev, meta.st_ino):
                return False
            os.replace(fresh, sink.path)
            return True
        finally:
            # Whatever came between, an interruption among it.
            with contextlib.suppress(OSError):
                os.unlink(fresh)
    except OSError:
        return False


def _is_bound_for(path: str, blob: str) -> bool:
    """Whether the caller is about to move its file to where the blob is: ``NAME.incomplete``, or ``NAME.ID.incomplete``."""
    folder, name = os.path.split(path)
    there, blob_name = os.path.split(blob)
    return name.startswith(f"{blob_name}.") and os.path.realpath(folder) == os.path.realpath(there)
