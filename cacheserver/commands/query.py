"""`cacheserver query PROMPT`: ask a question through the cache."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from cacheserver.commands import connection
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

_MODES: Final = ("default", "refresh", "only", "off")
_SHOWN: Final = 60  # characters of the stored question


def add(line: CommandLine) -> None:
    """Add the command."""
    command = add_command(
        line.commands,
        "query",
        help="ask a question through the cache",
        example='cacheserver query "How do I reset my password?" --tag help\n'
        "cacheserver query --cache only < question.txt",
        parents=[connection.options(tenant=True)],
    )
    command.add_argument(
        "prompt", nargs="?", metavar="PROMPT", help="the question (default: standard input)"
    )
    command.add_argument("--system", metavar="TEXT", help="system prompt")
    command.add_argument("--model", default="auto", help="a model, or auto (the default)")
    command.add_argument("--max-tokens", type=int, metavar="N", help="longest answer")
    command.add_argument("--namespace", metavar="NAME", help="partition of your answers")
    command.add_argument("--task", metavar="NAME", help="kind of work")
    command.add_argument(
        "--tag", action="append", default=[], metavar="TAG", help="tag to purge by; repeatable"
    )
    command.add_argument(
        "--ttl", type=int, metavar="SECONDS", help="lifetime of the answer; 0: do not store"
    )
    command.add_argument(
        "--cache",
        choices=_MODES,
        default="default",
        help="refresh: ask Claude and replace; only: never ask Claude; off: share nothing",
    )
    command.add_argument("--stream", action="store_true", help="print the answer as it comes")
    add_json(command)
    command.set_defaults(
        run=connection.as_tenant(_run),
        interrupted="if Claude was already asked, the answer is stored; ask again to read it",
    )


def _run(args: argparse.Namespace, server: Server) -> int:
    from cacheserver.client import NotCachedError

    options = {
        "system": args.system,
        "max_tokens": args.max_tokens,
        "namespace": args.namespace,
        "task": args.task,
        "tags": args.tag or None,
        "ttl_s": args.ttl,
    }
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    given |= {"model": args.model, "cache": args.cache}
    prompt = _prompt(args)
    try:
        if args.stream and not args.json:
            return _stream(server, prompt, given)
        answer = server.post("/v1/query", {"prompt": prompt, **given})
    except NotCachedError as error:
        say(f"cacheserver: {error}")
        return NO
    if args.json:
        print_json(answer)
        return OK
    print(_readable(answer["text"]))
    facts = [*_source(answer["decision"]), f"cost {output.dollars(answer['cost_usd'])}"]
    facts.append(f"saved {output.dollars(answer['saved_usd'])}")
    say(f"[{', '.join(facts)}; {answer['model']}; {answer['decision_id']}]")
    return OK


def _stream(server: Server, prompt: str, given: dict[str, Any]) -> int:
    with server.client.stream(prompt, **given) as stream:
        for text in stream.text():
            sys.stdout.write(_readable(text))
            sys.stdout.flush()
        print()
        say(f"[{', '.join(_source(asdict(stream.decision)))}]")
    return OK


def _prompt(args: argparse.Namespace) -> str:
    """Return the question. Raises `SettingsError` if there is none."""
    if args.prompt is not None and args.prompt != "-":
        return str(args.prompt)
    if args.prompt is None and sys.stdin.isatty():
        raise SettingsError("give a PROMPT, or the question on standard input")
    try:
        text = sys.stdin.read()
        text.encode()  # in some locales, bytes that are no text are read all the same
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise SettingsError(f"standard input is no UTF-8 text: {error.reason}") from error
    if not text.strip():
        raise SettingsError("standard input has no question")
    return text


def _readable(text: str) -> str:
    """Return the answer: as it is for a program, escaped for a terminal."""
    return output.paragraphs(text) if sys.stdout.isatty() else text


def _source(decision: Mapping[str, Any]) -> list[str]:
    facts = [f"{decision['kind']} ({decision['reason']})"]
    if (similarity := decision.get("similarity")) is not None:
        facts.append(f"similarity {similarity:.3f}")
    matched = decision.get("question")
    if matched is not None and decision["kind"] != "exact":
        facts.append(f"answer to: {output.cut(output.one_line(matched), _SHOWN)}")
    if (age_s := decision.get("age_s")) is not None:
        facts.append(f"{age_s} s old")
    return facts
