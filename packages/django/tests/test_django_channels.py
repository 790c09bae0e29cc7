"""Sockets of Channels: they use the session engine, and so share the session of the pages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from channels.auth import AuthMiddlewareStack
from channels.generic.websocket import AsyncWebsocketConsumer
from django.contrib.sessions.backends.base import UpdateError
from django.test import AsyncClient

from coatcheck import MemoryStore
from coatcheck_django import alog_out_everywhere

pytestmark = pytest.mark.anyio


class Consumer(AsyncWebsocketConsumer):
    """Tell who is there, and keep what is said in the session."""

    async def connect(self) -> None:
        await self.accept()
        name = self.scope["user"].get_username()
        await self.send(json.dumps([name, await self.scope["session"].aget("cart")]))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        session = self.scope["session"]
        await session.aset("said", text_data)
        try:
            await session.asave()
        except UpdateError:
            await self.close(4401)
        else:
            await self.send(json.dumps("kept"))


async def opened(client: AsyncClient) -> tuple[ApplicationCommunicator, Any]:
    """Open a socket with the cookies of a browser, and return what it says first."""
    cookie = client.cookies.output(attrs=[], header="", sep=";").strip().encode()
    scope = {"type": "websocket", "path": "/", "headers": [(b"cookie", cookie)]}
    socket = ApplicationCommunicator(AuthMiddlewareStack(Consumer.as_asgi()), scope)
    await socket.send_input({"type": "websocket.connect"})
    assert (await socket.receive_output())["type"] == "websocket.accept"
    return socket, json.loads((await socket.receive_output())["text"])


async def said(socket: ApplicationCommunicator, text: str) -> dict[str, Any]:
    await socket.send_input({"type": "websocket.receive", "text": text})
    answer: dict[str, Any] = await socket.receive_output()
    return answer


async def test_a_socket_and_the_pages_have_one_session(store: MemoryStore, ann: Any) -> None:
    client = AsyncClient()
    await client.get("/aput?cart=1")
    await client.aforce_login(ann)
    socket, first = await opened(client)
    assert first == ["ann", "1"]
    await client.get("/aput?seen=1")
    assert (await said(socket, "hello"))["text"] == '"kept"'
    shown = (await client.get("/ashow")).json()
    assert shown == {"user": "ann", "cart": "1", "seen": "1", "said": "hello"}
    assert await alog_out_everywhere(ann) == 1
    assert await said(socket, "again") == {"type": "websocket.close", "code": 4401}
    await socket.send_input({"type": "websocket.disconnect", "code": 4401})
    await socket.wait()
    assert (await client.get("/ashow")).json() == {"user": ""}
