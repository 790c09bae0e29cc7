"""Keep ``flask.session`` on the server: flash(), Flask-Login and all others use it as before.

::

    from coatcheck_flask import Coatcheck

    app.config.update(SECRET_KEY=os.environ["SESSION_SECRET"], COATCHECK_STORE="redis://localhost")
    Coatcheck(app)

docs/flask.md explains each setting. Quart's is :mod:`coatcheck_flask.quart`.
"""

from ._extension import Coatcheck, CoatcheckInterface, session
from ._session import FlaskSession
from ._settings import SettingsError

__all__ = ["Coatcheck", "CoatcheckInterface", "FlaskSession", "SettingsError", "session"]
