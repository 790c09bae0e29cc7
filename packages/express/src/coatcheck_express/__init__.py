"""Share sessions with an Express application, and migrate from it.

::

    from coatcheck_express import express_options

    options = express_options(
        secret=os.environ["SESSION_SECRET"],
        store="redis://localhost:6379/0",
        cookie={"max_age_ms": 24 * 3600 * 1000},
    )
    app = SessionMiddleware(app, options)

docs/from-express.md explains each option.
"""

from .codec import ExpressCodec, as_node_has_it
from .cookie import ExpressCookie, ExpressCookieOptions
from .cookie_format import ExpressCookieFormat
from .migration import migrate_from_express
from .options import express_options

__all__ = [
    "ExpressCodec",
    "ExpressCookie",
    "ExpressCookieFormat",
    "ExpressCookieOptions",
    "as_node_has_it",
    "express_options",
    "migrate_from_express",
]
