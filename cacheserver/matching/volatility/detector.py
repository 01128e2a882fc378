"""Whether a question's answer depends on when, where or by whom it is asked.

Cues come first and are certain; then, for short questions, a small additive model of what drifts
over months. A question that only mentions "my" is not personal: see `volatility_personal`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cacheserver.core.types import VolatilityCaps
from cacheserver.matching.volatility.cues import PLACE, TIME, Cue
from cacheserver.matching.volatility.personal import PERSONAL
from cacheserver.matching.volatility.weights import OWN, Drift

VolatilityKind = Literal["stable", "time", "place", "personal"]

# A question as long as the embedder's window (256 word pieces); what is longer is read at its end,
# where people ask.
_READ_CHARS = 1_500
# The model speaks of short factual questions; its sums mean nothing for a page of prose.
_DRIFT_WORDS = 30
# Nor for talk between two people: "I need a new card" is no question about the world.
_PRIVATE = frozenset({"i", "i'm", "i've", "i'd", "my", "me", "you", "your", "please", "we", "our"})

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|\d+")
_YEAR = re.compile(r"(?:1[7-9]|20)\d\d")


@dataclass(frozen=True, slots=True)
class Volatility:
    """`probability` that the answer is of this kind: 1.0 where a cue says so.

    `cue` names the rule, or is "drift" where the model spoke. It never holds words of the text.
    """

    kind: VolatilityKind
    probability: float
    cue: str | None = None


def ttl_cap_s(volatility: Volatility, caps: VolatilityCaps) -> int | None:
    """The longest an answer may be kept. 0: neither look up nor store; None: as any other."""
    match volatility.kind:
        case "stable":
            return None
        case "time":
            return caps.drift_s if volatility.cue == "drift" else caps.time_s
        case "place":
            return caps.place_s
        case "personal":
            return caps.personal_s


def volatility(text: str, drift: Drift = OWN) -> Volatility:
    """What the answer to `text` depends on; the strictest kind where several apply.

    `text` is the question as asked, in any case; English only: other languages are "stable".
    Raises nothing. Some 8 microseconds a question.
    """
    lowered = text[-_READ_CHARS:].lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    words = _WORD.findall(lowered)
    if (cue := _first_cue(lowered, words)) is not None:
        return Volatility(cue.kind, 1.0, cue.name)
    probability = drifts(words, drift)
    if probability >= drift.bar:
        return Volatility("time", probability, "drift")
    return Volatility("stable", 1.0 - probability)


def drifts(words: Sequence[str], drift: Drift) -> float:
    """The probability that the answer changes over months; 0.0 where the model has no say."""
    if not 0 < len(words) <= _DRIFT_WORDS or not _PRIVATE.isdisjoint(words):
        return 0.0
    weigh = drift.weights.get
    odds = drift.bias + sum(weigh(feature, 0.0) for feature in features(words))
    return 1.0 / (1.0 + math.exp(-odds))


def features(words: Iterable[str]) -> set[str]:
    """Each word and pair of neighbours once, the first word marked, numbers made alike."""
    found: set[str] = set()
    last = "^"
    for word in words:
        if word[0].isdigit():
            word = "<year>" if _YEAR.fullmatch(word) else "<num>"
        found.add(word)
        found.add(f"{last} {word}")
        last = word
    return found


def words_of(text: str) -> list[str]:
    """Lower-case words and numbers, as the model reads them."""
    return _WORD.findall(text.lower())


# The strictest kind first, so that the first cue that fires decides.
_CUES = (*PERSONAL, *PLACE, *TIME)


def _by_word(cues: Sequence[Cue]) -> Mapping[str, tuple[int, ...]]:
    found: dict[str, list[int]] = {}
    for rank, cue in enumerate(cues):
        for word in cue.words:
            found.setdefault(word, []).append(rank)
    return {word: tuple(ranks) for word, ranks in found.items()}


_RANKS = _by_word(_CUES)


def _first_cue(lowered: str, words: Sequence[str]) -> Cue | None:
    """The strictest cue that fires. Only those with a word of theirs in the text are tried."""
    ranks: set[int] = set()
    for word in words:
        if (more := _RANKS.get(word)) is not None:
            ranks.update(more)
    for rank in sorted(ranks):
        cue = _CUES[rank]
        if cue.pattern.search(lowered) and not (cue.unless and cue.unless.search(lowered)):
            return cue
    return None
