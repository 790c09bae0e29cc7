"""Sessions in use, and a ledger of acknowledged calls."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from coatcheck import ABSENT, ALWAYS, AsyncStore, Condition, Record, Unchanged
from coatcheck.errors import StoreError

#: Seconds that a session lives.
LIFETIME: Final = 3600.0


@dataclass
class Session:
    """One session, as seen by the only worker that uses it at the moment.

    :ivar key: the key of its record; a session that begins again has a new one.
    :ivar data: the data that were last read or acknowledged; None before it was created.
    :ivar possible: other data that may be stored, now or later, because a write ended with an
        error. A later acknowledged write excludes them: they would replace data that are gone.
    :ivar looked: whether it was read since the last failed write.
    """

    key: str
    data: bytes | None = None
    possible: set[bytes] = field(default_factory=set)
    looked: bool = True
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass
class Outcome:
    """The outcome of a load.

    :ivar acknowledged: calls that returned.
    :ivar failed: calls that raised, by the class of the error.
    :ivar untyped: errors that are not coatcheck's own.
    :ivar lost: acknowledged writes that were not stored afterwards.
    :ivar revived: ended sessions that were stored afterwards.
    :ivar longest: seconds that the longest call took.
    :ivar successes: when calls returned, for the time of recovery.
    """

    acknowledged: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    untyped: list[BaseException] = field(default_factory=list)
    lost: int = 0
    revived: int = 0
    longest: float = 0.0
    successes: list[float] = field(default_factory=list)

    def recovery(self, since: float) -> float:
        """Return seconds from a time (monotonic) to the first call that returned after it."""
        return next((at - since for at in self.successes if at > since), float("inf"))


class Load:
    """Workers that create, read, write, touch and end sessions.

    :param store: the store that they use.
    :param workers: how many work at once.
    :param sessions: how many sessions there are at any time.
    :param seed: the seed of random choices.
    """

    def __init__(self, store: AsyncStore, *, workers: int, sessions: int, seed: int = 0) -> None:
        self._store = store
        self._workers = workers
        self._random = random.Random(seed)
        self._sessions = [Session(uuid.uuid4().hex) for _ in range(sessions)]
        self._ended: list[str] = []
        self._numbers = iter(range(10**9))
        self.outcome = Outcome()
        self.done = asyncio.Event()

    async def run(self) -> None:
        """Work until ``done`` is set."""
        await asyncio.gather(*(self._work() for _ in range(self._workers)))

    async def check(self) -> None:
        """Read every session when the fault is over."""
        for session in self._sessions:
            if session.data is not None:
                await self._read(session)
        for key in self._ended:
            if await self._store.get(key) is not None:
                self.outcome.revived += 1

    async def _work(self) -> None:
        while not self.done.is_set():
            session = self._random.choice(self._sessions)
            if session.lock.locked():
                await asyncio.sleep(0)
                continue
            async with session.lock:
                await self._use(session)

    async def _use(self, session: Session) -> None:
        began = time.monotonic()
        try:
            if session.data is None:
                await self._begin(session)
            elif not session.looked:
                await self._read(session)  # find out what is stored after the error
            else:
                await self._act(session)
            self.outcome.acknowledged += 1
            self.outcome.successes.append(time.monotonic())
        except StoreError as error:
            self.outcome.failed[type(error).__name__] += 1
            await asyncio.sleep(0)  # a connection that is refused may fail without waiting
        except Exception as error:
            self.outcome.untyped.append(error)
        finally:
            self.outcome.longest = max(self.outcome.longest, time.monotonic() - began)

    async def _act(self, session: Session) -> None:
        action = self._random.choices(
            (self._read, self._write, self._touch, self._end), (40, 40, 10, 10)
        )
        await action[0](session)

    async def _begin(self, session: Session) -> None:
        data = self._content()
        session.key, session.possible, session.looked = uuid.uuid4().hex, set(), True
        # Each attempt has a new key, because a failed one may still arrive.
        if await self._store.set(session.key, self._record(data), ABSENT):
            session.data = data
        else:
            self.outcome.lost += 1

    async def _read(self, session: Session) -> None:
        found = await self._store.get(session.key)
        data = None if found is None else found.data
        if data is not None and data in session.possible:
            # The data were read but never acknowledged, so a crash may undo the write.
            session.possible = (session.possible | {session.data or data}) - {data}
            session.data = data
        elif data != session.data:
            self.outcome.lost += 1
            session.data, session.possible = data, set()
        session.looked = True

    async def _write(self, session: Session) -> None:
        assert session.data is not None, "only sessions that exist are written"
        data = self._content()
        may_be_another = bool(session.possible)
        session.possible.add(data)
        session.looked = False
        if await self._store.set(session.key, self._record(data), Unchanged(session.data)):
            session.data, session.possible, session.looked = data, set(), True
            return
        session.possible.discard(data)
        self.outcome.lost += not may_be_another

    async def _touch(self, session: Session) -> None:
        if not await self._store.touch(session.key, time.time() + LIFETIME):
            self.outcome.lost += 1

    async def _end(self, session: Session) -> None:
        only_if: Condition = ALWAYS
        if session.data is not None and not session.possible and self._random.random() < 0.5:
            only_if = Unchanged(session.data)  # as a login ends the previous session
        # If this fails, the key is not used again: nobody knows whether the session ended.
        session.data, session.possible = None, set()
        if await self._store.destroy(session.key, only_if):
            self._ended.append(session.key)
        else:
            self.outcome.lost += 1

    def _content(self) -> bytes:
        return b"%d %s" % (next(self._numbers), b"x" * self._random.randrange(200, 800))

    def _record(self, data: bytes) -> Record:
        return Record(data, time.time() + LIFETIME)
