"""Start and stop the demo."""

from __future__ import annotations

import asyncio
import socket
import ssl
import tempfile
from collections.abc import Generator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import trustme
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from coatcheck import Capabilities
from coatcheck.errors import ConfigurationError

from . import _races as races
from ._frameworks import Settings, Site, make
from ._glass import Glass
from ._home import home
from ._pages import wall

HOST: Final = "127.0.0.1"

_TRY: Final = """\
Try this:
  - fill the cart, then log in: another session id, the same cart
  - look at the column beside the page: it shows what each request did
  - press "Race two tabs", then "Log out while a slow request writes"
  - tick "Remember me": the cookie stays for 30 days instead of until the browser closes
  - log out: the cookie is gone, and a copy of it no longer works"""
_TRY_OWNERS: Final = """\
  - log in with the same name in a second browser, then `Your devices`: log out everywhere else"""

_TRY_RESTART: Final = """\
  - stop the demo and start it again: nobody is logged out"""

_NO_RESTART: Final = """
A restart logs everybody out. With `pip install coatcheck-file`, or with a `--store` that lasts and
a secret in the environment variable SESSION_SECRET, it does not."""

_CERTIFICATE: Final = """
The certificate was made for this run. Browsers warn of it, unless they trust its CA:
  {path}
"""


class RunningDemo:
    """Hold a demo that accepts requests.

    :ivar url: the URL, without a slash at the end.
    :ivar capabilities: the capabilities of its store.
    :ivar cookie_name: the name of the session cookie.
    :ivar ca: the file of the CA whose certificate it shows; None without https.
    """

    def __init__(
        self,
        url: str,
        capabilities: Capabilities,
        serving: Future[None],
        cookie_name: str,
        ca: Path | None,
    ) -> None:
        self.url = url
        self.capabilities = capabilities
        self.cookie_name = cookie_name
        self.ca = ca
        self._serving = serving

    def tls(self) -> ssl.SSLContext:
        """Return a context for clients. It trusts the demo's CA, and no other."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.ca is not None:
            context.load_verify_locations(self.ca)
        return context

    def wait(self) -> None:
        """Wait until the demo has stopped by itself. Ctrl-C interrupts."""
        # The waits are short, because on Windows nothing interrupts a long one.
        while not self._serving.done():
            wait([self._serving], timeout=0.5)
        self._serving.result()


@contextmanager
def running(
    store_url: str, secret: str, port: int = 0, *, framework: str = "asgi", https: bool = False
) -> Generator[RunningDemo, None, None]:
    """Serve the demo in a thread until the end of the block.

    With a durable store and the same secret, the sessions of one block go on in the next.

    :param store_url: the store to open; it is closed at the end.
    :param secret: signs the cookies.
    :param port: 0 takes a free one.
    :param framework: ``"asgi"``, ``"flask"`` or ``"django"``.
    :param https: whether to serve over https, with a certificate that is made now.
    :raises ConfigurationError: the framework is not installed, the store does not accept the URL,
        the secret is too short, or the port cannot be listened on.
    :raises StoreError: the store does not answer.
    """
    started: Future[None] = Future()
    settings = Settings(store_url, secret, https)
    site = make(framework, settings)
    with (
        _listen(port) as listener,
        tempfile.TemporaryDirectory(prefix="coatcheck-demo-ca-") as folder,
        ThreadPoolExecutor(1) as threads,
    ):
        url = f"{'https' if https else 'http'}://{HOST}:{listener.getsockname()[1]}"
        ca = Path(folder, "ca.pem") if https else None
        server = _Server(_configuration(site, settings, url, ca), started)
        serving = threads.submit(asyncio.run, _serve(server, site, listener))
        try:
            wait((serving, started), return_when=FIRST_COMPLETED)
            if serving.done():
                serving.result()
            yield RunningDemo(url, site.capabilities, serving, settings.cookie_name, ca)
        finally:
            server.should_exit = True


def serve(store_url: str | None, port: int, *, framework: str = "asgi", https: bool = False) -> int:
    """Serve the demo until Ctrl-C, and return the exit status.

    :param store_url: the store to open; None for that of :func:`~coatcheck_demo._home.home`.
    :raises ConfigurationError: see :func:`running`.
    :raises StoreError: the store does not answer.
    """
    kept = home(store_url)
    try:
        with running(kept.store_url, kept.secret, port, framework=framework, https=https) as demo:
            print(f"The demo is at {demo.url} (store: {kept.described}; Ctrl-C stops it)\n")
            print(_TRY)
            if demo.capabilities.owners:
                print(_TRY_OWNERS)
            lasts = demo.capabilities.durable and kept.keeps_secret
            print(_TRY_RESTART if lasts else _NO_RESTART)
            if demo.ca is not None:
                print(_CERTIFICATE.format(path=demo.ca), end="")
            print(flush=True)
            demo.wait()
    except KeyboardInterrupt:
        print("\nstopped")
    return 0


class _Server(uvicorn.Server):
    """Run a server that tells when it accepts requests."""

    def __init__(self, config: uvicorn.Config, started: Future[None]) -> None:
        super().__init__(config)
        self._started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started.set_result(None)


def application(site: Site, settings: Settings, url: str) -> Starlette:
    """Return the demo: the shop behind glass, and its files.

    :param url: the URL of the demo, for the experiments.
    """
    glass = Glass(
        site.app,
        cookie_name=settings.cookie_name,
        https=settings.https,
        is_signed=site.is_signed,
        render=wall,
        experiments={
            "/race": partial(races.race, base_url=url),
            "/late-write": partial(races.late_write, base_url=url),
        },
    )
    static: Any = StaticFiles(packages=[("coatcheck_demo", "static")])
    return Starlette(routes=[Mount("/static", static), Mount("", glass)])


def _configuration(site: Site, settings: Settings, url: str, ca: Path | None) -> uvicorn.Config:
    """Return the settings of the server.

    :param ca: the file that the certificate of the CA is written to; None without https.
    """
    chain = key = None
    if ca is not None:
        chain, key = _make_certificate(ca)
    return uvicorn.Config(
        application(site, settings, url),
        lifespan="off",
        ws="none",
        proxy_headers=False,
        access_log=False,
        log_config=None,
        log_level="warning",
        timeout_graceful_shutdown=5,
        ssl_certfile=chain,
        ssl_keyfile=key,
    )


def _make_certificate(ca: Path) -> tuple[Path, Path]:
    """Make a CA and a certificate for this host, and return the files of its chain and its key."""
    authority = trustme.CA()
    certificate = authority.issue_cert(HOST, "localhost")
    authority.cert_pem.write_to_path(ca)
    chain, key = ca.with_name("certificate.pem"), ca.with_name("key.pem")
    key.touch(mode=0o600)
    certificate.private_key_pem.write_to_path(key)
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(chain, append=True)
    return chain, key


def _listen(port: int) -> socket.socket:
    try:
        listener = socket.create_server((HOST, port))
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on port {port}: {error.strerror}; choose another with `--port`"
        ) from error
    # Connections inherit it. asyncio sets it only where a socket names its protocol, and without
    # it the second part of each response is 40 ms late.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


async def _serve(server: uvicorn.Server, site: Site, listener: socket.socket) -> None:
    try:
        await site.ping()
        await server.serve(sockets=[listener])
    finally:
        await site.close()
