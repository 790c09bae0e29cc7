"""Signing ids for the cookie, and the secrets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webclient import Client, CountingStore, asgi_app, set_cookies

from coatcheck import SessionOptions
from coatcheck._cookies.signing import Key, Signer, check_secrets
from coatcheck.errors import ConfigurationError

ID = "abcdefghijklmnopqrstuvwxyz012345"
OLD, NEW = "the old secret, thirty-two bytes", "the new secret, thirty-two bytes"
ADVICE = "`python -m coatcheck secret` prints a good one"


def signer(*secrets: str, name: str = "sid") -> Signer:
    return Signer([secret.encode() for secret in secrets], name)


def test_a_signed_value_is_read_back() -> None:
    """The cookie value is the id, a dot and the signature."""
    signed = signer(NEW).sign(ID)
    value, dot, signature = signed.rpartition(".")
    assert (value, dot, len(signature)) == (ID, ".", 43)
    assert signer(NEW).unsign(signed) == (ID, True)


def test_the_format_can_be_computed_without_this_package() -> None:
    """The key is HMAC-SHA256 of the cookie's name, the signature HMAC-SHA256 of the id."""
    key = hmac.digest(NEW.encode(), b"coatcheck.cookie.sid", "sha256")
    signature = hmac.digest(key, ID.encode(), hashlib.sha256)
    text = base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
    assert signer(NEW).sign(ID) == f"{ID}.{text}"


def test_a_signature_is_bound_to_the_cookies_name() -> None:
    """What was signed for one cookie is worth nothing in another."""
    signed = signer(NEW, name="sid").sign(ID)
    assert signer(NEW, name="admin").unsign(signed) is None
    assert signer(NEW, name="SID").unsign(signed) is None


def test_a_signature_has_one_spelling() -> None:
    """Of the base64 texts that decode to the same bytes only the written one is accepted."""
    signed = signer(NEW).sign(ID)
    digest = base64.urlsafe_b64decode(signed.rpartition(".")[2] + "=")
    alphabet = string.ascii_letters + string.digits + "-_"
    spellings = {
        text
        for last in alphabet
        if base64.urlsafe_b64decode((text := signed[:-1] + last).rpartition(".")[2] + "=") == digest
    }
    assert len(spellings) == 4
    assert [text for text in spellings if signer(NEW).unsign(text)] == [signed]
    padded = [signed + "=", signed + " ", signed.translate(str.maketrans("-_", "+/")) + "\n"]
    assert [signer(NEW).unsign(text) for text in padded] == [None, None, None]


@pytest.mark.parametrize(
    "signed",
    ["", ".", ID, f"{ID}.", f".{ID}", "s:" + ID, f"{ID}.\u00e9", f"\u00e9{ID}.x", f"{ID}.\ud800"],
)
def test_what_was_not_signed_is_refused(signed: str) -> None:
    """No signature, half of one or one with other letters is None, never an error."""
    assert signer(NEW, OLD).unsign(signed) is None


@given(st.integers(0, len(ID) + 43), st.characters(max_codepoint=255))
def test_a_changed_letter_breaks_the_signature(place: int, letter: str) -> None:
    """No letter of id or signature can be replaced."""
    signed = signer(NEW).sign(ID)
    changed = signed[:place] + letter + signed[place + 1 :]
    assert signer(NEW).unsign(changed) == ((ID, True) if changed == signed else None)


def test_the_first_secret_signs_and_all_verify() -> None:
    """A value signed with a later secret is accepted, and known to be an old one."""
    rotated = signer(NEW, OLD)
    assert rotated.sign(ID) == signer(NEW).sign(ID)
    assert rotated.unsign(signer(NEW).sign(ID)) == (ID, True)
    assert rotated.unsign(signer(OLD).sign(ID)) == (ID, False)
    assert signer(NEW).unsign(signer(OLD).sign(ID)) is None


@pytest.mark.anyio
async def test_a_cookie_of_an_old_secret_is_signed_anew() -> None:
    """After a rotation the next response carries the same id, signed with the new secret."""
    store = CountingStore()

    def visit(session: dict[str, int], scope: object) -> int:
        session.setdefault("n", 1)
        return session["n"]

    before = Client(asgi_app(visit, store=store, secret=OLD))
    await before.get("/")
    session_id = before.id
    rotated = Client(asgi_app(visit, store=store, secret=[NEW, OLD]))
    rotated.cookies = before.cookies
    store.taken()

    [line] = set_cookies(await rotated.get("/"))
    assert line.startswith(f"sid={signer(NEW).sign(session_id)};")
    assert set_cookies(await rotated.get("/")) == []
    assert store.taken() == ["get", "touch", "get"]  # nothing is announced that is not there


SECRETS = "`secret` must be a string, bytes or a non-empty sequence of them"


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        ("", "`secret` must not be empty; is its environment variable set?"),
        (b"", "`secret` must not be empty; is its environment variable set?"),
        ([NEW, ""], "`secret` must not be empty; is its environment variable set?"),
        ("q" * 15, f"`secret` must have at least 16 bytes, this one has 15; {ADVICE}"),
        ([NEW, b"qqq"], f"`secret` must have at least 16 bytes, this one has 3; {ADVICE}"),
        (None, f"{SECRETS}, not None; is its environment variable set? {ADVICE}"),
        ([], f"{SECRETS}, not an empty one; {ADVICE}"),
        (7, f"{SECRETS}, not int; {ADVICE}"),
        ({NEW}, f"{SECRETS}, not set; {ADVICE}"),
        ([None], "`secret` must hold strings or bytes, not NoneType"),
        ([NEW, 7], "`secret` must hold strings or bytes, not int"),
        ([[NEW]], "`secret` must hold strings or bytes, not list"),
    ],
)
def test_a_secret_that_cannot_work_is_refused(secret: object, message: str) -> None:
    """The error says what is wrong with the secret without quoting it."""
    with pytest.raises(ConfigurationError) as caught:
        SessionOptions(secret=secret)  # type: ignore[arg-type]  # the point
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("secret", "warnings"),
    [
        ("q" * 16, ["`secret` has 16 bytes; 32 random bytes or more are advised"]),
        (b"q" * 31, ["`secret` has 31 bytes; 32 random bytes or more are advised"]),
        ([NEW, "q" * 20], ["`secret` has 20 bytes; 32 random bytes or more are advised"]),
        ("\u00e9" * 10, ["`secret` has 20 bytes; 32 random bytes or more are advised"]),
        ("q" * 32, []),
        ((NEW, OLD.encode()), []),
    ],
)
def test_a_short_secret_is_warned_of(
    secret: str, warnings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """From 16 bytes on a secret works; under 32 there is a warning."""
    with caplog.at_level(logging.WARNING, logger="coatcheck"):
        SessionOptions(secret=secret)
    assert [record.getMessage() for record in caplog.records] == warnings


def test_short_secrets_are_accepted_where_another_program_has_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Express accepts any secret, so its users could do nothing about a warning."""
    assert check_secrets("q", minimum=1) == (b"q",)
    assert caplog.messages == []


def test_strings_and_bytes_are_the_same_secret() -> None:
    """A text secret is its UTF-8 bytes, and the order given is the order kept."""
    assert SessionOptions(secret=["q" * 31 + "\u00e9", NEW]).secrets == (
        b"q" * 31 + b"\xc3\xa9",
        NEW.encode(),
    )


@given(st.binary(min_size=1, max_size=64), st.text("abcXYZ019-_", max_size=200))
def test_signatures_are_hmac_sha256(key: bytes, value: str) -> None:
    """For each key and value the signature is what the standard library computes (RFC 2104)."""
    digest = hmac.digest(key, value.encode(), "sha256")
    text = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert Key(key).signature(value) == text
