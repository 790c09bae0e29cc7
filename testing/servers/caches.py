"""nginx and Apache in front of an application: as shared caches, and nginx as a proxy with TLS.

Both are found on PATH, or in the folder of system programs, where Debian's packages ``nginx`` and
``apache2-bin`` install them. Neither reads the machine's own configuration.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ..machine import apache_modules, system_program
from .process import PortReservation, ServerProcess, accepts
from .programs import ServerMissing

_NOBODY: Final = 65534
_MODULES: Final = (
    "mpm_event", "authz_core", "unixd", "cache", "cache_disk", "proxy", "proxy_http",
)  # fmt: skip


class Nginx(ServerProcess):
    """nginx with ``proxy_cache``, which also caches responses that set cookies.

    A response without a lifetime is kept for a minute.

    :param backends: the URL of the application behind each path.
    :raises ServerMissing: there is no nginx.
    """

    def __init__(self, backends: Mapping[str, str]) -> None:
        program = system_program("nginx")
        if program is None:
            raise ServerMissing("there is no nginx: `apt-get install nginx`")

        def command(port: int, folder: Path) -> Sequence[str]:
            configuration = folder / "nginx.conf"
            configuration.write_text(_nginx(port, folder, backends))
            return (program, "-p", str(folder), "-c", str(configuration), "-e", "stderr")

        super().__init__(command, accepts)


class NginxSite(ServerProcess):
    """nginx with the configuration of a site that listens on the ports 80 and 443.

    :param site: what a folder such as /etc/nginx/conf.d has for the site.
    :param replaced: what is different on this machine, such as the paths of certificates.
    :ivar port: the port in the place of 80.
    :ivar tls_port: the port in the place of 443.
    :raises ServerMissing: there is no nginx.
    :raises ValueError: the site has something not exactly once that must be replaced.
    """

    def __init__(self, site: str, replaced: Mapping[str, str]) -> None:
        program = system_program("nginx")
        if program is None:
            raise ServerMissing("there is no nginx: `apt-get install nginx`")
        self._tls = PortReservation()
        self.tls_port = self._tls.port

        def command(port: int, folder: Path) -> Sequence[str]:
            here = {
                "listen 80;": f"listen 127.0.0.1:{port};",
                "listen 443 ssl;": f"listen 127.0.0.1:{self.tls_port} ssl;",
                **replaced,
            }
            configuration = folder / "nginx.conf"
            configuration.write_text(_nginx_with(folder, _replaced(site, here)))
            return (program, "-p", str(folder), "-c", str(configuration), "-e", "stderr")

        super().__init__(command, accepts)

    def _clean(self) -> None:
        self._tls.end()
        super()._clean()


def _replaced(text: str, replaced: Mapping[str, str]) -> str:
    for old, new in replaced.items():
        if text.count(old) != 1:
            raise ValueError(f"the site must have `{old}` once, not {text.count(old)} times")
        text = text.replace(old, new)
    return text


class Apache(ServerProcess):
    """Apache with mod_cache, which keeps the cached responses in its folder.

    :param backends: the URL of the application behind each path.
    :raises ServerMissing: there is no Apache.
    """

    def __init__(self, backends: Mapping[str, str]) -> None:
        program, modules = system_program("apache2", "httpd"), apache_modules("cache_disk")
        if program is None or modules is None:
            raise ServerMissing("there is no Apache with mod_cache: `apt-get install apache2-bin`")

        def command(port: int, folder: Path) -> Sequence[str]:
            pages, configuration = folder / "pages", folder / "apache.conf"
            pages.mkdir(exist_ok=True)
            if os.getuid() == 0:  # nginx then serves as another user
                folder.chmod(0o711)
                os.chown(pages, _NOBODY, _NOBODY)
            configuration.write_text(_apache(port, folder, modules, backends))
            return (program, "-DFOREGROUND", "-f", str(configuration))

        super().__init__(command, accepts)


def _nginx(port: int, folder: Path, backends: Mapping[str, str]) -> str:
    locations = "".join(
        f"location {path} {{ proxy_pass {url}/; }}\n" for path, url in backends.items()
    )
    return _nginx_with(
        folder,
        f"""
  proxy_cache_path {folder}/cache keys_zone=pages:1m;
  proxy_cache pages;
  proxy_cache_valid 200 1m;
  proxy_ignore_headers Set-Cookie;
  proxy_http_version 1.1;
  add_header X-Cache $upstream_cache_status;
  server {{
    listen 127.0.0.1:{port};
    {locations}
  }}
""",
    )


def _nginx_with(folder: Path, site: str) -> str:
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # Apache's workers run as another user, who cannot enter the folder otherwise.
    user = "user root;" if os.getuid() == 0 else ""
    return f"""
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
events {{ worker_connections 64; }}
http {{
  access_log off;
  {temporary}
{site}
}}
"""


def _apache(port: int, folder: Path, modules: str, backends: Mapping[str, str]) -> str:
    # Some modules may be built into the program, depending on the build.
    loaded = "".join(
        f"<IfModule !{name}_module>\n"
        f"LoadModule {name}_module {modules}/mod_{name}.so\n"
        "</IfModule>\n"
        for name in _MODULES
    )
    passed = "".join(f"ProxyPass {path} {url}/\n" for path, url in backends.items())
    user = f"User #{_NOBODY}\nGroup #{_NOBODY}" if os.getuid() == 0 else ""
    return f"""
{loaded}
{user}
ServerRoot {folder}
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
PidFile {folder}/apache.pid
DefaultRuntimeDir {folder}
ErrorLog /dev/stderr
Mutex pthread
CacheEnable disk /
CacheRoot {folder}/pages
CacheHeader on
{passed}
"""
