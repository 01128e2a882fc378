"""Records of a source: a question with its answer, or what is wrong with a line. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from cacheserver.core.invisible_characters import blank

QUESTIONS: Final = ("question", "prompt", "q", "query")  # names of a column or field
_SECONDS: Final = re.compile(r"\s*[0-9]{1,10}\s*")
ANSWERS: Final = ("answer", "response", "a", "completion")


@dataclass(frozen=True, slots=True)
class FaqRecord:
    """A question and its answer."""

    where: str  # file and line, as errors name it
    question: str
    answer: str
    tags: tuple[str, ...] = ()
    ttl_s: int | None = None  # None: that of the import


@dataclass(frozen=True, slots=True)
class Problem:
    """A part of a source that is not imported."""

    where: str
    why: str


Found: TypeAlias = FaqRecord | Problem


@dataclass(slots=True)
class Deduplication:
    """Counts of a pass."""

    repeated: int = 0  # the same question with the same answer
    seen: dict[str, tuple[str, int]] = field(default_factory=dict)


def record_of(fields: Mapping[str, Any], where: str) -> Found:
    """Read a record from named fields; names in any case."""
    lowered = {str(name).strip().lower(): value for name, value in fields.items()}
    question, answer = (_text(lowered, names) for names in (QUESTIONS, ANSWERS))
    if question is None or blank(question):
        return Problem(where, "has no question")
    if answer is None or blank(answer):
        return Problem(where, "has no answer")
    tags, ttl_s = lowered.get("tags"), lowered.get("ttl_s")
    if isinstance(tags, str):
        tags = [one.strip() for one in tags.split(",") if one.strip()]
    if not isinstance(tags or [], list) or not all(isinstance(one, str) for one in tags or ()):
        return Problem(where, "`tags` must be a list of strings, or names with commas between")
    if isinstance(ttl_s, str):  # of a table
        ttl_s = int(ttl_s) if _SECONDS.fullmatch(ttl_s) else ttl_s.strip() or None
    if ttl_s is not None and (type(ttl_s) is not int or ttl_s < 0):
        return Problem(where, "`ttl_s` must be whole seconds")
    return FaqRecord(where, question.strip(), answer.strip(), tuple(tags or ()), ttl_s)


def deduplicated(found: Iterable[Found], counts: Deduplication) -> Iterator[Found]:
    """Yield each question once; another answer to the same one is a problem that names both.

    Questions are the same if they differ in spaces alone. Of each, a few dozen bytes are kept.
    """
    for one in found:
        if isinstance(one, Problem):
            yield one
            continue
        key = " ".join(one.question.split())
        first = counts.seen.get(key)
        if first is None:
            counts.seen[key] = one.where, hash(one.answer)
            yield one
        elif first[1] == hash(one.answer):
            counts.repeated += 1
        else:
            yield Problem(one.where, f"has another answer to the question of {first[0]}")


def _text(fields: Mapping[str, Any], names: Iterable[str]) -> str | None:
    found = next((fields[name] for name in names if fields.get(name) is not None), None)
    return found if isinstance(found, str) else None
