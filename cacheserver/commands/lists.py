"""Options that the commands which list something share, and their conditions."""

from __future__ import annotations

import argparse
from typing import Final

from cacheserver.commands.connection import Server
from cacheserver.core.errors import SettingsError

MOST: Final = 20  # items that are listed unless told otherwise: they fit on a screen


def add_limits(command: argparse.ArgumentParser) -> None:
    """Add `--limit` and `--all`."""
    much = command.add_mutually_exclusive_group()
    much.add_argument("--limit", type=count, default=MOST, metavar="N", help="at most N (20)")
    much.add_argument("--all", action="store_true", help="all there are")


def add_tenant(command: argparse.ArgumentParser) -> None:
    """Add `--tenant`, for a command that a tenant may use too."""
    command.add_argument(
        "--tenant", metavar="NAME", help="only this tenant; with an admin key (default: all)"
    )


def most(args: argparse.Namespace) -> int | None:
    return None if args.all else args.limit


def tenant_of(args: argparse.Namespace, server: Server) -> dict[str, str]:
    """Return the condition of the tenant. Only an admin's requests have one."""
    return {"tenant": args.tenant} if server.admin and args.tenant is not None else {}


def named_tenant(args: argparse.Namespace) -> str:
    """Return the tenant of an admin's command about one thing. Raises `SettingsError`."""
    if args.tenant is None:
        raise SettingsError("give --tenant NAME: with an admin key an id alone names nothing")
    return str(args.tenant)


def add_conditions(command: argparse.ArgumentParser, names: dict[str, str]) -> None:
    """Add an option for each condition of a list; `names` are those of the API with their help."""
    for name, about in names.items():
        command.add_argument(option(name), metavar="X", dest=name, help=about)


def conditions(args: argparse.Namespace, names: dict[str, str]) -> dict[str, str]:
    """Return the conditions that were given."""
    return {name: value for name in names if (value := getattr(args, name)) is not None}


def option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def count(text: str) -> int:
    """Read a whole number of at least 1."""
    if not text.isdecimal() or (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return number
