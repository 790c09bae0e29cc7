"""SECRET: what nobody else may see."""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import socket
import stat
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from coatcheck import Record, Unchanged
from coatcheck.errors import CoatcheckError

from ..case import case
from ..clock import DAY
from ..context import Context
from ..faults import each_fault
from ..handle import Handle
from .get import damaged
from .life import handle_of, opened_by_url, supported, url_of

_PASSWORD: Final = "pa55word-of-the-url"  # nobody's
_KEY: Final = "k3y-of-a-session"
_DATA: Final = "d4ta-of-a-session"
_OWNER: Final = "0wner-of-a-session"


class _Lines(logging.Handler):
    """Keep every line that is logged."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@dataclass
class Shown:
    """Collect everything that a store has shown of itself.

    :ivar errors: exceptions that it raised.
    :ivar texts: other texts, each with its origin.
    """

    errors: list[BaseException] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)

    def note(self, call: Callable[[], Any]) -> Any:
        """Call something, and keep the exception that it raises."""
        try:
            return call()
        except Exception as error:  # another clause says which one it should be
            self.errors.append(error)
            return None

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield each text that a log or a debugger would show, and its origin."""
        for error in self.errors:
            yield f"the message of {type(error).__name__}", str(error)
            yield f"the repr of {type(error).__name__}", repr(error)
        yield from self.texts

    def tracebacks(self) -> Iterator[tuple[str, str]]:
        """Yield the whole traceback of each exception."""
        for error in self.errors:
            text = "".join(traceback.format_exception(error))
            yield f"the traceback of {type(error).__name__}", text


@contextmanager
def logged(shown: Shown) -> Iterator[None]:
    """Collect what is logged in the block, whatever its level."""
    root, handler = logging.getLogger(), _Lines()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
        shown.texts += [("a log line", line) for line in handler.lines]


def _expect_none(context: Context, lines: Iterator[tuple[str, str]], *secrets: str) -> None:
    for what, text in lines:
        for secret in secrets:
            if secret in text:
                context.fail(f"{what} without {secret!r}", text)


def _show_native(shown: Shown, store: Handle) -> None:
    inner = getattr(store.native, "store", None)
    for one in (store.native, inner):
        if one is not None:
            shown.texts += [("the repr of the store", repr(one)), ("its str", str(one))]


def _record(context: Context) -> Record:
    return context.record(_DATA.encode(), _OWNER)


def _calls(context: Context, store: Handle) -> dict[str, Callable[[], Any]]:
    """Return calls of the operations with the secret key, owner and data."""
    record = _record(context)
    return supported(context, store) | {
        "get": lambda: store.get(_KEY),
        "set": lambda: store.set(_KEY, record),
        "set with Unchanged": lambda: store.set(_KEY, record, Unchanged(record.data)),
        "destroy": lambda: store.destroy(_KEY, Unchanged(record.data + b"x")),
        "touch": lambda: store.touch(_KEY, record.expires_at, _OWNER),
        "owned_by": lambda: store.owned_by(_OWNER),
        "clear": lambda: store.clear(),
        "length": lambda: store.length(),
    }


def _use(context: Context) -> Shown:
    """Use a store in every way, also in wrong ones; return what it has shown."""
    shown, store = Shown(), context.store
    with logged(shown):
        calls = _calls(context, store)
        clear = calls.pop("clear")
        for _ in range(2):
            for call in calls.values():
                shown.note(call)
        for operation, args in (("all", ()), ("owned_by", (_OWNER,))):
            records = shown.note(lambda: getattr(store.native, operation)(*args))  # noqa: B023  # called at once
            shown.texts.append((f"the repr of what `{operation}` returns", repr(records)))
        _exceed(context, shown)
        _show_native(shown, store)
        context.advance(2 * DAY)
        for call in (*calls.values(), clear):
            shown.note(call)
        store.close()
        for call in (*calls.values(), clear):
            shown.note(call)
        _show_native(shown, store)
    return shown


def _exceed(context: Context, shown: Shown) -> None:
    most = context.capabilities.max_data_bytes
    if most is not None:
        data = (_DATA * (most // len(_DATA) + 2)).encode()
        record = context.record(data, _OWNER)
        shown.note(lambda: context.store.set(_KEY, record))


def _meet_damage(context: Context) -> Shown:
    """Read malformed records; return what the store has shown."""
    shown = Shown()
    with logged(shown):
        for key, _ in damaged(context):
            shown.note(lambda: context.store.get(key))  # noqa: B023  # called at once
            if context.capabilities.owners:
                shown.note(lambda: context.store.owned_by("owner"))
    return shown


def _meet_faults(context: Context) -> Shown:
    """Use a store whose backend is unreachable; return what it has shown."""
    shown = Shown()
    context.put(_KEY, _DATA.encode(), _OWNER)
    with logged(shown):
        for faulty, fault in each_fault(context, "unavailable"):
            context.steps.note(f"meanwhile {fault.name}")
            with fault.during():
                for call in _calls(context, faulty.store).values():
                    shown.note(call)
            _show_native(shown, faulty.store)
    return shown


@case(
    "SECRET-1",
    foundation=False,
    needs=("url",),
    depends_on=("LIFE-2",),
    hint="the message quotes the URL, or the wrong part of it.",
)
def secret_in_a_refused_url(context: Context) -> None:
    """The error for a refused URL quotes no secret in an option's name or value."""
    shown, url = Shown(), url_of(context)
    joint = "&" if "?" in url else "?"
    with logged(shown):
        for option in (f"no_such_option={_PASSWORD}", f"password={_PASSWORD}", f"={_PASSWORD}"):
            store = shown.note(lambda: opened_by_url(context, f"{url}{joint}{option}"))  # noqa: B023  # called at once
            if store is not None:  # LIFE-3 reports that it was not refused
                handle = handle_of(context, "opened", store)
                _show_native(shown, handle)
                handle.close()
    _expect_none(context, shown.lines(), _PASSWORD)


def _closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _with_password(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"user:{_PASSWORD}@{host}"))


@case(
    "SECRET-1",
    foundation=False,
    needs=("url", "credentials"),
    depends_on=("LIFE-2",),
    hint="the client's error has the whole URL, or the repr of the store has it.",
)
def password_of_a_server(context: Context) -> None:
    """No error, log line or repr has the password of a server that is away or refuses it."""
    address = context.need(context.harness.address(), "the harness has no address")
    shown = Shown()
    with logged(shown):
        for host, port in (address, ("127.0.0.1", _closed_port())):
            url = _with_password(context.harness.url_at(context.namespace, host, port))
            store = shown.note(lambda: opened_by_url(context, url))  # noqa: B023  # called at once
            if store is not None:
                handle = handle_of(context, "opened", store)
                shown.note(handle.ping)
                shown.note(lambda: handle.get("key"))  # noqa: B023  # called at once
                _show_native(shown, handle)
                shown.note(handle.close)
    _expect_none(context, shown.lines(), _PASSWORD)


_OFTEN: Final = "the text of an error or a debug log line has it."


@case("SECRET-2", depends_on=("LIFE-4",), hint=_OFTEN)
def keys_in_use(context: Context) -> None:
    """No error, log line or repr has the key, in use and after `close`."""
    _expect_none(context, _use(context).lines(), _KEY)


@case(
    "SECRET-2",
    depends_on=("LIFE-4",),
    needs=("malformed",),
    hint="the line that reports the damage names the key.",
)
def keys_of_malformed_records(context: Context) -> None:
    """No error, log line or repr has the key of a malformed record."""
    shown = _meet_damage(context)
    _expect_none(context, shown.lines(), "key0")


@case(
    "SECRET-2",
    depends_on=("LIFE-4",),
    needs=("unavailable",),
    limit=450,  # each of many calls may take as long as FAULT-6 allows
    hint="the client's error has it, and is quoted.",
)
def keys_while_the_backend_is_away(context: Context) -> None:
    """No error, log line or repr has the key while the backend is unreachable."""
    _expect_none(context, _meet_faults(context).lines(), _KEY)


@case("SECRET-3", depends_on=("LIFE-4",), hint=_OFTEN)
def data_and_owners_in_use(context: Context) -> None:
    """No error, log line or repr has data or owner, in use and after `close`."""
    _expect_none(context, _use(context).lines(), _DATA, _OWNER)


@case(
    "SECRET-3",
    depends_on=("LIFE-4",),
    needs=("unavailable",),
    limit=450,  # each of many calls may take as long as FAULT-6 allows
    hint="the client's error has them, and is quoted.",
)
def data_and_owners_while_the_backend_is_away(context: Context) -> None:
    """No error, log line or repr has data or owner while the backend is unreachable."""
    _expect_none(context, _meet_faults(context).lines(), _DATA, _OWNER)


@case(
    "SECRET-4",
    depends_on=("SECRET-2", "SECRET-3"),
    hint="the exception of the client library quotes the command.",
)
def tracebacks_in_use(context: Context) -> None:
    """No traceback has key, data or owner."""
    _expect_none(context, _use(context).tracebacks(), _KEY, _DATA, _OWNER)


@case(
    "SECRET-4",
    needs=("unavailable",),
    limit=450,  # each of many calls may take as long as FAULT-6 allows
    depends_on=("SECRET-2", "SECRET-3"),
    hint="the exception of the client library quotes the command.",
)
def tracebacks_while_the_backend_is_away(context: Context) -> None:
    """No traceback has key, data or owner while the backend is unreachable."""
    _expect_none(context, _meet_faults(context).tracebacks(), _KEY, _DATA, _OWNER)


class _Trap:
    """Make a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (os.mkdir, (str(self.path),))


def _traps(path: Path) -> list[bytes]:
    programs = [
        f"__import__('os').mkdir({str(path)!r})",
        f"!!python/object/apply:os.mkdir [{str(path)!r}]",
        f'{{"py/reduce": [{{"py/function": "os.mkdir"}}, {{"py/tuple": ["{path}"]}}]}}',
    ]
    pickles = [pickle.dumps(_Trap(path), protocol) for protocol in (0, 2, 5)]
    return [*pickles, *(program.encode() for program in programs)]


def _look(context: Context, trap: bytes) -> None:
    """Call everything that might make a store unpickle data, and ignore the results."""
    store = context.store
    calls = supported(context, store) | {
        "set": lambda: store.set("key", context.record(trap, "owner"), Unchanged(trap))
    }
    calls["last"] = calls.pop("destroy")
    for call in calls.values():
        with suppress(CoatcheckError):
            call()


@case("SECRET-5", hint="the data are unpickled to inspect them.")
def data_are_not_executed(context: Context) -> None:
    """Data that are pickles or programs are not executed by any operation."""
    with ExitStack() as stack:
        above = Path(tempfile.mkdtemp(prefix="coatcheck-kit-"))
        stack.callback(shutil.rmtree, above, ignore_errors=True)
        for number, trap in enumerate(_traps(above / "sprung")):
            with suppress(CoatcheckError):
                context.store.set("key", context.record(trap, "owner"))
            _look(context, trap)
            if (above / "sprung").exists():
                context.fail(
                    "data that are kept as they are", f"data number {number} were executed"
                )


def _loose(paths: Sequence[Path]) -> list[str]:
    found = []
    for path in paths:
        mode = stat.S_IMODE(path.lstat().st_mode)
        if mode & 0o077 and not path.is_symlink():
            found.append(f"{path.name} has the mode {mode:o}")
    return found


@case("SECRET-6", needs=("folder",), hint="the mode depends on the umask.")
def files_are_the_users_own(context: Context) -> None:
    """Files and folders are readable by their user alone, whatever the umask is."""
    folder = context.need(context.harness.folder(context.namespace), "the harness has no folder")
    before = os.umask(0)
    try:
        context.put(owner="owner")
        context.store.touch("key", context.clock.now + 2 * DAY)
        context.put("far", life=9000 * DAY)
        context.store.ping()
    finally:
        os.umask(before)
    loose = _loose([folder, *folder.rglob("*")])
    context.expect_that(not loose, "nothing that others can read", loose)
