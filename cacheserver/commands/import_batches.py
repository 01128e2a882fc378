"""Sends records to an import of a server, batch by batch, and tells how far it is."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cacheserver.commands.connection import Server, name
from cacheserver.core.command_line import say
from cacheserver.core.terminal import output
from cacheserver.core.terminal.counts import counted
from cacheserver.core.terminal.progress import Progress
from cacheserver.transfer.records import Problem

if TYPE_CHECKING:
    from cacheserver.transfer.records import FaqRecord

IMPORTS: Final = "/admin/v1/imports"
_RECORDS: Final = 500  # of a batch: a second of the server's work
_BYTES: Final = 700_000  # of a batch: servers take a megabyte of an admin at least
NAMED: Final = ("refused", "conflict")  # counts of the records that are problems
_SHOWN: Final = 20  # problems said; all are counted
_NOUNS: Final = {"records": "record", "labels": "label", "conflict": "conflict"}  # else adjectives


def add_replace(command: argparse.ArgumentParser) -> None:
    """Add the option that lets an import overwrite what an operator wrote."""
    command.add_argument(
        "--replace",
        action="store_true",
        help="curated answers take the place also of those that an operator curated by hand",
    )


@dataclass(slots=True)
class Sent:
    """Counts of the records so far."""

    records: int = 0
    problems: list[Problem] = field(default_factory=list)  # the first of them
    left_out: int = 0

    def left(self, problem: Problem) -> None:
        """Count a record that is not imported; the first ones are said."""
        self.left_out += 1
        if len(self.problems) < _SHOWN:
            self.problems.append(problem)
            say(output.one_line(f"cacheserver: {problem.where}: {problem.why}"))
        elif self.left_out == _SHOWN + 1:
            say("cacheserver: more were left out; --json counts them")


def begun(args: argparse.Namespace, job: Mapping[str, Any]) -> None:
    """Say how to go on with an import that is cut, now and if Ctrl-C cuts it."""
    resume = f"--resume {job['id']}"
    say(f"cacheserver: import {job['id']}; if it is cut: {resume}")
    args.interrupted = f"what was sent is stored; the same command with {resume} goes on"


def summary(counts: Mapping[str, Any]) -> str:
    """Return the numbers above zero, such as `1 record, 2 left out`."""
    found = [
        counted(value, _NOUNS[key]) if key in _NOUNS else f"{value:,} {key.replace('_', ' ')}"
        for key, value in counts.items()
        if type(value) is int and value > 0
    ]
    return ", ".join(found) or "nothing"


def faq_records(found: Iterable[FaqRecord | Problem], sent: Sent) -> Iterator[dict[str, Any]]:
    """Yield records as the server takes them."""
    for one in found:
        if isinstance(one, Problem):
            sent.left(one)
            continue
        record: dict[str, Any] = {
            "where": one.where,
            "question": one.question,
            "answer": one.answer,
        }
        if one.tags:
            record["tags"] = list(one.tags)
        if one.ttl_s is not None:
            record["ttl_s"] = one.ttl_s
        yield record


def send(
    server: Server,
    job: Mapping[str, Any],
    records: Iterable[Mapping[str, Any]],
    asked: Mapping[str, Any],
    sent: Sent,
    *,
    whole: int | None = None,
) -> dict[str, Any]:
    """Send what the import does not have yet; the import as it is then. Raises `ClientError`.

    `whole`: how many records there are, for the progress; None: not known.
    """
    path = f"{IMPORTS}/{name(job['tenant'])}/{job['id']}/records"
    progress = Progress(only_terminal=True)
    done = int(job["done"])
    batch: list[Mapping[str, Any]] = []
    size = 0

    def flush(*, last: bool) -> dict[str, Any]:
        nonlocal done, size
        body = {**asked, "first": done, "records": batch, "last": last}
        reply = server.post(path, body)
        for one in reply["problems"]:
            sent.left(Problem(one["where"], one["why"]))
        counts = reply["batch"] or {}
        unnamed = sum(counts.get(one, 0) for one in NAMED) - len(reply["problems"])
        sent.left_out += max(0, unnamed)
        done = reply["done"]
        batch.clear()
        size = 0
        progress.count("importing", "records", done, whole)
        return reply

    with progress:
        for record in records:
            sent.records += 1
            if sent.records <= int(job["done"]):
                continue
            more = len(json.dumps(record))
            if batch and (len(batch) == _RECORDS or size + more > _BYTES):
                flush(last=False)
            batch.append(record)
            size += more
        return flush(last=True)
