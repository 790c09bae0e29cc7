"""Starts a server, and stops it at the end of the input, by Ctrl-C or when a command has run."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable

from . import redis
from .process import ServerFailed
from .programs import ServerMissing
from .shared import FOLDER_VARIABLE


def _redis(stack: contextlib.ExitStack, kinds: tuple[str, ...]) -> str:
    return stack.enter_context(redis.RedisServer(executable=redis.program(*kinds))).url


def _redis_cluster(stack: contextlib.ExitStack, kinds: tuple[str, ...]) -> str:
    members = stack.enter_context(redis.cluster(executable=redis.program(*kinds)))
    return f"redis+cluster://127.0.0.1:{members[0].port}"


def _mongo(stack: contextlib.ExitStack, _: tuple[str, ...]) -> str:
    from . import mongo  # needs pymongo, which Redis's tests do without

    return stack.enter_context(mongo.MongoServer()).url


def _mongo_replica_set(stack: contextlib.ExitStack, _: tuple[str, ...]) -> str:
    from . import mongo

    return stack.enter_context(mongo.replica_set()).url


def _dynamodb(stack: contextlib.ExitStack, _: tuple[str, ...]) -> str:
    from . import dynamodb

    return stack.enter_context(dynamodb.server())


_SERVERS: dict[str, Callable[[contextlib.ExitStack, tuple[str, ...]], str]] = {
    "dynamodb": _dynamodb,
    "redis": _redis,
    "redis-cluster": _redis_cluster,
    "mongo": _mongo,
    "mongo-replica-set": _mongo_replica_set,
}


def main() -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m testing.servers", description=__doc__)
    parser.add_argument("server", choices=_SERVERS)
    parser.add_argument("--kind", choices=redis.KINDS, help="which of Redis's programs")
    parser.add_argument(
        "--run", nargs=argparse.REMAINDER, metavar="COMMAND",
        help="run a command, with the URL for {url}, instead of waiting",
    )  # fmt: skip
    arguments = parser.parse_args()
    kinds = () if arguments.kind is None else (arguments.kind,)
    os.environ.pop(FOLDER_VARIABLE, None)  # the server is this process's own
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it ends the server as Ctrl-C does
    with contextlib.ExitStack() as stack, contextlib.suppress(KeyboardInterrupt):
        try:
            url = _SERVERS[arguments.server](stack, kinds)
        except (ServerFailed, ServerMissing) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        if arguments.run:
            command = [word.replace("{url}", url) for word in arguments.run]
            return subprocess.run(command, check=False).returncode
        print(url, flush=True)
        sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
