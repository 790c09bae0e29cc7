"""Sessions by their ids, for frameworks that have a session object of their own."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from coatcheck import MemoryStore, Record, SessionEvent, SessionOptions, Sessions
from coatcheck.errors import ConfigurationError, IdTaken, SerializationError, StoreClosed
from coatcheck.session_lifecycle import (
    FormerSession,
    Operations,
    SessionLifecycle,
    StoredSession,
)

pytestmark = pytest.mark.anyio
SECRET = "a secret for tests, which is long enough"


class World:
    """A store with a clock, and what stores sessions in it."""

    def __init__(self, **options: Any) -> None:
        self.now = 1_000_000.0
        self.store = MemoryStore(clock=lambda: self.now)
        self.events: list[str] = []
        self.options = SessionOptions(
            secret=SECRET, owner="user", clock=lambda: self.now, observers=[self._note], **options
        )
        self.sessions = SessionLifecycle(self.store, self.options)

    def _note(self, event: SessionEvent) -> None:
        self.events.append(event.kind)

    def created(self, data: dict[str, Any], session_id: str | None = None) -> StoredSession:
        return self.sessions.run(self.sessions.create(data, session_id))

    def loaded(self, session_id: str) -> StoredSession:
        found = self.sessions.run(self.sessions.load(session_id))
        assert found is not None
        return found

    def saved(self, stored: StoredSession, data: dict[str, Any]) -> StoredSession | None:
        return self.sessions.run(self.sessions.save(stored, data))

    def keys(self) -> list[str]:
        return [key for key, _ in self.store.all()]


@pytest.fixture
def world() -> World:
    return World()


def test_a_session_is_stored_under_the_hash_of_its_id(world: World) -> None:
    stored = world.created({"user": 42})
    assert world.keys() == [world.sessions.ref_of(stored.id)]
    assert stored.id not in repr(stored)
    assert "42" not in repr(stored)
    (entry,) = Sessions(world.store, world.options).list(42)
    assert (entry.ref, entry.data) == (world.sessions.ref_of(stored.id), {"user": 42})
    assert world.loaded(stored.id).data == {"user": 42}
    assert world.sessions.run(world.sessions.exists(stored.id))


def test_raw_ids_are_keys() -> None:
    world = World(hash_ids=False)
    stored = world.created({})
    assert world.keys() == [stored.id]


def test_parallel_changes_are_merged(world: World) -> None:
    first = world.created({"a": 1})
    second = world.loaded(first.id)
    world.saved(second, {"a": 1, "b": 2})
    merged = world.saved(first, {"a": 1, "c": 3})
    assert merged is not None
    assert merged.data == {"a": 1, "b": 2, "c": 3} == world.loaded(first.id).data


def test_a_session_that_was_ended_is_not_stored_again(world: World) -> None:
    stored = world.created({"a": 1})
    world.sessions.run(world.sessions.end(stored.id))
    assert world.saved(stored, {"a": 2}) is None
    assert world.saved(stored, {"a": 1}) is None
    assert world.sessions.run(world.sessions.touch(stored)) is None
    assert world.sessions.run(world.sessions.rotate(stored, {"a": 1})) is None
    assert world.sessions.run(world.sessions.load(stored.id)) is None
    assert not world.sessions.run(world.sessions.exists(stored.id))


@pytest.mark.parametrize("damaged", [False, True], ids=["too old", "damaged"])
def test_what_cannot_be_loaded_does_not_exist(damaged: bool) -> None:
    """Its record may still be there."""
    world = World()
    stored = world.created({"a": 1})
    (key,) = world.keys()
    sessions = world.sessions
    if damaged:
        world.store.set(key, Record(b"?", world.now + 60))
    else:
        sessions = SessionLifecycle(world.store, replace(world.options, absolute_timeout=60))
        world.now += 61
    assert world.store.get(key) is not None
    assert sessions.run(sessions.load(stored.id)) is None
    assert not sessions.run(sessions.exists(stored.id))


def test_unchanged_data_move_the_expiry_alone(world: World) -> None:
    stored = world.created({"a": [1]})
    world.now += 10
    touched = world.saved(stored, {"a": [1]})
    assert touched is not None
    assert touched.expires_at == stored.expires_at + 10 == world.loaded(stored.id).expires_at
    assert world.events == ["created", "touched", "loaded"]
    changed = world.saved(touched, {"a": [2]})
    assert changed is not None
    assert world.events[-1] == "updated"
    world.sessions.run(world.sessions.touch(changed, world.now + 1))
    assert world.loaded(stored.id).expires_at == world.now + 1


def test_a_rotation_keeps_the_session_and_its_end(world: World) -> None:
    old = world.created({"cart": 1})
    other = world.loaded(old.id)
    world.now += 10
    new = world.sessions.run(world.sessions.rotate(old, {"cart": 1, "user": 42}))
    assert new is not None
    assert new.id != old.id
    assert (new.created_at, new.owner) == (old.created_at, "42")
    assert world.sessions.run(world.sessions.load(old.id)) is None
    assert world.saved(other, {"cart": 2}) is None
    # A logout under the old id follows the session.
    world.sessions.run(world.sessions.end(old.id))
    assert world.sessions.run(world.sessions.load(new.id)) is None


def test_a_rotation_merges_what_others_wrote(world: World) -> None:
    old = world.created({"cart": 1})
    world.saved(world.loaded(old.id), {"cart": 1, "seen": True})
    new = world.sessions.run(world.sessions.rotate(old, {"cart": 1, "user": 42}))
    assert new is not None
    assert new.data == {"cart": 1, "seen": True, "user": 42}


def rotated(world: World, stored: StoredSession) -> StoredSession:
    found = world.sessions.run(world.sessions.rotate(stored, stored.data))
    assert found is not None
    return found


@pytest.mark.parametrize("hash_ids", [True, False])
def test_a_session_that_others_have_rotated_can_go_on_under_an_id_of_its_own(
    hash_ids: bool,
) -> None:
    world = World(hash_ids=hash_ids)
    old = world.created({"cart": 1})
    world.now += 10
    first = rotated(world, rotated(world, world.loaded(old.id)))
    assert world.sessions.run(world.sessions.rotate(old, {"cart": 1})) is None
    second = world.sessions.run(world.sessions.fork(old, {"cart": 1, "user": 42}))
    assert second is not None
    assert (second.created_at, second.owner) == (old.created_at, "42")
    assert world.loaded(second.id).data == {"cart": 1, "user": 42}
    # Who ends the session under the id that both had ends both.
    world.sessions.run(world.sessions.end(old.id))
    for each in (first, second):
        assert world.sessions.run(world.sessions.load(each.id)) is None


@pytest.mark.parametrize("rotations", [0, 1])
def test_a_session_that_was_ended_does_not_go_on(world: World, rotations: int) -> None:
    old = last = world.created({"cart": 1})
    for _ in range(rotations):
        last = rotated(world, last)
    world.sessions.run(world.sessions.end(last.id))
    before = world.keys()
    assert world.sessions.run(world.sessions.fork(old, {"cart": 1})) is None
    assert world.keys() == before


def test_a_session_of_a_user_never_goes_on_beside_another(world: World) -> None:
    """A logout that comes at the same moment might not find it."""
    old = world.created({"user": 42})
    new = rotated(world, old)
    before = world.keys()
    assert world.sessions.run(world.sessions.fork(old, {"user": 42})) is None
    assert world.sessions.run(world.sessions.fork(old, {})) is None
    assert world.keys() == before
    assert world.loaded(new.id).owner == "42"


def test_a_session_that_is_ended_while_it_goes_on_stays_ended(world: World) -> None:
    """The logout read which ids the session had before the new one was among them."""
    old = world.created({"cart": 1})
    new = rotated(world, old)
    steps = world.sessions.fork(old, {"user": 42})
    store, operation = world.store, next(steps)
    with pytest.raises(StopIteration) as stop:
        while True:
            found = getattr(store, operation.name)(*operation.args)  # type: ignore[union-attr]
            if operation.name == "set" and operation.args[1].owner == "42":  # type: ignore[union-attr]
                store.destroy(world.sessions.ref_of(new.id))
            operation = steps.send(found)
    assert stop.value.value is None
    assert all(key.startswith("successors:") for key, _ in store.all())


# Sessions that the framework kept elsewhere before


def former(world: World, name: str = "old", ids: tuple[str, ...] = ("a" * 32,)) -> FormerSession:
    return FormerSession(identity=name, session_ids=ids, expires_at=world.now + 3600)


def test_a_former_session_begins_one_session_of_ours(world: World) -> None:
    takeover, old = world.sessions.takeover, former(world)
    session_id = world.sessions.run(takeover.begin(old, {"user": 42}))
    assert session_id == "a" * 32
    assert world.loaded(session_id).owner == "42"
    world.saved(world.loaded(session_id), {"user": 42, "seen": True})
    assert world.sessions.run(takeover.begin(old, {"user": 42})) == session_id
    assert world.loaded(session_id).data == {"user": 42, "seen": True}
    # Another one is another one.
    other = former(world, "other", ("b" * 32,))
    assert world.sessions.run(takeover.begin(other, {"user": 43})) == "b" * 32


def test_it_leads_to_the_session_for_ten_minutes_after_the_browser_has_the_id(
    world: World,
) -> None:
    takeover, old = world.sessions.takeover, former(world)
    session_id = world.sessions.run(takeover.begin(old, {"user": 42}))
    world.now += 30
    assert world.sessions.run(takeover.begin(old, None)) == session_id
    for _ in range(2):  # the second time does not count
        world.sessions.run(takeover.finish(old))
        world.now += 300
        world.saved(world.loaded(str(session_id)), {"user": 42, "at": world.now})
        assert world.sessions.run(takeover.begin(old, {"user": 42})) == session_id
    world.now += 1
    assert world.sessions.run(takeover.begin(old, {"user": 42})) is None


@pytest.mark.parametrize("begins", [False, True])
def test_a_former_session_that_was_ended_begins_nothing(world: World, begins: bool) -> None:
    takeover = world.sessions.takeover
    ids = ("a" * 32, "b" * 32)
    if begins:
        # As another process, whose secrets are in another order.
        begun = former(world, ids=ids[::-1])
        assert world.sessions.run(takeover.begin(begun, {"user": 42})) == ids[1]
        assert world.sessions.run(takeover.begin(former(world, ids=ids), None)) == ids[1]
    world.sessions.run(takeover.end(former(world, ids=ids)))
    assert world.sessions.run(takeover.begin(former(world, ids=ids), {"user": 42})) is None
    assert all(":" in key for key, _ in world.store.all())


def test_there_is_nothing_without_data_and_without_a_session(world: World) -> None:
    assert world.sessions.run(world.sessions.takeover.begin(former(world), None)) is None
    world.sessions.run(world.sessions.takeover.finish(former(world)))
    with pytest.raises(SerializationError):
        world.sessions.run(world.sessions.takeover.begin(former(world), {"bad": object()}))
    assert world.keys() == []


def test_an_expiry_that_others_have_set_is_kept() -> None:
    world = World()
    sessions = SessionLifecycle(
        world.store, world.options, expiry=lambda data: world.now + data.get("ttl", 60)
    )
    first = sessions.run(sessions.create({"a": 1}))
    second = sessions.run(sessions.load(first.id))
    assert second is not None
    sessions.run(sessions.save(second, {"a": 1, "ttl": 5}))
    world.now += 1
    touched = sessions.run(sessions.save(first, {"a": 1}))
    assert touched is not None
    assert touched.data == {"a": 1, "ttl": 5}
    assert touched.expires_at == world.now + 5 == world.loaded(first.id).expires_at
    world.now += 4.5
    world.store.destroy(sessions.ref_of(first.id))
    assert sessions.run(sessions.save(touched, {"a": 1, "ttl": 5})) is None


def test_the_integration_decides_when_a_session_ends() -> None:
    world = World()
    sessions = SessionLifecycle(
        world.store, world.options, expiry=lambda data: world.now + data.get("ttl", 60)
    )
    stored = sessions.run(sessions.create({"ttl": 5}))
    assert stored.expires_at == world.now + 5
    changed = sessions.run(sessions.save(stored, {"ttl": 50}))
    assert changed is not None
    assert changed.expires_at == world.now + 50
    world.now += 51
    assert sessions.run(sessions.load(stored.id)) is None


def test_an_id_of_another_session_is_refused(world: World) -> None:
    world.created({"a": 1}, "12345678")
    with pytest.raises(IdTaken):
        world.created({"a": 2}, "12345678")
    assert world.loaded("12345678").data == {"a": 1}


def test_ids_are_made_until_one_is_free() -> None:
    ids = itertools.chain(["a" * 16] * 3, itertools.repeat("b" * 16))
    world = World(generate_id=lambda request: next(ids))
    assert world.created({}).id == "a" * 16
    assert world.created({}).id == "b" * 16
    for step in (
        lambda: world.created({}),
        lambda: world.sessions.run(world.sessions.rotate(world.loaded("a" * 16), {})),
    ):
        with pytest.raises(ConfigurationError, match="returned ids of other sessions 3 times"):
            step()


def test_expired_records_are_removed(world: World) -> None:
    world.created({})
    stored = world.created({})
    world.now += 86401
    assert world.sessions.run(world.sessions.prune(1)) == 1
    assert world.sessions.run(world.sessions.prune()) == 1
    assert not world.sessions.run(world.sessions.exists(stored.id))


def test_a_store_that_is_closed_is_noticed(world: World) -> None:
    world.sessions.run(world.sessions.ping())
    world.store.close()
    with pytest.raises(StoreClosed):
        world.sessions.run(world.sessions.ping())


def test_only_a_store_is_a_store(world: World) -> None:
    wrong: Any = "memory:"
    with pytest.raises(ConfigurationError, match="needs a store object"):
        SessionLifecycle(wrong, world.options)


Decision = Callable[[SessionLifecycle], Operations[StoredSession | None]]


def log_in(sessions: SessionLifecycle) -> Operations[StoredSession | None]:
    """The example of the module's docstring, as an integration would have it."""
    visitor = yield from sessions.create({"cart": 1})
    found = yield from sessions.load(visitor.id)
    assert found is not None
    return (yield from sessions.rotate(found, {**found.data, "user": 42}))


async def test_a_decision_is_written_once_for_sync_and_async(world: World) -> None:
    for stored in (
        world.sessions.run(log_in(world.sessions)),
        await world.sessions.arun(log_in(world.sessions)),
    ):
        assert stored is not None
        assert world.loaded(stored.id).data == {"cart": 1, "user": 42}
