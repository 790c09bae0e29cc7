"""Distributions that are installed for the length of a test."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

#: A store, both APIs, and the openers that tests name in a spec.
STORES = """
    from coatcheck import MemoryStore
    from coatcheck.storekit import AsyncBridge

    class FakeStore(MemoryStore):
        @classmethod
        def from_url(cls, url, *, clock):
            store = cls(clock=clock)
            store.url = url
            return store

    class AsyncFakeStore(AsyncBridge):
        @classmethod
        def from_url(cls, url, *, clock):
            store = cls(FakeStore(clock=clock))
            store.url = url
            return store

    def junk(url, *, clock):
        return {"not": "a store"}

    def nothing(url, *, clock):
        return None
"""

#: The six lines of a plugin module.
PLUGIN = """
    from coatcheck import StoreSpec, hookimpl

    @hookimpl
    def coatcheck_stores():
        yield StoreSpec({spec})
"""


class FakeDists:
    """Puts distributions on ``sys.path``, each in a folder of its own.

    :param folder: where they are made.
    :param monkeypatch: takes them off the path again.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        self._count = 0
        self._loaded = set(sys.modules)

    def install(
        self,
        name: str,
        version: str = "1.2",
        /,
        *,
        schemes: tuple[str, ...] = ("fake",),
        module: str | None = None,
        plugin: str | None = None,
        metadata: bool = True,
        **spec: object,
    ) -> Path:
        """Install a distribution with a plugin, and return the folder it is in.

        :param schemes: an entry point for each.
        :param module: the import name of its package; made from the name by default.
        :param plugin: the text of the plugin module. By default it yields one StoreSpec.
        :param metadata: False leaves the distribution's METADATA out.
        :param spec: fields of that StoreSpec, over the defaults: its `name`, for instance.
        """
        module = module or name.replace("-", "_")
        fields = {
            "name": "fake",
            "schemes": schemes,
            "contract": "1.0",
            "summary": "for tests",
            "open": f"{module}.stores:FakeStore.from_url",
            **spec,
        }
        text = ", ".join(f"{field}={value!r}" for field, value in fields.items())
        folder = self._new_folder()
        package = folder / module
        package.mkdir()
        write(package / "__init__.py", "")
        write(package / "stores.py", STORES)
        write(package / "plugin.py", PLUGIN.format(spec=text) if plugin is None else plugin)
        info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        if metadata:
            write(info / "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = [f"{scheme} = {module}.plugin" for scheme in schemes]
        write(info / "entry_points.txt", "\n".join(["[coatcheck.stores]", *lines, ""]))
        self.show(folder)
        return folder

    def show(self, folder: Path) -> None:
        """Put a folder in front of ``sys.path``."""
        self._monkeypatch.syspath_prepend(str(folder))

    def forget(self) -> None:
        """Forget the modules that were imported from the distributions."""
        for name in set(sys.modules) - self._loaded:
            file = getattr(sys.modules[name], "__dict__", {}).get("__file__")
            if file and self._folder in Path(file).parents:
                del sys.modules[name]

    def _new_folder(self) -> Path:
        self._count += 1
        folder = self._folder / f"site-{self._count}"
        folder.mkdir()
        return folder


def write(path: Path, text: str) -> None:
    path.write_text(textwrap.dedent(text), "utf-8")
