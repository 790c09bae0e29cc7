"""Mutants of the DATA clauses."""

from __future__ import annotations

import base64
from dataclasses import replace

from mutation import mutant
from references import LimitedStore, PlainStore, TextHarness, TextStore

from coatcheck import ALWAYS, Condition, MemoryStore, Record
from coatcheck.errors import RecordTooLarge, StoreError
from coatcheck.storekit import check_key


class _Reading(MemoryStore):
    """A store that returns other data than it was given."""

    def shown(self, data: bytes) -> bytes:
        return data

    def get(self, key: str) -> Record | None:
        found = super().get(key)
        return None if found is None else replace(found, data=self.shown(found.data))


def _is_text(data: bytes) -> bool:
    try:
        return data.decode() is not None
    except UnicodeDecodeError:
        return False


@mutant("DATA-1")
class CodePage(_Reading):
    """Data that are not UTF-8 are kept as text of a Windows code page, which lacks five bytes."""

    def shown(self, data: bytes) -> bytes:
        return data if _is_text(data) else data.decode("cp1252", "ignore").encode("cp1252")


@mutant("DATA-2")
class ReplacesWhatIsNoText(_Reading):
    """Data are decoded as UTF-8, with what cannot be decoded replaced."""

    def shown(self, data: bytes) -> bytes:
        return data.decode("utf-8", "replace").encode()


@mutant("DATA-2")
class RefusesWhatIsNoText(MemoryStore):
    """Data that are not UTF-8 are refused."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        if not _is_text(record.data):
            raise StoreError("the data are no text")
        return super().set(key, record, only_if)


@mutant("DATA-3")
class EndsAtNUL(_Reading):
    """Text ends at NUL, as a C string does."""

    def shown(self, data: bytes) -> bytes:
        return data.split(b"\0")[0] if _is_text(data) else data


@mutant("DATA-3")
class TranslatesLineEnds(_Reading):
    """Text is read from a file in text mode."""

    def shown(self, data: bytes) -> bytes:
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if _is_text(data) else data


@mutant("DATA-3")
class DropsByteOrderMarks(_Reading):
    """A byte-order mark is taken for the encoding's own."""

    def shown(self, data: bytes) -> bytes:
        return data.removeprefix(b"\xef\xbb\xbf")


@mutant("DATA-3")
class TrimsText(_Reading):
    """White space at the ends of text is dropped."""

    def shown(self, data: bytes) -> bytes:
        return data.decode().strip().encode() if _is_text(data) else data


@mutant("DATA-4")
class TakesLetterForFalse(MemoryStore):
    """Data that a database writes for false count as no record."""

    def get(self, key: str) -> Record | None:
        found = super().get(key)
        return None if found is not None and found.data == b"f" else found


@mutant("DATA-5")
class DecodesMarkedData(_Reading):
    """Data that begin like the store's own binary form are decoded."""

    def shown(self, data: bytes) -> bytes:
        if data.startswith(b"base64:"):
            return base64.b64decode(data.removeprefix(b"base64:"))
        return data


@mutant("DATA-5")
class TakesDataForMarkers(MemoryStore):
    """Removed records are marked by a value of their data."""

    def get(self, key: str) -> Record | None:
        found = super().get(key)
        return None if found is not None and found.data == b"__deleted__" else found


@mutant("DATA-6")
class CutsAt64KiB(_Reading):
    """Data are cut after 64 KiB, as by a BLOB column of MySQL."""

    def shown(self, data: bytes) -> bytes:
        return data[:65535]


@mutant("DATA-6")
class LimitIsNotDeclared(PlainStore):
    """The backend refuses more than 400 KB, and the store does not say so."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        if len(record.data) > 400_000:
            raise RecordTooLarge(len(record.data), 400_000)
        return super().set(key, record, only_if)


@mutant("DATA-7")
class LimitCountsTheKey(LimitedStore):
    """The backend limits key and data together."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        if 1000 >= len(record.data) > 2000 - len(check_key(key).encode()):
            raise RecordTooLarge(len(record.data), 1000)
        return super().set(key, record, only_if)


@mutant("DATA-7")
class LimitCountsBase64(LimitedStore):
    """Binary data reach the backend's limit in their longer form."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        if not _is_text(record.data) and len(record.data) * 4 / 3 > 1000:
            raise RecordTooLarge(len(record.data), 1000)
        return super().set(key, record, only_if)


@mutant("DATA-8")
class RaisesTheGeneralError(LimitedStore):
    """It refuses data that are too large with an error without numbers."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        try:
            return super().set(key, record, only_if)
        except RecordTooLarge as error:
            raise StoreError("it is too large") from error


@mutant("DATA-8")
class LooksAtTheConditionFirst(LimitedStore):
    """It returns False for data that are too large, if the condition does not hold."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        try:
            return super().set(key, record, only_if)
        except RecordTooLarge:
            if not MemoryStore.set(self, key, replace(record, data=b"small"), only_if):
                return False
            raise


@mutant("DATA-8")
class SaysTheWholeSize(LimitedStore):
    """The error has the size of key and data together."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        try:
            return super().set(key, record, only_if)
        except RecordTooLarge as error:
            raise RecordTooLarge(error.size + len(key), error.limit) from None


@mutant("DATA-9")
class WritesWhatFits(LimitedStore):
    """It writes the part that fits before it refuses the rest."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        try:
            return super().set(key, record, only_if)
        except RecordTooLarge:
            MemoryStore.set(self, key, replace(record, data=record.data[:1000]), only_if)
            raise


@mutant("DATA-9")
class RemovesTheFormer(LimitedStore):
    """The old record is removed before the size is checked."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        try:
            return super().set(key, record, only_if)
        except RecordTooLarge:
            if only_if is ALWAYS:
                self.destroy(key)
            raise


@mutant("DATA-10", harness=TextHarness)
class KeepsAllAsBinary(TextStore):
    """Text is kept as binary."""

    def layout(self, key: str) -> str | bytes | None:
        found = super().layout(key)
        return found.encode() if isinstance(found, str) else found


@mutant("DATA-10", harness=TextHarness)
class KeepsBinaryAsText(TextStore):
    """It keeps bytes that are not text as text in base 64."""

    def layout(self, key: str) -> str | bytes | None:
        found = super().layout(key)
        return base64.b64encode(found).decode() if isinstance(found, bytes) else found
