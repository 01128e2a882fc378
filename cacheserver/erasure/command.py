"""Commands carried out by the running server, which knows calls in flight.

cacheserver erase --tenant acme --actor ann@example.com
cacheserver tenant delete acme --confirm acme
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Final

from cacheserver.core.command_line import CommandLine, add_command
from cacheserver.core.errors import SettingsError

if TYPE_CHECKING:
    from cacheserver.config.settings import Settings

_SELECTORS: Final = {
    "entry-id": "the stored answer with this id",
    "tag": "content with this tag",
    "conversation": "a conversation; `--namespace` names its namespace",
    "actor": "content of this end user",
    "namespace": "everything in this namespace",
}


def add(line: CommandLine) -> None:
    """Add the commands to the parser's."""
    erase = add_command(
        line.commands,
        "erase",
        help="erase stored content of a tenant, by selector",
        parents=[line.configured],
    )
    erase.add_argument(
        "--tenant", required=True, metavar="NAME", help="the tenant whose content is erased"
    )
    for name, about in _SELECTORS.items():
        erase.add_argument(f"--{name}", metavar="X", help=about)
    erase.add_argument("--all", action="store_true", help="all content of the tenant")
    _add_url(erase)
    erase.set_defaults(run=lambda args: _run(args, line.settings_of(args)))
    tenant = add_command(line.commands, "tenant", help="delete a tenant")
    verbs = tenant.add_subparsers(title="commands", required=True, metavar="COMMAND")
    delete = add_command(
        verbs,
        "delete",
        help="revoke a tenant's keys, erase its content and remove its settings",
        parents=[line.configured],
    )
    delete.add_argument("name", help="the tenant that is deleted")
    delete.add_argument("--confirm", required=True, metavar="NAME", help="its name once more")
    _add_url(delete)
    delete.set_defaults(run=lambda args: _delete(args, line.settings_of(args)))


def _add_url(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--url", help="URL of the server (default: from CACHESERVER_HOST and CACHESERVER_PORT)"
    )


def _delete(args: argparse.Namespace, settings: Settings) -> int:
    """Print the server's reply. Raises `SettingsError`, and what the client raises."""
    from cacheserver.client import Client

    with Client(args.url or _url(settings), key=_admin_key(settings)) as client:
        reply = client.delete_tenant(args.name, confirm=args.confirm)
    sys.stdout.write(json.dumps(reply, indent=2) + "\n")
    return 0


def _admin_key(settings: Settings) -> str:
    if settings.admin_key is None:
        raise SettingsError("`CACHESERVER_ADMIN_KEY`: this command asks for it, and it is not set")
    return settings.admin_key.get_secret_value()


def _run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the server's reply. Raises `SettingsError`, and what the client raises."""
    from cacheserver.client import Client

    selector = {
        name.replace("-", "_"): value
        for name in _SELECTORS
        if (value := getattr(args, name.replace("-", "_"))) is not None
    }
    if args.all:
        selector["tenant"] = args.tenant
    with Client(args.url or _url(settings), key=_admin_key(settings)) as client:
        try:
            reply = client.erase(of=args.tenant, **selector)
        except ValueError:
            raise SettingsError(
                f"erase: give one of {', '.join(f'--{name}' for name in _SELECTORS)} and --all"
            ) from None
    sys.stdout.write(json.dumps(reply, indent=2) + "\n")
    return 0


def _url(settings: Settings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
