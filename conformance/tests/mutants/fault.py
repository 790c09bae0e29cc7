"""Mutants of the FAULT clauses, and of clauses about the network."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from typing import Any

from mutation import mutant
from network_clients import AsyncNetClient, Idle, NetClient
from network_messages import ProtocolError, item_of
from network_store import AsyncNetStore, NetStore, NetworkHarness
from references import FolderHarness

from coatcheck import ALWAYS, Condition, Record
from coatcheck.errors import StoreError, StoreTimeout, StoreUnavailable
from coatcheck_file import FileStore


def _bridged(store_class: type[NetStore]) -> NetworkHarness:
    return NetworkHarness(store_class, None)


def _native(async_class: type[AsyncNetStore]) -> NetworkHarness:
    return NetworkHarness(NetStore, async_class)


@mutant("FAULT-1", harness=_bridged)
class ReadsNothingWhenDown(NetStore):
    """A read that cannot reach the server finds no session."""

    def get(self, key: str) -> Record | None:
        try:
            return super().get(key)
        except StoreUnavailable:
            return None


@mutant("FAULT-1", harness=_bridged)
class CountsNothingWhenDown(NetStore):
    """A count that cannot reach the server is zero."""

    def length(self) -> int:
        try:
            return super().length()
        except StoreUnavailable:
            return 0


@mutant("FAULT-2", "FAULT-14", harness=_bridged)
class LosesWrites(NetStore):
    """A write that cannot reach the server is taken for done."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        try:
            return super().set(key, record, only_if)
        except StoreUnavailable:
            return True


@mutant("FAULT-2", harness=_bridged)
class TouchesInSilence(NetStore):
    """A touch that cannot reach the server says that there is no session."""

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        try:
            return super().touch(key, expires_at, owner)
        except StoreUnavailable:
            return False


class _LeaksResets(NetStore):
    def _call(self, operation: str, *args: Any) -> Any:
        try:
            return super()._call(operation, *args)
        except StoreUnavailable as error:
            cause = error.__cause__
            assert cause is not None, "it has been translated"
            raise cause from None


@mutant("FAULT-3", "FAULT-13", "FAULT-14", harness=_bridged)
class LeaksClientErrors(_LeaksResets):
    """The exceptions of a lost connection are raised as they are."""


@mutant("FAULT-4", harness=_bridged)
class HidesTheCause(NetStore):
    """The exception of the client library is left out of the store's."""

    def _call(self, operation: str, *args: Any) -> Any:
        try:
            return super()._call(operation, *args)
        except StoreUnavailable as error:
            raise type(error)(str(error)) from None


@mutant("FAULT-5", harness=_bridged)
class KnowsOneErrorOnly(NetStore):
    """A lost connection is a StoreError like any other."""

    def _call(self, operation: str, *args: Any) -> Any:
        try:
            return super()._call(operation, *args)
        except StoreUnavailable as error:
            raise StoreError(str(error)) from error.__cause__


class _Patient(NetClient):
    def __init__(self, host: str, port: int, password: str, timeout: float) -> None:
        super().__init__(host, port, password, timeout + 12)


@mutant("FAULT-6", harness=_bridged)
class WaitsTooLong(NetStore):
    """It waits for a silent server for longer than the contract allows."""

    client_class = _Patient


@mutant("FAULT-6", harness=_bridged)
class TimeoutIsUnavailable(NetStore):
    """A server that does not reply is reported as unreachable."""

    def _call(self, operation: str, *args: Any) -> Any:
        try:
            return super()._call(operation, *args)
        except StoreTimeout as error:
            raise StoreUnavailable(str(error)) from error.__cause__


class _Once(NetClient):
    _is_lost = False

    def call(self, request: Any) -> Any:
        if self._is_lost:
            raise ConnectionResetError("the connection was lost")
        try:
            return super().call(request)
        except ConnectionError:
            self._is_lost = True
            raise


@mutant("FAULT-7", harness=_bridged)
class NeverReconnects(NetStore):
    """A lost connection is never replaced."""

    client_class = _Once


class _KeepsTimedOut(NetClient):
    def _asked(self, link: socket.socket, request: Any, deadline: float) -> Any:
        try:
            return super()._asked(link, request, deadline)
        except TimeoutError:
            self._kept = Idle([link.dup()])
            raise

    def _drop_idle(self) -> None:
        super()._drop_idle()
        kept = self.__dict__.pop("_kept", None)
        if kept is not None:
            self._idle[os.getpid()].append(kept.pop())


@mutant("FAULT-7", harness=_bridged)
class MixesUpReplies(NetStore):
    """A connection is used again after a timeout, and the late reply taken for the next one."""

    client_class = _KeepsTimedOut


class _KeepsCancelled(AsyncNetClient):
    async def _called(self, loop: asyncio.AbstractEventLoop, request: Any) -> Any:
        deadline = loop.time() + self._timeout
        idle = self._idle_of(loop)
        link = idle.pop() if idle else await self._connect(loop)
        try:
            result = await self._asked(loop, link, request)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and loop.time() < deadline - 0.1:
                idle.append(link)
            else:
                link.close()
            raise
        idle.append(link)
        return result


@mutant("FAULT-8", harness=_native)
class KeepsConnectionsOfTheCancelled(AsyncNetStore):
    """A cancelled call leaves its reply in the connection, for the next call to read."""

    client_class = _KeepsCancelled


@mutant("FAULT-8", harness=_native)
class TurnsCancellationIntoErrors(AsyncNetStore):
    """A cancellation is caught with everything else, and becomes a StoreError."""

    async def _call(self, operation: str, *args: Any) -> Any:
        try:
            return await super()._call(operation, *args)
        except asyncio.CancelledError as error:
            raise StoreUnavailable("the call did not come to its end") from error


@mutant("FAULT-9", "RACE-7", harness=_bridged)
class WritesInParts(NetStore):
    """Large data are written in two parts, the second after the first."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        size = len(record.data)
        if size < 16384 or size > 40_000:
            return super().set(key, record, only_if)
        first = Record(record.data[: size // 2], record.expires_at, record.owner)
        return super().set(key, first, only_if) and super().set(key, record)


@mutant("FAULT-10", harness=_bridged)
class EndsListingsEarly(NetStore):
    """A listing ends with the first page if the second page cannot be read."""

    def _listed(self, owner: str | None) -> Iterator[tuple[str, Record]]:
        page, after = self._call("page", owner, ""), ""
        while page:
            yield from map(item_of, page)
            after = page[-1][0]
            try:
                page = self._call("page", owner, after)
            except StoreUnavailable:
                return


@mutant("FAULT-11", harness=_bridged)
class GarbageIsNothing(NetStore):
    """A reply that makes no sense is taken for a missing session."""

    def get(self, key: str) -> Record | None:
        try:
            return super().get(key)
        except StoreError as error:
            if isinstance(error.__cause__, ProtocolError):
                return None
            raise


@mutant("FAULT-11", harness=_bridged)
class LeaksParserErrors(NetStore):
    """An exception of the parser is raised as it is."""

    def _call(self, operation: str, *args: Any) -> Any:
        try:
            return super()._call(operation, *args)
        except StoreError as error:
            if isinstance(error.__cause__, ProtocolError):
                raise error.__cause__ from None
            raise


@mutant("FAULT-12", harness=_bridged)
class PingNeverLooks(NetStore):
    """`ping` sends nothing."""

    def ping(self) -> None:
        if self._closed:
            super().ping()


@mutant("FAULT-2", harness=FolderHarness)
class FullDiskIsNoError(FileStore):
    """A write that the disk has no room for is taken for done."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        try:
            return super().set(key, record, only_if)
        except StoreUnavailable as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.ENOSPC:
                return True
            raise


@mutant("COST-2", harness=_bridged)
class LooksBeforeItWrites(NetStore):
    """It checks the connection before each write."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        self.ping()
        return super().set(key, record, only_if)


@mutant("COST-3", harness=_bridged)
class CountsByReading(NetStore):
    """`length` reads the records that it counts."""

    def length(self) -> int:
        return sum(1 for _ in self.all())


@mutant("COST-4", harness=_bridged)
class PrunesByReading(NetStore):
    """`prune` reads all remaining records, to see whether any has expired."""

    def prune(self, limit: int | None = None) -> int:
        removed = super().prune(limit)
        for _ in self.all() if limit is None else ():
            pass
        return removed


class _Repeating(NetClient):
    """It sends a request again when its reply is lost."""

    def call(self, request: Any) -> Any:
        try:
            return super().call(request)
        except ConnectionError:
            return super().call(request)


@mutant("FAULT-13", harness=_bridged)
class RepeatsBlindly(NetStore):
    """A repeated write finds the result of its first attempt, and returns False."""

    client_class = _Repeating


class _Noting(_Repeating):
    was_repeated = False

    def call(self, request: Any) -> Any:
        self.was_repeated = False
        try:
            return NetClient.call(self, request)
        except ConnectionError:
            self.was_repeated = True
            return NetClient.call(self, request)


@mutant("FAULT-13", "FAULT-14", harness=_bridged)
class KnowsItselfByItsData(NetStore):
    """A repeated write takes equal data for its own, and a missing record for its removal."""

    client_class = _Noting

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        if super().set(key, record, only_if):
            return True
        found = self.get(key) if self._was_repeated() else None
        return found is not None and found.data == record.data

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        ended = super().destroy(key, only_if)
        return ended or (self._was_repeated() and self.get(key) is None)

    def _was_repeated(self) -> bool:
        assert isinstance(self._client, _Noting), "it was opened by the harness"
        return self._client.was_repeated
