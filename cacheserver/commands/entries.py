"""`cacheserver entries` and `cacheserver purge`: stored answers listed, shown and removed.

Rule: a purge is tried first, and says what it would remove. It is made once somebody, or `--yes`,
has agreed.
"""

from __future__ import annotations

import argparse
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
    print_json,
    say,
)
from cacheserver.core.errors import SettingsError
from cacheserver.core.terminal import output
from cacheserver.core.terminal.counts import counted
from cacheserver.core.terminal.prompts import agreed, require_terminal

_OWN: Final = {  # of these a tenant's purge takes one
    "entry_id": "the entry with this id",
    "tag": "entries with this tag",
    "context": "entries with this key of declared questions",
    "namespace": "entries of this namespace",
}
_CONDITIONS: Final = {
    "namespace": "its namespace",
    "tag": "a tag that it has",
    "context": "a key of declared questions",
    "scope": "its scope",
    "model": "model that answered",
    "text": "a part of its question",
    "older_than_s": "created more than so many seconds ago",
    "newer_than_s": "created at most so many seconds ago",
    "hits_min": "least number of hits served",
    "hits_max": "most hits served; 0: it served none",
    "pinned": "true or false",
}
_NUMBERS: Final = ("older_than_s", "newer_than_s", "hits_min", "hits_max")
_HEAD: Final = ("CREATED", "TENANT", "HITS", "SAVED", "EXPIRES", "ID", "QUESTION")


def add(line: CommandLine) -> None:
    """Add the commands."""
    either = connection.options(admin=True, tenant=True)
    entries = add_command(
        line.commands,
        "entries",
        help="list stored answers, or show one",
        example="cacheserver entries --tag help --hits-min 10\n"
        "cacheserver entries 01a1fbd9d25bcc259745dc7c8d4eb9de --tenant shop",
        parents=[either],
    )
    entries.add_argument("id", nargs="?", metavar="ID", help="show this entry")
    lists.add_tenant(entries)
    lists.add_conditions(entries, _CONDITIONS)
    lists.add_limits(entries)
    add_json(entries)
    entries.set_defaults(run=connection.as_either(line, _list))
    purge = add_command(
        line.commands,
        "purge",
        help="remove stored answers",
        example="cacheserver purge --tenant shop --tag docs/pricing --dry-run",
        parents=[either],
    )
    purge.add_argument(
        "--tenant", metavar="NAME", help="of this tenant; with an admin key (default: of all)"
    )
    lists.add_conditions(purge, _OWN | _CONDITIONS)
    purge.add_argument("--everything", action="store_true", help="every answer of every tenant")
    purge.add_argument(
        "--dry-run", action="store_true", help="say what would be removed; with an admin key"
    )
    purge.add_argument("--yes", action="store_true", help="do not ask")
    add_json(purge)
    purge.set_defaults(
        run=connection.as_either(line, _purge),
        interrupted="what was removed stays removed; the same command removes the rest",
    )


def _list(args: argparse.Namespace, server: Server) -> int:
    if args.id is not None:
        return _show(args, server)
    path = "/admin/v1/entries" if server.admin else "/v1/entries"
    chosen = lists.conditions(args, _CONDITIONS) | lists.tenant_of(args, server)
    found, following = server.items(path, lists.most(args), **chosen)
    return output.print_list(
        found,
        following,
        as_json=args.json,
        head=_HEAD,
        row=_row,
        empty="No stored answer is like that.",
    )


def _row(one: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        output.moment(one["created_at"]),
        one.get("tenant", ""),
        one["hits"],
        output.dollars(one["saved_usd"]),
        output.moment(one["expires_at"]),
        one["id"],
        one["question"],
    )


def _show(args: argparse.Namespace, server: Server) -> int:
    path = "/v1/entries"
    if server.admin:
        path = f"/admin/v1/entries/{connection.name(lists.named_tenant(args))}"
    one = server.get(f"{path}/{connection.name(args.id)}")
    if args.json:
        print_json(one)
        return OK
    output.print_facts(
        {
            "question": one["question"],
            "namespace": one["namespace"],
            "scope": one["scope"],
            "model": one["model"],
            "origin": one["origin"],
            "tags": ", ".join(one["tags"]),
            "created": output.moment(one["created_at"]),
            "expires": output.moment(one["expires_at"]),
            "hits": one["hits"],
            "cost": output.dollars(one["cost_usd"]),
            "saved": output.dollars(one["saved_usd"]),
            "pinned": "yes" if one["pinned"] else "no",
        }
    )
    blocks = (one.get("message") or {}).get("content") or ()
    if text := "".join(block.get("text", "") for block in blocks):
        print(f"\n{output.paragraphs(text)}")
    return OK


def _purge(args: argparse.Namespace, server: Server) -> int:
    chosen = _selector(args)
    if not (args.yes or args.dry_run):
        require_terminal()
    if not server.admin:
        return _purge_own(args, server, chosen)
    path = "/admin/v1/purge"
    tried = server.post(path, chosen | {"dry_run": True})
    if args.dry_run:
        if args.json:
            print_json(tried)
            return OK
        _tell(tried)
        return OK
    if not args.yes:
        _tell(tried)
        if not agreed(f"Remove {counted(tried['would_purge'], 'answer')}?"):
            return NO
    phrase = {} if tried["confirm"] is None else {"confirm": tried["confirm"]}
    return _tell_done(args, server.post(path, chosen | phrase))


def _purge_own(args: argparse.Namespace, server: Server, chosen: Mapping[str, Any]) -> int:
    """Purge by the tenant's own key, which removes by one of four names and has no dry run."""
    if len(chosen) != 1 or not chosen.keys() <= _OWN.keys():
        named = ", ".join(lists.option(name) for name in _OWN)
        raise SettingsError(f"give one of {named}; other conditions need an admin key")
    if args.dry_run:
        raise SettingsError("`--dry-run` needs an admin key; `cacheserver entries` lists yours")
    ((name, value),) = chosen.items()
    if not args.yes and not agreed(f"Remove your answers with {name} {output.one_line(value)}?"):
        return NO
    return _tell_done(args, server.post("/v1/purge", chosen))


def _selector(args: argparse.Namespace) -> dict[str, Any]:
    """Return what is to be removed. Raises `SettingsError` for no condition or a wrong number."""
    chosen: dict[str, Any] = dict(lists.conditions(args, _OWN | _CONDITIONS))
    if args.tenant is not None:
        chosen["tenant"] = args.tenant
    if args.everything:
        chosen["all"] = True
    if not chosen:
        raise SettingsError("say what to remove: --tenant, --tag, ..., or --everything")
    for name in chosen.keys() & set(_NUMBERS):
        try:
            chosen[name] = int(chosen[name])
        except ValueError:
            raise SettingsError(f"`{lists.option(name)}` must be a whole number") from None
    if "pinned" in chosen:
        if chosen["pinned"] not in ("true", "false"):
            raise SettingsError("`--pinned` must be true or false")
        chosen["pinned"] = chosen["pinned"] == "true"
    return chosen


def _tell(tried: Mapping[str, Any]) -> None:
    say(f"{counted(tried['would_purge'], 'answer')} would be removed.")
    if tried["examples"]:
        output.print_table(_HEAD, [_row(one) for one in tried["examples"]])
    if skipped := tried.get("skipped"):
        say(f"No text is looked for in tenants without content: {', '.join(skipped)}.")


def _tell_done(args: argparse.Namespace, done: Mapping[str, Any]) -> int:
    if args.json:
        print_json(done)
    else:
        print(f"{counted(done['purged'], 'answer')} removed.")
    return OK
