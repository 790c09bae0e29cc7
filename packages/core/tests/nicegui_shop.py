"""A shop with NiceGUI mounted in it: a program that visits its own pages."""

from __future__ import annotations

import asyncio
from typing import Any

import fastapi
import nicegui
from webclient import SECRET, Client, sessions_in

from coatcheck import MemoryStore, session_of
from coatcheck.asgi import SessionMiddleware
from coatcheck.fastapi import SessionDep

shop = fastapi.FastAPI()
store = MemoryStore()


@shop.get("/login")
async def login(session: SessionDep) -> None:
    session.regenerate(keep_data=True)
    session["user"] = "ann"


@shop.get("/who")
async def who(session: SessionDep) -> Any:
    return session


@nicegui.ui.page("/")
def page(request: fastapi.Request) -> None:
    session = session_of(request)
    session["visits"] = session.get("visits", 0) + 1
    visits = nicegui.app.storage.browser
    visits["visits"] = visits.get("visits", 0) + 10
    nicegui.ui.label(f"{session['user']}, {session['visits']}, {visits['visits']}")


nicegui.ui.run_with(shop, mount_path="/gui", storage_secret="a secret of NiceGUI alone")
shop.add_middleware(SessionMiddleware, secret=SECRET, store=store)


async def main() -> None:
    """Log in at the shop, and visit NiceGUI's page twice."""
    async with shop.router.lifespan_context(shop):
        visitor = Client(shop)
        await visitor.get("/login")
        for visit in (1, 2):
            text = (await visitor.get("/gui/")).text
            assert f"ann, {visit}, {visit}0" in text, text
        assert (await visitor.get("/who")).json() == {"user": "ann", "visits": 2}
        assert {*visitor.cookies} == {"sid", "session"}
        assert len(sessions_in(store)) == 1


if __name__ == "__main__":
    asyncio.run(main())
    print("the session of the shop and the storage of NiceGUI")
