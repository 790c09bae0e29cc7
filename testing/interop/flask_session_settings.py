"""A pytest plugin that runs Flask-Session's own tests with coatcheck-flask.

It is in the place of Flask-Session. The tests have no secret, or one that is shorter than coatcheck
accepts, and expect a Redis server at its default port: here they get a secret, and the server that
the environment variable names.
"""

from __future__ import annotations

import os
import sys
import types
from typing import Any

import redis
from coatcheck_flask import Coatcheck


class Session(Coatcheck):
    """Adapt coatcheck's extension to these tests."""

    def init_app(self, app: Any) -> None:
        """Give an application its sessions."""
        app.secret_key = "a secret of thirty-two bytes, more"
        app.config["SESSION_REDIS"] = redis.Redis.from_url(os.environ["COATCHECK_TEST_REDIS"])
        super().init_app(app)


module: Any = types.ModuleType("flask_session")
module.Session = Session
sys.modules["flask_session"] = module
