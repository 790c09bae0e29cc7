"""Sessions that are shared with an Express application, and how to leave it behind.

::

    from coatcheck_express import express_options

    options = express_options(
        secret=os.environ["SESSION_SECRET"],
        store="redis://localhost:6379/0",
        cookie={"max_age_ms": 24 * 3600 * 1000},
    )
    app = SessionMiddleware(app, options)

docs/from-express.md goes through it option by option.
"""

from .changeover import leaving_express
from .codec import ExpressCodec, as_node_has_it
from .cookie import ExpressCookie, ExpressCookieOptions
from .cookie_format import ExpressCookieFormat
from .options import express_options

__all__ = [
    "ExpressCodec",
    "ExpressCookie",
    "ExpressCookieFormat",
    "ExpressCookieOptions",
    "as_node_has_it",
    "express_options",
    "leaving_express",
]
