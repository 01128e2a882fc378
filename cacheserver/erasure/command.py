"""Command `cacheserver erase`, carried out by the running server, which knows calls in flight.

cacheserver erase --tenant acme --actor ann@example.com
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Final

from cacheserver.core.command_line import CommandLine
from cacheserver.core.errors import SettingsError

if TYPE_CHECKING:
    from cacheserver.config.settings import Settings

_SELECTORS: Final = {
    "entry-id": "one stored answer",
    "tag": "what has the tag",
    "conversation": "a conversation, of the namespace that `--namespace` names",
    "actor": "what an end user asked",
    "namespace": "all of a namespace",
}


def add(line: CommandLine) -> None:
    """Add the command to the parser's."""
    erase = line.commands.add_parser(
        "erase", help="erase every trace of somebody's questions", parents=[line.configured]
    )
    erase.add_argument("--tenant", required=True, metavar="NAME", help="whose it is")
    for name, about in _SELECTORS.items():
        erase.add_argument(f"--{name}", metavar="X", help=about)
    erase.add_argument("--all", action="store_true", help="all that the tenant has")
    erase.add_argument(
        "--url", help="where the server is (default: CACHESERVER_HOST and CACHESERVER_PORT)"
    )
    erase.set_defaults(run=lambda asked: _run(asked, line.settings_of(asked)))


def _run(asked: argparse.Namespace, settings: Settings) -> int:
    """Print the server's reply. Raises `SettingsError`, and what the client raises."""
    from cacheserver.client import Client

    if settings.admin_key is None:
        raise SettingsError("`CACHESERVER_ADMIN_KEY`: an erasure asks for it, and it is not set")
    selector = {
        name.replace("-", "_"): value
        for name in _SELECTORS
        if (value := getattr(asked, name.replace("-", "_"))) is not None
    }
    if asked.all:
        selector["tenant"] = asked.tenant
    with Client(asked.url or _url(settings), key=settings.admin_key.get_secret_value()) as client:
        try:
            reply = client.erase(of=asked.tenant, **selector)
        except ValueError:
            raise SettingsError(
                f"erase: give one of {', '.join(f'--{name}' for name in _SELECTORS)} and --all"
            ) from None
    sys.stdout.write(json.dumps(reply, indent=2) + "\n")
    return 0


def _url(settings: Settings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
