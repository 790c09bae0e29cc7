"""The baseline: the least code that keeps a session on the server, over ASGI and over WSGI.

It verifies the cookie, reads the record, decodes it, compares, writes. It has no rotation, no
expiry, no races, no options and no errors, so it costs what any server-side session has to cost.
`FileBaseline` is the least code that keeps bytes in files.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
from pathlib import Path
from typing import Any

from coatcheck import ABSENT, MemoryStore, Record, Unchanged

_KEY = hashlib.sha256(b"baseline").digest()
_YEAR_2100 = 4_102_444_800.0


def sign(session_id: str) -> str:
    """Return a cookie's value: the id and its signature."""
    mac = hmac.new(_KEY, session_id.encode(), hashlib.sha256).digest()
    return f"{session_id}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def verify(header: str) -> str | None:
    """Return the id in a Cookie header whose signature is right, or None."""
    for pair in header.split(";"):
        name, _, value = pair.strip().partition("=")
        if name == "sid":
            session_id = value.rpartition(".")[0]
            if hmac.compare_digest(sign(session_id), value):
                return session_id
    return None


class Baseline:
    """Load and save sessions, for both middlewares."""

    def __init__(self, app: Any, store: MemoryStore) -> None:
        self.app = app
        self.store = store

    def load(self, header: str | None) -> tuple[str | None, bytes | None, dict[str, Any]]:
        """Return the id, the stored bytes and the data of a session, or None, None and {}."""
        session_id = None if header is None else verify(header)
        if session_id is not None:
            record = self.store.get(hashlib.sha256(session_id.encode()).hexdigest())
            if record is not None:
                return session_id, record.data, json.loads(record.data)
        return None, None, {}

    def save(self, session_id: str | None, base: bytes | None, data: dict[str, Any]) -> str | None:
        """Write what changed, and return the cookie of a new session."""
        if base is None and not data:
            return None
        encoded = json.dumps(data, separators=(",", ":")).encode()
        if encoded == base:
            return None
        record = Record(encoded, _YEAR_2100)
        if base is not None and session_id is not None:
            key = hashlib.sha256(session_id.encode()).hexdigest()
            self.store.set(key, record, Unchanged(base))
            return None
        session_id = secrets.token_urlsafe(24)
        self.store.set(hashlib.sha256(session_id.encode()).hexdigest(), record, ABSENT)
        return f"sid={sign(session_id)}; Path=/; HttpOnly; SameSite=Lax"


class ASGIBaseline(Baseline):
    """Keep sessions for an ASGI application."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle one request."""
        header = None
        for name, value in scope["headers"]:
            if name == b"cookie":
                header = value.decode("latin-1")
        session_id, base, data = self.load(header)
        scope["session"] = data

        async def send_with_cookie(message: Any) -> None:
            if message["type"] == "http.response.start":
                cookie = self.save(session_id, base, data)
                if cookie is not None:
                    headers = [*message["headers"], (b"set-cookie", cookie.encode("latin-1"))]
                    message = {**message, "headers": headers}
            await send(message)

        await self.app(scope, receive, send_with_cookie)


class WSGIBaseline(Baseline):
    """Keep sessions for a WSGI application."""

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Handle one request."""
        session_id, base, data = self.load(environ.get("HTTP_COOKIE"))
        environ["coatcheck.session"] = data

        def start_with_cookie(status: str, headers: Any, exc_info: Any = None) -> Any:
            cookie = self.save(session_id, base, data)
            if cookie is not None:
                headers = [*headers, ("Set-Cookie", cookie)]
            return start_response(status, headers)

        return self.app(environ, start_with_cookie)


class FileBaseline:
    """Files that are replaced as a whole: no expiry, no conditions, no owners, no checksum.

    :param folder: has 256 folders, as many as the file store's.
    :param durable: wait for the disk.
    :param prefix: the first characters of its files' names.
    """

    def __init__(self, folder: Path, *, durable: bool, prefix: str = "baseline-") -> None:
        self._folder = str(folder)
        self._durable = durable
        self._prefix = prefix

    def _path(self, key: str) -> tuple[str, str]:
        digest = hashlib.sha256(key.encode()).hexdigest()
        folder = f"{self._folder}/{digest[:2]}"
        return folder, f"{folder}/{self._prefix}{digest[2:]}"

    def read(self, key: str) -> bytes:
        """Return the bytes under a key."""
        file = os.open(self._path(key)[1], os.O_RDONLY)
        try:
            return os.read(file, 65536)
        finally:
            os.close(file)

    def write(self, key: str, data: bytes) -> None:
        """Replace the bytes under a key."""
        folder, path = self._path(key)
        file = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(file, data)
            if self._durable:
                os.fsync(file)
        finally:
            os.close(file)
        os.replace(path + ".new", path)
        if self._durable:
            file = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(file)
            finally:
                os.close(file)
