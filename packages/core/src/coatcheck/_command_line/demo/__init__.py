"""Show what sessions do in a small web application, and check that they do it.

``python -m coatcheck demo`` serves the demo, ``python -m coatcheck demo --check`` visits it. It
needs the packages of ``coatcheck[demo]``.

- ``application`` has the routes, and all code that uses sessions. Read this module first.
- ``pages`` has the HTML.
- ``home`` chooses the store and the secret.
- ``serving`` starts and stops the demo.
- ``checking`` visits the demo with several browsers.
"""

from .checking import check as check
from .serving import serve as serve
