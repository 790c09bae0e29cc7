"""Run the command line: ``python -m coatcheck demo | stores | secret | create-table | prune``.

Modules that only one command needs are imported when that command runs.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from typing import Any, Final, TypeAlias

from ..errors import CoatcheckError
from ..store import AsyncStore, Store

Command: TypeAlias = Callable[[argparse.Namespace], int]

#: Exit statuses.
OK: Final = 0
UNUSABLE: Final = 2

_COLUMNS: Final = ("scheme", "name", "distribution", "version", "contract", "status", "reason")


PROGRAM: Final = "python -m coatcheck"


def main(arguments: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Run one command and return the exit status.

    :param arguments: the command line without the program's name; default: this process's.
    :param program: the program's name.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == ["demo"]:
        return _demo(words[1:], f"{program} demo")
    parser = _parser(program)
    given = parser.parse_args(words)
    if given.version:
        return _version()
    command: Command | None = given.command
    if command is None:
        parser.print_help()
        return UNUSABLE
    try:
        return command(given)
    except CoatcheckError as error:
        return _refuse(str(error))


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Server-side HTTP sessions for ASGI and WSGI.",
        epilog=f"`{program} COMMAND --help` tells more about a command.",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    # The demo is a package of its own, with options of its own: see `_demo`.
    commands.add_parser("demo", help="run a small web application, or have it check itself")
    _add_stores(commands.add_parser)
    _add_secret(commands.add_parser)
    _add_create_table(commands.add_parser)
    _add_prune(commands.add_parser)
    return parser


def _add_stores(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    parser = add_parser(
        "stores",
        help="list the installed stores",
        description="List the store of each URL scheme. A store that cannot be used has the reason "
        "in its row.",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list of objects")
    parser.set_defaults(command=_stores)


def _add_secret(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    parser = add_parser(
        "secret",
        help="print a new secret",
        description="Print a random secret of 384 bits, good for the option `secret`.",
    )
    parser.set_defaults(command=_secret)


def _add_create_table(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    parser = add_parser(
        "create-table",
        help="create the table of a store that does not create it itself",
        description=(
            "Create the table of a store, with its indexes, and wait until it can be used. What "
            "exists stays as it is, so the command can be run again."
        ),
    )
    _add_url(parser, "`postgresql://host/database`, `dynamodb://sessions?region=...`")
    parser.set_defaults(command=_create_table)


def _add_prune(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    parser = add_parser(
        "prune",
        help="remove expired sessions, for cron and systemd",
        description=(
            "Remove expired sessions, and print how many. Applications may run meanwhile. The "
            "command can be ended at any time: what it has removed stays removed."
        ),
    )
    _add_url(parser, "`postgresql://host/database`, `file:///folder`")
    parser.add_argument(
        "--limit",
        metavar="NUMBER",
        type=_limit,
        help="examine this many sessions at most (default: all)",
    )
    parser.set_defaults(command=_prune)


def _add_url(parser: argparse.ArgumentParser, examples: str) -> None:
    parser.add_argument(
        "url",
        metavar="URL",
        help=f"of the store: {examples}; - reads it from the standard input, because other users "
        "of the machine may see the arguments of a command, and so a password in them",
    )


def _demo(arguments: Sequence[str], program: str) -> int:
    """Run the command of coatcheck-demo."""
    try:
        from coatcheck_demo import main as run_demo
    except ModuleNotFoundError as error:
        if error.name != "coatcheck_demo":
            raise
        print('the demo needs: pip install "coatcheck[demo]"', file=sys.stderr)
        return UNUSABLE
    return run_demo(arguments, program)


def _stores(given: argparse.Namespace) -> int:
    from dataclasses import asdict

    from .._stores.registry import Registry

    rows = [asdict(row) for row in Registry().installed()]
    if given.json:
        import json

        print(json.dumps(rows, indent=2))
    else:
        _print_table([_COLUMNS, *([_one_line(row[name]) for name in _COLUMNS] for row in rows)])
    return OK


def _create_table(given: argparse.Namespace) -> int:
    from .._stores.bridge import SyncBridge
    from .._stores.registry import open_store

    store = open_store(_url(given))
    owner = store.store if isinstance(store, SyncBridge) else store
    ensure_table: Callable[[], Any] | None = getattr(owner, "ensure_table", None)
    if ensure_table is None:
        return _refuse("this store has no table that must be created")
    print("created" if _called(owner, ensure_table) else "it is there already")
    return OK


def _prune(given: argparse.Namespace) -> int:
    from .._stores.registry import open_store

    with closing(open_store(_url(given))) as store:
        if store.capabilities.native_expiry:
            return _refuse("this store's server removes expired sessions itself: there is no need")
        if not store.capabilities.multi_process:
            return _refuse("these sessions are in the memory of the application: it removes them")
        check_layout: Callable[[], None] | None = getattr(store, "check_layout", None)
        if check_layout is not None:
            check_layout()  # a missing folder has no expired sessions, and may be a wrong one
        print("expired sessions that were removed:", store.prune(given.limit))
    return OK


def _url(given: argparse.Namespace) -> str:
    """Return the URL of a store, from the arguments or from the standard input."""
    return sys.stdin.readline().strip() if given.url == "-" else str(given.url)


def _called(store: Store | AsyncStore, method: Callable[[], Any]) -> Any:
    """Call a method of a store, and close the store."""
    if isinstance(store, AsyncStore):
        import asyncio

        return asyncio.run(_awaited(store, method))
    try:
        return method()
    finally:
        store.close()


async def _awaited(store: AsyncStore, method: Callable[[], Awaitable[Any]]) -> Any:
    try:
        return await method()
    finally:
        await store.close()


def _secret(_: argparse.Namespace) -> int:
    print(secrets.token_urlsafe(48))
    return OK


def _version() -> int:
    from importlib.metadata import version

    print("coatcheck", version("coatcheck"))
    return OK


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 13):
        raise argparse.ArgumentTypeError(f"must be a number of sessions, not {text!r}")
    return int(text)


def _refuse(reason: str) -> int:
    print(f"error: {_one_line(reason)}", file=sys.stderr)
    return UNUSABLE


def _one_line(text: str) -> str:
    return " ".join(text.split())
