"""Mutants of the KEY clauses."""

from __future__ import annotations

import fnmatch
import posixpath
import unicodedata
from collections.abc import Iterator
from urllib.parse import unquote

from mutation import mutant
from references import FolderHarness

from coatcheck import ALWAYS, Condition, MemoryStore, Record
from coatcheck.errors import StoreError
from coatcheck.storekit import MAX_KEY_LENGTH, check_key
from coatcheck_file import FileStore


class _Renaming(MemoryStore):
    """A store that keeps records under other names than their keys."""

    def name(self, key: str) -> str:
        return key

    def _named(self, key: str) -> str:
        name = self.name(check_key(key))
        return name if 0 < len(name) <= MAX_KEY_LENGTH else key

    def get(self, key: str) -> Record | None:
        return super().get(self._named(key))

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        return super().set(self._named(key), record, only_if)

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        return super().destroy(self._named(key), only_if)

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        return super().touch(self._named(key), expires_at, owner)


@mutant("KEY-1")
class NamesOf255Bytes(_Renaming):
    """A key of more bytes than a file's name may have is refused."""

    def name(self, key: str) -> str:
        if len(key.encode()) > 255:
            raise StoreError("a name is too long")
        return key


@mutant("KEY-1")
class Latin1Names(_Renaming):
    """A key of other characters than those of Western Europe is refused."""

    def name(self, key: str) -> str:
        try:
            return key.encode("latin-1").decode("latin-1")
        except UnicodeEncodeError as error:
            raise StoreError("a name cannot be encoded") from error


@mutant("KEY-2")
class FoldsCase(_Renaming):
    """Names are compared as on the file systems of Windows."""

    def name(self, key: str) -> str:
        return key.casefold()


@mutant("KEY-2")
class FoldsASCIICase(_Renaming):
    """Names are compared as by COLLATE NOCASE: only A to Z are folded."""

    def name(self, key: str) -> str:
        return key.encode().lower().decode()


@mutant("KEY-3")
class ComposesNames(_Renaming):
    """Names are composed (NFC)."""

    def name(self, key: str) -> str:
        return unicodedata.normalize("NFC", key)


@mutant("KEY-3")
class DecomposesNames(_Renaming):
    """Names are decomposed (NFD), as on a Mac."""

    def name(self, key: str) -> str:
        return unicodedata.normalize("NFD", key)


@mutant("KEY-3")
class CompatibleNames(_Renaming):
    """Names are prepared for comparison (NFKC)."""

    def name(self, key: str) -> str:
        return unicodedata.normalize("NFKC", key)


@mutant("KEY-4")
class NamesAsPaths(_Renaming):
    """A key is a path, which is resolved."""

    def name(self, key: str) -> str:
        return posixpath.normpath(key)


@mutant("KEY-4")
class NamesEndAtNUL(_Renaming):
    """A key goes through a C library as a string that ends at NUL."""

    def name(self, key: str) -> str:
        return key.split("\0")[0]


@mutant("KEY-4")
class ReplacesSlashes(_Renaming):
    """Characters that a file's name cannot have are replaced by a dash."""

    def name(self, key: str) -> str:
        return key.replace("/", "-").replace("\\", "-").replace(":", "-")


@mutant("KEY-4")
class OneNameToALine(_Renaming):
    """A key is kept on a line of its own, and only the first line is read."""

    def name(self, key: str) -> str:
        return key.splitlines()[0] if key.strip("\r\n") else key


@mutant("KEY-5")
class KeysAsPatterns(MemoryStore):
    """`get` and `destroy` search for the key as a pattern of file names."""

    def get(self, key: str) -> Record | None:
        return super().get(self._match(key))

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        return super().destroy(self._match(key), only_if)

    def _match(self, key: str) -> str:
        if key in self._slots or not set("*?[") & set(key):
            return key
        return next(iter(fnmatch.filter(list(self._slots), key)), key)


@mutant("KEY-5")
class EndsByPattern(MemoryStore):
    """`destroy` says DELETE ... WHERE name LIKE."""

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        if "%" not in key and "_" not in key:
            return super().destroy(key, only_if)
        pattern = key.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")
        pattern = pattern.replace("%", "*").replace("_", "?")
        found = [name for name in list(self._slots) if fnmatch.fnmatchcase(name, pattern)]
        ended = [super(EndsByPattern, self).destroy(name, only_if) for name in found]
        return any(ended)


@mutant("KEY-5")
class SafeCharacters(_Renaming):
    """Special characters in a key are replaced by an underscore."""

    def name(self, key: str) -> str:
        return key.translate(dict.fromkeys(map(ord, "*?[]%$."), "_"))


@mutant("KEY-6")
class StripsNames(_Renaming):
    """White space at either end of a key is dropped."""

    def name(self, key: str) -> str:
        return key.strip()


@mutant("KEY-6")
class IgnoresPadding(_Renaming):
    """Spaces at the end of a key are no difference, as in a CHAR column."""

    def name(self, key: str) -> str:
        return key.rstrip(" ")


@mutant("KEY-6")
class CutsNames(_Renaming):
    """A key is cut after 255 characters, as by VARCHAR(255)."""

    def name(self, key: str) -> str:
        return key[:255]


@mutant("KEY-6")
class CutsShortNames(_Renaming):
    """A key is cut after 32 characters, as many as our own ids have."""

    def name(self, key: str) -> str:
        return key[:32] if len(key) < 64 else key


@mutant("KEY-7")
class UnquotesNames(MemoryStore):
    """`all` undoes a quoting of keys that was never done."""

    def all(self) -> Iterator[tuple[str, Record]]:
        return ((unquote(key), record) for key, record in super().all())


@mutant("KEY-7")
class ShowsStrippedNames(MemoryStore):
    """`all` strips the keys."""

    def all(self) -> Iterator[tuple[str, Record]]:
        return ((key.strip(), record) for key, record in super().all())


@mutant("KEY-8", harness=FolderHarness)
class JoinsWithoutSeparator(FileStore):
    """Reading looks for namespace and key in one word, which may be spelt in several ways."""

    def get(self, key: str) -> Record | None:
        found = super().get(key)
        return found if found is not None else self._spelt_otherwise(key)

    def _spelt_otherwise(self, key: str) -> Record | None:
        own = self.folder.name
        for folder in self.folder.parent.glob(f"{own}?*"):
            rest = folder.name.removeprefix(own)
            if key.startswith(rest) and len(key) > len(rest):
                return FileStore(folder, clock=self._records.clock).get(key.removeprefix(rest))
        return None


@mutant("KEY-1")
class LongNamesAreNotTouched(MemoryStore):
    """A key that is kept in another table for its length is not found there by `touch`."""

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        if len(check_key(key).encode()) > 255:
            return self.get(key) is not None
        return super().touch(key, expires_at, owner)


@mutant("KEY-9")
class KeysAreQueries(MemoryStore):
    """A dictionary in the place of a key finds whatever record comes first."""

    def get(self, key: str) -> Record | None:
        if isinstance(key, dict):
            return next((record for _, record in self.all()), None)
        return super().get(key)


@mutant("KEY-9")
class NothingIsNeverThere(MemoryStore):
    """`destroy` takes what is no key for a key that is not there."""

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        return bool(key) and super().destroy(key, only_if)


@mutant("KEY-9")
class CutsLongNames(_Renaming):
    """A key that is too long is cut."""

    def _named(self, key: str) -> str:
        return key[:256] if isinstance(key, str) else key
