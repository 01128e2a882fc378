"""Requests of the sample, in the order in which they are sent, and the answers to them. Pure.

The texts are in `data`. Phrasings of one question share an answer; near misses (another number,
name or negation) have another one. So it is known of any two questions whether one answer serves
both, and the labels of the sample are true.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cacheserver.core import data_files

TENANT: Final = "sample"
MARK: Final = "Sample traffic."  # begins every system prompt of the sample
FAILS: Final = "Which of our suppliers had a delay?"  # the simulated Claude is overloaded by it
FAILED_STATUS: Final = 529

_SEED: Final = 17  # of the order: the same on every server
_SHIFTS: Final = 10  # summaries, each with another beginning of the same long prompt


def _table(name: str) -> dict[str, Any]:
    return data_files.table("cacheserver.sample_traffic", name)


def _prompt(name: str) -> str:
    return f"{MARK}\n\n{data_files.text('cacheserver.sample_traffic', name)}"


_OTHERS: Final = _table("others.json")
_HANDBOOK: Final = _prompt("handbook.txt")
_ASSISTANT: Final = (
    f"{MARK}\n\nYou are the assistant of the people who work at Lakeside Outfitters. Be brief."
)
_SUPPORT: Final[Mapping[str, Any]] = {
    "system": _HANDBOOK,
    "model": "claude-sonnet-5-5",
    "namespace": "help",
    "task": "support",
    "tags": ["handbook"],
    "max_tokens": 300,
}
_TICKETS: Final[Mapping[str, Any]] = {
    "system": _prompt("labels.txt"),
    "model": "claude-haiku-5-5",
    "namespace": "tickets",
    "task": "classification",
    "max_tokens": 10,
}
_STAFF: Final[Mapping[str, Any]] = {"system": _ASSISTANT, "model": "auto", "max_tokens": 500}
_DESKS: Final = ((_SUPPORT, "support.json"), (_STAFF, "assistant.json"), (_TICKETS, "tickets.json"))


@dataclass(frozen=True, slots=True)
class Step:
    """A request: the fields of `/v1/query`."""

    fields: Mapping[str, Any]
    copies: int = 1  # sent at the same moment
    deferred: bool = False  # as a job, answered later


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers by question, and where the same answer was written."""

    text: dict[str, str] = field(default_factory=dict)
    group: dict[str, str] = field(default_factory=dict)

    def add(self, question: str, answer: str, group: str) -> None:
        self.text[question], self.group[question] = answer, group

    def serves(self, one: str, other: str) -> bool | None:
        """Return whether one answer serves both questions; None if one is not of the sample."""
        mine, theirs = self.group.get(one), self.group.get(other)
        return None if mine is None or theirs is None else mine == theirs


def answers() -> Answers:
    """Return the answers to all questions of the sample."""
    found = Answers()
    for _, name in _DESKS:
        for number, row in enumerate(_table(name)["answers"]):
            # A label is an answer to any ticket of its queue.
            group = row["text"] if name == "tickets.json" else f"{name}:{number}"
            for question in row["asked"]:
                found.add(question, row["text"], group)
    for kind, rows in _OTHERS.items():
        for number, row in enumerate(rows):
            found.add(row["asked"], row["text"], f"{kind}:{number}")
    return found


def steps() -> list[Step]:
    """Return the requests, always in the same order."""
    found: list[Step] = []
    for desk, name in _DESKS:
        for row in _table(name)["answers"]:
            for question in (row["asked"][0], *row["asked"]):  # the plainest one comes twice
                found.append(Step({**desk, "prompt": question}))
    found += _summaries()
    found.append(Step({**_STAFF, "prompt": FAILS}))
    found.append(Step({**_SUPPORT, "prompt": "Where can I track my parcel?", "cache": "off"}))
    found.append(Step({**_SUPPORT, "prompt": "How do I return an item?", "cache": "refresh"}))
    for prompt in ("How do I pay an invoice?", "How do I delete my account?"):
        found.append(Step({**_SUPPORT, "prompt": prompt, "stream": True}))
    random.Random(_SEED).shuffle(found)
    # Sent while the answer is on its way: the others wait for the first.
    found.insert(0, Step({**_STAFF, "prompt": _OTHERS["conversation"][0]["asked"]}, copies=4))
    found += _conversation()
    later = [
        Step({**_STAFF, "model": "claude-sonnet-5-5", "prompt": row["asked"]}, deferred=True)
        for row in _OTHERS["later"]
    ]
    # The first have ended when the replay has; the last one waits.
    return [*later[:-1], *found, later[-1]]


def _summaries() -> Iterator[Step]:
    """Yield requests whose long prompt begins with a time: none reads what another has cached."""
    for number, row in enumerate(_OTHERS["summaries"][:_SHIFTS]):
        head = f"{MARK}\n\nShift of 12 October, 09:{number:02d}, ticket {48_200 + 7 * number}."
        yield Step(
            {
                "system": head + _HANDBOOK.removeprefix(MARK),
                "model": "claude-sonnet-5-5",
                "namespace": "tickets",
                "task": "summarisation",
                "max_tokens": 100,
                "prompt": row["asked"],
            }
        )


def _conversation() -> Iterator[Step]:
    for row in _OTHERS["conversation"]:
        yield Step(
            {
                **_STAFF,
                "model": "claude-sonnet-5-5",
                "prompt": row["asked"],
                "conversation": "trip-to-jotunheimen",
            }
        )
