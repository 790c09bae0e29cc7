"""Print what the faults of a server do to sessions in use."""

from __future__ import annotations

import argparse
import asyncio
import importlib
from collections.abc import Callable

from coatcheck import AsyncStore, open_async_store, open_store
from coatcheck.storekit import as_async

from .run import Fault, Timing, outcome_of

APIS: dict[str, Callable[[str], AsyncStore]] = {
    "async": open_async_store,
    "sync": lambda url: as_async(open_store(url)),
}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m testing.faults", description=__doc__)
    parser.add_argument(
        "server", choices=("dynamodb", "mariadb", "mongo", "postgresql", "redis", "sqlite")
    )
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="how long the load runs with each fault"
    )
    parser.add_argument("--workers", type=int, default=32)
    parser.add_argument("--sessions", type=int, default=200)
    arguments = parser.parse_args()
    for name in ("seconds", "workers", "sessions"):
        if getattr(arguments, name) <= 0:
            parser.error(f"`--{name}` must be more than 0, not {getattr(arguments, name)}")
    faults: tuple[Fault, ...] = importlib.import_module(f"{__package__}.{arguments.server}").FAULTS
    print("| fault | API | acknowledged | failed | lost | revived | longest call | recovery |")
    print("|---|---|---|---|---|---|---|---|")
    for fault in faults:
        for api, opened in APIS.items():
            with fault.backend() as server:
                outcome, recovery = asyncio.run(
                    outcome_of(
                        fault, server, opened, Timing(arguments.seconds),
                        workers=arguments.workers, sessions=arguments.sessions,
                    )
                )  # fmt: skip
            kinds = ", ".join(f"{count} {name}" for name, count in sorted(outcome.failed.items()))
            if outcome.untyped:
                kinds += f", {len(outcome.untyped)} UNTYPED: {outcome.untyped[0]!r}"
            print(
                f"| {fault.name} | {api} | {outcome.acknowledged} | {kinds or 0} | {outcome.lost} "
                f"| {outcome.revived} | {outcome.longest:.1f} s | {recovery:.2f} s |",
                flush=True,
            )


if __name__ == "__main__":
    main()
