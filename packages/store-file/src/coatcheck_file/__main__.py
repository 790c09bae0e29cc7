"""Look after a file store: ``python -m coatcheck_file check URL``."""

from __future__ import annotations

import argparse
import io
import logging
import sys
from collections.abc import Sequence
from typing import Final

from coatcheck.errors import CoatcheckError

from ._store import FileStore

#: Exit statuses.
OK: Final = 0
DAMAGED: Final = 1
UNUSABLE: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, and return the exit status.

    :param arguments: the command line without the program's name; default: this process's.
    """
    given = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # the name of a folder may be no text
    try:
        store = FileStore.from_url(given.url)
        status: int = given.command(store)
    except CoatcheckError as error:
        print(f"error: {error}", file=sys.stderr)
        return UNUSABLE
    return status


def check(store: FileStore) -> int:
    """Print the damaged files and their number, and the number of live sessions."""
    logging.getLogger("coatcheck").setLevel(logging.ERROR)  # warnings would name the files again
    damaged = 0
    for path, reason in store.damaged():
        damaged += 1
        print(f"damaged: {path}: {reason}")
    live = sum(1 for _ in store.all())
    print(f"live sessions: {live}; damaged files: {damaged}")
    return DAMAGED if damaged else OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m coatcheck_file",
        description="Look after the folder of a file store. Applications may run meanwhile.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    text = "name each file that should be a session and is none; exit 1 if there is one"
    added = commands.add_parser("check", help=text, description=text)
    added.add_argument("url", metavar="URL", help="the application's URL: file:///folder")
    added.set_defaults(command=check)
    return parser


if __name__ == "__main__":
    sys.exit(main())
