"""Starts a server, and stops it at the end of the input, by Ctrl-C or when a command has run."""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys

from . import redis


def main() -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m servers", description=__doc__)
    parser.add_argument("server", choices=("redis", "redis-cluster"))
    parser.add_argument("--kind", choices=redis.KINDS, help="which of the programs")
    parser.add_argument(
        "--run", nargs=argparse.REMAINDER, metavar="COMMAND",
        help="run a command, with the URL for {url}, instead of waiting",
    )  # fmt: skip
    arguments = parser.parse_args()
    kinds = () if arguments.kind is None else (arguments.kind,)
    with contextlib.ExitStack() as stack, contextlib.suppress(KeyboardInterrupt):
        executable = redis.program(*kinds)
        if arguments.server == "redis":
            url = stack.enter_context(redis.RedisServer(executable=executable)).url
        else:
            members = stack.enter_context(redis.cluster(executable=executable))
            url = f"redis+cluster://127.0.0.1:{members[0].port}"
        if arguments.run:
            command = [word.replace("{url}", url) for word in arguments.run]
            return subprocess.run(command, check=False).returncode
        print(url, flush=True)
        sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
