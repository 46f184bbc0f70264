"""Where the daemon puts a file that we read, and how that becomes the caller's file.

The daemon keeps what it fetches in a cache of Hugging Face's layout, to give it to others. For a download into a cache it uses that
same cache: huggingface_hub holds the file's lock there and is about to put a file of its own into that place, so the daemon's is
handed to it instead of ours. One copy is left, at the place that the daemon knows. For any other download (``local_dir``,
``HfFileSystem``) it uses a folder of zest's own, out of which its file is taken.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time

from zest import _env

# For how long a file that came whole is waited for to be in its place, seconds. The daemon makes it durable first.
_WAIT_S = 1.0

# Between two looks, seconds.
_LOOK_S = 0.005

# What has lain in the folder of passing files for so long is of a program that is gone, seconds.
_OLD_S = 3600.0


def passing() -> str:
    """The cache of files that go elsewhere."""
    return os.path.join(_env.zest_cache(), "passing")


def is_passing(cache_dir: str) -> bool:
    """Whether a cache is that one."""
    return cache_dir == passing()


def place(cache_dir: str, kind: str, repo: str, revision: str, path: str) -> str:
    """The name of a file in the snapshot of its commit."""
    folder = "--".join([f"{kind}s", *repo.split("/")])
    return os.path.join(cache_dir, folder, "snapshots", revision, *path.split("/"))


def take(name: str, target: str, size: int, *, only: bool) -> bool:
    """Makes the daemon's file the one at ``target``, which is equal and goes away.

    Args:
        name: Its name in a snapshot.
        size: Bytes.
        only: It must have no other name: who gets it may change it.

    Returns:
        Whether that was done. It is not where the file is in a store of shared blobs, whose rules are huggingface_hub's.
    """
    until = time.monotonic() + _WAIT_S
    while True:
        landed = os.path.realpath(name)
        try:
            meta = os.lstat(landed)
            break
        except OSError:
            if time.monotonic() >= until:
                return False
            time.sleep(_LOOK_S)
    is_it = stat.S_ISREG(meta.st_mode) and meta.st_size == size and os.path.basename(os.path.dirname(landed)) == "blobs"
    if not is_it:
        return False
    try:
        if only and meta.st_nlink != 1:
            os.unlink(landed)
            return False
        os.replace(landed, target)
    except OSError:
        # On another file system: it would be there twice.
        if only:
            with contextlib.suppress(OSError):
                os.unlink(landed)
        return False
    finally:
        if only:
            with contextlib.suppress(OSError):
                os.unlink(name)
    return True


def clear(cache_dir: str, destination: str, file_hash: str) -> None:
    """Takes away what a daemon that is gone has left of a file that the caller's cache has whole by now.

    Args:
        destination: Its blob there.
        file_hash: By which zest names what it has begun.
    """
    if sys.platform == "win32" or not file_hash.isalnum():
        return
    import fcntl

    for folder in (os.path.dirname(destination), os.path.join(cache_dir, "blobs", file_hash[:2])):
        begun = os.path.join(folder, file_hash)
        with contextlib.suppress(OSError):
            journal = os.open(f"{begun}.zest-journal", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                # Who fetches the file holds this lock, one that was killed for a moment more; what it has renamed or removed is not
                # ours to touch.
                until = time.monotonic() + _WAIT_S
                while True:
                    try:
                        fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        break
                    except BlockingIOError:
                        if time.monotonic() >= until:
                            raise
                        time.sleep(_LOOK_S)
                if os.path.samestat(os.fstat(journal), os.lstat(f"{begun}.zest-journal")):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(f"{begun}.zest-partial")
                    os.unlink(f"{begun}.zest-journal")
            finally:
                os.close(journal)


def sweep() -> None:
    """Takes away what programs have left in the folder of passing files that were killed."""
    before = time.time() - _OLD_S
    for folder, _, files in os.walk(passing()):
        if os.path.basename(folder) != "blobs":
            continue
        for file in files:
            with contextlib.suppress(OSError):
                path = os.path.join(folder, file)
                if os.lstat(path).st_mtime < before:
                    os.unlink(path)
