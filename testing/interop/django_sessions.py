"""Run Django's own tests of session engines and of its middleware, on those of coatcheck.

::

    python -m testing.interop.django_sessions TESTS URL...

``TESTS`` is the folder ``tests`` of Django's source distribution. Each ``URL`` names a store, on
which all tests run.
"""

from __future__ import annotations

import sys
import unittest
from collections.abc import Iterator
from typing import Final

import django
from django.conf import settings

#: Tests that do not apply, and why.
LEFT_OUT: Final = {
    "SessionMiddlewareTests.test_empty_session_saved": "it reads the table of Django's own engine",
    "OwnMiddlewareTests.test_empty_session_saved": "the same",
    "OwnMiddlewareTests.test_session_update_error_redirect": (
        "Django's middleware answers 400 after a parallel logout, and this one does not"
    ),
}


def configure(tests: str) -> None:
    """Set Django up with the application that has the tests."""
    sys.path.insert(0, tests)
    settings.configure(
        SECRET_KEY="a secret for tests, which is long enough",
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "sessions_tests",
            "coatcheck_django",
        ],
        SESSION_ENGINE="coatcheck_django",
        COATCHECK={"STORE": "memory:"},
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    )
    django.setup()


def cases() -> Iterator[unittest.TestCase]:
    """Yield the tests that every engine has to pass, and those of the middleware."""
    from django.test import SimpleTestCase
    from sessions_tests import tests  # type: ignore[import-not-found]  # from TESTS

    from coatcheck_django import SessionStore
    from coatcheck_django.middleware import SessionMiddleware

    class EngineTests(tests.SessionTestsMixin, SimpleTestCase):  # type: ignore[misc]
        backend = SessionStore

    class OwnMiddlewareTests(tests.SessionMiddlewareTests):  # type: ignore[misc]
        def setUp(self) -> None:
            super().setUp()
            self.addCleanup(setattr, tests, "SessionMiddleware", tests.SessionMiddleware)
            tests.SessionMiddleware = SessionMiddleware

    for kind in (EngineTests, tests.SessionMiddlewareTests, OwnMiddlewareTests):
        for name in unittest.defaultTestLoader.getTestCaseNames(kind):
            if f"{kind.__name__}.{name}" not in LEFT_OUT:
                yield kind(name)


def passes(url: str) -> bool:
    """Run the tests on a store, print how many of each kind there were, and tell if all passed."""
    from django.test import override_settings

    chosen = list(cases())
    with override_settings(COATCHECK={"STORE": url}):
        result = unittest.TextTestRunner(verbosity=1).run(unittest.TestSuite(chosen))
    kinds = [type(case).__name__ for case in chosen]
    if not result.wasSuccessful() or result.skipped:
        print("failed on", url)
        return False
    print(*(f"{kind}={kinds.count(kind)}" for kind in dict.fromkeys(kinds)), "passed")
    return True


def main() -> int:
    """Run the tests on each store. There is a line for each."""
    from django.test.runner import DiscoverRunner

    tests, *urls = sys.argv[1:]
    configure(tests)
    runner = DiscoverRunner(verbosity=0)
    runner.setup_test_environment()
    databases = runner.setup_databases()
    try:
        passed = [passes(url) for url in urls]
    finally:
        runner.teardown_databases(databases)
        runner.teardown_test_environment()
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
