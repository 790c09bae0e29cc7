"""TLS in front of a server that does not support it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def tls_in_front_of(
    port: int, certificate: Path, key: Path, *, clients_of: Path | None = None
) -> Iterator[int]:
    """Yield a port of 127.0.0.1 with TLS that passes everything on to another port.

    :param port: the port of the server without TLS.
    :param certificate: the chain that clients see, with its key in ``key``.
    :param clients_of: the authority that must have signed the certificates of clients; None:
        clients show no certificate.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=clients_of)
    context.load_cert_chain(certificate, key)
    if clients_of is not None:
        context.verify_mode = ssl.CERT_REQUIRED

    async def passed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer))
        except BaseException:  # the proxy ends before the client does
            for each in (writer, there_writer):
                each.transport.abort()
            raise

    loop = asyncio.new_event_loop()
    # It logs interrupted handshakes, which tests cause on purpose.
    loop.set_exception_handler(lambda *_: None)
    listening = loop.run_until_complete(
        asyncio.start_server(passed_on, "127.0.0.1", 0, ssl=context)
    )
    thread = threading.Thread(target=loop.run_forever, name="tls")
    thread.start()
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(_end(listening), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _end(listening: asyncio.Server) -> None:
    listening.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
