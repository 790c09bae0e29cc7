"""How a URL becomes a store, and what is said of plugins that are not in order."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fakedist import FakeDists
from webclient import Clock, SyncClient, asgi_app, wsgi_app

from coatcheck import AsyncStore, MemoryStore, Record, Store, open_async_store, open_store
from coatcheck._stores.registry import InstalledStore, Registry
from coatcheck.errors import ConfigurationError, PluginError
from coatcheck.hookspecs import StoreSpec

KEY = "k" * 64


def listing() -> dict[str, InstalledStore]:
    """Return the rows of the listing by their schemes; each scheme has one."""
    rows = Registry().installed()
    found = {store.scheme: store for store in rows}
    assert len(found) == len(rows)
    return found


def row(scheme: str) -> InstalledStore:
    """Return the row of a scheme in the listing."""
    return listing()[scheme]


def error_of(url: str) -> str:
    """Return what is said when a URL is opened, which both APIs say alike."""
    texts = set()
    for opener in (open_store, open_async_store):
        with pytest.raises(PluginError) as caught:
            opener(url)
        texts.add(str(caught.value))
    (text,) = texts
    return text


# Plugins in order


def test_a_plugin_opens_its_scheme(dists: FakeDists) -> None:
    """The scheme of a URL leads to the installed store, which gets URL and clock."""
    dists.install("coatcheck-fake")
    clock = Clock()
    store: Any = open_store("fake://host/1?option=2", clock=clock)
    assert type(store).__name__ == "FakeStore"
    assert store.url == "fake://host/1?option=2"
    store.set(KEY, Record(b"data", clock() + 1))
    clock.advance(1)
    assert store.get(KEY) is None


def test_a_plugin_is_listed(dists: FakeDists) -> None:
    """The listing names store, distribution, version, contract and summary."""
    dists.install("coatcheck-fake", "3.4")
    assert row("fake") == InstalledStore(
        scheme="fake",
        name="fake",
        distribution="coatcheck-fake",
        version="3.4",
        contract="1.0",
        summary="for tests",
        status="ok",
        reason="",
    )


def test_one_plugin_may_have_several_schemes(dists: FakeDists) -> None:
    """Each scheme has an entry point of its own, all to the same module."""
    dists.install("coatcheck-fake", schemes=("fake", "fakes", "fake+tls"))
    rows = listing()
    for scheme in ("fake", "fakes", "fake+tls"):
        assert isinstance(open_store(f"{scheme}://host"), Store)
        assert rows[scheme].status == "ok"


def test_the_case_of_a_scheme_does_not_matter(dists: FakeDists) -> None:
    """URL schemes are case-insensitive (RFC 3986, 3.1)."""
    dists.install("coatcheck-fake")
    assert isinstance(open_store("FAKE://host"), Store)
    assert isinstance(open_store("Memory:"), MemoryStore)


def test_an_opener_may_be_a_callable(dists: FakeDists) -> None:
    """A plugin that is light anyway may name its opener by itself."""
    plugin = """
        from coatcheck import MemoryStore, StoreSpec, hookimpl

        @hookimpl
        def coatcheck_stores():
            return [StoreSpec(name="fake", schemes=("fake",), contract="1.0",
                              open=lambda url, *, clock: MemoryStore(clock=clock))]
    """
    dists.install("coatcheck-fake", plugin=plugin)
    assert isinstance(open_store("fake:"), MemoryStore)


OPENERS = {
    "open": "coatcheck_fake.stores:FakeStore.from_url",
    "open_async": "coatcheck_fake.stores:AsyncFakeStore.from_url",
}


@pytest.mark.parametrize("apis", [{"open"}, {"open_async"}, {"open", "open_async"}], ids=sorted)
def test_each_api_is_to_be_had(dists: FakeDists, apis: set[str]) -> None:
    """Whichever API a store offers, both can be opened and used."""
    openers = {api: OPENERS[api] if api in apis else None for api in OPENERS}
    dists.install("coatcheck-fake", **openers)
    store, other = open_store("fake:"), open_async_store("fake:")
    assert isinstance(store, Store)
    assert isinstance(other, AsyncStore)
    store.set(KEY, Record(b"data", 2e9))
    assert store.get(KEY) == Record(b"data", 2e9)
    expected = {"open": "FakeStore", "open_async": "SyncBridge"}
    assert type(store).__name__ == expected["open" if "open" in apis else "open_async"]
    expected = {"open": "AsyncBridge", "open_async": "AsyncFakeStore"}
    assert type(other).__name__ == expected["open_async" if "open_async" in apis else "open"]


def test_a_middleware_takes_the_url_of_a_plugin(dists: FakeDists) -> None:
    """A plugin's URL works as the option `store`, under ASGI and under WSGI."""
    dists.install("coatcheck-fake", **OPENERS)

    def visits(session: Any, _: Any) -> int:
        session["visits"] = session.get("visits", 0) + 1
        return int(session["visits"])

    app = wsgi_app(visits, store="fake:")
    with SyncClient(app) as browser:
        assert [browser.get("/").text for _ in range(2)] == ["1", "2"]
    assert type(asgi_app(visits, store="fake:").store).__name__ == "AsyncFakeStore"


# Plugins out of order


BROKEN = {
    "an import that fails": ("import no_such_client", "no_such_client"),
    "a module that raises": ("raise RuntimeError('it is Monday')", "it is Monday"),
    "a syntax error": ("def", "SyntaxError"),
    "a misspelt hook": (
        """
        from coatcheck import StoreSpec, hookimpl

        @hookimpl
        def coatcheck_store():
            yield StoreSpec(name="fake", schemes=("fake",), contract="1.0", open=print)
        """,
        "coatcheck_store",
    ),
    "a hook with arguments": (
        """
        from coatcheck import hookimpl

        @hookimpl
        def coatcheck_stores(config):
            return []
        """,
        "config",
    ),
    "a hook without its mark": (
        """
        from coatcheck import StoreSpec

        def coatcheck_stores():
            yield StoreSpec(name="fake", schemes=("fake",), contract="1.0", open=print)
        """,
        "no StoreSpec with the scheme 'fake'",
    ),
    "a hook that raises": (
        """
        from coatcheck import hookimpl

        @hookimpl
        def coatcheck_stores():
            raise RuntimeError("it is Monday")
        """,
        "it is Monday",
    ),
    "a hook that returns None": (
        """
        from coatcheck import hookimpl

        @hookimpl
        def coatcheck_stores():
            pass
        """,
        "no StoreSpec with the scheme 'fake'",
    ),
    "a hook that returns a number": (
        """
        from coatcheck import hookimpl

        @hookimpl
        def coatcheck_stores():
            return 42
        """,
        "int",
    ),
    "a hook that yields junk": (
        """
        from coatcheck import hookimpl

        @hookimpl
        def coatcheck_stores():
            yield {"name": "fake", "schemes": ("fake",)}
        """,
        "yielded dict, not StoreSpec",
    ),
    "a spec without the field": (
        """
        from coatcheck import StoreSpec, hookimpl

        @hookimpl
        def coatcheck_stores():
            yield StoreSpec(name="fake", schemes=("fake",))
        """,
        "contract",
    ),
    "a spec with a field that makes no sense": (
        """
        from coatcheck import StoreSpec, hookimpl

        @hookimpl
        def coatcheck_stores():
            yield StoreSpec(name="fake", schemes="fake", contract="1.0", open=print)
        """,
        "`schemes` must be a non-empty tuple of URL schemes, not 'fake'",
    ),
    "a spec for another scheme": (
        """
        from coatcheck import StoreSpec, hookimpl

        @hookimpl
        def coatcheck_stores():
            yield StoreSpec(name="fake", schemes=("fakes",), contract="1.0", open=print)
        """,
        "no StoreSpec with the scheme 'fake'",
    ),
    "a later contract": (
        """
        from coatcheck import StoreSpec, hookimpl

        @hookimpl
        def coatcheck_stores():
            yield StoreSpec(name="fake", schemes=("fake",), contract="2.0", open=print)
        """,
        "speaks contract 2.0; this coatcheck speaks 1.0",
    ),
    "a later minor contract": (
        """
        from coatcheck import StoreSpec, hookimpl

        @hookimpl
        def coatcheck_stores():
            yield StoreSpec(name="fake", schemes=("fake",), contract="1.1", open=print)
        """,
        "speaks contract 1.1; this coatcheck speaks 1.0",
    ),
}
broken = pytest.mark.parametrize(("plugin", "reason"), BROKEN.values(), ids=BROKEN)


@broken
def test_a_broken_plugin_says_whose_it_is(dists: FakeDists, plugin: str, reason: str) -> None:
    """The error names the distribution, its version and what is wrong."""
    dists.install("acme-sessions", "0.7.1", plugin=plugin)
    text = error_of("fake://user:hunter2@host")
    assert "acme-sessions 0.7.1" in text
    assert reason in text
    assert "hunter2" not in text


@broken
def test_a_broken_plugin_hurts_nobody_who_did_not_ask_for_it(
    dists: FakeDists, plugin: str, reason: str
) -> None:
    """Other schemes open as if it were not there."""
    dists.install("coatcheck-fake", schemes=("good",))
    dists.install("acme-sessions", plugin=plugin)
    assert isinstance(open_store("good:"), Store)
    assert isinstance(open_store("memory:"), MemoryStore)


@broken
def test_a_broken_plugin_is_listed_with_the_reason(
    dists: FakeDists, plugin: str, reason: str
) -> None:
    """The listing shows it under its scheme, and the others as before."""
    dists.install("coatcheck-fake", schemes=("good",))
    dists.install("acme-sessions", "0.7.1", plugin=plugin)
    rows = listing()
    found = rows["fake"]
    assert (found.distribution, found.version) == ("acme-sessions", "0.7.1")
    assert (found.status, found.contract, found.summary) == ("broken", "", "")
    assert reason in found.reason
    assert rows["good"].status == rows["memory"].status == "ok"


def test_a_plugin_nobody_asked_for_is_not_even_imported(dists: FakeDists) -> None:
    """A URL loads exactly the plugin of its scheme."""
    dists.install("coatcheck-fake", schemes=("good",))
    dists.install("acme-sessions")
    open_store("good:")
    assert "coatcheck_fake.plugin" in sys.modules
    assert "acme_sessions" not in sys.modules


def test_half_a_distribution_hurts_nobody(dists: FakeDists) -> None:
    """A half-uninstalled package is listed, and other schemes open."""
    dists.install("acme-sessions", metadata=False)
    dists.install("coatcheck-fake", schemes=("good",))
    assert isinstance(open_store("good:"), Store)
    rows = listing()
    assert rows["good"].status == "ok"
    assert "fake" in rows


@pytest.mark.parametrize(
    ("opener", "reason"),
    [
        ("no_such_module:Store.from_url", "no_such_module"),
        ("coatcheck_fake.stores:Missing.from_url", "Missing"),
        ("coatcheck_fake.stores:FakeStore.missing", "missing"),
    ],
)
def test_an_opener_that_cannot_be_found_says_why(
    dists: FakeDists, opener: str, reason: str
) -> None:
    """A store whose client library is not installed names itself, the cause and its origin."""
    dists.install("coatcheck-fake", "1.2", open=opener)
    text = error_of("fake://user:hunter2@host")
    assert "'fake'" in text
    assert opener in text
    assert reason in text
    assert "coatcheck-fake 1.2" in text
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("opener", "kind"), [("junk", "dict"), ("nothing", "NoneType")], ids=["dict", "None"]
)
def test_an_opener_must_return_a_store(dists: FakeDists, opener: str, kind: str) -> None:
    """An object that is not a store is refused at once, not at the first request."""
    reference = f"coatcheck_fake.stores:{opener}"
    dists.install("coatcheck-fake", "1.2", open=reference, open_async=reference)
    for open_it, wanted in ((open_store, "Store"), (open_async_store, "AsyncStore")):
        with pytest.raises(PluginError) as caught:
            open_it("fake:")
        text = str(caught.value)
        assert f"returned {kind}, not a subclass of coatcheck.{wanted}" in text
        assert "coatcheck-fake 1.2" in text


def test_an_opener_must_return_the_face_it_stands_for(dists: FakeDists) -> None:
    """An asynchronous store behind `open` is a mistake, and said to be one."""
    dists.install("coatcheck-fake", open=OPENERS["open_async"])
    with pytest.raises(PluginError, match=r"returned AsyncFakeStore, not a subclass"):
        open_store("fake:")


def test_what_a_store_says_about_its_url_is_passed_on(dists: FakeDists) -> None:
    """A store that refuses a URL is not a broken plugin: its own error arrives."""
    with pytest.raises(ConfigurationError) as caught:
        open_store("memory:?unknown=1")
    assert not isinstance(caught.value, PluginError)


# Two for one scheme


def test_two_distributions_for_one_scheme_are_an_error(dists: FakeDists) -> None:
    """Nobody guesses which one was meant: the error names both with their versions."""
    dists.install("coatcheck-fake", "1.2")
    dists.install("acme-sessions", "0.7.1")
    text = error_of("fake:")
    assert "two distributions provide the store scheme 'fake'" in text
    assert "acme-sessions 0.7.1" in text
    assert "coatcheck-fake 1.2" in text
    listed = [store for store in Registry().installed() if store.scheme == "fake"]
    assert [store.distribution for store in listed] == ["acme-sessions", "coatcheck-fake"]
    assert {store.status for store in listed} == {"broken"}
    assert all("two distributions" in store.reason for store in listed)


def test_two_distributions_may_share_what_nobody_opens(dists: FakeDists) -> None:
    """A clash over one scheme leaves the others of both distributions alone."""
    dists.install("coatcheck-fake", schemes=("fake", "one"))
    dists.install("acme-sessions", schemes=("fake", "two"))
    assert isinstance(open_store("one:"), Store)
    assert isinstance(open_store("two:"), Store)


def test_a_distribution_that_is_found_twice_is_one(dists: FakeDists, tmp_path: Path) -> None:
    """The same distribution in two folders of the path, as lib and lib64 are, is no clash."""
    folder = dists.install("coatcheck-fake")
    twin = tmp_path / "lib64"
    shutil.copytree(folder, twin)
    dists.show(twin)
    dists.show(folder)
    assert isinstance(open_store("fake:"), Store)
    assert row("fake").status == "ok"


def test_a_distribution_whose_name_is_spelt_twice_is_one(dists: FakeDists) -> None:
    """Names that differ in case and punctuation name the same distribution."""
    dists.install("Coatcheck_Fake", module="coatcheck_fake")
    dists.install("coatcheck-fake", module="coatcheck_fake")
    assert isinstance(open_store("fake:"), Store)
    assert row("fake").status == "ok"


def test_a_built_in_scheme_cannot_be_taken_over(dists: FakeDists) -> None:
    """`memory:` stays built in if a package claims it, too; the listing says so."""
    dists.install("acme-sessions", schemes=("memory",))
    assert type(open_store("memory:")) is MemoryStore
    mine, theirs = sorted(
        (store for store in Registry().installed() if store.scheme == "memory"),
        key=lambda store: store.distribution,
        reverse=True,
    )
    assert (mine.distribution, mine.status) == ("coatcheck", "ok")
    assert (theirs.distribution, theirs.status) == ("acme-sessions", "broken")
    assert theirs.reason == "the scheme 'memory' is built in"


# None for a scheme


def test_an_unknown_scheme_says_what_is_installed(dists: FakeDists) -> None:
    """The error lists the schemes that would work."""
    dists.install("coatcheck-fake", schemes=("fake", "fakes"))
    text = error_of("oracle://scott:tiger@host")
    assert text.startswith("no installed store has the scheme 'oracle'; installed: ")
    installed = text.partition("installed: ")[2].partition(";")[0].split(", ")
    assert {"fake", "fakes", "memory"} <= set(installed)
    assert "tiger" not in text


@pytest.mark.parametrize(
    ("scheme", "hint"),
    [
        ("redi", "did you mean `redis:`?"),
        ("reddis", "did you mean `redis:`?"),
        ("fakey", "did you mean `fake:`?"),
        ("mongo", "did you mean `mongodb:`?"),
        ("memry", "did you mean `memory:`?"),
        ("cassandra", "docs/writing-a-store.md shows how to write one"),
        ("postgresql+psycopg4", "did you mean `postgresql+psycopg:`?"),
    ],
)
def test_an_unknown_scheme_has_a_hint(dists: FakeDists, scheme: str, hint: str) -> None:
    """The error names the scheme that was meant, or what to do without one."""
    dists.install("coatcheck-fake", schemes=("fake",))
    text = error_of(f"{scheme}://scott:tiger@host")
    assert hint in text
    assert "tiger" not in text


EXTRAS = {
    "redis": "redis",
    "rediss": "redis",
    "redis+cluster": "redis",
    "redis+sentinel": "redis",
    "unix": "redis",
    "valkey": "redis",
    "mongodb": "mongo",
    "mongodb+srv": "mongo",
    "dynamodb": "dynamodb",
    "file": "file",
    "sqlite": "sql",
    "postgresql+asyncpg": "sql",
}


def test_an_absent_store_of_ours_says_how_to_get_it() -> None:
    """For the stores of this project the error is an instruction.

    An interpreter without site packages, but for what the core needs, has none of them.
    """
    program = """
import difflib, importlib.metadata, sys
from coatcheck.errors import PluginError
from coatcheck import open_store
sys.meta_path[:] = [finder for finder in sys.meta_path if not hasattr(finder, "find_distributions")]
for scheme in sys.argv[1:]:
    try:
        open_store(f"{scheme}://user:hunter2@localhost")
    except PluginError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, *EXTRAS, "redi"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        f"no installed store has the scheme '{scheme}'; installed: memory; "
        f'try `pip install "coatcheck[{extra}]"`'
        for scheme, extra in EXTRAS.items()
    ] + [
        "no installed store has the scheme 'redi'; installed: memory; did you mean `redis:`? "
        'For that, `pip install "coatcheck[redis]"`'
    ]


@pytest.mark.parametrize("url", ["", "redis", "//host", "/var/sessions", ":memory:", "1st:x", "é:"])
def test_a_url_without_a_scheme_says_what_one_looks_like(url: str) -> None:
    """A store URL starts with a scheme; whatever was given instead is not repeated."""
    hints = {
        "/var/sessions": "; for a folder it is `file:///folder`",
        "": "; this one is empty: is its environment variable set?",
    }
    hint = hints.get(url, "")
    assert error_of(url) == (
        f"a store URL starts with a scheme, for example `redis://localhost:6379/0`{hint}"
    )


def test_a_url_is_a_string() -> None:
    """An environment variable that is not set is None."""
    assert error_of(None) == "a store URL is a string, not NoneType"  # type: ignore[arg-type]  # the point


def test_listing_has_the_built_in_store() -> None:
    """The memory store is always there."""
    found = row("memory")
    assert (found.name, found.distribution, found.status) == ("memory", "coatcheck", "ok")
    assert found.summary


def test_listing_imports_no_store(dists: FakeDists) -> None:
    """Plugin modules are light: a listing loads them, and none of the stores behind them."""
    dists.install("coatcheck-fake")
    assert row("fake").status == "ok"
    assert "coatcheck_fake.stores" not in sys.modules


# The spec itself


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("name", "", "a non-empty string"),
        ("name", None, "a non-empty string"),
        ("schemes", (), "a non-empty tuple of URL schemes"),
        ("schemes", ["fake"], "a non-empty tuple of URL schemes"),
        ("schemes", ("Fake",), "lower-case URL schemes"),
        ("schemes", ("fake://",), "lower-case URL schemes"),
        ("schemes", (1,), "lower-case URL schemes"),
        ("contract", "1", "MAJOR.MINOR"),
        ("contract", 1.0, "MAJOR.MINOR"),
        ("contract", "v1.0", "MAJOR.MINOR"),
        ("open", "coatcheck.memory", "package.module:Class.method"),
        ("open", "coatcheck.memory:", "package.module:Class.method"),
        ("open", 42, "package.module:Class.method"),
        ("open_async", "a b:c", "package.module:Class.method"),
        ("open", None, "given, or `open_async`, or both"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(field: str, value: Any, allowed: str) -> None:
    """The error names the field, what is allowed and what was given."""
    fields: dict[str, Any] = {
        "name": "fake",
        "schemes": ("fake",),
        "contract": "1.0",
        "open": "a:b",
        field: value,
    }
    with pytest.raises(PluginError) as caught:
        StoreSpec(**fields)
    text = str(caught.value)
    assert f"`{field}` must be {allowed}" in text
    assert text.endswith(f"not {value!r}")
