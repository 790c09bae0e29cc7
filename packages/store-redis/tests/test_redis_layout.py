"""Where things are in Redis."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coatcheck.errors import ConfigurationError
from coatcheck_redis._layout import Layout, hash_tag, metadata, overwritten, slot

pytestmark = pytest.mark.integration("redis")

#: Keys made of what decides about slots.
_KEYS = st.text(alphabet="{}a:", min_size=1, max_size=12).map(str.encode)


@pytest.mark.parametrize(
    ("key", "number"),
    # Redis Cluster specification: the reference vector of CRC16, and its examples of hash tags.
    [(b"123456789", 12739), (b"foo", 12182), (b"{foo}bar", 12182), (b"a{foo}{bar}", 12182)],
)
def test_slots_are_those_of_the_specification(key: bytes, number: int) -> None:
    assert slot(key) == number


@pytest.mark.parametrize(
    ("key", "tag"),
    [(b"{user}x", b"user"), (b"foo{}{bar}", b""), (b"foo{{bar}}", b"{bar"), (b"a}b{c}", b"c"),
     (b"{open", b""), (b"plain", b"")],
)  # fmt: skip
def test_a_hash_tag_is_the_first_one_that_is_not_empty(key: bytes, tag: bytes) -> None:
    assert hash_tag(key) == tag


@settings(deadline=None)
@given(_KEYS)
def test_the_metadata_is_in_the_slot_of_its_record(record: bytes) -> None:
    assert slot(metadata(record)) == slot(overwritten(record)) == slot(record)


@settings(deadline=None)
@given(_KEYS, _KEYS)
def test_no_two_records_share_metadata(one: bytes, other: bytes) -> None:
    assert (metadata(one) == metadata(other)) == (one == other)
    assert (overwritten(one) == overwritten(other)) == (one == other)
    assert metadata(one) != overwritten(other)


@settings(deadline=None)
@given(st.text(min_size=1), st.text(min_size=1), st.text(min_size=1), st.text(min_size=1))
def test_no_two_owners_share_an_index(prefix: str, owner: str, second: str, other: str) -> None:
    def index(prefix: str, owner: str) -> bytes:
        encoded = prefix.encode("utf-8", "replace").decode() + ":"
        return Layout("p" + encoded).index(owner.encode("utf-8", "replace"))

    def named(prefix: str, owner: str) -> tuple[bytes, bytes]:
        return prefix.encode("utf-8", "replace"), owner.encode("utf-8", "replace")

    same = named(prefix, owner) == named(second, other)
    assert (index(prefix, owner) == index(second, other)) == same


@pytest.mark.parametrize(
    "prefix", ["", "c", "coatcheck:", "coatcheck:metadata:", "coatcheck:owner:1"]
)
def test_a_prefix_that_would_mix_records_with_other_things_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="`prefix` must"):
        Layout(prefix)


def test_a_prefix_of_another_type_or_of_half_characters_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="non-empty string"):
        Layout(b"sess:")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="lone surrogates"):
        Layout("\ud800")
