"""The replacement of a secret of sessions that are shared with Express."""

from __future__ import annotations

from typing import Any

import pytest
from rotation import LIFETIME, RotationRules, Site
from webclient import wsgi_app

from coatcheck import SessionOptions
from coatcheck_express import express_options


def express(**options: Any) -> SessionOptions:
    return express_options(cookie={"max_age_ms": LIFETIME * 1000}, **options)


class TestExpressSessions(RotationRules):
    @pytest.fixture
    def site(self) -> Site:
        return Site(wsgi_app, express)
