"""Show what sessions do in a small shop, and check that they do it.

``python -m coatcheck demo`` serves the shop, and ``python -m coatcheck demo --check`` visits it.

- ``_shop`` has the pages, the cart and the rules, as functions of a session and a form. Read this
  module first.
- ``_frameworks`` has the shop in Starlette, Flask and Django: all code that differs between them.
- ``_glass`` records what happens to each request, for the column beside the pages.
- ``_races`` has two experiments, each with coatcheck and with a store on which the last write wins.
- ``_pages`` renders the templates.
- ``_home`` chooses the store and the secret, ``_serving`` starts and stops the demo.
- ``_checking`` visits the demo with several browsers, which are in ``_visiting``.
"""

from ._command import main

__all__ = ["main"]


def __dir__() -> list[str]:
    return __all__
