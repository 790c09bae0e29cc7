"""The secret of coatcheck's own sessions is replaced."""

from __future__ import annotations

from typing import Any

import pytest
from rotation import LIFETIME, RotationRules, Site
from webclient import asgi_app, wsgi_app

from coatcheck import CookieOptions, SessionOptions


def native(**options: Any) -> SessionOptions:
    return SessionOptions(cookie=CookieOptions(max_age=LIFETIME), **options)


class TestNativeSessions(RotationRules):
    @pytest.fixture(params=[asgi_app, wsgi_app])
    def site(self, request: pytest.FixtureRequest) -> Site:
        return Site(request.param, native)
