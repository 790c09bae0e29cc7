"""Find the installed stores, and open the store behind a URL.

Entry points are read when a URL is opened or the stores are listed, never at import. A URL loads
only the plugin of its scheme, so a broken plugin does not affect other stores.
"""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pluggy

from ..errors import PluginError
from ..hookspecs import PROJECT, Opener, StoreHooks, StoreSpec
from ..store import CONTRACT_VERSION, AsyncStore, Store
from . import bridge

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

#: The entry-point group. Each scheme has one entry point of the same name.
ENTRY_POINT_GROUP: Final = "coatcheck.stores"

_BUILT_IN: Final = (
    StoreSpec(
        name="memory",
        schemes=("memory",),
        contract=CONTRACT_VERSION,
        summary="one process, nothing survives it",
        open="coatcheck.memory:MemoryStore.from_url",
    ),
)

#: By scheme, the extra of this package that installs the store.
_EXTRAS: Final = {
    "file": "file",
    "redis": "redis",
    "rediss": "redis",
    "redis+cluster": "redis",
    "rediss+cluster": "redis",
    "redis+sentinel": "redis",
    "rediss+sentinel": "redis",
    "redis+socket": "redis",
    "redis+unix": "redis",
    "unix": "redis",
    "valkey": "redis",
    "valkeys": "redis",
    "valkey+cluster": "redis",
    "valkeys+cluster": "redis",
    "valkey+sentinel": "redis",
    "valkeys+sentinel": "redis",
    "mongodb": "mongo",
    "mongodb+srv": "mongo",
    "dynamodb": "dynamodb",
    "mariadb": "sql",
    "mysql": "sql",
    "postgresql": "sql",
    "sql": "sql",
    "sqlite": "sql",
}

#: Databases that have a well-known scheme, and no store of this project.
_WITHOUT_STORE: Final = ("memcached", "cassandra", "couchdb")

_SCHEME_UNCOMPILED = r"([A-Za-z][A-Za-z0-9+.-]*):"


@dataclass(frozen=True, slots=True)
class InstalledStore:
    """Hold one row of a listing.

    :ivar scheme: the URL scheme, which is the entry point's name.
    :ivar name: the store's short name; the scheme where the plugin is broken.
    :ivar distribution: the distribution that provides it.
    :ivar version: that distribution's version.
    :ivar contract: the contract version that it declares; empty where it is broken.
    :ivar summary: one line about the store, from its plugin.
    :ivar status: ``"ok"`` or ``"broken"``.
    :ivar reason: why it is broken; empty otherwise.
    """

    scheme: str
    name: str
    distribution: str
    version: str
    contract: str
    summary: str
    status: str
    reason: str


class Registry:
    """Find and open the built-in stores and those of installed plugins."""

    def find(self, scheme: str) -> StoreSpec:
        """Return the spec for a URL scheme.

        :raises PluginError: no store has it, two distributions claim it, or its plugin is broken.
        """
        return self._locate(scheme)[0]

    def _locate(self, scheme: str) -> tuple[StoreSpec, str]:
        """Return the spec for a URL scheme, and the name of its distribution."""
        for spec in _BUILT_IN:
            if scheme in spec.schemes:
                return spec, PROJECT
        entry_points = _distinct(_entry_points(scheme))
        if not entry_points:
            raise PluginError(_unknown(scheme))
        if len(entry_points) > 1:
            owners = " and ".join(sorted(map(_origin, entry_points)))
            raise PluginError(
                f"two distributions provide the store scheme {scheme!r}: {owners}; uninstall one"
            )
        return _load(entry_points[0]), _origin(entry_points[0])

    def installed(self) -> list[InstalledStore]:
        """List each scheme. Those of broken plugins have the reason. No client is imported."""
        rows = [
            _row(scheme, spec, PROJECT, _own_version())
            for spec in _BUILT_IN
            for scheme in spec.schemes
        ]
        entry_points = _distinct(_entry_points())
        entry_points.sort(key=lambda point: (point.name, _origin(point)))
        return rows + [self._describe(entry_point) for entry_point in entry_points]

    def _describe(self, entry_point: EntryPoint) -> InstalledStore:
        name, version = _name_and_version(entry_point)
        try:
            if any(entry_point.name in spec.schemes for spec in _BUILT_IN):
                raise PluginError(f"the scheme {entry_point.name!r} is built in")
            self.find(entry_point.name)
            return _row(entry_point.name, _load(entry_point), name, version)
        except PluginError as error:
            return InstalledStore(
                entry_point.name, entry_point.name, name, version, "", "", "broken", str(error)
            )

    def open(self, url: str, *, clock: Callable[[], float] = time.time) -> Store:
        """Open the sync API of the store behind a URL. A store without one is bridged.

        :param url: ``scheme:...``; the scheme chooses the plugin.
        :param clock: returns POSIX seconds.
        :raises PluginError: the scheme is unknown, ambiguous or its plugin is broken.
        :raises ConfigurationError: the store does not accept the URL.
        """
        spec, origin = self._locate(_scheme(url))
        if spec.open is None:
            return bridge.SyncBridge(_open_async(spec, origin, url, clock))
        return _open_sync(spec, origin, url, clock)

    def open_async(self, url: str, *, clock: Callable[[], float] = time.time) -> AsyncStore:
        """Open the async API of the store behind a URL. A store without one is bridged.

        Under trio the sync API runs in worker threads, because async client libraries need
        asyncio.

        :param url: ``scheme:...``; the scheme chooses the plugin.
        :param clock: returns POSIX seconds.
        :raises PluginError: the scheme is unknown, ambiguous or its plugin is broken.
        :raises ConfigurationError: the store does not accept the URL.
        """
        spec, origin = self._locate(_scheme(url))
        if spec.open_async is None or (spec.open is not None and bridge.runs_trio()):
            return bridge.AsyncBridge(_open_sync(spec, origin, url, clock))
        return _open_async(spec, origin, url, clock)


def open_store(url: str, *, clock: Callable[[], float] = time.time) -> Store:
    """Open the sync API of the store behind a URL; see :meth:`Registry.open`."""
    return Registry().open(url, clock=clock)


def open_async_store(url: str, *, clock: Callable[[], float] = time.time) -> AsyncStore:
    """Open the async API of the store behind a URL; see :meth:`Registry.open_async`."""
    return Registry().open_async(url, clock=clock)


def _scheme(url: str) -> str:
    if not isinstance(url, str):
        raise PluginError(f"a store URL is a string, not {type(url).__name__}")
    match = re.match(_SCHEME_UNCOMPILED, url)
    if match is None:
        # The URL is not in the message, because it may have a password.
        text = "a store URL starts with a scheme, for example `redis://localhost:6379/0`"
        if not url:
            text += "; this one is empty: is its environment variable set?"
        if url.startswith(("/", ".", "~")) and not url.startswith("//"):
            text += "; for a folder it is `file:///folder`"
        raise PluginError(text)
    return match[1].lower()


def _open_sync(spec: StoreSpec, origin: str, url: str, clock: Callable[[], float]) -> Store:
    store = _opener(spec, origin, spec.open)(url, clock=clock)
    if not isinstance(store, Store):
        raise _not_a_store(spec, origin, store, "Store")
    return store


def _open_async(spec: StoreSpec, origin: str, url: str, clock: Callable[[], float]) -> AsyncStore:
    store = _opener(spec, origin, spec.open_async)(url, clock=clock)
    if not isinstance(store, AsyncStore):
        raise _not_a_store(spec, origin, store, "AsyncStore")
    return store


def _not_a_store(spec: StoreSpec, origin: str, store: object, kind: str) -> PluginError:
    return PluginError(
        f"the opener of store {spec.name!r} of {origin} returned {type(store).__name__}, "
        f"not a subclass of coatcheck.{kind}"
    )


def _opener(spec: StoreSpec, origin: str, opener: Opener | None) -> Callable[..., object]:
    assert opener is not None, "a StoreSpec has one of its openers"
    if not isinstance(opener, str):
        return opener
    module_name, _, path = opener.partition(":")
    try:
        target: Any = importlib.import_module(module_name)
        for name in path.split("."):
            target = getattr(target, name)
    except Exception as error:
        raise PluginError(
            f"store {spec.name!r} of {origin} cannot be opened: {opener} failed with {error!r}"
        ) from error
    return target  # type: ignore[no-any-return]  # any object that the plugin names


def _load(entry_point: EntryPoint) -> StoreSpec:
    origin = _origin(entry_point)
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(StoreHooks)
    try:
        manager.register(entry_point.load(), name=origin)
        manager.check_pending()
        yielded = [spec for specs in manager.hook.coatcheck_stores() for spec in specs]
    except Exception as error:
        raise PluginError(f"the store plugin of {origin} is broken: {error!r}") from error
    specs: list[StoreSpec] = []
    for spec in yielded:
        if not isinstance(spec, StoreSpec):
            raise PluginError(
                f"the store plugin of {origin} yielded {type(spec).__name__}, not StoreSpec"
            )
        specs.append(spec)
    for spec in specs:
        if entry_point.name in spec.schemes:
            _check_contract(spec, origin)
            return spec
    raise PluginError(
        f"the store plugin of {origin} has no StoreSpec with the scheme {entry_point.name!r}"
    )


def _check_contract(spec: StoreSpec, origin: str) -> None:
    major, minor = map(int, CONTRACT_VERSION.split("."))
    their_major, their_minor = map(int, spec.contract.split("."))
    if their_major != major or their_minor > minor:
        raise PluginError(
            f"store {spec.name!r} of {origin} speaks contract {spec.contract}; "
            f"this coatcheck speaks {CONTRACT_VERSION}"
        )


def _entry_points(scheme: str | None = None) -> Iterable[EntryPoint]:
    # importlib.metadata costs 30 ms, and most processes open one URL or none.
    from importlib.metadata import entry_points

    found = entry_points(group=ENTRY_POINT_GROUP)
    return found if scheme is None else found.select(name=scheme)


def _distinct(entry_points: Iterable[EntryPoint]) -> list[EntryPoint]:
    """Drop entry points that one distribution has twice (Fedora's lib and lib64 are one folder)."""
    seen: dict[tuple[str, str, str], EntryPoint] = {}
    for point in entry_points:
        seen.setdefault((point.name, point.value, _name_and_version(point)[0].lower()), point)
    return list(seen.values())


def _name_and_version(entry_point: EntryPoint) -> tuple[str, str]:
    distribution: Distribution | None = entry_point.dist
    if distribution is None:
        return "unknown distribution", ""
    # An interrupted uninstall leaves a distribution without metadata.
    metadata = distribution.metadata
    named, versioned = "Name" in metadata, "Version" in metadata
    name = metadata["Name"] if named else "unknown distribution"
    return name, metadata["Version"] if versioned else ""


def _origin(entry_point: EntryPoint) -> str:
    return " ".join(filter(None, _name_and_version(entry_point)))


def _row(scheme: str, spec: StoreSpec, distribution: str, version: str) -> InstalledStore:
    return InstalledStore(
        scheme, spec.name, distribution, version, spec.contract, spec.summary, "ok", ""
    )


def _own_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(PROJECT)
    except PackageNotFoundError:
        return ""


def _unknown(scheme: str) -> str:
    built_in = {scheme for spec in _BUILT_IN for scheme in spec.schemes}
    known = sorted(built_in | {point.name for point in _entry_points()})
    text = f"no installed store has the scheme {scheme!r}; installed: {', '.join(known)}"
    database = scheme.partition("+")[0]  # of `postgresql+asyncpg`, as SQLAlchemy has it
    for name in (scheme, database):
        if name in _EXTRAS and name not in known:
            return f"{text}; try {_command(name)}"
    if database in _WITHOUT_STORE:
        return f"{text}; docs/writing-a-store.md shows how to write one"
    import difflib

    near = difflib.get_close_matches(scheme, {*known, *_EXTRAS}, n=1)
    if not near:
        return text
    text += f"; did you mean `{near[0]}:`?"
    if near[0] not in known:
        text += f" For that, {_command(near[0])}"
    return text


def _command(scheme: str) -> str:
    """Return the command that installs a store: some shells would expand bare brackets."""
    return f'`pip install "coatcheck[{_EXTRAS[scheme]}]"`'
