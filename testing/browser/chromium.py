"""Start Chromium with a profile that trusts a certificate authority of the tests' own.

Chromium reads authorities that a user has added from the NSS database in the home directory, so
each profile has a home directory of its own. All host names that end with ``.test`` lead to this
machine.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trustme
from playwright.sync_api import BrowserContext, Playwright

from testing.machine import CHROMIUM, system_program

#: The hosts of the certificate.
HOSTS: Final = ("*.shop.test", "shop.test", "other.test")
#: Root can start Chromium only without its sandbox.
ARGUMENTS: Final = ("--no-sandbox", "--host-resolver-rules=MAP *.test 127.0.0.1")


def program() -> str | None:
    """Return the path of Chromium."""
    return system_program(*CHROMIUM)


class Authority:
    """A certificate authority, and a certificate for the hosts of the tests.

    :param folder: where its files are written.
    """

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.file = folder / "authority.pem"
        self.key, self.certificate = folder / "key.pem", folder / "certificate.pem"
        authority.cert_pem.write_to_path(self.file)
        issued = authority.issue_cert(*HOSTS, "127.0.0.1")
        issued.private_key_pem.write_to_path(self.key)
        for number, part in enumerate(issued.cert_chain_pems):
            part.write_to_path(self.certificate, append=number > 0)

    def trust_in(self, home: Path) -> None:
        """Let browsers with this home directory trust the authority."""
        database = home / ".pki" / "nssdb"
        database.mkdir(parents=True)
        for words in (("-N", "--empty-password"), ("-A", "-t", "C,,", "-n", "tests")):
            named = ("-i", str(self.file)) if words[0] == "-A" else ()
            subprocess.run(
                ["certutil", "-d", f"sql:{database}", *words, *named],
                check=True, capture_output=True,
            )  # fmt: skip


@dataclass
class Profile:
    """A user of a browser: what Chromium keeps on the disk.

    :ivar playwright: drives the browser.
    :ivar folder: the profile's home directory.
    """

    playwright: Playwright
    folder: Path

    def block_cookies_of_frames(self, *, block: bool) -> None:
        """Choose what Chromium's settings say about cookies of other sites in frames."""
        settings = {"profile": {"cookie_controls_mode": int(block)}}
        file = self.folder / "profile" / "Default" / "Preferences"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(settings))

    @contextmanager
    def browser(self) -> Iterator[BrowserContext]:
        """Start the browser; it ends with the context, and the profile stays."""
        context = self.playwright.chromium.launch_persistent_context(
            self.folder / "profile",
            executable_path=program(),
            env={**os.environ, "HOME": str(self.folder)},
            args=ARGUMENTS,
        )
        context.set_default_timeout(20_000)
        try:
            yield context
        finally:
            context.close()
