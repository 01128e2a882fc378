"""`cacheserver tenant` and `cacheserver erase`: settings and content of tenants."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any, Final

from cacheserver.commands import connection, lists
from cacheserver.commands.connection import Server
from cacheserver.core.command_line import (
    NO,
    OK,
    CommandLine,
    add_command,
    add_json,
    add_verbs,
    print_json,
    say,
)
from cacheserver.core.errors import SettingsError
from cacheserver.core.terminal import output
from cacheserver.core.terminal.prompts import agreed

_SELECTORS: Final = {
    "entry_id": "the stored answer with this id",
    "tag": "content with this tag",
    "conversation": "a conversation; `--namespace` names its namespace",
    "actor": "content of this end user",
    "namespace": "everything in this namespace",
}
_ERASING: Final = "no_content"  # a setting whose change erases what is stored


def add(line: CommandLine) -> None:
    """Add the commands."""
    admin = connection.options(admin=True)
    tenant = add_command(line.commands, "tenant", help="list, show, set and delete tenants")
    verbs = add_verbs(tenant)
    listing = add_command(
        verbs,
        "list",
        help="list the tenants that have settings or a key",
        example="cacheserver tenant list",
        parents=[admin],
    )
    lists.add_limits(listing)
    add_json(listing)
    listing.set_defaults(run=connection.as_admin(line, _list))
    show = add_command(
        verbs,
        "show",
        help="show what a tenant sets itself",
        example="cacheserver tenant show shop\ncacheserver tenant show shop --defaults",
        parents=[admin],
    )
    show.add_argument("name", metavar="NAME", help="the tenant")
    show.add_argument(
        "--defaults", action="store_true", help="show every setting in force, defaults too"
    )
    add_json(show)
    show.set_defaults(run=connection.as_admin(line, _show))
    change = add_command(
        verbs,
        "set",
        help="change settings of a tenant",
        example="cacheserver tenant set shop default_ttl_s=3600 budgets.daily.usd=20\n"
        "cacheserver tenant set shop default_ttl_s=null",
        parents=[admin],
    )
    change.add_argument("name", metavar="NAME", help="the tenant; made if it is not there")
    change.add_argument(
        "settings",
        nargs="*",
        metavar="SETTING=VALUE",
        help="a setting, with dots for its depth, and its value as JSON; null: the default",
    )
    change.add_argument("--yes", action="store_true", help="do not ask")
    add_json(change)
    change.set_defaults(run=connection.as_admin(line, _set))
    delete = add_command(
        verbs,
        "delete",
        help="revoke a tenant's keys, erase its content and remove its settings",
        example="cacheserver tenant delete shop --confirm shop",
        parents=[admin],
    )
    delete.add_argument("name", metavar="NAME", help="the tenant")
    delete.add_argument("--confirm", required=True, metavar="NAME", help="its name once more")
    add_json(delete)
    delete.set_defaults(
        run=connection.as_admin(line, _delete), interrupted="run it again: it goes on"
    )
    _add_erase(line, admin)


def _add_erase(line: CommandLine, admin: argparse.ArgumentParser) -> None:
    erase = add_command(
        line.commands,
        "erase",
        help="erase stored content of a tenant, by selector",
        example="cacheserver erase --tenant shop --actor ann@example.com",
        parents=[admin],
    )
    erase.add_argument(
        "--tenant", required=True, metavar="NAME", help="the tenant whose content is erased"
    )
    lists.add_conditions(erase, _SELECTORS)
    erase.add_argument("--all", action="store_true", help="all content of the tenant")
    erase.add_argument("--yes", action="store_true", help="do not ask")
    add_json(erase)
    erase.set_defaults(
        run=connection.as_admin(line, _erase),
        interrupted="an erasure that has begun goes on in the server; run it again to see its end",
    )


def _list(args: argparse.Namespace, server: Server) -> int:
    found, following = server.items("/admin/v1/tenants", lists.most(args))
    return output.print_list(
        found,
        following,
        as_json=args.json,
        head=("TENANT", "KEYS", "LAST USED", "SETS"),
        row=lambda one: (
            one["name"],
            one["keys"],
            one["last_used"] or "never",
            ", ".join(one["own"]) or "-",
        ),
        empty="No tenant has settings or a key.",
    )


def _show(args: argparse.Namespace, server: Server) -> int:
    found = server.get(f"/admin/v1/tenants/{connection.name(args.name)}")
    shown = found["settings"] if args.defaults else found["own"]
    if args.json:
        print_json(found)
    elif shown:
        output.print_facts({name: json.dumps(value) for name, value in output.flat(shown).items()})
    else:
        say(f"{output.one_line(args.name)} sets nothing itself; --defaults shows what is in force.")
    return OK


def _set(args: argparse.Namespace, server: Server) -> int:
    changes = read_changes(args.settings)
    if _ERASING in changes and not args.yes:
        say(f"A change of `{_ERASING}` erases what is stored for {output.one_line(args.name)}.")
        if not agreed("Go on?"):
            return NO
    done = server.put(f"/admin/v1/tenants/{connection.name(args.name)}", changes)
    if args.json:
        print_json(done)
    else:
        own = output.flat(done["own"])
        output.print_facts({name: json.dumps(value) for name, value in own.items()})
        say(f"Tenant {output.one_line(args.name)} sets this now, on all servers.")
    return OK


def read_changes(words: list[str]) -> dict[str, Any]:
    """Return settings from words such as `bar.target=0.02`. Raises `SettingsError`.

    A value that is no JSON is text.
    """
    changes: dict[str, Any] = {}
    for word in words:
        path, equals, text = word.partition("=")
        *above, last = path.split(".")
        if not equals or not all((*above, last)):
            raise SettingsError(f"{word!r} must be SETTING=VALUE, such as default_ttl_s=3600")
        place = changes
        for part in above:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise SettingsError(f"{word!r}: `{part}` was given a value before")
        if last in place:
            raise SettingsError(f"{word!r}: `{path}` is given twice")
        try:
            place[last] = json.loads(text)
        except ValueError:
            place[last] = text
    return changes


def _delete(args: argparse.Namespace, server: Server) -> int:
    done = server.client.delete_tenant(args.name, confirm=args.confirm)
    return _told(args, done)


def _erase(args: argparse.Namespace, server: Server) -> int:
    selector: dict[str, Any] = dict(lists.conditions(args, _SELECTORS))
    if args.all:
        selector["tenant"] = args.tenant
    if len(selector) != 1 and selector.keys() != {"conversation", "namespace"}:
        named = ", ".join(lists.option(name) for name in _SELECTORS)
        raise SettingsError(f"erase: give one of {named} and --all")
    if not args.yes and not agreed(f"Erase {_chosen(args, selector)}? Nothing brings it back."):
        return NO
    return _told(args, server.client.erase(of=args.tenant, **selector))


def _chosen(args: argparse.Namespace, selector: Mapping[str, Any]) -> str:
    if args.all:
        return f"all content of tenant {output.one_line(args.tenant)}"
    named = " and ".join(f"{name} {output.one_line(value)}" for name, value in selector.items())
    return f"what tenant {output.one_line(args.tenant)} has of {named}"


def _told(args: argparse.Namespace, done: dict[str, Any]) -> int:
    """Print what was removed, and what not."""
    if args.json:
        print_json(done)
    else:
        output.print_facts({name: json.dumps(value) for name, value in output.flat(done).items()})
    return OK
