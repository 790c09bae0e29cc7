"""A small web application that shows what sessions do, and checks that they do it.

``python -m coatcheck demo`` serves it, ``python -m coatcheck demo --check`` visits it. It needs
the packages of ``coatcheck[demo]``.

- ``pages``: the HTML, and nothing of sessions.
- ``application``: the routes, and everything of sessions. The part to read.
- ``home``: where the sessions are kept, and the secret.
- ``serving``: starts and stops it.
- ``checking``: visits it with several browsers.
"""

from .checking import check as check
from .serving import serve as serve
