"""The hook in huggingface_hub.

Every public route to a file of the Hub ends in ``file_download.xet_get`` (or ``http_get``, where hf_xet is missing or switched
off), as a global of that module: so names that were imported long ago are hooked, too. Since 2.1.1 ``hf_file_system`` has a second
binding of it. Everything above that seam, from the cache's layout and locks to the errors of a gated repository, is
huggingface_hub's own. The seam is private, so its signature is looked at first: where it is another one, nothing is hooked.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from types import FunctionType, ModuleType
from typing import Any
from urllib.parse import unquote

from zest import _boot, _fetch, _landing, _signs
from zest._errors import UsageError
from zest._fetch import Landing, Order, Outcome, log
from zest._files import FileSink
from zest._progress import Bars
from zest._signs import interrupted

# Where huggingface_hub gets its Xet token from: of which Hub, repository and commit the file is.
_ROUTE = re.compile(
    r"(?P<endpoint>https?://.+)/api/(?P<type>model|dataset|space)s/(?P<repo>[^/]+(?:/[^/]+)?)/xet-read-token/(?P<revision>[^/?#]+)"
)

# What the functions that are wrapped take, as far as it is used here. All other parameters make it another function.
_XET_GET = {"incomplete_path", "xet_file_data", "headers", "expected_size", "displayed_filename", "_tqdm_bar"}
_XET_GET_MAY = {"tqdm_class"}
_HTTP_GET = {"url", "temp_file", "resume_size", "headers", "expected_size", "_tqdm_bar"}
_HTTP_GET_MAY = {"proxies", "displayed_filename", "tqdm_class", "_nb_retries"}
_MOVE = {"destination_path", "url_to_download", "filename", "force_download", "xet_file_data"}

# Our wrappers, and what each wraps. An attribute of theirs would say less: who wraps one of them with functools.wraps copies it.
_ours: dict[Any, Any] = {}

# Of a file that broke off in its midst, the rest is fetched if at least so many bytes are there; else all of it, with the original.
_REST_MIN = 1 << 20


@dataclass
class Counters:
    """What the hook of this process did.

    Attributes:
        files: Files that came through zest.
        bytes: Their bytes.
        linked: Of the files: those of which nothing was copied: the daemon's file is the one in the cache, or shares its blocks.
        fell_open: Files, or the rest of one, that huggingface_hub fetched after zest was asked.
        passed_by: Files that zest was not asked for: it had just failed, or they are none that it knows.
    """

    files: int = 0
    bytes: int = 0
    linked: int = 0
    fell_open: int = 0
    passed_by: int = 0


@dataclass
class _State:
    enabled: bool = False
    endpoint: str | None = None
    hook: str = "auto"
    progress: bool = True
    # `ZEST` as it was before `enable()`, and whether that is known.
    variable: str | None = None
    set_variable: bool = False


@dataclass(frozen=True)
class _Context:
    """What ``_download_to_tmp_and_move`` knows and the functions below it are not told."""

    filename: str
    url: str
    destination: str
    force: bool
    xet: Any
    # What was tried already, and its bars.
    landing: Landing | None = None
    bars: Bars | None = None


_state = _State()
_counters = Counters()
_lock = threading.RLock()
_context: ContextVar[_Context | None] = ContextVar("zest", default=None)


def _forget_lock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_lock)


def enable(*, endpoint: str | None = None, hook: str = "auto", progress: bool = True) -> None:
    """Has everything that uses huggingface_hub, in this process and its children, fetch through zest first.

    Returns at once: the daemon is started with the first file, if it does not run. Call it as often, and as late, as you like.

    Args:
        endpoint: The Hub that zest asks, if not the one that huggingface_hub asks: a mirror. It gets the same token.
        hook: ``auto`` hooks a huggingface_hub that is known, and says so in one line of the log if it is not; ``files`` does the
            same and raises; ``none`` hooks nothing here, and only tells children.
        progress: Show bars, where huggingface_hub would.

    Raises:
        UsageError: ``hook`` is none of these, or is ``files`` and huggingface_hub is of a version that is not known.
    """
    if hook not in ("auto", "files", "none"):
        raise UsageError(f"hook is {hook!r}, and must be auto, files or none")
    with _lock:
        if not _state.set_variable:
            _state.variable, _state.set_variable = os.environ.get("ZEST"), True
        os.environ["ZEST"] = "1"
        _state.enabled, _state.endpoint, _state.hook, _state.progress = True, endpoint, hook, progress
        _fetch.forget()
        if hook != "none":
            _boot.watch()
        if hook == "files":
            import huggingface_hub.file_download as module

            if not is_hooked(module):
                disable()
                raise UsageError("this version of huggingface_hub is not known")


def disable() -> None:
    """Undoes :func:`enable`: puts back what is still ours, and the variable ``ZEST``. Downloads under way end as they began."""
    with _lock:
        _state.enabled = False
        _boot.unwatch()
        for name in _boot.HOOKED:
            module = sys.modules.get(name)
            for key in ("xet_get", "http_get", "_download_to_tmp_and_move"):
                original = _original(vars(module).get(key)) if module is not None else None
                if original is not None:
                    setattr(module, key, original)
        if _state.set_variable:
            if _state.variable is None:
                os.environ.pop("ZEST", None)
            else:
                os.environ["ZEST"] = _state.variable
            _state.set_variable = False
        elif os.environ.get("ZEST") is not None:
            # Begun by the environment: children are not to begin again.
            del os.environ["ZEST"]


def is_enabled() -> bool:
    """Whether zest is asked first."""
    return _state.enabled or any(isinstance(finder, _boot.Finder) for finder in sys.meta_path)


@contextlib.contextmanager
def enabled(*, endpoint: str | None = None, hook: str = "auto", progress: bool = True) -> Iterator[None]:
    """:func:`enable` for a ``with`` block. What was enabled before stays so after it."""
    before = replace(_state) if is_enabled() else None
    enable(endpoint=endpoint, hook=hook, progress=progress)
    try:
        yield
    finally:
        if before is None:
            disable()
        else:
            _state.endpoint, _state.hook, _state.progress = before.endpoint, before.hook, before.progress


def counters() -> Counters:
    """What the hook has done in this process so far."""
    with _lock:
        return replace(_counters)


def install(module: object) -> None:
    """Hooks one of the modules of :data:`_boot.HOOKED`, now that it is imported."""
    assert isinstance(module, ModuleType)
    with _lock:
        if not _state.enabled:
            # By `ZEST=1`.
            _state.enabled = True
        names = vars(module)
        xet_get = names.get("xet_get")
        if xet_get is None:
            if module.__name__.endswith("file_download"):
                _unknown("it has no xet_get")
            return
        if _original(xet_get) is not None:
            return
        why = _differs(xet_get, _XET_GET, _XET_GET_MAY)
        if why is not None:
            _unknown(f"its xet_get {why}")
            return
        home = sys.modules["huggingface_hub.file_download"]
        setattr(module, "xet_get", _wrap_xet_get(xet_get, home))  # noqa: B010
        if module is not home:
            return
        move, http_get = names.get("_download_to_tmp_and_move"), names.get("http_get")
        # Without these two, only what goes through hf_xet is hooked, and nothing is linked.
        if move is None or _differs(move, _MOVE, None) is not None:
            return
        setattr(module, "_download_to_tmp_and_move", _wrap_move(move, home))  # noqa: B010
        if http_get is not None and _differs(http_get, _HTTP_GET, _HTTP_GET_MAY) is None:
            setattr(module, "http_get", _wrap_http_get(http_get, home))  # noqa: B010


def is_hooked(module: ModuleType) -> bool:
    """Whether files of this module's functions go through zest."""
    return _original(vars(module).get("xet_get")) is not None


def _original(function: Any) -> Any:
    """What a wrapper of ours wraps; ``None`` for what is not ours."""
    return _ours.get(function) if isinstance(function, FunctionType) else None


def _unknown(why: str) -> None:
    from importlib.metadata import version

    with contextlib.suppress(Exception):
        why = f"{why} (version {version('huggingface_hub')})"
    log.warning("this huggingface_hub is not known, and not hooked: %s", why)


def _differs(function: Any, needs: set[str], may: set[str] | None) -> str | None:
    """How a function's parameters are not the ones that are known."""
    try:
        names = set(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return "has no signature"
    if not needs <= names:
        return f"lacks {', '.join(sorted(needs - names))}"
    if may is not None and not names <= needs | may:
        return f"has {', '.join(sorted(names - needs - may))}"
    return None


def _wrap_move(original: Callable[..., Any], hub: Any) -> Callable[..., Any]:
    """Has the daemon put a file into its place, where that may be. Else remembers for the functions below what this one is told."""
    signature = inspect.signature(original)

    @functools.wraps(original)
    def move(*args: Any, **kwargs: Any) -> Any:
        if not _state.enabled or _state.hook == "none":
            return original(*args, **kwargs)
        _signs.begin()
        given = signature.bind_partial(*args, **kwargs).arguments
        context = _Context(
            filename=str(given.get("filename")),
            url=str(given.get("url_to_download")),
            destination=str(given.get("destination_path")),
            force=bool(given.get("force_download")),
            xet=given.get("xet_file_data"),
        )
        token = _context.set(context)
        try:
            with contextlib.ExitStack() as held:
                landing, bars = _landing_of(hub, context, given, held)
                if landing is not None and landing.outcome.done:
                    return None
                _context.set(replace(context, landing=landing, bars=bars))
                return original(*args, **kwargs)
        finally:
            _context.reset(token)

    _ours[move] = original
    return move


def _landing_of(
    hub: Any, context: _Context, given: Mapping[str, Any], held: contextlib.ExitStack
) -> tuple[Landing | None, Bars | None]:
    """What came of having the daemon put the file into its place; nothing if that may not be. Both are ``held``."""
    # What goes over plain HTTP does not go into a store of shared blobs, and what is there stays.
    is_xet = context.xet is not None and getattr(hub, "is_xet_available", bool)()
    if not is_xet or os.path.lexists(context.destination):
        return None, None
    order = _order(hub, context.xet, given)
    if order is None or not order.may_land:
        return None, None
    bars = _bars(hub, {"displayed_filename": context.filename, **given}, plain=False)
    held.callback(bars.close)
    landing = _fetch.land(order, bars.add, bars.came, context.destination)
    held.callback(landing.close)
    if landing.outcome.done:
        _count(files=1, bytes=landing.got, linked=1)
        if not landing.landed:
            # The daemon was killed just after it had put it there.
            _clear(order)
        with contextlib.suppress(OSError):
            # What an earlier download has left of it. Newer versions have a file of their own for each.
            os.unlink(os.fspath(given["incomplete_path"]))
    return landing, bars


def _wrap_xet_get(original: Callable[..., Any], hub: Any) -> Callable[..., Any]:
    @functools.wraps(original)
    def xet_get(*args: Any, **kwargs: Any) -> Any:
        _signs.begin()
        order = None if args else _order(hub, kwargs.get("xet_file_data"), kwargs)
        path = os.fspath(kwargs.get("incomplete_path") or "")
        if order is None or not path:
            _count(passed_by=1)
            return original(*args, **kwargs)
        context = _context.get()
        bars = (context.bars if context is not None else None) or _bars(hub, kwargs, plain=False)
        sink = FileSink(path)
        try:
            try:
                outcome = _delivered(order, sink, bars, context.landing if context is not None else None)
            finally:
                sink.close()
            if outcome.done:
                _count(files=1, bytes=outcome.got, linked=int(outcome.linked))
                return None
            _count(fell_open=1)
            if outcome.got and _rest(hub, order, kwargs["xet_file_data"].refresh_route, kwargs["headers"], path, outcome.got, bars):
                _clear(order)
                return None
            bars.take_back()
            if outcome.got:
                with contextlib.suppress(OSError):
                    os.truncate(path, 0)
            if bars.bar is not None:
                kwargs = {**kwargs, "_tqdm_bar": bars.bar}
            return _alone(original, order, kwargs)
        finally:
            bars.close()

    _ours[xet_get] = original
    return xet_get


def _delivered(order: Order, sink: FileSink, bars: Bars, landing: Landing | None) -> Outcome:
    """What the daemon gives of a file, after what it was to put into its place, if it was."""
    if landing is None:
        return _fetch.take_over(order, sink, bars.add, bars.came)
    if landing.is_out_of_sight:
        bars.take_back()
        return _fetch.deliver(order, sink, bars.add, bars.came, landing)
    got = landing.copy(sink)
    return Outcome(got == order.size, got)


def _wrap_http_get(original: Callable[..., Any], hub: Any) -> Callable[..., Any]:
    """For files in Xet whose caller has no hf_xet, or has switched it off."""
    signature = inspect.signature(original)

    @functools.wraps(original)
    def http_get(*args: Any, **kwargs: Any) -> Any:
        context = _context.get()
        if context is None or context.xet is None or not _state.enabled:
            return original(*args, **kwargs)
        given = dict(signature.bind_partial(*args, **kwargs).arguments)
        order = _order(hub, context.xet, given)
        if order is None or given.get("url") != context.url or given.get("resume_size") or given.get("proxies"):
            _count(passed_by=1)
            return original(*args, **kwargs)
        bars = _bars(hub, {"displayed_filename": context.filename, **given}, plain=True)
        try:
            outcome = _fetch.deliver(order, _Handle(given["temp_file"]), bars.add, bars.came)
            if outcome.done:
                _count(files=1, bytes=outcome.got, linked=int(outcome.linked))
                return None
            _count(fell_open=1)
            if outcome.got:
                given["resume_size"] = outcome.got
            if bars.bar is not None:
                given["_tqdm_bar"] = bars.bar
            return _alone(original, order, given)
        finally:
            bars.close()

    _ours[http_get] = original
    return http_get


def _alone(original: Callable[..., Any], order: Order, arguments: Mapping[str, Any]) -> Any:
    """What is left to the original. If that fails, what zest has begun stays, for the next one to go on with."""
    returned = original(**arguments)
    _clear(order)
    return returned


def _clear(order: Order) -> None:
    context = _context.get()
    if context is not None and not _landing.is_passing(order.cache_dir):
        _landing.clear(order.cache_dir, context.destination, order.hash)


class _Handle:
    """The caller's open file."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.path: str | None = None

    def write(self, data: memoryview) -> object:
        return self._file.write(data)

    def fileno(self) -> int:
        return int(self._file.fileno())


def _bars(hub: Any, kwargs: Mapping[str, Any], plain: bool) -> Bars:
    name = kwargs.get("displayed_filename") or os.path.basename(str(kwargs.get("incomplete_path") or ""))
    size, kind, outer = kwargs.get("expected_size"), kwargs.get("tqdm_class"), kwargs.get("_tqdm_bar")
    return Bars(hub, str(name), size, kind, outer, _state.progress, plain)


def _order(hub: Any, xet: Any, kwargs: Mapping[str, Any]) -> Order | None:
    """Which file it is that is asked for; ``None`` if that cannot be told."""
    if not _state.enabled or _state.hook == "none":
        return None
    route = _ROUTE.fullmatch(str(getattr(xet, "refresh_route", None) or "").partition("?")[0])
    file_hash = getattr(xet, "file_hash", None)
    headers = kwargs.get("headers")
    if route is None or not isinstance(file_hash, str) or not isinstance(headers, Mapping):
        return None
    repo, revision = unquote(route["repo"]), unquote(route["revision"])
    context = _context.get()
    path = context.filename if context is not None else _path(kwargs.get("displayed_filename"), route["type"], repo, revision)
    if not path:
        return None
    cache_dir, forced = _landing.passing(), True
    if context is not None:
        forced = context.force
        folder = os.path.dirname(context.destination)
        # CACHE/models--ORG--NAME/blobs/ETAG; else it is a file of the user's, who may change it.
        if os.path.basename(folder) == "blobs":
            cache_dir = os.path.dirname(os.path.dirname(folder))
    locked = not _landing.is_passing(cache_dir)
    shares = locked and _shares_blobs(hub)
    size = kwargs.get("expected_size")
    return Order(
        endpoint=(_state.endpoint or route["endpoint"]).rstrip("/"),
        repo=repo,
        type=route["type"],
        revision=revision,
        path=path,
        hash=file_hash,
        size=int(size) if size is not None else None,
        token=_token(headers),
        cache_dir=cache_dir,
        may_name=not forced,
        # hub's own store of shared blobs does the same with rules of its own.
        may_link=locked and not forced and not shares,
        locked=locked,
        shared_blobs=shares,
    )


def _shares_blobs(hub: Any) -> bool:
    shares = getattr(hub, "shared_blobs_enabled", None)
    return bool(shares()) if callable(shares) else False


def _path(shown: Any, kind: str, repo: str, revision: str) -> str:
    """The path in the repository, of the name that ``HfFileSystem`` shows."""
    text = str(shown or "").removeprefix("hf://")
    prefix = "" if kind == "model" else f"{kind}s/"
    at = text.partition(f"{prefix}{repo}")
    if at[0] or not at[1]:
        return text
    rest = at[2]
    if rest.startswith("@"):
        for name in (revision, revision.replace("/", "%2F")):
            if rest.startswith(f"@{name}/"):
                return rest[len(name) + 2 :]
        # A branch of this commit, as the caller wrote it; one with a slash is written %2F, but refs/pr/N is not.
        special = re.match(r"@(refs/(?:convert|pr)/[^/]+|[^/]+)/(.+)", rest, re.DOTALL)
        return special[2] if special else ""
    return rest[1:] if rest.startswith("/") else text


def _token(headers: Mapping[str, Any]) -> str:
    for name, value in headers.items():
        if name.lower() == "authorization" and isinstance(value, str):
            kind, _, token = value.partition(" ")
            return token.strip() if kind.lower() == "bearer" else ""
    return ""


def _rest(hub: Any, order: Order, route: str, headers: Any, path: str, got: int, bars: Bars) -> bool:
    """Fetches what a file lacks without zest: by a range of hf_xet's, else by HTTP, both huggingface_hub's own ways.

    Returns:
        Whether the file is whole. If not, the original begins anew.
    """
    if order.size is None or got < _REST_MIN:
        return False
    context = _context.get()
    try:
        with open(path, "r+b") as file:
            file.seek(got)
            if _has_ranges():
                for piece in _range(order, route, headers, got):
                    file.write(piece)
                    bars.add(len(piece))
                    interrupted()
            elif context is not None:
                http_get = _original(hub.http_get) or hub.http_get
                more = {"_tqdm_bar": bars.bar} if bars.bar is not None else {}
                http_get(context.url, file, resume_size=got, headers=headers, expected_size=order.size, **more)
            if file.tell() == order.size:
                return True
            log.info("%s/%s: the rest is %d bytes short", order.repo, order.path, order.size - file.tell())
    except Exception as error:  # noqa: BLE001
        # The original says it in its own words.
        log.info("%s/%s: the rest cannot be had alone: %s", order.repo, order.path, error)
    return False


def _has_ranges() -> bool:
    """Whether huggingface_hub keeps a session of hf_xet's, which can fetch a part of a file (since 1.19)."""
    try:
        import hf_xet
        from huggingface_hub.utils import _xet
    except ImportError:
        return False
    return hasattr(hf_xet, "XetDownloadStreamGroup") and hasattr(_xet, "get_xet_session")


def _range(order: Order, route: str, headers: Mapping[str, str], got: int) -> Iterator[bytes]:
    import hf_xet
    from huggingface_hub.utils import _xet

    plain = {name: value for name, value in headers.items() if name.lower() != "authorization"}
    group = _xet.get_xet_session().new_download_stream_group(
        token_refresh_url=route, token_refresh_headers=dict(headers), custom_headers=plain
    )
    with group:
        yield from group.download_stream(hf_xet.XetFileInfo(order.hash, order.size), start=got)


def _count(**more: int) -> None:
    with _lock:
        for name, count in more.items():
            setattr(_counters, name, getattr(_counters, name) + count)
