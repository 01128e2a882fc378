"""Declared questions: what a larger prompt asks, and the blocks that question and context replace.

Rule: nothing is inferred. Only blocks that the caller names or marks are replaced; all others stay
in fingerprint and scope. A declared request shares no key with a request that declares nothing.
Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from cacheserver.cache.declared.block_names import Places, check_name
from cacheserver.core import json_text
from cacheserver.core.errors import BadRequest
from cacheserver.core.rules.bounds import CONTEXT
from cacheserver.core.rules.declared import DeclaredRules
from cacheserver.core.types import Controls, Declaration
from cacheserver.matching.question_text import MOST_CHARS

MARK: Final = "cache_context"  # on a block or a turn: true; beside `messages`: context keys
QUESTION: Final = "cache_question"  # beside `messages`
_TAG: Final = "context:"  # context keys are tags with this prefix

_MOST_KEYS: Final = 32  # documents in one prompt; each is a purge group of the entry
_MOST_NAMES: Final = 64  # a run of blocks or turns is one name: `messages.0:-1`
# A value in a header that is not plain ASCII is an `ext-value` (RFC 8187).
_EXTENDED: Final = re.compile(r"utf-8'[a-z0-9-]*'(.*)", re.IGNORECASE)
_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Names:
    """The names that errors use for the parts of a declaration."""

    question: str
    context: str
    blocks: str


HEADERS: Final = Names("x-cache-question", "x-cache-context", "x-cache-context-blocks")
FIELDS: Final = Names("question", "context", "context_blocks")
_BODY: Final = Names(QUESTION, MARK, MARK)


@dataclass(frozen=True, slots=True)
class Declared:
    """A body without marks, what it declares, and where the replaced blocks are."""

    body: Mapping[str, Any]
    raw: bytes
    declaration: Declaration
    places: Places

    def controls(self, given: Controls) -> Controls:
        """Return the controls with the whole declaration; its context keys are tags."""
        found = self.declaration
        tags = dict.fromkeys((*given.tags, *map(context_tag, found.context)))
        return replace(given, declared=found, tags=tuple(tags))


def read_part(
    names: Names, question: object, context: Iterable[object], blocks: Iterable[object]
) -> Declaration | None:
    """Read what a header or a field declares; None if nothing. Raises `BadRequest`."""
    keys = sorted({CONTEXT.check(names.context, key) for key in context})
    if len(keys) > _MOST_KEYS:
        raise BadRequest(names.context, f"at most {_MOST_KEYS} keys, not {len(keys)}")
    named = tuple(dict.fromkeys(check_name(names.blocks, name) for name in blocks))
    if len(named) > _MOST_NAMES:
        raise BadRequest(names.blocks, f"at most {_MOST_NAMES} names, not {len(named)}")
    if question is not None:
        _check_question(names.question, question)
    if question is None and not keys and not named:
        return None
    return Declaration(str(question or ""), tuple(keys), named)


def merge(one: Declaration | None, other: Declaration | None, names: Names) -> Declaration | None:
    """Join what is declared in two places. Raises `BadRequest` for two different questions."""
    if one is None or other is None:
        return one or other
    if one.question and other.question and one.question != other.question:
        raise BadRequest(names.question, "is not what the header or the body says; send one")
    keys = sorted({*one.context, *other.context})
    if len(keys) > _MOST_KEYS:
        raise BadRequest(names.context, f"at most {_MOST_KEYS} keys, not {len(keys)}")
    blocks = tuple(dict.fromkeys((*one.blocks, *other.blocks)))
    return Declaration(one.question or other.question, tuple(keys), blocks)


def header_text(field: str, value: str) -> str:
    """Decode a header: plain printable ASCII, or an RFC 8187 value (`UTF-8''caf%C3%A9`).

    Raises `BadRequest` naming `field`.
    """
    if not (value.isascii() and value.isprintable()):
        raise BadRequest(
            field,
            "must be printable ASCII; write other letters as in `UTF-8''caf%C3%A9` (RFC 8187)",
        )
    extended = _EXTENDED.fullmatch(value)
    if extended is None:
        return value
    if _BAD_PERCENT.search(extended[1]):
        raise BadRequest(field, "has a `%` without two hexadecimal digits after it")
    try:
        return unquote_to_bytes(extended[1]).decode()
    except UnicodeDecodeError:
        raise BadRequest(field, "is not UTF-8") from None


def context_tag(key: str) -> str:
    """Return the tag of the answers that rest on a context key."""
    return _TAG + key


def is_context_tag(tag: str) -> bool:
    """Return whether a tag stands for a context key."""
    return tag.startswith(_TAG) and CONTEXT.regex.fullmatch(tag[len(_TAG) :]) is not None


def read(
    body: Mapping[str, Any],
    raw: bytes,
    given: Declaration | None,
    rules: DeclaredRules,
    names: Names = HEADERS,
) -> Declared | None:
    """Read the declaration of a request; None if it declares nothing.

    `body` has passed `fingerprint.check`; `given` is what headers and fields declare. The result
    holds the body without marks: what Claude gets. Raises `BadRequest` naming the field.
    """
    marked = _read_marks(body) if _has_marks(body) else None
    if marked is None and given is None:
        return None
    if not rules.enabled:
        where = first_given(given, names) if given is not None else _first_mark(body)
        raise BadRequest(where, "needs the tenant's setting `declared.enabled`, which is off")
    plain, part, places = marked or (body, None, Places())
    if (found := merge(given, part, names)) is None:
        found = Declaration("")
    if not found.question:
        raise BadRequest(names.question, "is required beside context keys, names and marks")
    if rules.require_context and not found.context:
        message = "is required: the tenant has set `declared.require_context`"
        raise BadRequest(names.context, message)
    for name in found.blocks:
        places.add(name, plain, names.blocks)
    if not places:
        message = "is required: name the blocks that the question and its context replace"
        raise BadRequest(names.blocks, message)
    _check_last(plain, places, names)
    for turn in places.turns & places.blocks.keys():
        del places.blocks[turn]
    if len(shown := places.names()) > _MOST_NAMES:
        raise BadRequest(names.blocks, f"at most {_MOST_NAMES} runs of blocks, not {len(shown)}")
    if marked is not None:
        raw = json_text.dumps(plain)
    return Declared(plain, raw, replace(found, blocks=shown), places)


def _check_question(field: str, value: object) -> None:
    if not isinstance(value, str) or not value.strip() or len(value) > MOST_CHARS:
        raise BadRequest(field, f"must be 1 to {MOST_CHARS:,} characters, not blank")


def _check_last(body: Mapping[str, Any], places: Places, names: Names) -> None:
    """Refuse to replace a turn that Claude continues: its answer is the rest of that turn."""
    last = len(body["messages"]) - 1
    named = last in places.turns or last in places.blocks
    if named and body["messages"][last]["role"] != "user":
        raise BadRequest(names.blocks, f"`messages.{last}` is the last turn and not the user's")


# Marks in the body


def _has_marks(body: Mapping[str, Any]) -> bool:
    return QUESTION in body or MARK in body or next(_marked(body), None) is not None


def _marked(body: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each block and turn that has a mark, with its name."""
    system = body.get("system")
    for at, block in enumerate(system if isinstance(system, list) else ()):
        if MARK in block:
            yield f"system.{at}", block
    for at, turn in enumerate(body["messages"]):
        if MARK in turn:
            yield f"messages.{at}", turn
        content = turn["content"]
        for place, block in enumerate(content if isinstance(content, list) else ()):
            if MARK in block:
                yield f"messages.{at}.content.{place}", block


def _read_marks(
    body: Mapping[str, Any],
) -> tuple[Mapping[str, Any], Declaration | None, Places]:
    """Return the body without marks, the question and keys beside them, and the marked places."""
    places = Places()
    for name, one in _marked(body):
        if one[MARK] is not True:
            raise BadRequest(f"{name}.{MARK}", "must be true, or left out")
        places.add(name, body, MARK)
    context = body.get(MARK)
    keys = context if isinstance(context, list) else [] if context is None else [context]
    part = read_part(_BODY, body.get(QUESTION), keys, ())
    plain = {name: value for name, value in body.items() if name not in (QUESTION, MARK)}
    if isinstance(plain.get("system"), list):
        plain["system"] = _unmarked(plain["system"])
    plain["messages"] = [
        {**turn, "content": _unmarked(turn["content"])}
        if isinstance(turn["content"], list)
        else turn
        for turn in _unmarked(body["messages"])
    ]
    return plain, part, places


def _unmarked(blocks: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [
        {name: value for name, value in block.items() if name != MARK} if MARK in block else block
        for block in blocks
    ]


def _first_mark(body: Mapping[str, Any]) -> str:
    for name in (QUESTION, MARK):
        if name in body:
            return name
    return f"{next(_marked(body))[0]}.{MARK}"


def first_given(given: Declaration, names: Names = HEADERS) -> str:
    """Return the name of a part that is given, for an error."""
    if given.question:
        return names.question
    return names.context if given.context else names.blocks
