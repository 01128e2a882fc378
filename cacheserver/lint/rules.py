"""Lint rules: find what wastes tokens in a request, with tokens and money. Pure.

Findings propose and never change anything. Tokens are estimates from characters.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import string
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cacheserver.core import invisible_characters
from cacheserver.core.terminal.counts import counted
from cacheserver.core.types import Nanodollars, Usage
from cacheserver.lint import words
from cacheserver.pricing.estimate import chars_per_token, prompt_tokens
from cacheserver.promptcache import layout
from cacheserver.promptcache.skeleton import MOVED, skeleton

_LONG_LINE: Final = 40  # characters; a shorter line said twice is a list, or a rhyme
_JSON: Final = re.compile(r"[\[{][ \t]*\n")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]{400,}={0,2}")
_WANTS_JSON: Final = re.compile(
    r"\b(?:answer|respond|reply|return|output|give|produce|format)\b.{0,60}\bjson\b"
    r"|\bjson\b.{0,30}\b(?:only|object|format|schema)\b",
    re.IGNORECASE,
)
# What an answer in prose around the JSON takes: "Here is the JSON you asked for", a fence, a
# closing offer. 40 tokens is two such sentences.
_AROUND_JSON: Final = 40
_MOST_MARKS: Final = 4
_NAMED: Final = 5  # characters that one finding names
_UPPER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

Price = Callable[[str, Usage], Nanodollars | None]


@dataclass(frozen=True, slots=True)
class Finding:
    """Finding of the linter; its tokens are those of one request."""

    code: str  # as docs/lint.md has them
    where: str  # the field, as `system.0.text`
    message: str
    before: int | None = None  # tokens as it is; None: not to be told
    after: int | None = None  # tokens as proposed
    proposed: str | None = None  # the shorter text
    saves: Nanodollars | None = None  # a day, at the volume given; None: unpriced or not to be told


def lint(
    body: Mapping[str, Any], *, model: str, requests_a_day: int, price: Price
) -> list[Finding]:
    """Return the findings for a checked request body, the most expensive first."""
    found = list(_findings(body, model))
    priced = [_priced(one, model, requests_a_day, price) for one in found]
    return sorted(priced, key=lambda one: -(one.saves or 0))


def _findings(body: Mapping[str, Any], model: str) -> Iterator[Finding]:
    seen: dict[bytes, str] = {}
    for where, text in texts(body):
        odd = invisible_characters.found(text)
        yield from _characters(where, odd, invisible_characters.look_alikes(text))
        if not odd:  # a negation cut in two by one would not be seen to be lost
            yield from _wording(where, text, model)
        yield from _repeats(where, text, model, seen)
        yield from _blobs(where, text, model)
    yield from _dynamic(body, model)
    yield from _output(body)
    yield from _marks(body, model)


def texts(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield every text of the caller with its field: system, then the user's turns."""
    yield from _of("system", body.get("system"))
    for place, turn in enumerate(body.get("messages") or ()):
        if turn.get("role") == "user":
            yield from _of(f"messages.{place}.content", turn.get("content"))


def _of(where: str, content: Any) -> Iterator[tuple[str, str]]:
    if isinstance(content, str):
        yield where, content
    elif isinstance(content, list):
        for place, block in enumerate(content):
            if isinstance(block, Mapping) and isinstance(block.get("text"), str):
                yield f"{where}.{place}.text", block["text"]


def _characters(
    where: str, hidden: Sequence[tuple[int, str]], alike: Sequence[tuple[int, str]]
) -> Iterator[Finding]:
    """Find invisible and look-alike characters, which prevent a match with the plain text."""
    if hidden:
        message = f"holds {_named(hidden)}, which nobody sees and Claude reads"
        yield Finding("invisible", where, message)
    if alike:
        message = f"holds {_named(alike)} within a word of Latin letters, and looks like one"
        yield Finding("look-alike", where, message)


def _named(odd: Sequence[tuple[int, str]]) -> str:
    kinds: dict[str, tuple[int, int]] = {}
    for place, char in odd:
        first, count = kinds.get(char, (place, 0))
        kinds[char] = first, count + 1
    findings = [
        f"U+{ord(char):04X} {unicodedata.name(char, 'unnamed')} at character {first}"
        + (f" and {counted(count - 1, 'more time')}" if count > 1 else "")
        for char, (first, count) in list(kinds.items())[:_NAMED]
    ]
    more = len(kinds) - len(findings)
    return ", ".join(findings) + (f" and {counted(more, 'other kind')}" if more else "")


def _wording(where: str, text: str, model: str) -> Iterator[Finding]:
    proposed = words.shorter(text)
    if proposed == text:
        return
    phrases = sorted(set(words.fillers(text)))
    code = "filler" if phrases else "blanks"
    message = (
        f"says less than its length: {', '.join(f'“{phrase}”' for phrase in phrases[:5])}"
        if phrases
        else "holds runs of blanks or empty lines"
    )
    before, after = _tokens(text, model), _tokens(proposed, model)
    yield Finding(code, where, message, before, after, proposed)


def _repeats(where: str, text: str, model: str, seen: dict[bytes, str]) -> Iterator[Finding]:
    kept, dropped = [], 0
    for line in text.splitlines(keepends=True):
        bare = _bare(line)
        if len(bare) < _LONG_LINE:
            kept.append(line)
            continue
        name = hashlib.sha256(bare.encode("utf-8", "surrogatepass")).digest()
        if name in seen:
            dropped += 1
            continue
        seen[name] = where
        kept.append(line)
    if dropped:
        proposed = "".join(kept)
        message = f"{counted(dropped, 'line')} repeated, word for word, from above"
        yield Finding(
            "repeated", where, message, _tokens(text, model), _tokens(proposed, model), proposed
        )


def _bare(line: str) -> str:
    """Normalize a line for comparison: ASCII letters in lower case, each run of blanks as one."""
    return re.sub(r"[ \t\r\n]+", " ", line).strip(" ").translate(_UPPER)


def _blobs(where: str, text: str, model: str) -> Iterator[Finding]:
    for place, value in _objects(text):
        long = text[place[0] : place[1]]
        short = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        if len(short) < 0.9 * len(long) and not invisible_characters.found(long):
            message = "JSON is indented; Claude reads it as well without"
            before, after = _tokens(long, model), _tokens(short, model)
            yield Finding("pretty-json", where, message, before, after, short)
    for match in _BASE64.finditer(text):
        tokens = _tokens(match[0], model)
        message = "encoded data as text: send an image or document block, or leave it out"
        yield Finding("base64", where, message, tokens, 0)


def _objects(text: str) -> Iterator[tuple[tuple[int, int], Any]]:
    """Yield JSON values that span several lines, with their positions."""
    reader, place = json.JSONDecoder(), 0
    for match in _JSON.finditer(text):
        if match.start() < place:
            continue
        try:
            value, place = reader.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        yield (match.start(), place), value


def _dynamic(body: Mapping[str, Any], model: str) -> Iterator[Finding]:
    """Find text in the system prompt that differs between requests and defeats both caches."""
    for where, text in _of("system", body.get("system")):
        for fragment in skeleton(text).fragments:
            if fragment.kind not in MOVED:
                continue
            later_tokens = _tokens(text[fragment.start :], model)
            message = (
                f"a {fragment.kind} ({fragment.shape}) at character {fragment.start}: no prompt "
                "cache reads what stands behind it, and no stored answer is found by another's; "
                "move it to the end, or into the question"
            )
            yield Finding("fragment", where, message, later_tokens, math.ceil(later_tokens / 10))
            break  # the first one decides for all that follows


def _output(body: Mapping[str, Any]) -> Iterator[Finding]:
    if body.get("max_tokens") is None:
        message = "nothing bounds the answer; give a length or a `task`, and one is learned"
        yield Finding("no-max-tokens", "max_tokens", message)
    wanted = body.get("output_config")
    if isinstance(wanted, Mapping) and wanted.get("format"):
        return
    for where, text in texts(body):
        if _WANTS_JSON.search(text):
            message = (
                "asks for JSON in words; `output_config.format` with a schema makes it certain, "
                "and leaves out the sentences around it"
            )
            yield Finding("no-format", where, message, _AROUND_JSON, 0)
            return


def _marks(body: Mapping[str, Any], model: str) -> Iterator[Finding]:
    marks = list(_controls(body))
    if len(marks) > _MOST_MARKS:
        message = f"{len(marks)} marks for the prompt cache; Claude takes at most {_MOST_MARKS}"
        yield Finding("marks", marks[_MOST_MARKS][0], message)
    ttls = [control.get("ttl", "5m") for _, control in marks]
    for place in range(1, len(ttls)):
        if ttls[place] == "1h" and ttls[place - 1] == "5m":
            message = "a mark of an hour after one of five minutes; the longer must come first"
            yield Finding("marks", marks[place][0], message)
            break
    least, whole = layout.minimum(model), prompt_tokens(body, model)
    if marks and whole < least:
        message = f"{whole} tokens are fewer than the {least} this model's prompt cache takes"
        yield Finding("too-short-to-cache", marks[0][0], message)
    for where, control in marks:
        if control and where.startswith("system") and isinstance(body.get("system"), list):
            text = body["system"][int(where.split(".")[1])].get("text", "")
            if any(one.kind in MOVED for one in skeleton(str(text)).fragments):
                message = "marks a text that differs from request to request: written, never read"
                yield Finding("mark-on-fragment", where, message)


def _controls(body: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the caller's cache marks in prompt order."""
    groups = [("tools", body.get("tools")), ("system", body.get("system"))]
    for place, turn in enumerate(body.get("messages") or ()):
        groups.append((f"messages.{place}.content", turn.get("content")))
    for name, blocks in groups:
        for place, block in enumerate(blocks if isinstance(blocks, list) else ()):
            if isinstance(block, Mapping) and isinstance(block.get("cache_control"), Mapping):
                yield f"{name}.{place}", block["cache_control"]


def _priced(one: Finding, model: str, requests_a_day: int, price: Price) -> Finding:
    if one.before is None or one.after is None:
        return one
    spared = one.before - one.after
    usage = Usage(output_tokens=spared) if one.code == "no-format" else Usage(input_tokens=spared)
    each = price(model, usage)
    saves = None if each is None else each * requests_a_day
    return Finding(one.code, one.where, one.message, one.before, one.after, one.proposed, saves)


def _tokens(text: str, model: str) -> int:
    return math.ceil(len(text) / chars_per_token(model))
