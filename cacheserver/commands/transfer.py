"""`cacheserver export` and `cacheserver import`: what a tenant has, from one server to another."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cacheserver.commands import connection
from cacheserver.commands.connection import Server
from cacheserver.commands.import_batches import IMPORTS, Sent, add_replace, begun, send, summary
from cacheserver.core.command_line import (
    OK,
    CommandLine,
    add_command,
    add_json,
    print_done,
    print_json,
    say,
)
from cacheserver.core.errors import SettingsError
from cacheserver.core.terminal import output
from cacheserver.core.terminal.counts import counted
from cacheserver.core.terminal.progress import Progress

_PARTS: Final = ("entries", "labels", "settings")
_KINDS: Final = {"entry": "entries", "label": "labels", "settings": "settings"}
# Addresses of alerts may be secrets, and a change of content mode erases what there is.
_SECRETS: Final = ("webhook", "slack")
_NOT_MOVED: Final = ("no_content",)


def add(line: CommandLine) -> None:
    """Add the commands."""
    export = add_command(
        line.commands,
        "export",
        help="write a tenant's entries, labels and settings to a file",
        example="cacheserver export shop.jsonl.zst --tenant shop",
        parents=[connection.options(admin=True)],
    )
    export.add_argument("file", type=Path, metavar="FILE", help="file to write; it must not exist")
    export.add_argument("--tenant", required=True, metavar="NAME", help="whose they are")
    add_json(export)
    export.set_defaults(
        run=connection.as_admin(line, _export), interrupted="the same command goes on where it was"
    )
    take = add_command(
        line.commands,
        "import",
        help="store what `export` wrote, list imports, or undo one",
        example="cacheserver import shop.jsonl.zst --tenant shop\n"
        "cacheserver import --list --tenant shop\n"
        "cacheserver import --undo imp_0123456789abcdef01234567 --tenant shop",
        parents=[connection.options(admin=True)],
    )
    what = take.add_mutually_exclusive_group(required=True)
    what.add_argument("file", nargs="?", type=Path, metavar="FILE", help="file that `export` wrote")
    what.add_argument("--undo", metavar="ID", help="remove all that an import stored")
    what.add_argument("--list", action="store_true", help="list the imports of 90 days")
    take.add_argument("--tenant", required=True, metavar="NAME", help="whose they are, as exported")
    take.add_argument(
        "--only", action="append", choices=_PARTS, help="import this alone; repeatable"
    )
    add_replace(take)
    take.add_argument("--resume", metavar="ID", help="go on with an import that was cut")
    add_json(take)
    take.set_defaults(
        run=connection.as_admin(line, _import),
        interrupted="nothing was changed; run it again",
    )


def _export(args: argparse.Namespace, server: Server) -> int:
    from cacheserver.transfer.export_file import ExportWriter

    tenant = connection.name(args.tenant)
    writer, progress = ExportWriter(args.file), Progress(only_terminal=True)
    try:
        if writer.begin({"tenant": args.tenant}):
            say(f"cacheserver: goes on after {counted(writer.records, 'record')}")
        while not writer.complete:
            page = server.get(f"/admin/v1/exports/{tenant}", cursor=writer.cursor)
            writer.page(page["items"], page["next"])
            progress.count("exporting", "records", writer.records, None)
        own = server.get(f"/admin/v1/tenants/{tenant}")["own"]
        writer.page([{"kind": "settings", "settings": _without_secrets(own)}], None)
        writer.end()
    except OSError as error:
        raise SettingsError(f"`{args.file}`: {error.strerror}") from error
    finally:
        writer.close()
        progress.end()
    found = {"file": str(args.file), "records": writer.records}
    print_done(args, found, f"{counted(writer.records, 'record')} in {args.file}")
    return OK


def _import(args: argparse.Namespace, server: Server) -> int:
    path = f"{IMPORTS}/{connection.name(args.tenant)}"
    if args.undo is not None:
        args.interrupted = "what was removed stays removed; the same command removes the rest"
        undone = server.delete(f"{path}/{connection.name(args.undo)}")
        removed = undone["removed"]
        if args.json:
            print_json(undone)
        else:
            entries = counted(removed["entries"], "entry", "entries")
            print(f"{entries} and {counted(removed['labels'], 'label')} removed")
        return OK
    if args.list:
        return output.print_list(
            server.get(path)["items"],
            None,
            as_json=args.json,
            head=("ID", "STATE", "STORED", "SOURCE"),
            row=lambda one: (
                one["id"],
                one["state"],
                f"{one['counts']['stored'] + one['counts']['replaced']:,}",
                one["source"],
            ),
            empty="No import of the last 90 days.",
        )
    return _take(args, server, path)


def _take(args: argparse.Namespace, server: Server, path: str) -> int:
    from cacheserver.transfer.export_file import read

    try:
        file = read(args.file)
    except OSError as error:
        raise SettingsError(f"`{args.file}`: {error.strerror}") from error
    wanted = set(args.only or _PARTS)
    if args.resume is not None:
        job = server.get(f"{path}/{connection.name(args.resume)}")
    else:
        job = server.post(
            IMPORTS,
            {
                "tenant": args.tenant,
                "kind": "export",
                "exported_from": file.about.get("tenant"),
                "source": args.file.name[:200],
                "curated": False,
                "replace": args.replace,
            },
        )
    begun(args, job)
    sent = Sent()
    taken = _Taken()
    records = _records(file.items, wanted, taken)
    done = send(server, job, records, {}, sent, whole=file.records)
    if taken.settings:  # last: the bars of scopes need their scopes
        server.put(f"/admin/v1/tenants/{connection.name(args.tenant)}", taken.put())
    found = {"import": done["id"], **done["counts"], "left_out": sent.left_out}
    if args.json:
        print_json(found)
    else:
        print(summary(found))
        print(f"undo: cacheserver import --undo {done['id']} --tenant {args.tenant}")
    return OK


@dataclass(slots=True)
class _Taken:
    """Settings of a file, and the scopes that it has."""

    settings: dict[str, Any] = field(default_factory=dict)
    scopes: set[str] = field(default_factory=set)

    def put(self) -> dict[str, Any]:
        """Return what to put of the settings: bars only of scopes that there are now."""
        found = {k: v for k, v in self.settings.items() if k not in _NOT_MOVED}
        bars = found.get("scope_bars")
        if isinstance(bars, Mapping):
            found["scope_bars"] = {k: v for k, v in bars.items() if k in self.scopes}
        return found


def _records(
    items: Iterator[tuple[str, dict[str, Any]]], wanted: set[str], taken: _Taken
) -> Iterator[dict[str, Any]]:
    """Yield labels and entries; note settings and scopes."""
    for where, item in items:
        kind = _KINDS.get(item["kind"], "entries")
        if kind == "settings":
            taken.settings = item["settings"] if kind in wanted else {}
        elif kind in wanted:
            taken.scopes.add(str(item.get("scope")))
            yield {**item, "where": where}


def _without_secrets(own: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without the addresses of alerts."""
    budgets = own.get("budgets")
    if not isinstance(budgets, Mapping) or not isinstance(budgets.get("alerts"), Mapping):
        return dict(own)
    alerts = {k: v for k, v in budgets["alerts"].items() if k not in _SECRETS}
    return {**own, "budgets": {**budgets, "alerts": alerts}}
