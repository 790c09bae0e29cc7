"""Count sessions that survive a logout or a revocation because their id changes meanwhile.

A thief keeps asking for new ids while all sessions of the user are ended, or while the user logs
out with an older cookie. `python -m testing.faults.rotations URL` does it many times, with the
middleware in this process and with two servers that share the store.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import httpx

from coatcheck import AsyncStore, SessionOptions, Sessions, open_async_store, session_of
from coatcheck.asgi import SessionMiddleware

#: How often a thief changes the id at most.
ROTATIONS = 200
_SECRET = "a secret of the tests with rotations"
_URL = "COATCHECK_ROTATIONS_URL"


def opened(url: str) -> AsyncStore:
    """Open a store by its URL."""
    store = open_async_store(url)
    if store.capabilities.owner_lag:
        # DynamoDB Local's index does not lag, and waiting thousands of times takes too long.
        store.capabilities = replace(store.capabilities, owner_lag=0.001)
    return store


def application(store: AsyncStore | None = None) -> SessionMiddleware:
    """Return an application on a store, or on the store whose URL is in the environment."""
    # Dropped changes of ended sessions are expected here.
    logging.getLogger("coatcheck").setLevel(logging.ERROR)
    store = opened(os.environ[_URL]) if store is None else store
    options = SessionOptions(secret=_SECRET, store=store, owner="user")
    sessions = Sessions(store, options)

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        session = session_of(scope)
        query = dict(parse_qsl(scope["query_string"].decode()))
        match scope["path"]:
            case "/login":
                session["user"] = query["user"]
            case "/rotate":
                if "user" in session:
                    session.regenerate(keep_data=True)
            case "/logout":
                session.destroy()
            case "/revoke":
                await sessions.arevoke_all(query["user"])
        body = str(session.get("user", "")).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    return SessionMiddleware(app, options)


class Site:
    """Servers of the application, which get the requests in turn.

    :param transports: one for each server.
    """

    def __init__(self, transports: list[tuple[str, httpx.AsyncBaseTransport]]) -> None:
        self._clients = [
            httpx.AsyncClient(transport=transport, base_url=url, timeout=30)
            for url, transport in transports
        ]
        self._turn = 0

    async def get(self, path: str, cookie: str = "") -> tuple[str, str]:
        """Request a path, and return the user in the session, and the cookie from then on."""
        self._turn += 1
        client = self._clients[self._turn % len(self._clients)]
        client.cookies.clear()
        response = await client.get(path, headers={"cookie": cookie} if cookie else {})
        response.raise_for_status()
        sent = response.cookies.get("sid")
        return response.text, f"sid={sent}" if sent else cookie

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            await client.aclose()


async def _steal(site: Site, cookie: str, started: asyncio.Event, after: int) -> str:
    """Change the id of a session until it has ended, and return the last cookie."""
    for number in range(ROTATIONS):
        if number == after:
            started.set()
        user, cookie = await site.get("/rotate", cookie)
        if not user:
            break
    started.set()
    return cookie


async def survivors(site: Site, ending: str, rounds: int) -> int:
    """Return how many sessions survived.

    :param ending: ``"revoke"`` ends all of the user's, ``"logout"`` uses the first cookie.
    """
    survived = 0
    for number in range(rounds):
        user = f"user{number}"
        _, cookie = await site.get(f"/login?user={user}")
        started, after = asyncio.Event(), random.randrange(4)
        thief = asyncio.ensure_future(_steal(site, cookie, started, after))
        await started.wait()
        await asyncio.sleep(random.random() * 0.003)
        path = f"/revoke?user={user}" if ending == "revoke" else "/logout"
        await site.get(path, "" if ending == "revoke" else cookie)
        shown, _ = await site.get("/show", await thief)
        survived += bool(shown)
    return survived


@asynccontextmanager
async def in_process(url: str) -> AsyncIterator[Site]:
    """Serve the application in this process."""
    store = opened(url)
    site = Site([("http://site.test", httpx.ASGITransport(application(store)))])
    try:
        yield site
    finally:
        await site.close()
        await store.close()


@asynccontextmanager
async def two_servers(url: str) -> AsyncIterator[Site]:
    """Serve the application by two processes."""
    async with AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(_server(url)) for _ in range(2)]
        site = Site([(f"http://127.0.0.1:{port}", httpx.AsyncHTTPTransport()) for port in ports])
        stack.push_async_callback(site.close)
        yield site


@asynccontextmanager
async def _server(url: str) -> AsyncIterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.set_inheritable(True)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "uvicorn", "--factory", "testing.faults.rotations:application",
            "--fd", str(listener.fileno()), "--log-level", "error", "--lifespan", "off",
            "--timeout-keep-alive", "600",
            env={**os.environ, _URL: url}, pass_fds=[listener.fileno()],
        )  # fmt: skip
        try:
            yield listener.getsockname()[1]
        finally:
            process.terminate()
            await process.wait()


#: How the application is served.
SITES: dict[str, Callable[[str], Any]] = {"in process": in_process, "two servers": two_servers}


async def outcome_of(url: str, served: str, ending: str, rounds: int) -> int:
    """Return how many sessions survived, on a new site."""
    async with SITES[served](url) as site:
        return await survivors(site, ending, rounds)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m testing.faults.rotations", description=__doc__)
    parser.add_argument("url", help="the URL of the store")
    parser.add_argument("--rounds", type=int, default=1000)
    arguments = parser.parse_args()
    for served in SITES:
        for ending in ("revoke", "logout"):
            left = asyncio.run(outcome_of(arguments.url, served, ending, arguments.rounds))
            print(f"| {served} | {ending} | {arguments.rounds} | {left} |", flush=True)


if __name__ == "__main__":
    main()
