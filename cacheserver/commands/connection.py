"""The server that a command talks to: its address and key, from options, environment or a prompt.

Rule: a key is no argument. Other users of a machine can read the arguments of a process.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from cacheserver.core.command_line import CommandLine, local_url
from cacheserver.core.errors import SettingsError

if TYPE_CHECKING:
    from cacheserver.client import Client
    from cacheserver.config.settings import Settings

_ADMIN_KEY: Final = "CACHESERVER_ADMIN_KEY"
_API_KEY: Final = "CACHESERVER_API_KEY"
_PAGE: Final = 200  # items of a page, the most that the server gives


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, asked with one key."""

    client: Client
    admin: bool  # the key is an admin's

    def get(self, path: str, **parameters: object) -> dict[str, Any]:
        """Return a JSON object. Parameters that are None are not sent."""
        return self.client.admin.get(path, **parameters)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return self.client.admin.post(path, body or {})

    def put(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self.client.admin.put(path, body)

    def delete(self, path: str) -> dict[str, Any]:
        return self.client.admin.delete(path)

    def items(
        self, path: str, most: int | None, **parameters: object
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Return at most `most` items of a list (None: all), and the cursor of the next."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            left = _PAGE if most is None else min(_PAGE, most - len(found))
            page = self.get(path, **parameters, limit=left, cursor=cursor)
            found += page["items"]
            cursor = page.get("next")
            if cursor is None or (most is not None and len(found) >= most):
                return found, cursor


Run = Callable[[argparse.Namespace, Server], int]


def options(*, admin: bool = False, tenant: bool = False) -> argparse.ArgumentParser:
    """Return a parent parser with the options that say which server, and where the key is."""
    parent = argparse.ArgumentParser(add_help=False)
    server = parent.add_argument_group("server")
    server.add_argument(
        "--url", help="address of the server (default: CACHESERVER_URL, or this machine)"
    )
    for wanted, option, variable in (
        (admin, "--admin-key-file", _ADMIN_KEY),
        (tenant, "--key-file", _API_KEY),
    ):
        if wanted:
            server.add_argument(
                option,
                type=Path,
                metavar="FILE",
                help=f"file with the key (default: {variable}, or the file of {variable}_FILE)",
            )
    if admin:
        server.add_argument(
            "--config",
            type=Path,
            metavar="FILE",
            help="settings of the server, for its address and admin key",
        )
    return parent


def as_admin(line: CommandLine, run: Run) -> Callable[[argparse.Namespace], int]:
    """Return `run` of a command that needs an admin key; asks for one on a terminal."""

    def running(args: argparse.Namespace) -> int:
        settings = _settings(args, line)
        key = _admin_key(args, settings) or _asked()
        with _open(args, settings, key, admin=True) as server:
            return run(args, server)

    return running


def as_tenant(run: Run) -> Callable[[argparse.Namespace], int]:
    """Return `run` of a command that needs a tenant's key, or none on a server without keys."""

    def running(args: argparse.Namespace) -> int:
        with _open(args, None, _key(args.key_file, "--key-file", _API_KEY), admin=False) as server:
            return run(args, server)

    return running


def as_either(line: CommandLine, run: Run) -> Callable[[argparse.Namespace], int]:
    """Return `run` of a command for an admin, and for a tenant where there is no admin key.

    `--tenant` is for an admin: who gives it without an admin key is asked for one.
    """

    def running(args: argparse.Namespace) -> int:
        settings = _settings(args, line)
        admin = None if args.key_file is not None else _admin_key(args, settings)
        if admin is None and args.tenant is not None:
            admin = _asked()
        key = _key(args.key_file, "--key-file", _API_KEY) if admin is None else admin
        with _open(args, settings, key, admin=admin is not None) as server:
            return run(args, server)

    return running


def name(text: str) -> str:
    """Return a name as a part of a path."""
    return quote(text, safe="")


@contextmanager
def _open(
    args: argparse.Namespace, settings: Settings | None, key: str | None, *, admin: bool
) -> Iterator[Server]:
    import httpx2

    from cacheserver.client import Client

    url = _url(args, settings)
    try:
        httpx2.URL(url)
        client = Client(url, key=key)
    except (ValueError, httpx2.InvalidURL) as error:
        raise SettingsError(f"{url}: {error}") from error
    with client:
        yield Server(client, admin)


def _settings(args: argparse.Namespace, line: CommandLine) -> Settings | None:
    """Return the server's settings if a file is named; the base install has no reader of them."""
    if args.config is None and not os.environ.get("CACHESERVER_CONFIG"):
        return None
    return line.settings_of(args)


def _url(args: argparse.Namespace, settings: Settings | None) -> str:
    if url := args.url or os.environ.get("CACHESERVER_URL"):
        return str(url)
    host = os.environ.get("CACHESERVER_HOST") or "127.0.0.1"
    port: str | int = os.environ.get("CACHESERVER_PORT") or 8080
    if settings is not None:
        host, port = settings.host, settings.port
    return local_url(host, port)


def _admin_key(args: argparse.Namespace, settings: Settings | None) -> str | None:
    found = _key(args.admin_key_file, "--admin-key-file", _ADMIN_KEY)
    if found is not None or settings is None:
        return found
    from cacheserver.config import settings as config

    return config.admin_key(settings)


def _key(file: Path | None, option: str, variable: str) -> str | None:
    """Return the key of a file that was named, of a variable, or of the file it names."""
    if file is not None:
        return _read(option, file)
    if key := os.environ.get(variable):
        return key
    path = os.environ.get(f"{variable}_FILE")
    return _read(f"{variable}_FILE", Path(path)) if path else None


def _read(option: str, path: Path) -> str:
    try:
        key = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"`{option}`: {path}: {error}") from error
    if not key:
        raise SettingsError(f"`{option}`: {path} is empty")
    return key


def _asked() -> str:
    """Ask a person for the admin key; what is typed is not shown."""
    if sys.stdin.isatty() and sys.stderr.isatty() and (key := getpass.getpass("Admin key: ")):
        return key.strip()
    raise SettingsError(
        f"`{_ADMIN_KEY}`: this command asks for an admin key; set it or {_ADMIN_KEY}_FILE, or "
        "give --admin-key-file FILE"
    )
