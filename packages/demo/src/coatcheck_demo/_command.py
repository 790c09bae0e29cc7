"""Run the demo from the command line: ``python -m coatcheck demo``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Final

from coatcheck.errors import CoatcheckError

PROGRAM: Final = "python -m coatcheck demo"
#: The exit status for a command that cannot be run.
UNUSABLE: Final = 2

_DESCRIPTION: Final = (
    "A small shop on 127.0.0.1, which shows what happens to each request: cart, login that rotates "
    "the session id, remember me, devices, logout, and two races."
)
_EPILOG: Final = (
    "The cookies are signed with the environment variable SESSION_SECRET, or with a secret of the "
    "demo's own."
)
_FRAMEWORKS: Final = ("asgi", "flask", "django")


def main(arguments: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Serve the demo, or have it check itself, and return the exit status.

    :param arguments: the command line without the program's name; default: this process's.
    :param program: the program's name, for the help.
    """
    given = _parser(program).parse_args(arguments)
    try:
        if given.check:
            from ._checking import check

            return check(given.store, framework=given.framework, https=given.https)
        from ._serving import serve

        return serve(given.store, given.port, framework=given.framework, https=given.https)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("coatcheck_demo"):
            raise
        return _refuse(f'the package {error.name!r} is missing: pip install "coatcheck[demo]"')
    except CoatcheckError as error:
        return _refuse(str(error))


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument(
        "--store",
        metavar="URL",
        help="where the sessions are kept; `python -m coatcheck stores` lists the URL schemes "
        "(default: files in a folder that the demo names, with --check in a temporary one; memory "
        "if coatcheck-file is not installed)",
    )
    parser.add_argument(
        "--framework",
        choices=_FRAMEWORKS,
        default="asgi",
        help="what the shop is written in: Starlette, Flask or Django (default: %(default)s)",
    )
    parser.add_argument(
        "--https",
        action="store_true",
        help="serve over https, with a certificate that is made for this run",
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=8000,
        help="where to listen; 0 takes a free port, as --check does (default: %(default)s)",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="instead of waiting for a browser, start the demo on a free port, visit it over HTTP "
        "and tell what works; exit 0 if everything does, 1 if not",
    )
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 65535, not {text!r}")
    return int(text)


def _refuse(reason: str) -> int:
    print(f"error: {' '.join(reason.split())}", file=sys.stderr)
    return UNUSABLE
