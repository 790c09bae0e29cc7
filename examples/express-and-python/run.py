"""Run both halves of the shop behind one proxy, and check that they share their sessions.

``python run.py redis://127.0.0.1:6379/0`` checks and ends; with ``--stay`` it runs until Ctrl-C.
"""

import argparse
import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

HERE = Path(__file__).parent


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], port: int, environment: dict[str, str]) -> Iterator[str]:
    """Run a server until the end of the block, and yield its URL when it listens."""
    process = subprocess.Popen(command, cwd=HERE, env=os.environ | environment)
    try:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{command[0]} did not start")
            time.sleep(0.05)  # it is still starting
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def shop(redis_url: str) -> Iterator[str]:
    """Run the shop, and yield the URL of the proxy."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise SystemExit("Node.js 20 or later and npm are needed: https://nodejs.org")
    if not (HERE / "node_modules").exists():
        subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=HERE, check=True)
    both = {"REDIS_URL": redis_url, "SESSION_SECRET": secrets.token_urlsafe(32)}

    def uvicorn(application: str, port: int) -> list[str]:
        return [sys.executable, "-m", "uvicorn", application, "--port", str(port),
                "--log-level", "warning"]  # fmt: skip

    with contextlib.ExitStack() as stack:
        port = free_port()
        environment = {**both, "PORT": str(port)}
        express = stack.enter_context(running([node, "server.js"], port, environment))
        port = free_port()
        python = stack.enter_context(running(uvicorn("app:app", port), port, both))
        port = free_port()
        urls = {"EXPRESS_URL": express, "PYTHON_URL": python}
        yield stack.enter_context(running(uvicorn("proxy:app", port), port, urls))


def check(url: str) -> None:
    """Log in at one half and out at the other, and compare both after each step."""

    def both_say(visitor: httpx.Client, user: str | None, cart: list[str], after: str) -> None:
        for path, half in (("/", "Express"), ("/new/", "FastAPI")):
            seen = visitor.get(path).json()
            if (seen["served_by"], seen["user"], seen["cart"]) != (half, user, cart):
                raise SystemExit(f"FAILED after {after}: {half} says {seen}")
        print(f"ok  {after}: both say {user or 'nobody'}, with {', '.join(cart) or 'nothing'}")

    with httpx.Client(base_url=url, follow_redirects=True) as visitor:
        both_say(visitor, None, [], "the first visit")
        visitor.post("/new/cart", json={"item": "hat"})
        both_say(visitor, None, ["hat"], "a hat in FastAPI's cart")
        visitor.post("/login", json={"user": "Ada"})
        both_say(visitor, "Ada", ["hat"], "a login at Express")
        visitor.post("/new/cart", json={"item": "scarf \N{COAT}"})
        both_say(visitor, "Ada", ["hat", "scarf \N{COAT}"], "a scarf in FastAPI's cart")
        stolen = httpx.Client(base_url=url, cookies=dict(visitor.cookies))
        visitor.post("/new/logout")
        both_say(visitor, None, [], "a logout at FastAPI")
        both_say(stolen, None, [], "a copy of the cookie from before the logout")
        visitor.post("/new/login", json={"user": "Grace"})
        both_say(visitor, "Grace", [], "a login at FastAPI")
        visitor.post("/logout")
        both_say(visitor, None, [], "a logout at Express")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("redis", help="the URL of a Redis server")
    parser.add_argument("--stay", action="store_true", help="keep running until Ctrl-C")
    arguments = parser.parse_args()
    with shop(arguments.redis) as url:
        check(url)
        if arguments.stay:
            print(f"The shop is at {url}")
            with contextlib.suppress(KeyboardInterrupt):
                while True:
                    time.sleep(1)  # until Ctrl-C


if __name__ == "__main__":
    main()
