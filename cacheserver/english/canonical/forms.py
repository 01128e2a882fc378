"""Canonical form of a question. Questions with the same canonical form are twins.

Two questions are twins if they differ only in what is listed here. In English (`is_english`):
`courtesies` around the question, contractions, articles, "please" after "you" or "I", number words,
the frames of `lists.FRAMES`, the full stop or question mark at the end, the case of a sentence's
first word, the spellings and names of `spellings`, and the wordings of `wordings`. An article stays
if it distinguishes one thing from any ("is he a manager?"). In any other language: a last question
mark, and the first word's case. All else is compared as written: signs, operators, commas, quotes,
order, every other word, and case within a sentence. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cacheserver.english.canonical import courtesies, lists
from cacheserver.english.canonical.spellings import unify_spellings
from cacheserver.english.canonical.wordings import unify_wordings
from cacheserver.matching.marks import spell_marks

_TOKEN = re.compile(r"\d+(?:[.,:]\d+)*|[^\W\d]\w*(?:'\w+)*|[^\w\s]+|\n+")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+")
_STRAIGHT = str.maketrans("\u2018\u2019\u02bc\u201c\u201d\u201e", "'''\"\"\"")
_PLAIN = frozenset(".,;:?!\"'()\u2026\u3002\u061f\u0964\u00bf\u00a1")
_QUOTES = frozenset("\"'()")
_SPACE = "\N{OPEN BOX}"
_ENDS = ".?!\u2026\u3002\u061f\u0964"
_ASKED = frozenset("?!\u061f")


@dataclass(frozen=True, slots=True)
class Canonical:
    """Canonical form of a question."""

    inner: str  # the text without courtesies, combining marks in letters
    words: tuple[str, ...]  # words and signs, in order: twins share them
    english: bool


def canonical_form(text: str) -> Canonical:
    """Return the canonical form of a normalised question."""
    text = spell_marks(text.translate(_STRAIGHT))
    words = _words(text)
    if not is_english(words):
        return Canonical(text, _without_end(text, words, known=False), False)
    inner = courtesies.without_courtesies(text)
    if len(inner) != len(text):
        words = _words(inner)
    # In most other languages the comma of "1,599" is a decimal one.
    words = tuple([w.replace(",", "") if _THOUSANDS.fullmatch(w) else w for w in words])
    found = unify_spellings(_without_end(inner, words, known=True))
    found = _without_articles(_framed(_expanded(found)))
    return Canonical(inner, tuple(unify_wordings(found)), True)


def without_courtesies(text: str) -> str:
    """Return a normalised text without the greetings and thanks around it."""
    inner = courtesies.without_courtesies(text)
    # The language is looked at second: it takes the words of the whole text.
    return inner if len(inner) == len(text) or is_english(_words(text)) else text


def is_english(words: Sequence[str]) -> bool:
    """Return True if the text is recognisably English, by its function words."""
    low = [word.lower() for word in words if word[0].isalpha()]
    short = [word for word in low if "'" in word and word.endswith(lists.SHORTENED)]
    known = [word for word in low if word in lists.COMMON]
    common = len(short) + len(known)
    if short or "I" in words[1:] or not lists.ENGLISH.isdisjoint(low):
        return common >= lists.SHARE * len(low)
    if not lists.FOREIGN.isdisjoint(low):
        return False
    # Italy's article stands before a plural: "I prezzi", "I miei ordini".
    myself = len(words) > 1 and words[0] == "I" and not words[1].endswith("i")
    if myself or "is" in low:
        return common >= lists.SHARE * len(low)
    alone = common >= max(lists.SHARE_ALONE * len(low), lists.LEAST_ALONE)
    return alone and not lists.SHARED.issuperset(known)


def _words(text: str) -> tuple[str, ...]:
    """Return words, numbers and signs. A sign keeps the spaces beside it: "- 10" is not "-10"."""
    found: list[str] = []
    start = True  # of a sentence
    for match in _TOKEN.finditer(text):
        raw = match[0]
        first = raw[0]
        if first.isalpha() or first == "_":
            if start and (raw[1:].islower() or raw == "A"):
                raw = raw[0].lower() + raw[1:]
            at = match.start()
            if at and text[at - 1].isdigit() and raw.lower() not in lists.UNITS:
                found[-1] += raw  # "1e5" differs from "1 e5"
            else:
                found.append(raw)
            start = False
        elif first.isdigit():
            found.append(raw)
            start = False
        elif first == "\n":
            found.append("\n")
            start = True
        else:
            start = _sign(found, raw, text, match.span()) or (start and raw in "\"'(\u00bf\u00a1")
    return tuple(found)


def _sign(found: list[str], raw: str, text: str, span: tuple[int, int]) -> bool:
    """Add a run of signs; return True if it ends a sentence."""
    at, end = span
    operator = len(raw) > 1 and not _QUOTES.issuperset(raw)  # "?.", "??", "..." between words
    if operator and (text[end : end + 1].isalnum() or (at > 0 and text[at - 1].isspace())):
        sign = raw
    else:
        sign = raw.rstrip(".,;:?!)\"'")
    if sign is raw or (sign and not _PLAIN.issuperset(sign)):
        before = _SPACE if at == 0 or text[at - 1].isspace() else ""
        after = _SPACE if text[at + len(sign) : at + len(sign) + 1].isspace() else ""
        found.append(f"{before}{sign}{after}")
        found.extend(raw[len(sign) :])
    else:
        found.extend(raw)
    if raw[-1] not in _ENDS or not text[end : end + 1].isspace():
        return False
    before = found[-len(raw) - 1] if len(found) > len(raw) else ""
    return raw != "." or (len(before) != 1 and before.lower() not in lists.ABBREVIATED)


def _without_end(text: str, words: tuple[str, ...], *, known: bool) -> tuple[str, ...]:
    """Remove the last mark if it has no meaning.

    `known`: the text is English. A question mark has no meaning after a question, a full stop after
    anything else; `C!`, `?.` and `??` may be the subject of the question.
    """
    body = text.rstrip(_ENDS)
    run = text[len(body) :]
    if run == ".?" and body[-3:].isalpha():
        text, words, run = f"{body}?", (*words[:-2], "?"), "?"
    if not run or not body or (len(set(run)) > 1 and not _ASKED.issuperset(run)):
        return words
    spaced = body[-1].isspace()
    last = words[-len(run) - 1] if len(words) > len(run) else ""
    if spaced and (len(run) > 1 or last.lower() in lists.NO_NOUN or last == "between"):
        return words
    if "!" in run and (len(last) == 1 or last[-1:].isdigit()):
        return words  # 5! and n!
    if last[-1:] in "*+" and not body[-2:-1].isalnum() and body[-2:-1] != "+":
        return words  # the end of a pattern
    asks = not _ASKED.isdisjoint(run.replace("!", ""))
    question = _starts_question(words) if known else True
    if asks == question or (known and not asks):
        return words[: -len(run)]
    return (*words[: -len(run)], "?" if asks else ".")


def _starts_question(words: Sequence[str]) -> bool:
    at = max(
        (
            i + 1
            for i, w in enumerate(words[:-1])
            if w in ".?!\n" or (w == "," and words[i + 1] in lists.ASKING)
        ),
        default=0,
    )
    first = next((word for word in words[at:] if word[0].isalpha()), "")
    return any(
        lists.RUN_TOGETHER.get(low, low).partition("'")[0] in lists.STARTS or low in lists.NEGATED
        for low in (first.lower(), words[0].lower())
    )


def _expanded(words: Sequence[str]) -> list[str]:
    """Expand contractions, write number words as numbers and "i" as "I"."""
    found: list[str] = []
    spelled_out = not lists.SPELLED.isdisjoint(words)
    for at, word in enumerate(words):
        following = words[at + 1] if at + 1 < len(words) else ""
        if word == "i" and (
            at == 0
            or words[at - 1] in lists.BEFORE_I
            or following in lists.AFTER_I
            or words[at - 1] in (".", "?", "!", "\n")
        ):
            found.append("I")
            continue
        if word in lists.NUMBERS and not spelled_out:
            found.append(lists.NUMBERS[word])
            continue
        short = "'" in word or word in lists.RUN_TOGETHER or word in lists.NEGATED
        if not short or (spelled_out and at > 0):
            found.append(word)
            continue
        word = lists.RUN_TOGETHER.get(word, word)
        head, apostrophe, tail = word.partition("'")
        tail = apostrophe + tail
        head = "I" if head == "i" else head
        if word in lists.NEGATED:
            found += (lists.NEGATED[word], "not")
        elif tail == "'s" and head in lists.WITH_IS and not lists.PARTICIPLE.fullmatch(following):
            found += (head, "is")
        elif tail in lists.TAILS:
            found += (head, lists.TAILS[tail])
        elif tail == "'d" and following in ("like", "love", "prefer"):
            found += (head, "would")
        else:
            found.append(word)
    return found


def _framed(words: Sequence[str]) -> list[str]:
    kept = [
        word
        for at, word in enumerate(words)
        if word not in lists.POLITE or at == 0 or not _is_courtesy(words, at)
    ]
    frames = [frame for frame in lists.FRAMES if not frame[0].isdisjoint(kept)]
    if not frames:
        return kept
    line = " ".join(kept)
    for _, pattern, into in frames:
        line = pattern.sub(into, line)
    return line.rstrip(" ").split(" ")


def _is_courtesy(words: Sequence[str], at: int) -> bool:
    """Return True if the word of `POLITE` at `at` is not a verb, nor the manner asked about."""
    before, following = words[at - 1], words[at + 1] if at + 1 < len(words) else ""
    if words[at] == "kindly":
        return before in lists.ASKED_KINDLY
    return before in lists.BEFORE_POLITE and following.lower() not in lists.PLEASED


def _without_articles(words: Sequence[str]) -> list[str]:
    found = []
    lettered = any(len(word) == 1 and word.isalpha() and word not in "aAiI" for word in words)
    for at, word in enumerate(words):
        if word in lists.ARTICLES:
            before = words[at - 1].lower() if at else ""
            following = words[at + 1] if at + 1 < len(words) else ""
            noun = following[:1].isalnum() and following not in lists.NO_NOUN | lists.ARTICLES
            letter = word == "a" and (lettered or before in lists.LETTERED or before.isdigit())
            if noun and not (
                letter or following in lists.ARTICLE_KEPT or _tells(words, at, before, following)
            ):
                continue
            word = "the" if word == "the" else "a"
        found.append(word)
    return found


def _tells(words: Sequence[str], at: int, before: str, following: str) -> bool:
    """Return True if the article at `at` distinguishes: "is he a manager", "the manager"."""
    if following in lists.PLACES and before in lists.BEFORE_PLACES:
        return True
    earlier = words[at - 2] if at > 1 else ""
    if {before, earlier} & lists.SUBJECTS and {before, earlier} & lists.BE:
        return True
    if words[at] == "the":
        return False
    last = at + 2 == len(words) or words[at + 2] in ".?!,\n"
    after = words[at + 2] if not last else ""
    return (
        following in lists.UNIQUE
        or (at == 1 and before in lists.BEGINS)
        or (before in lists.BE and (earlier == "who" or (earlier == "what" and after == "of")))
        or (last and words[0] in lists.BE)
    )
