"""Flask-Session's own tests, run with coatcheck-flask in its place.

Its last release that has tests in the source distribution is 0.5.0.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from testing.interop.foreign_tests import run_tests, sources_of
from testing.servers import redis

TESTS = "test_session.py"
#: Tests that do not apply, and why.
LEFT_OUT = {
    "test_null_session": "without a secret the extension is an error",
    "test_memcached_session": "there is no store for memcached",
    "test_mongodb_session": "it needs a MongoDB server at its default port",
    "test_flasksqlalchemy_session": "there is no store for Flask-SQLAlchemy",
    "test_flasksqlalchemy_session_with_signer": "as above",
}


@pytest.mark.slow
@pytest.mark.integration("redis")
def test_the_tests_of_flask_session_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All tests of Flask-Session pass, except those that do not apply."""
    with redis.server() as url:
        monkeypatch.setenv("COATCHECK_TEST_REDIS", url)
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        summary = run_tests(
            sources_of("flask-session", tmp_path, "0.5.0"),
            "testing.interop.flask_session_settings",
            [TESTS],
            [f"{TESTS}::FlaskSessionTestCase::{name}" for name in LEFT_OUT],
        )
    assert summary == {"passed": 3, "deselected": len(LEFT_OUT)}
