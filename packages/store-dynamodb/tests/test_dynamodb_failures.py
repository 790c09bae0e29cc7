"""Replies that are lost, refusals, and what is said about them."""

from __future__ import annotations

import copy
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from dynamodb_backend import Backend, counted
from visiting import visits

from coatcheck import ABSENT, PRESENT, Condition, Record, Unchanged
from coatcheck._records.succession import is_succession
from coatcheck.errors import StoreError, StoreTimeout, StoreUnavailable
from coatcheck_conformance._kit.proxy import Proxy
from coatcheck_dynamodb import DynamoDBStore
from coatcheck_dynamodb._url import parse
from testing.interrupts import interrupted
from testing.servers.dynamodb import DynamoDBServer
from testing.servers.process import PortReservation

pytestmark = pytest.mark.integration("dynamodb")

RECORD = Record(b"data", 4102444800.0)


def later() -> float:
    return time.time() + 3600


@pytest.fixture
def proxy(backend: Backend) -> Iterator[Proxy]:
    address = urlsplit(parse(backend.url).endpoint_url or "")
    proxy = Proxy((str(address.hostname), int(address.port or 80)))
    yield proxy
    proxy.close()


@pytest.fixture
def through(backend: Backend, proxy: Proxy) -> Iterator[DynamoDBStore]:
    here = parse(backend.url).endpoint_url or ""
    store = DynamoDBStore.from_url(
        backend.url.replace(here, f"http://127.0.0.1:{proxy.port}") + "&timeout=1"
    )
    yield store
    store.close()


def with_a_lost_reply(proxy: Proxy, call: Callable[[], Any], mode: Any = "lost") -> Any:
    """Return what a call does whose first attempt is carried out, and whose reply is lost."""
    with ThreadPoolExecutor(1) as threads:
        with losing_a_reply(proxy, mode):
            called = threads.submit(call)
        return called.result(20)


@contextmanager
def losing_a_reply(proxy: Proxy, mode: Any = "lost") -> Iterator[None]:
    """Lose the next reply, for which the end of the block waits."""
    with proxy.doing(mode):
        before = proxy.traffic.copy()
        yield
        deadline = time.monotonic() + 5
        while not proxy.traffic.since(before).received and time.monotonic() < deadline:
            time.sleep(0.001)  # nothing else tells that the reply was lost


def test_a_write_whose_reply_was_lost_is_known_again(
    through: DynamoDBStore, proxy: Proxy, backend: Backend
) -> None:
    assert with_a_lost_reply(proxy, lambda: through.set("key", RECORD, ABSENT))
    changed = Record(b"changed", 4102444800.0, "ann")
    assert with_a_lost_reply(proxy, lambda: through.set("key", changed, Unchanged(b"data")))
    assert through.get("key") == changed
    assert with_a_lost_reply(proxy, lambda: through.touch("key", 4102444900.0))
    with pytest.raises(StoreTimeout, match="not known") as caught:
        with_a_lost_reply(proxy, lambda: through.destroy("key"))
    assert caught.value.__cause__ is not None
    assert backend.item("key") is None
    assert through.set("key", RECORD)
    assert with_a_lost_reply(proxy, lambda: through.touch("key", 1_700_000_000.0))
    assert through.get("key") is None


@pytest.mark.parametrize("mode", ["cut", "half-close"])
def test_a_write_of_whose_reply_a_half_came_is_known_again(
    through: DynamoDBStore, proxy: Proxy, backend: Backend, mode: str
) -> None:
    """botocore itself repeats a success that is not whole."""
    assert with_a_lost_reply(proxy, lambda: through.set("key", RECORD, ABSENT), mode)
    changed = Record(b"changed", 4102444800.0)
    assert with_a_lost_reply(proxy, lambda: through.set("key", changed, Unchanged(b"data")), mode)
    with pytest.raises(StoreTimeout, match="not known"):
        with_a_lost_reply(proxy, lambda: through.destroy("key"), mode)
    assert backend.item("key") is None


def meanwhile(store: DynamoDBStore, other: Callable[[], object], number: int = 2) -> None:
    """Let something happen before a request that a store sends: the second from now on, or so."""
    sent: list[object] = []

    def count(**_: object) -> None:
        sent.append(1)
        if len(sent) == number:
            other()

    store._client.get().meta.events.register("before-send.dynamodb", count)


def test_a_touch_between_the_attempts_changes_nothing(
    through: DynamoDBStore, proxy: Proxy, store: DynamoDBStore
) -> None:
    assert store.set("key", RECORD)
    meanwhile(through, lambda: store.touch("key", 4102444900.0))
    changed = Record(b"changed", 4102444800.0)
    assert with_a_lost_reply(proxy, lambda: through.set("key", changed, Unchanged(b"data")))
    assert store.get("key") == Record(b"changed", 4102444900.0)


def test_a_write_between_the_attempts_leaves_it_open(
    through: DynamoDBStore, proxy: Proxy, store: DynamoDBStore
) -> None:
    """Whether it replaced ours or came before it: nobody may say that nothing was changed."""
    assert store.set("key", RECORD)
    meanwhile(through, lambda: store.set("key", Record(b"other", 4102444800.0)))
    changed = Record(b"changed", 4102444800.0)
    with pytest.raises(StoreTimeout, match="not known"):
        with_a_lost_reply(proxy, lambda: through.set("key", changed, Unchanged(b"data")))
    with pytest.raises(StoreTimeout, match="not known"):
        with_a_lost_reply(proxy, lambda: through.set("key", changed, ABSENT))
    # The data are not those that must be removed.
    assert not with_a_lost_reply(proxy, lambda: through.destroy("key", Unchanged(b"changed")))
    store.destroy("key")
    assert not with_a_lost_reply(proxy, lambda: through.set("key", changed, Unchanged(b"other")))


@pytest.mark.parametrize("condition", [PRESENT, Unchanged(b"data")], ids=["present", "unchanged"])
def test_a_conditional_ending_whose_reply_was_lost_is_known_again(
    through: DynamoDBStore, proxy: Proxy, store: DynamoDBStore, condition: Condition
) -> None:
    """A login ends so what it goes on with, unless somebody else has ended that."""
    assert store.set("key", RECORD)
    assert with_a_lost_reply(proxy, lambda: through.destroy("key", condition))
    assert store.get("key") is None
    assert not store.destroy("key", condition)


def test_an_ending_by_somebody_else_between_the_attempts(
    through: DynamoDBStore, proxy: Proxy, store: DynamoDBStore
) -> None:
    """Of two that leave a tombstone one was it; of one that removes all nothing is known."""
    store.set("key", Record(b"other", 4102444800.0))
    meanwhile(through, lambda: store.destroy("key", PRESENT))
    assert not with_a_lost_reply(proxy, lambda: through.destroy("key", Unchanged(b"data")))
    store.set("key", RECORD)
    meanwhile(through, lambda: store.destroy("key"))
    with pytest.raises(StoreTimeout, match="not known"):
        with_a_lost_reply(proxy, lambda: through.destroy("key", Unchanged(b"data")))


def test_a_tombstone_is_no_session_that_was_touched(
    through: DynamoDBStore, proxy: Proxy, backend: Backend
) -> None:
    """Though its expiry be the one that was asked for."""
    store = DynamoDBStore(
        backend.client, table=backend.table, prefix=backend.prefix, clock=lambda: 4102444740.0
    )
    store.set("key", RECORD)
    with ExitStack() as resetting:
        resetting.enter_context(proxy.doing("reset"))

        def end() -> None:
            resetting.close()
            store.destroy("key", PRESENT)

        meanwhile(through, end)
        assert not through.touch("key", RECORD.expires_at)
    assert (backend.item("key") or {})["expires"] == {"N": "4102444800"}


@pytest.mark.parametrize("concurrency", ["merge", "last-write-wins"])
def test_a_login_keeps_the_cart_when_the_old_sessions_end_has_no_reply(
    through: DynamoDBStore, proxy: Proxy, store: DynamoDBStore, concurrency: str
) -> None:
    with visits(through, concurrency=concurrency, touch_interval=3600) as visit:
        visit("/put/hat")
        [(old, _)] = store.all()
        sent, begun = counted(through._client.get()), threading.Event()
        with ThreadPoolExecutor(1) as threads, ExitStack() as losing:

            def lose() -> None:
                losing.enter_context(losing_a_reply(proxy))
                begun.set()

            # the old one is found, the succession record and the new one are stored
            meanwhile(through, lose, 4)
            called = threads.submit(visit, "/login")
            assert begun.wait(5)
            losing.close()
            called.result(20)
        assert sent.total() == 6  # it is ended once more, and looked at
        visit("/put/coat")
        [(new, record)] = [item for item in store.all() if not is_succession(item[0])]
    assert new != old
    assert b"hat" in record.data
    assert b"coat" in record.data


@pytest.mark.parametrize("mode", ["cut", "half-close", "garbage", "noise"])
def test_half_a_reply_is_no_answer(through: DynamoDBStore, proxy: Proxy, mode: Any) -> None:
    """An empty one would be taken for that of a session that is not there."""
    through.set("key", RECORD)
    with proxy.doing(mode), pytest.raises(StoreError):
        through.get("key")
    assert through.get("key") == RECORD


def test_one_of_several_removals_removed_it(store: DynamoDBStore) -> None:
    for number in range(20):
        store.set(str(number), RECORD)
        with ThreadPoolExecutor(8) as threads:
            ended = list(threads.map(store.destroy, [str(number)] * 8))
        assert ended.count(True) == 1


def answering(
    status: int, code: str, words: bytes | None = None, kind: str = "application/x-amz-json-1.0"
) -> tuple[ThreadingHTTPServer, list[str]]:
    """Return a service that refuses each request, as DynamoDB's documentation has it.

    :param words: what it says instead, of this kind.
    """
    asked: list[str] = []

    class Refusing(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked.append(self.headers["X-Amz-Target"])
            self.rfile.read(int(self.headers["Content-Length"]))
            body = words or (
                b'{"__type":"com.amazonaws.dynamodb.v20120810#%s","message":"no"}' % code.encode()
            )
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    service = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=service.serve_forever, args=(0.02,), daemon=True).start()
    return service, asked


@pytest.mark.parametrize(
    ("status", "code", "expected", "words", "attempts"),
    [
        (400, "ProvisionedThroughputExceededException", StoreUnavailable, "capacity", 3),
        (400, "ThrottlingException", StoreUnavailable, "capacity", 3),
        (400, "RequestLimitExceeded", StoreUnavailable, "capacity", 3),
        (400, "ExpiredTokenException", StoreUnavailable, "credentials", 1),
        (400, "UnrecognizedClientException", StoreUnavailable, "credentials", 1),
        (400, "AccessDeniedException", StoreError, "docs/dynamodb.md", 1),
        (400, "ResourceNotFoundException", StoreError, "create-table", 1),
        (400, "ValidationException", StoreError, "an error", 1),
        (500, "InternalServerError", StoreUnavailable, "failed", 3),
        (503, "ServiceUnavailable", StoreUnavailable, "failed", 3),
    ],
)
def test_refusals(
    backend: Backend, status: int, code: str, expected: type, words: str, attempts: int
) -> None:
    service, asked = answering(status, code)
    store = DynamoDBStore.from_url(
        f"dynamodb://sessions?region=eu-west-1&endpoint_url=http://127.0.0.1:{service.server_port}"
    )
    began = time.monotonic()
    with pytest.raises(expected, match=words) as caught:
        store.set("key", RECORD)
    assert type(caught.value) is expected
    assert time.monotonic() - began < 10
    assert asked == ["DynamoDB_20120810.UpdateItem"] * attempts
    store.close()
    service.shutdown()
    service.server_close()


def test_errors_name_the_service(backend: Backend) -> None:
    """By its host and port; a caller's client knows them, too."""
    nobody = PortReservation()
    endpoint = f"http://127.0.0.1:{nobody.port}"
    opened = DynamoDBStore.from_url(
        f"dynamodb://sessions?region=eu-west-1&endpoint_url={endpoint}&attempts=1"
    )
    client = boto3.session.Session().client(
        "dynamodb",
        region_name="eu-west-1",
        endpoint_url=endpoint,
        config=Config(retries={"total_max_attempts": 1}),  # boto3 itself tries for ten seconds
    )
    for store in (opened, DynamoDBStore(client, table="sessions")):
        address = f"DynamoDB at 127.0.0.1:{nobody.port} cannot be reached"
        with pytest.raises(StoreUnavailable, match=address):
            store.get("key")
        store.close()
    client.close()
    nobody.end()


def test_a_page_of_somebody_elses_is_no_answer(backend: Backend) -> None:
    """A proxy's, in good order: nobody is logged out by it, and nothing seems to be written."""
    service, _ = answering(200, "", b"<html>maintenance</html>", "text/html")
    store = DynamoDBStore.from_url(
        f"dynamodb://sessions?region=eu-west-1&endpoint_url=http://127.0.0.1:{service.server_port}"
    )
    for call in (
        lambda: store.get("key"),
        lambda: store.set("key", RECORD, ABSENT),
        lambda: store.touch("key", 4102444800.0),
        lambda: store.destroy("key"),
        store.ping,
        store.length,
        lambda: list(store.all()),
        lambda: list(store.owned_by("ann")),
        store.clear,
    ):
        with pytest.raises(StoreError, match="not one of DynamoDB"):
            call()
    store.close()
    service.shutdown()
    service.server_close()


def test_throttled_callers_wait_for_a_bounded_time(backend: Backend) -> None:
    """The client slows down by itself; it must not stop."""
    service, _ = answering(400, "ProvisionedThroughputExceededException")
    store = DynamoDBStore.from_url(
        f"dynamodb://sessions?region=eu-west-1&endpoint_url=http://127.0.0.1:{service.server_port}"
    )

    def seconds(_: int) -> float:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.get("key")
        return time.monotonic() - began

    with ThreadPoolExecutor(8) as threads:
        longest = max(threads.map(seconds, range(24)))
    store.close()
    service.shutdown()
    service.server_close()
    assert longest < 20


def batch_of(wanted: Any) -> list[Any]:
    """Return what is asked for in a table: to be read, or to be written."""
    batch: list[Any] = wanted["Keys"] if isinstance(wanted, dict) else wanted
    return batch


def leave_undone(client: Any, at_once: int) -> None:
    """Have a client carry out a part of each batch, as a busy service does.

    :param at_once: how many are carried out each time. 0: never any.
    """

    def hold_back(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
        context["left"] = left = copy.deepcopy(params["RequestItems"])
        params["RequestItems"] = kept = copy.deepcopy(left)
        for wanted in left.values():
            del batch_of(wanted)[:at_once]
        for wanted in kept.values():
            del batch_of(wanted)[at_once or 1 :]

    def tell(parsed: dict[str, Any], context: dict[str, Any], model: Any, **_: object) -> None:
        left = context["left"]
        for table, wanted in list(left.items()):
            if not batch_of(wanted):
                del left[table]
        parsed["UnprocessedKeys" if "Get" in model.name else "UnprocessedItems"] = left

    for operation in ("BatchGetItem", "BatchWriteItem"):
        client.meta.events.register(f"provide-client-params.dynamodb.{operation}", hold_back)
        client.meta.events.register(f"after-call.dynamodb.{operation}", tell)


def test_what_a_busy_service_leaves_undone_is_asked_for_again(backend: Backend) -> None:
    store = DynamoDBStore(backend.client, table=backend.table, prefix=backend.prefix)
    for number in range(8):
        store.set(str(number), Record(b"data", 4102444800.0, "ann"))
    leave_undone(backend.client, 1)  # it takes its time: more attempts than without progress
    assert sorted(key for key, _ in store.owned_by("ann")) == list("01234567")
    store.clear()
    assert store.length() == 0


def test_what_is_never_done_is_an_error(backend: Backend) -> None:
    store = DynamoDBStore(backend.client, table=backend.table, prefix=backend.prefix)
    store.set("key", Record(b"data", 4102444800.0, "ann"))
    leave_undone(backend.client, 0)
    for call in (lambda: list(store.owned_by("ann")), store.clear):
        with pytest.raises(StoreUnavailable, match="capacity"):
            call()


def test_a_listing_takes_no_more_capacity_than_it_may(backend: Backend) -> None:
    """Some 50 units for the first page, at 40 a second."""
    # A table of its own: a page holds what other tests write as well.
    store = DynamoDBStore(backend.client, table=f"listing-{uuid.uuid4().hex}", scan_units=40)
    store.ensure_table()
    size = 70
    for number in range(size):
        store.set(str(number), Record(b"x" * 3000, later()))
    began = time.monotonic()
    assert len(list(store.all())) == size
    assert time.monotonic() - began > 1


def test_nothing_of_a_session_is_logged(
    store: DynamoDBStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    store.set("the-key", Record(b"the-data", 4102444800.0, "the-owner"))
    store.get("the-key")
    list(store.owned_by("the-owner"))
    assert "the-" not in caplog.text


def test_a_service_that_is_killed_comes_back_with_everything() -> None:
    with DynamoDBServer(keeps=True) as service:
        store = DynamoDBStore.from_url(f"{service.url}&attempts=1&timeout=20")
        store.ensure_table()
        assert store.set("key", RECORD)
        service.kill()
        with pytest.raises(StoreUnavailable):
            store.get("key")
        service.start()
        assert store.get("key") == RECORD
        store.close()


def test_a_client_that_a_signal_handler_interrupted_is_given_up(backend: Backend) -> None:
    """urllib3 has a queue.Queue, whose locks are in Python code; botocore would try again."""
    interrupted(backend.url, 25, "slow")
