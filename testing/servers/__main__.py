"""Start a server, and stop it at the end of the input, by Ctrl-C or after a command."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys

from . import redis
from .process import ServerFailed
from .programs import ServerMissing
from .shared import FOLDER_VARIABLE
from .urls import STARTERS


def main() -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m testing.servers", description=__doc__)
    parser.add_argument("server", choices=STARTERS)
    parser.add_argument("--kind", choices=redis.KINDS, help="the program of Redis")
    parser.add_argument(
        "--run", nargs=argparse.REMAINDER, metavar="COMMAND",
        help="run a command and stop; {url} in it is replaced by the URL",
    )  # fmt: skip
    arguments = parser.parse_args()
    if arguments.kind is not None and not arguments.server.startswith("redis"):
        parser.error(f"`--kind` is for redis and redis-cluster, not for {arguments.server}")
    kinds = () if arguments.kind is None else (arguments.kind,)
    os.environ.pop(FOLDER_VARIABLE, None)  # this process starts its own server
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM ends the server like Ctrl-C
    with contextlib.ExitStack() as stack, contextlib.suppress(KeyboardInterrupt):
        try:
            url = stack.enter_context(STARTERS[arguments.server](*kinds))
        except (ServerFailed, ServerMissing) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        if arguments.run:
            command = [word.replace("{url}", url) for word in arguments.run]
            return subprocess.run(command, check=False).returncode
        print(url, flush=True)
        sys.stdin.read()
    return 130 if arguments.run else 0  # the command was interrupted


if __name__ == "__main__":
    sys.exit(main())
