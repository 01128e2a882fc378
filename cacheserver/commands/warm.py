"""`cacheserver warm`: stores answers of FAQ files, logs or another cache before they are asked."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from cacheserver.commands import connection
from cacheserver.commands.connection import Server
from cacheserver.commands.import_batches import (
    IMPORTS,
    NAMED,
    Sent,
    add_replace,
    begun,
    faq_records,
    send,
    summary,
)
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
from cacheserver.core.terminal.progress import Progress
from cacheserver.transfer.records import Deduplication, Found, Problem, deduplicated

_SOURCES: Final = ("files", "logs", "gptcache", "redisvl")
_REDIS_PASSWORD: Final = "REDISCLI_AUTH"  # where redis-cli reads it: arguments are seen by others
_MAX_TOKENS: Final = 1_024  # of a question at /v1/query that names none


def add(line: CommandLine) -> None:
    """Add the command."""
    warm = add_command(
        line.commands,
        "warm",
        help="store the answers of a FAQ, of past logs or of another cache",
        example="cacheserver warm faq.csv --tenant shop --model claude-haiku-5-5 "
        "--system-file system.txt\n"
        "cacheserver warm logs/ --from logs --tenant shop\n"
        "cacheserver warm redis://localhost --from redisvl --tenant shop --request request.json",
        parents=[connection.options(admin=True)],
    )
    warm.add_argument(
        "source",
        nargs="+",
        metavar="SOURCE",
        help="FAQ files (.csv, .tsv, .jsonl, .md), logs, GPTCache's sqlite.db, or a Redis URL "
        f"(its password in {_REDIS_PASSWORD})",
    )
    warm.add_argument("--tenant", required=True, metavar="NAME", help="whose answers they are")
    warm.add_argument(
        "--from",
        dest="kind",
        choices=_SOURCES,
        default="files",
        help="what the source is (default: FAQ files)",
    )
    warm.add_argument(
        "--format", choices=("csv", "jsonl", "markdown"), help="of FAQ files (default: by name)"
    )
    warm.add_argument(
        "--index", default="llmcache", metavar="NAME", help="of a RedisVL cache (llmcache)"
    )
    warm.add_argument(
        "--asked-by",
        metavar="NAME",
        help="whose calls of a log: a tenant, team or user that it names, or '*' for all (default: "
        "who asked first)",
    )
    add_request(warm)
    warm.add_argument("--tag", action="append", metavar="TAG", help="of all answers; repeatable")
    warm.add_argument(
        "--ttl", type=int, metavar="S", help="seconds (default: the longest the tenant allows)"
    )
    vouched = warm.add_mutually_exclusive_group()
    vouched.add_argument(
        "--curated",
        dest="curated",
        action="store_true",
        default=None,
        help="people vouch for the answers: pinned, and in the place of others (FAQ files)",
    )
    vouched.add_argument(
        "--not-curated",
        dest="curated",
        action="store_false",
        help="ordinary answers; what is stored already is kept (all else)",
    )
    add_replace(warm)
    warm.add_argument("--resume", metavar="ID", help="go on with an import that was cut")
    warm.add_argument(
        "--dry-run", action="store_true", help="only read the source, and say what is wrong in it"
    )
    add_json(warm)
    warm.set_defaults(
        run=connection.as_admin(line, _run),
        interrupted="nothing was stored; run it again",
    )


def add_request(command: argparse.ArgumentParser) -> None:
    """Add the options that name the request of an application."""
    group = command.add_argument_group("the request that your application sends")
    group.add_argument(
        "--request", type=Path, metavar="FILE", help="its JSON body, instead of the next options"
    )
    group.add_argument("--model", help="its model, or auto")
    group.add_argument(
        "--max-tokens",
        type=int,
        default=_MAX_TOKENS,
        metavar="N",
        help=f"its max_tokens ({_MAX_TOKENS}, as of a question at /v1/query)",
    )
    group.add_argument("--system", metavar="TEXT", help="its system prompt")
    group.add_argument("--system-file", type=Path, metavar="FILE", help="file with it")
    group.add_argument(
        "--header",
        action="append",
        metavar="'NAME: VALUE'",
        help="an anthropic-* or x-cache-* header that it sends; repeatable",
    )
    group.add_argument("--namespace", metavar="NAME", help="its x-cache-namespace")


def request_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return `request` and `headers` as the options say. Raises `SettingsError`."""
    headers: dict[str, str] = {}
    for given in args.header or ():
        name, colon, value = given.partition(":")
        if not colon:
            raise SettingsError(f"`--header`: {given!r} must be NAME: VALUE")
        headers[name.strip().lower()] = value.strip()
    if args.namespace is not None:
        headers["x-cache-namespace"] = args.namespace
    asked: dict[str, Any] = {"headers": headers} if headers else {}
    if args.kind == "logs":
        return asked
    if args.request is not None:
        body = _json(args.request)
    elif args.model is None:
        raise SettingsError("`--model`: name it, or give --request FILE: answers are found by it")
    else:
        body = {"model": args.model, "max_tokens": args.max_tokens}
        system = args.system if args.system_file is None else _text(args.system_file)
        if system is not None:
            body["system"] = system
    return {**asked, "request": body}


def _run(args: argparse.Namespace, server: Server) -> int:
    sent, counts = Sent(), Deduplication()
    asked = {} if args.dry_run and args.kind != "logs" else request_of(args)
    records = _read(_records(args, sent, counts))
    if args.dry_run:
        number = sum(1 for _ in records)
        return _told(args, {"records": number, "repeated": counts.repeated}, sent, None)
    whole = None
    if args.kind != "logs":  # a log may be larger than memory
        read = list(records)
        records, whole = iter(read), len(read)
    if args.resume is not None:
        job = server.get(f"{IMPORTS}/{connection.name(args.tenant)}/{args.resume}")
    else:
        curated = args.kind == "files" if args.curated is None else args.curated
        body = {
            "tenant": args.tenant,
            "kind": "calls" if args.kind == "logs" else "answers",
            "source": _source(args),
            "tags": args.tag,
            "ttl_s": args.ttl,
            "curated": curated,
            "replace": args.replace,
            **asked,
        }
        job = server.post(IMPORTS, body)
        if job["known"] is False:
            say(
                "cacheserver: no such request was answered here before; if your application is in "
                "use, it sends another one (model, system prompt, max_tokens, headers)"
            )
            if str(asked.get("request", {}).get("system", "")).endswith("\n"):
                say(
                    "cacheserver: the system prompt ends with a line break, as most files do; "
                    "if your application's does not, no answer is found"
                )
    begun(args, job)
    done = send(server, job, records, asked, sent, whole=whole)
    found = {"import": done["id"], **done["counts"], "repeated": counts.repeated}
    return _told(args, found, sent, done["id"])


def _source(args: argparse.Namespace) -> str:
    """Return what people know the source by; never a URL, which may hold a password."""
    return str(args.index if args.kind == "redisvl" else Path(args.source[0]).name)[:200]


def _told(args: argparse.Namespace, found: Mapping[str, Any], sent: Sent, id: str | None) -> int:
    """Print the result. Return `NO` if nothing was of use."""
    found = {**found, "left_out": sent.left_out}
    if args.json:
        print_json(found)
    else:
        # What the server refused was left out too; it is said once.
        unread = sent.left_out - sum(int(found.get(one, 0)) for one in NAMED)
        print(summary({**found, "left_out": unread}))
        if id is not None:
            print(f"undo: cacheserver import --undo {id} --tenant {args.tenant}")
    useful = ("records", "stored", "replaced", "unchanged", "kept", "conflict", "labels")
    return OK if any(found.get(one) for one in useful) else NO


def _read(records: Iterator[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield records, with the progress of a long source."""
    with Progress(only_terminal=True) as progress:
        for number, record in enumerate(records, 1):
            progress.count("reading", "records", number, None)
            yield record


def _records(
    args: argparse.Namespace, sent: Sent, counts: Deduplication
) -> Iterator[Mapping[str, Any]]:
    if args.kind == "logs":
        from cacheserver.transfer.logs import read_logs

        paths = [Path(each) for each in args.source]
        for one in read_logs(paths, asked_by=args.asked_by):
            if isinstance(one, Problem):
                sent.left(one)
            else:
                yield one
        return
    yield from faq_records(deduplicated(_found(args), counts), sent)


def _found(args: argparse.Namespace) -> Iterable[Found]:
    from cacheserver.transfer import faq_files, other_caches

    for source in args.source:
        match args.kind:
            case "gptcache":
                yield from other_caches.read_gptcache(Path(source))
            case "redisvl":
                password = os.environ.get(_REDIS_PASSWORD)
                yield from other_caches.read_redisvl(source, args.index, password=password)
            case _:
                try:
                    yield from faq_files.read(Path(source), args.format)
                except OSError as error:
                    raise SettingsError(f"`{source}`: {error.strerror}") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(path))
    except ValueError as error:
        raise SettingsError(f"`--request`: {path} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise SettingsError(f"`--request`: {path} must be a JSON object, the body of a request")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"`{path}`: {error}") from error
