"""The memory store keeps the contract, within its bounds."""

from __future__ import annotations

import logging
import sys
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from webclient import Clock

from coatcheck import ABSENT, ALWAYS, PRESENT, MemoryStore, Record, Unchanged
from coatcheck.errors import ConfigurationError, StoreClosed
from coatcheck.store import Condition

KEY = "k" * 64


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    return MemoryStore(clock=clock)


def record(
    clock: Clock, data: bytes = b"data", life: float = 60, owner: str | None = None
) -> Record:
    return Record(data, clock() + life, owner)


def keys(records: Any) -> set[str]:
    return {key for key, _ in records}


# The operations


def test_a_record_comes_back_as_it_was(store: MemoryStore, clock: Clock) -> None:
    """A read returns what was written, bytes and owner included."""
    written = record(clock, bytes(range(256)), owner="ann")
    assert store.set(KEY, written) is True
    assert store.get(KEY) == written


def test_a_missing_record_is_none(store: MemoryStore) -> None:
    """Absence is a value, not an error."""
    assert store.get(KEY) is None


@pytest.mark.parametrize("before", ["live", "missing", "expired"])
@pytest.mark.parametrize(
    ("only_if", "holds"),
    [
        (ALWAYS, {"live", "missing", "expired"}),
        (ABSENT, {"missing", "expired"}),
        (PRESENT, {"live"}),
        (Unchanged(b"old"), {"live"}),
        (Unchanged(b"other"), set()),
        (Unchanged(b""), set()),
    ],
    ids=["always", "absent", "present", "unchanged", "changed", "empty"],
)
@pytest.mark.parametrize("life", [60, -1])
def test_set_evaluates_its_condition(
    store: MemoryStore, clock: Clock, life: float, only_if: Condition, holds: set[str], before: str
) -> None:
    """A condition sees a live record or none; an expiry in the past changes nothing about that."""
    prepare(store, clock, before)
    assert store.set(KEY, record(clock, b"new", life), only_if) is (before in holds)
    kept = b"old" if before == "live" else None
    written = b"new" if life > 0 else None
    found = store.get(KEY)
    assert (found.data if found else None) == (written if before in holds else kept)


@pytest.mark.parametrize("before", ["live", "missing", "expired"])
@pytest.mark.parametrize(
    ("only_if", "removes"),
    [
        (ALWAYS, True),
        (ABSENT, False),
        (PRESENT, True),
        (Unchanged(b"old"), True),
        (Unchanged(b"other"), False),
    ],
    ids=["always", "absent", "present", "unchanged", "changed"],
)
def test_destroy_says_whether_it_removed_a_live_record(
    store: MemoryStore, clock: Clock, only_if: Condition, removes: bool, before: str
) -> None:
    """Only a live record can be removed, and only where the condition holds."""
    prepare(store, clock, before)
    removed = before == "live" and removes
    assert store.destroy(KEY, only_if) is removed
    assert (store.get(KEY) is not None) is (before == "live" and not removed)


def prepare(store: MemoryStore, clock: Clock, before: str) -> None:
    if before != "missing":
        store.set(KEY, record(clock, b"old"))
    if before == "expired":
        clock.advance(60)


@pytest.mark.parametrize("life", [3600, 1])
def test_touch_lengthens_and_shortens(store: MemoryStore, clock: Clock, life: float) -> None:
    """The last expiry counts, whether it is later or earlier than the one before."""
    store.set(KEY, record(clock, owner="ann"))
    assert store.touch(KEY, clock() + life, "ann") is True
    assert store.get(KEY) == record(clock, life=life, owner="ann")
    clock.advance(life - 0.5)
    assert store.get(KEY) is not None
    clock.advance(0.5)
    assert store.get(KEY) is None


@pytest.mark.parametrize("life", [3600, 1])
def test_set_lengthens_and_shortens(store: MemoryStore, clock: Clock, life: float) -> None:
    """Writing a record again moves its expiry, both ways."""
    store.set(KEY, record(clock))
    store.set(KEY, record(clock, b"new", life), PRESENT)
    clock.advance(life - 0.5)
    assert store.get(KEY) is not None
    clock.advance(0.5)
    assert store.get(KEY) is None
    assert store.length() == 0


@pytest.mark.parametrize("owner", [None, "ann", "bob"])
def test_touch_never_alters_data_or_owner(
    store: MemoryStore, clock: Clock, owner: str | None
) -> None:
    """Whatever owner a touch names, the record keeps its data and its owner."""
    store.set(KEY, record(clock, owner="ann"))
    store.touch(KEY, clock() + 90, owner)
    assert store.get(KEY) == record(clock, life=90, owner="ann")
    assert keys(store.owned_by("ann")) == {KEY}
    assert keys(store.owned_by("bob")) == set()


@pytest.mark.parametrize("before", ["missing", "expired"])
def test_touch_never_creates(store: MemoryStore, clock: Clock, before: str) -> None:
    """A touch of what is not there is False, and leaves it so."""
    prepare(store, clock, before)
    assert store.touch(KEY, clock() + 60) is False
    assert store.get(KEY) is None


def test_touch_into_the_past_ends_a_record(store: MemoryStore, clock: Clock) -> None:
    """An expiry in the past is accepted, and the record is absent afterwards."""
    store.set(KEY, record(clock))
    assert store.touch(KEY, clock() - 1) is True
    assert store.get(KEY) is None
    assert store.set(KEY, record(clock), ABSENT) is True


def test_a_record_is_absent_from_the_instant_it_expires(store: MemoryStore, clock: Clock) -> None:
    """The expiry itself is already too late."""
    store.set(KEY, record(clock, life=60))
    clock.advance(60)
    assert store.get(KEY) is None


HOSTILE = [
    "a", "A", "/", "..", "../../etc/passwd", "*", "?", "[a]", "{a}", "%", "_", "a\x00b", "a",
    "\x00", " ", "a ", "a\n", "é", "e\u0301", "ß", "ss", "İ", "\ufeffa", "\U0001f9e5", "x" * 256,
    "x" * 255, "'; --", "$ne", "a.b", "a:b", "con", "-1", "0", "None",
]  # fmt: skip


def test_keys_are_injective(store: MemoryStore, clock: Clock) -> None:
    """No two keys share a record, however alike they look."""
    distinct = list(dict.fromkeys(HOSTILE))
    for number, key in enumerate(distinct):
        assert store.set(key, record(clock, b"%d" % number), ABSENT) is True
    assert store.length() == len(distinct)
    for number, key in enumerate(distinct):
        found = store.get(key)
        assert found is not None
        assert found.data == b"%d" % number
    for number, key in enumerate(distinct, start=1):
        assert store.destroy(key) is True
        assert store.length() == len(distinct) - number


# Enumeration


def test_the_enumerating_verbs_agree(store: MemoryStore, clock: Clock) -> None:
    """`all`, `length` and `owned_by` see the live records, the same ones."""
    for number in range(10):
        owner = "ann" if number % 2 else None
        store.set(f"key-{number}", record(clock, life=10 * (number + 1), owner=owner))
    clock.advance(50)
    live = {f"key-{number}" for number in range(5, 10)}
    assert keys(store.all()) == live
    assert store.length() == 5
    assert keys(store.owned_by("ann")) == {"key-5", "key-7", "key-9"}
    assert keys(store.owned_by("nobody")) == set()


def test_clear_removes_everything(store: MemoryStore, clock: Clock) -> None:
    """After `clear` nothing is left, in the index neither, and the store goes on."""
    store.set(KEY, record(clock, owner="ann"))
    store.clear()
    assert store.get(KEY) is None
    assert store.length() == 0
    assert keys(store.all()) == keys(store.owned_by("ann")) == set()
    assert store.set(KEY, record(clock), ABSENT) is True


def test_enumeration_does_not_mind_changes(store: MemoryStore, clock: Clock) -> None:
    """Records that come and go while one iterates are shown or not, and break nothing."""
    for number in range(4):
        store.set(f"key-{number}", record(clock, owner="ann"))
    for records in (store.all(), store.owned_by("ann")):
        seen = [next(records)[0]]
        store.destroy("key-3")
        store.set("newcomer", record(clock, owner="ann"))
        seen += [key for key, _ in records]
        assert "key-3" not in seen or seen[0] == "key-3"
        store.set("key-3", record(clock, owner="ann"))


def test_the_owner_index_follows_the_record(store: MemoryStore, clock: Clock) -> None:
    """A record is found under the owner that it has now, and under no other."""
    story = ["ann", "bob", None, "ann"]
    for owner in story:
        store.set(KEY, record(clock, owner=owner))
        assert {name for name in ("ann", "bob") if keys(store.owned_by(name))} == {owner} - {None}
    store.set("second", record(clock, owner="ann"))
    store.set("third", record(clock, owner="ann"))
    assert keys(store.owned_by("ann")) == {KEY, "second", "third"}
    store.destroy("second")
    store.destroy(KEY)
    assert keys(store.owned_by("ann")) == {"third"}


def test_prune_removes_what_expired(store: MemoryStore, clock: Clock) -> None:
    """Pruning counts what it removed, and spares what lives, touched records included."""
    for number in range(6):
        store.set(f"key-{number}", record(clock, life=10))
    store.touch("key-0", clock() + 100)
    clock.advance(50)
    assert store.prune() == 5
    assert store.prune() == 0
    assert keys(store.all()) == {"key-0"}


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_prune_examines_no_more_than_its_limit(
    store: MemoryStore, clock: Clock, limit: int
) -> None:
    """The limit bounds the records that are examined."""
    for number in range(6):
        store.set(f"key-{number}", record(clock, life=10))
    clock.advance(50)
    assert store.prune(limit) == limit
    assert store.prune() == 6 - limit


# Bounds


def test_a_full_store_drops_expired_records_first(clock: Clock) -> None:
    """As long as something expired is there to go, nobody is logged out."""
    store = MemoryStore(max_sessions=3, clock=clock)
    store.set("oldest", record(clock, life=100))
    store.set("short", record(clock, life=10))
    store.set("middle", record(clock, life=100))
    clock.advance(10)
    store.set("new", record(clock, life=100))
    assert keys(store.all()) == {"oldest", "middle", "new"}


@pytest.mark.parametrize(
    "use",
    [
        lambda store, clock: store.get("first"),
        lambda store, clock: store.touch("first", clock() + 100),
        lambda store, clock: store.set("first", record(clock)),
    ],
    ids=["get", "touch", "set"],
)
def test_a_full_store_drops_the_least_recently_used(
    clock: Clock, use: Callable[[MemoryStore, Clock], object]
) -> None:
    """Reading, touching and writing count as use; the record nobody used goes."""
    store = MemoryStore(max_sessions=2, clock=clock)
    store.set("first", record(clock))
    store.set("second", record(clock))
    use(store, clock)
    store.set("third", record(clock))
    assert keys(store.all()) == {"first", "third"}
    assert store.length() == 2


def test_listing_is_not_use(clock: Clock) -> None:
    """Looking through the sessions keeps none of them alive."""
    store = MemoryStore(max_sessions=2, clock=clock)
    store.set("first", record(clock, owner="ann"))
    store.set("second", record(clock))
    list(store.owned_by("ann"))
    assert next(store.all())[0]
    store.set("third", record(clock))
    assert keys(store.all()) == {"second", "third"}


def test_dropped_records_leave_the_owner_index(clock: Clock) -> None:
    """Sessions that were dropped for room are not listed under any owner."""
    store = MemoryStore(max_sessions=1, clock=clock)
    store.set("first", record(clock, owner="ann"))
    store.set("second", record(clock, owner="bob"))
    assert keys(store.owned_by("ann")) == set()
    assert keys(store.owned_by("bob")) == {"second"}


def test_a_full_store_still_changes_what_it_has(clock: Clock) -> None:
    """Writing an existing record needs no room, and drops nothing."""
    store = MemoryStore(max_sessions=2, clock=clock)
    for key in ("first", "second", "first", "second"):
        assert store.set(key, record(clock, b"new"))
    assert keys(store.all()) == {"first", "second"}


def test_a_refused_write_drops_nothing(clock: Clock) -> None:
    """A condition that does not hold makes no room."""
    store = MemoryStore(max_sessions=1, clock=clock)
    store.set("first", record(clock))
    assert store.set("second", record(clock), PRESENT) is False
    assert store.set("second", record(clock), Unchanged(b"data")) is False
    assert keys(store.all()) == {"first"}


def test_a_record_that_is_over_already_drops_nobody(clock: Clock) -> None:
    """An expiry in the past takes no room, so nobody has to leave for it."""
    store = MemoryStore(max_sessions=1, clock=clock)
    store.set("first", record(clock))
    assert store.set("second", record(clock, life=-1)) is True
    assert keys(store.all()) == {"first"}


def test_a_full_store_warns_once(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """The first dropped session is logged, with the bound and without keys or data."""
    store = MemoryStore(max_sessions=2, clock=clock)
    with caplog.at_level(logging.DEBUG, "coatcheck"):
        for number in range(10):
            store.set(f"secret-{number}", record(clock, b"private"))
    assert [line.levelname for line in caplog.records] == ["WARNING"]
    assert caplog.messages == [
        "the memory store is full with 2 sessions: the least recently used are dropped"
    ]


def test_expired_records_make_room_without_a_warning(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Room that expiry makes is no reason to warn."""
    store = MemoryStore(max_sessions=2, clock=clock)
    for number in range(10):
        store.set(f"key-{number}", record(clock, life=1))
        clock.advance(1)
    assert caplog.messages == []


def test_each_set_removes_some_expired_records(store: MemoryStore, clock: Clock) -> None:
    """Without pruning, the dead do not outnumber the living for long."""
    for number in range(100):
        store.set(f"old-{number}", record(clock, life=1))
    clock.advance(1)
    for number in range(100):
        store.set(f"new-{number}", record(clock))
    assert store.prune() == 0


def touched(store: MemoryStore, clock: Clock, turn: int) -> None:
    clock.advance(1)
    store.touch(KEY, clock() + 60)


def shortened_and_lengthened(store: MemoryStore, clock: Clock, turn: int) -> None:
    store.touch(KEY, clock() + (60 if turn % 2 else 3600 - turn / 1000))


def ever_shorter(store: MemoryStore, clock: Clock, turn: int) -> None:
    store.touch(KEY, clock() + 1e6 - turn)


def rewritten(store: MemoryStore, clock: Clock, turn: int) -> None:
    store.set(KEY, record(clock, life=1e6 - turn, owner=f"owner-{turn % 2}"))


def recreated(store: MemoryStore, clock: Clock, turn: int) -> None:
    store.destroy(KEY)
    store.set(KEY, record(clock, life=3600 + turn, owner=f"owner-{turn}"))


def expired_and_recreated(store: MemoryStore, clock: Clock, turn: int) -> None:
    store.set(KEY, record(clock, life=1, owner="ann"))
    clock.advance(1)
    store.get(KEY)


def abandoned(store: MemoryStore, clock: Clock, turn: int) -> None:
    store.set(f"key-{turn}", record(clock, life=1, owner=f"owner-{turn}"))
    clock.advance(1)


def cleared(store: MemoryStore, clock: Clock, turn: int) -> None:
    store.set(f"key-{turn}", record(clock, owner=f"owner-{turn}"))
    if turn % 10 == 0:
        store.clear()


def already_over(store: MemoryStore, clock: Clock, turn: int) -> None:
    store.set(f"key-{turn}", record(clock, life=-turn))


@pytest.mark.parametrize(
    "turn",
    [
        touched,
        shortened_and_lengthened,
        ever_shorter,
        rewritten,
        recreated,
        expired_and_recreated,
        abandoned,
        cleared,
        already_over,
    ],
    ids=lambda turn: turn.__name__,
)
def test_memory_does_not_grow(
    store: MemoryStore, clock: Clock, turn: Callable[[MemoryStore, Clock, int], None]
) -> None:
    """However often a session is used, memory stays what its live records need."""
    store.set(KEY, record(clock, owner="ann"))
    for number in range(500):
        turn(store, clock, number)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(500, 5_500):
            turn(store, clock, number)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 100_000


# Threads


def at_once(count: int, work: Callable[[int], object]) -> list[object]:
    """Return the results of ``count`` threads that start together."""
    barrier = threading.Barrier(count)
    results: list[object] = []

    def run(number: int) -> None:
        barrier.wait()
        results.append(work(number))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == count
    return results


@pytest.mark.parametrize("attempt", range(10))
def test_one_of_many_threads_creates(store: MemoryStore, clock: Clock, attempt: int) -> None:
    """Of threads that set on condition ABSENT exactly one wins, and its data stay."""
    outcomes = at_once(16, lambda n: store.set(KEY, record(clock, b"%d" % n), ABSENT) and b"%d" % n)
    winners = [outcome for outcome in outcomes if outcome is not False]
    found = store.get(KEY)
    assert found is not None
    assert winners == [found.data]


@pytest.mark.parametrize(
    "work",
    [
        lambda store, clock, n: store.destroy(KEY),
        lambda store, clock, n: store.set(KEY, record(clock, b"%d" % n), Unchanged(b"data")),
        lambda store, clock, n: store.destroy(KEY, Unchanged(b"data")),
    ],
    ids=["destroy", "unchanged", "destroy unchanged"],
)
def test_one_of_many_threads_wins(
    store: MemoryStore, clock: Clock, work: Callable[[MemoryStore, Clock, int], bool]
) -> None:
    """Condition and write are one step."""
    store.set(KEY, record(clock))
    outcomes = at_once(16, lambda number: work(store, clock, number))
    assert outcomes.count(True) == 1


def test_threads_lose_no_increment(store: MemoryStore, clock: Clock) -> None:
    """Compare-and-set in a loop counts exactly, whatever the threads do."""
    store.set(KEY, record(clock, b"0"))

    def count(_: int) -> None:
        for _ in range(50):
            while True:
                found = store.get(KEY)
                assert found is not None
                more = record(clock, b"%d" % (int(found.data) + 1))
                if store.set(KEY, more, Unchanged(found.data)):
                    break

    at_once(8, count)
    found = store.get(KEY)
    assert found is not None
    assert found.data == b"400"


def test_threads_may_do_anything_at_once(clock: Clock) -> None:
    """Operations, listings and pruning from many threads leave a store whose views agree."""
    store = MemoryStore(max_sessions=50, clock=clock)

    def live(number: int) -> None:
        for turn in range(200):
            key = f"key-{(number * 7 + turn) % 80}"
            life = -1 if turn % 5 == 0 else turn + 1
            store.set(key, record(clock, b"%d" % turn, life, f"owner-{turn % 3}"))
            store.touch(key, clock() + turn)
            store.get(f"key-{turn % 80}")
            if turn % 20 == 0:
                list(store.all())
                list(store.owned_by("owner-1"))
                store.prune(5)
            if turn % 3 == 0:
                store.destroy(key)

    at_once(8, live)
    listed = keys(store.all())
    owned = [keys(store.owned_by(f"owner-{number}")) for number in range(3)]
    assert store.length() == len(listed) <= 50
    assert set().union(*owned) == listed
    assert sum(map(len, owned)) == len(listed)


# Life


OPERATIONS: dict[str, tuple[Any, ...]] = {
    "get": (KEY,),
    "set": (KEY, Record(b"data", 2e9)),
    "destroy": (KEY,),
    "touch": (KEY, 2e9),
    "all": (),
    "length": (),
    "clear": (),
    "owned_by": ("ann",),
    "prune": (),
    "ping": (),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_closed_store_says_so(store: MemoryStore, operation: str) -> None:
    """Closing twice is closing once; each operation raises StoreClosed, at the call."""
    store.ping()
    store.close()
    store.close()
    with pytest.raises(StoreClosed, match=r"^this memory store is closed$"):
        getattr(store, operation)(*OPERATIONS[operation])


def test_iterations_end_with_the_store(store: MemoryStore, clock: Clock) -> None:
    """An iteration that was under way when the store was closed does not look complete."""
    store.set("first", record(clock))
    store.set("second", record(clock))
    records = store.all()
    next(records)
    store.close()
    with pytest.raises(StoreClosed):
        next(records)


def test_it_can_be_called_on_an_event_loop() -> None:
    """The memory store says that it never blocks, and that it serves one process."""
    capabilities = MemoryStore.capabilities
    assert not capabilities.blocking
    assert not capabilities.multi_process
    assert not capabilities.durable
    assert capabilities.enumerable
    assert capabilities.clearable
    assert capabilities.owners


def test_two_stores_share_nothing(clock: Clock) -> None:
    """Each memory store is a namespace of its own, from a URL as well."""
    stores = [MemoryStore(clock=clock), MemoryStore.from_url("memory:", clock=clock)]
    stores[0].set(KEY, record(clock))
    assert stores[1].get(KEY) is None


def test_a_repr_shows_nothing(store: MemoryStore, clock: Clock) -> None:
    """Neither keys nor data nor owners are in the repr of a store or its records."""
    store.set("secret-key", record(clock, b"secret-data", owner="secret-owner"))
    assert "secret" not in repr(store) + repr(next(iter(store.all()))[1])


# Making one


@pytest.mark.parametrize("url", ["memory:", "memory://", "memory:?max_sessions=2"])
def test_a_url_makes_a_store(url: str, clock: Clock) -> None:
    """The scheme is enough, the bound may be added, and the clock is passed on."""
    store = MemoryStore.from_url(url, clock=clock)
    store.set(KEY, record(clock, life=1))
    clock.advance(1)
    assert store.get(KEY) is None


def test_a_url_can_bound_the_store(clock: Clock) -> None:
    """`max_sessions` in the URL is the constructor's."""
    store = MemoryStore.from_url("memory:?max_sessions=2", clock=clock)
    for number in range(5):
        store.set(f"key-{number}", record(clock))
    assert store.length() == 2


@pytest.mark.parametrize(
    "url",
    [
        "memory:?max_sessions=0",
        "memory:?max_sessions=-1",
        "memory:?max_sessions=many",
        "memory:?max_sessions=",
        "memory:?max_sessions=1.5",
        "memory:?max_sessions=\u0663",
        "memory:?max_sessions=" + "9" * 5000,
        "memory:?max_sessions=5&max_sessions=6",
        "memory:?size=5",
        "memory://localhost",
        "memory://user:hunter2@localhost",
        "memory:name",
        "memory:#part",
        "memory://[",
    ],
)
def test_a_url_that_makes_no_sense_is_refused(url: str) -> None:
    """Nothing in a URL is ignored, and no password of it is repeated."""
    with pytest.raises(ConfigurationError) as caught:
        MemoryStore.from_url(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("bound", [0, -1, 1.5, "5", None, True])
def test_a_bound_that_makes_no_sense_is_refused(bound: Any) -> None:
    """A store holds a positive whole number of sessions."""
    with pytest.raises(ConfigurationError, match="`max_sessions` must be a positive integer"):
        MemoryStore(max_sessions=bound)


def test_an_index_entry_that_an_interruption_has_left_lists_nothing() -> None:
    """An exception of a signal handler may come before the entry of the former owner is removed."""
    store = MemoryStore()
    store.set("key", Record(b"{}", 4e9, "ann"))
    interrupted = threading.Event()

    def stop(frame: Any, event: str, _: object) -> Any:
        if frame.f_code.co_name == "_unindex" and not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt
        return stop

    sys.settrace(stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            store.set("key", Record(b"{}", 4e9, "bob"))
    finally:
        sys.settrace(None)
    assert list(store.owned_by("ann")) == []
    assert [key for key, _ in store.owned_by("bob")] == ["key"]
