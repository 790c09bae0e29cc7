"""Authors of framework integrations use `coatcheck.integration`."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol
from wsgiref.util import FileWrapper

import pytest
from webclient import SECRET, Clock, CountingStore

from coatcheck import AsyncSession, CookieOptions, MemoryStore, Record, SyncSession, session_of
from coatcheck.errors import ConfigurationError, LateWriteError, StoreError, StoreUnavailable
from coatcheck.integration import (
    ASGIAdapter,
    AsyncIntegration,
    RequestAdapter,
    SyncIntegration,
    WSGIAdapter,
    configured_cookie,
    current_time,
    is_complete_body,
    require_version,
    run_command_line,
    watch_end,
)
from coatcheck.store import ALWAYS, Condition
from coatcheck.wsgi import SessionMiddleware

PLAIN = [("Content-Type", "text/plain")]


class Request:
    """A request of a framework that has neither an environ nor a scope."""

    def __init__(self, path: str = "/", cookies: Sequence[str] = ()) -> None:
        self.path = path
        self.cookies = cookies


class Adapter(RequestAdapter):
    """Read such requests."""

    def cookie_headers(self, request: Mapping[str, Any]) -> Sequence[str]:
        return list(request["request"].cookies)

    def path(self, request: Mapping[str, Any]) -> str:
        return str(request["request"].path)

    def is_https(self, request: Mapping[str, Any]) -> bool:
        return False

    def method(self, request: Mapping[str, Any]) -> str:
        return "GET"

    def header(self, request: Mapping[str, Any], name: str) -> str | None:
        return None


class Opened(Protocol):
    """A request session, whose methods are called as if it were synchronous."""

    session: Any
    is_open: bool
    is_accessed: bool
    is_loaded: bool
    is_new_owners: bool

    def response_headers(self, headers: Any) -> list[tuple[str, str]] | None: ...
    def discard(self) -> None: ...
    def end_unchanged(self) -> None: ...
    def headers_are_sent(self) -> None: ...
    def save_late(self) -> None: ...
    def end(self) -> None: ...
    def fail(self, error: BaseException) -> None: ...


class Framework:
    """A framework of either kind: its requests are opened and saved by these calls."""

    def __init__(self, asynchronous: bool, **options: Any) -> None:
        options.setdefault("store", MemoryStore())
        kind: Any = AsyncIntegration if asynchronous else SyncIntegration
        self.integration = kind(Adapter(), secret=SECRET, **options)
        self.loop = asyncio.new_event_loop() if asynchronous else None
        self.jar: dict[str, str] = {}

    def wait(self, call: Callable[[], Any]) -> Any:
        if self.loop is None:
            return call()

        async def inside() -> Any:
            result = call()
            return await result if isinstance(result, Awaitable) else result

        return self.loop.run_until_complete(inside())

    def open(self, path: str = "/", **arguments: Any) -> Opened:
        cookies = ["; ".join(f"{name}={value}" for name, value in self.jar.items())]
        request = {"request": Request(path, cookies)}
        return Waiting(self, self.wait(lambda: self.integration.open(request, **arguments)))  # type: ignore[return-value]

    def keep(self, headers: list[tuple[str, str]] | None) -> str | None:
        """Do what a browser does with Set-Cookie, and return its line."""
        for name, value in headers or ():
            if name == "set-cookie":
                pair = value.partition(";")[0]
                self.jar[pair.partition("=")[0]] = pair.partition("=")[2]
                return value
        return None

    def visit(self, function: Callable[[Any], Any]) -> Any:
        """Make one request, and return what the function of its session returns."""
        opened = self.open()
        result = function(opened.session)
        self.keep(opened.response_headers(PLAIN))
        opened.end()
        return result


class Waiting:
    """Call the methods of a request session and wait for them."""

    def __init__(self, framework: Framework, opened: Any) -> None:
        self._framework, self._opened = framework, opened

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._opened, name)
        if not callable(value) or name in ("session", "body"):
            return value
        return lambda *arguments: self._framework.wait(lambda: value(*arguments))


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., Framework]]:
    made: list[Framework] = []

    def make_framework(**options: Any) -> Framework:
        made.append(Framework(request.param, **options))
        return made[-1]

    yield make_framework
    for framework in made:
        framework.wait(framework.integration.close)
        if framework.loop is not None:
            framework.loop.close()


Make = Callable[..., Framework]


def test_a_session_goes_from_request_to_request(make: Make) -> None:
    framework = make()
    framework.visit(lambda session: session.update(user=42))
    assert framework.visit(lambda session: session["user"]) == 42


def test_the_headers_are_new_and_have_what_is_due(make: Make) -> None:
    framework = make()
    opened = framework.open()
    opened.session["user"] = 42
    headers = opened.response_headers(PLAIN)
    assert headers is not None
    assert [name for name, _ in headers] == ["Content-Type", "vary", "cache-control", "set-cookie"]
    assert PLAIN == [("Content-Type", "text/plain")]
    opened.end()


def test_a_request_that_leaves_the_session_alone_costs_nothing(make: Make) -> None:
    store = CountingStore()
    framework = make(store=store)
    opened = framework.open()
    assert opened.response_headers(PLAIN) is None
    assert not opened.is_accessed
    assert not opened.is_loaded
    opened.end()
    assert store.calls == []


def test_eager_loads_at_once(make: Make) -> None:
    store = CountingStore()
    framework = make(store=store, eager=True)
    framework.visit(lambda session: session.update(user=42))
    store.calls.clear()
    opened = framework.open()
    assert store.calls == ["get"]
    opened.end()


def test_lazy_loads_at_the_first_use() -> None:
    store = CountingStore()
    framework = Framework(False, store=store)
    framework.visit(lambda session: session.update(user=42))
    store.calls.clear()
    opened = framework.open()
    assert store.calls == []
    assert opened.session["user"] == 42
    assert store.calls == ["get"]
    opened.end()


class SyncOfAFramework(SyncSession):
    @property
    def permanent(self) -> bool:
        return self.cookie.max_age is not None


class AsyncOfAFramework(AsyncSession):
    @property
    def permanent(self) -> bool:
        return self.cookie.max_age is not None


def test_a_session_has_the_class_that_the_framework_needs(make: Make) -> None:
    is_async = make().loop is not None
    kind = AsyncOfAFramework if is_async else SyncOfAFramework
    framework = make(session_class=kind, cookie=CookieOptions(max_age=60))
    assert framework.visit(lambda session: session.permanent) is True
    assert framework.visit(type) is kind


def test_late_changes_are_saved(make: Make) -> None:
    framework = make()
    framework.visit(lambda session: session.update(parts=0))
    opened = framework.open()
    opened.session["parts"] = 1
    opened.response_headers(PLAIN)
    opened.session["parts"] = 2
    opened.save_late()
    opened.end()
    assert framework.visit(lambda session: session["parts"]) == 2


def test_what_a_body_changes_is_saved_before_its_end_is_known() -> None:
    framework = Framework(False)
    framework.visit(lambda session: session.update(parts=0))
    opened = framework.open()
    opened.response_headers(PLAIN)

    def parts() -> Iterator[bytes]:
        for number in (1, 2):
            opened.session["parts"] = number
            yield b"part"

    seen = list(opened.body(parts()))  # type: ignore[attr-defined]
    assert seen == [b"part", b"part"]
    assert framework.visit(lambda session: session["parts"]) == 2
    opened.end()


@pytest.mark.parametrize("raises", [False, True])
def test_a_body_that_stops_early_ends_the_session(raises: bool) -> None:
    framework = Framework(False)
    framework.visit(lambda session: session.update(parts=0))
    opened = framework.open()
    opened.response_headers(PLAIN)
    calls: list[str] = []

    def parts() -> Iterator[bytes]:
        try:
            opened.session["parts"] = 1
            yield b"part"
            if raises:
                raise ZeroDivisionError
            yield b"more"
        finally:
            calls.append("closed")

    body: Any = opened.body(parts(), lambda: calls.append("saves"))  # type: ignore[attr-defined]
    assert next(body) == b"part"
    if raises:
        with pytest.raises(ZeroDivisionError):
            next(body)
    body.close()
    assert calls == (["closed"] if raises else ["closed", "saves"])
    assert not opened.is_open
    assert framework.visit(lambda session: session["parts"]) == (0 if raises else 1)


def test_a_body_that_fails_to_close_ends_the_session() -> None:
    opened = Framework(False).open()

    class Parts(list[bytes]):
        def close(self) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        opened.body(Parts()).close()  # type: ignore[attr-defined]
    assert not opened.is_open


def test_what_an_async_body_changes_is_saved_before_its_end_is_known() -> None:
    framework = Framework(True)
    framework.visit(lambda session: session.update(parts=0))
    opened = framework.open()
    opened.response_headers(PLAIN)

    async def parts() -> AsyncIterator[bytes]:
        for number in (1, 2):
            opened.session["parts"] = number
            yield b"part"

    async def read() -> list[bytes]:
        return [part async for part in opened.body(parts())]  # type: ignore[attr-defined]

    assert framework.wait(read) == [b"part", b"part"]
    assert framework.visit(lambda session: session["parts"]) == 2
    opened.end()
    assert framework.loop is not None
    framework.loop.close()


def test_after_the_headers_no_session_can_begin(make: Make) -> None:
    opened = make().open()
    opened.headers_are_sent()
    with pytest.raises(LateWriteError, match="headers are sent"):
        opened.session["user"] = 42
    opened.end()


def test_discarded_changes_are_not_saved(make: Make) -> None:
    framework = make()
    framework.visit(lambda session: session.update(user=42))
    opened = framework.open()
    opened.session["user"] = 43
    opened.discard()
    assert framework.keep(opened.response_headers(PLAIN)) is None
    opened.end()
    assert framework.visit(lambda session: session["user"]) == 42


def test_a_failed_request_drops_its_changes_and_ends_what_it_ended(make: Make) -> None:
    framework = make()
    framework.visit(lambda session: session.update(user=42))
    opened = framework.open()
    opened.session["user"] = 43
    opened.fail(ValueError())
    assert not opened.is_open
    assert framework.visit(lambda session: session["user"]) == 42
    opened = framework.open()
    opened.session.destroy()
    opened.fail(ValueError())
    assert framework.visit(lambda session: "user" in session) is False


def test_ending_twice_does_nothing(make: Make) -> None:
    opened = make().open()
    opened.response_headers(PLAIN)
    opened.end()
    opened.end()
    opened.save_late()
    opened.fail(ValueError())
    assert not opened.is_open


class Failing(MemoryStore):
    """A store that can be down."""

    is_down = False

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        if self.is_down:
            raise StoreUnavailable("down")
        return super().set(key, record, only_if)


def test_an_error_page_can_follow_a_failed_save(make: Make) -> None:
    store = Failing()
    framework = make(store=store)
    opened = framework.open()
    opened.session["user"] = 42
    store.is_down = True
    with pytest.raises(StoreError):
        opened.response_headers(PLAIN)
    headers = opened.response_headers(PLAIN)
    assert framework.keep(headers) is None
    opened.end()


def test_headers_that_replace_others_have_the_same_cookie(make: Make) -> None:
    """An error after the session was saved has a page of its own."""
    framework = make()
    opened = framework.open()
    opened.session["user"] = 42
    first = opened.response_headers(PLAIN)
    second = opened.response_headers(PLAIN)
    assert second == first
    framework.keep(second)
    opened.end()
    assert framework.visit(lambda session: session["user"]) == 42
    opened = framework.open()
    opened.session["user"] = 43
    assert [framework.keep(opened.response_headers(PLAIN)) for _ in "ab"] == [None, None]
    opened.end()


@pytest.mark.parametrize("is_changed", [False, True])
def test_a_session_ends_unless_another_request_changed_it(make: Make, is_changed: bool) -> None:
    framework = make()
    framework.visit(lambda session: session.update(message="hello"))
    opened = framework.open()
    opened.session.pop("message")
    if is_changed:
        framework.visit(lambda session: session.update(user=42))
    opened.end_unchanged()
    line = framework.keep(opened.response_headers(PLAIN))
    opened.end()
    assert (line is None) is is_changed
    assert framework.visit(dict) == ({"user": 42} if is_changed else {})


def test_a_login_is_noticed(make: Make) -> None:
    framework = make(owner="user")
    framework.visit(lambda session: session.update(cart=[]))
    seen = []
    for name, value in (("cart", ["hat"]), ("user", 42), ("cart", []), ("user", 43)):
        opened = framework.open()
        opened.session[name] = value
        seen.append(opened.is_new_owners)
        framework.keep(opened.response_headers(PLAIN))
        opened.end()
    assert seen == [False, True, False, True]


def test_paths_outside_that_of_the_cookie_can_have_a_session(make: Make) -> None:
    framework = make(cookie=CookieOptions(path="/shop"), everywhere=True)
    framework.visit(lambda session: session.update(user=42))
    assert framework.visit(lambda session: session["user"]) == 42


def test_loading_can_leave_the_expiry(make: Make) -> None:
    clock = Clock()
    framework = make(store=MemoryStore(clock=clock), clock=clock, idle_timeout=600)
    framework.visit(lambda session: session.update(user=42))
    for passed, extends, left in ((590, False, 10), (0, True, 600)):
        clock.advance(passed)
        opened = framework.open(extends_at_load=extends)
        assert opened.session["user"] == 42
        assert opened.session.expires_in == left
        opened.fail(ValueError())


def test_the_session_of_an_environ_is_found_as_that_of_a_middleware() -> None:
    sessions = SyncIntegration(WSGIAdapter(), secret=SECRET, store=MemoryStore())
    environ: dict[str, Any] = {}
    opened = sessions.open(environ)
    assert session_of(environ) is opened.session


def test_a_request_may_be_opened_several_times(make: Make) -> None:
    """As for events of a WebSocket that share an environ: the newest is found, each is saved."""
    framework = make()
    request = {"request": Request()}

    def opens() -> Any:
        return framework.wait(lambda: framework.integration.open(request))

    first, second = Waiting(framework, opens()), Waiting(framework, opens())
    found = [id(value) for value in request.values()]
    assert id(second.session) in found
    assert id(first.session) not in found
    first.session["first"] = 1
    framework.keep(first.response_headers(PLAIN))
    second.session["second"] = 2
    assert framework.keep(second.response_headers(PLAIN)) is not None
    assert framework.visit(dict) == {"second": 2}


def test_a_middleware_of_the_same_name_is_an_error() -> None:
    sessions = SyncIntegration(WSGIAdapter(), secret=SECRET, store=MemoryStore())

    def application(environ: Any, start_response: Any) -> list[bytes]:
        sessions.open(environ)
        return []

    app = SessionMiddleware(application, secret=SECRET, store=MemoryStore())
    with pytest.raises(ConfigurationError, match="two session middlewares of the name 'sid'"):
        app({}, lambda *_: lambda _: None)


def test_an_integration_of_scopes_takes_headers_of_strings() -> None:
    """ASGI's messages have bytes; frameworks on top of ASGI have strings."""

    async def visit() -> None:
        sessions = AsyncIntegration(ASGIAdapter(), secret=SECRET, store=MemoryStore())
        scope: dict[str, Any] = {"type": "http", "path": "/", "headers": [(b"cookie", b"sid=x.y")]}
        opened = await sessions.open(scope)
        assert await opened.response_headers([("Cache-Control", "public, max-age=60")]) is None
        assert not opened.session  # no good cookie came, so nothing is secret

    asyncio.run(visit())


def test_a_shared_stream_must_use_the_session_before() -> None:
    framework = Framework(False)
    framework.visit(lambda session: session.update(user=42))
    opened = framework.open()
    assert opened.response_headers([("Cache-Control", "public, max-age=60")]) is None
    with pytest.raises(Exception, match="let caches share the response"):
        opened.session["user"]
    opened.end()


def test_the_settings_of_a_request_can_follow_from_it(make: Make) -> None:
    framework = make(cookie=lambda request: CookieOptions(path=request["request"].path))
    opened = framework.open("/shop")
    opened.session["user"] = 42
    line = framework.keep(opened.response_headers(PLAIN))
    assert line is not None
    assert "Path=/shop" in line
    opened.end()


def test_sessions_expire_by_the_clock(make: Make) -> None:
    clock = Clock()
    framework = make(store=MemoryStore(clock=clock), clock=clock, idle_timeout=60)
    framework.visit(lambda session: session.update(user=42))
    clock.advance(61)
    assert framework.visit(lambda session: "user" in session) is False


def test_a_store_can_be_asked_whether_it_is_there(make: Make) -> None:
    class Down(MemoryStore):
        def ping(self) -> None:
            raise StoreUnavailable("down")

    make().wait(make().integration.ping)
    framework = make(store=Down())
    with pytest.raises(StoreUnavailable):
        framework.wait(framework.integration.ping)


def test_a_closed_store_is_opened_again(make: Make) -> None:
    framework = make(store="memory://")
    framework.visit(lambda session: session.update(user=42))
    framework.wait(framework.integration.close)
    framework.visit(lambda session: session.update(user=42))
    assert framework.visit(lambda session: session["user"]) == 42


def test_a_session_tells_what_it_lives_by(make: Make) -> None:
    """Its own settings are not those of the options."""
    clock = Clock()
    framework = make(clock=clock, cookie=lambda request: CookieOptions(max_age=90))
    opened = framework.open()
    opened.session.cookie.max_age = 30
    assert configured_cookie(opened.session).max_age == 90
    clock.advance(5)
    assert current_time(opened.session) == clock()
    opened.end()


def test_what_writes_a_copy_back_learns_of_a_logout(make: Make) -> None:
    framework = make()
    framework.visit(lambda session: session.update(user=42))
    opened = framework.open()
    opened.session["visits"] = 1
    has_ended = watch_end(opened.session)
    opened.session["visits"] = 2
    assert has_ended() is False
    opened.session.destroy()
    assert has_ended() is True
    opened.end()


def test_a_body_is_complete_that_runs_no_code() -> None:
    environ = {"wsgi.file_wrapper": FileWrapper}
    assert is_complete_body([b"a", b"b"], environ)
    assert is_complete_body(FileWrapper(io.BytesIO(b"a")), environ)
    assert not is_complete_body(FileWrapper(io.BytesIO(b"a")), {})
    assert not is_complete_body(iter([b"a"]), environ)


def test_a_release_is_required() -> None:
    require_version("pytest", "7.0")
    require_version("a-distribution-without-metadata", "7.0")
    with pytest.raises(ImportError, match=r"coatcheck needs pytest 700\.0 or later, and"):
        require_version("pytest", "700.0")


def test_options_are_checked() -> None:
    with pytest.raises(ConfigurationError, match="did you mean `store`"):
        SyncIntegration(WSGIAdapter(), secret=SECRET, sotre="memory://")  # type: ignore[call-arg]


def test_a_framework_has_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["secret"], "shop sessions") == 0
    assert len(capsys.readouterr().out.strip()) == 64
    assert run_command_line([], "shop sessions") == 2
    assert "usage: shop sessions" in capsys.readouterr().out
