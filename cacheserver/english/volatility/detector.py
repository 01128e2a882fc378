"""Detects questions whose answer depends on when, where or by whom they are asked.

Cues come first and are certain; then, for short questions, a small additive model finds what
changes over months. A question that only mentions "my" is not personal: see `personal`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cacheserver.english.volatility.cues import PLACE, TIME, Cue
from cacheserver.english.volatility.drift_model import (
    SHIPPED,
    DriftModel,
    drift_probability,
    tokenize,
)
from cacheserver.english.volatility.personal import PERSONAL
from cacheserver.matching.volatility import Volatility

# As long as the embedder's window (256 word pieces). A longer text is read at its end, where
# people ask.
_READ_CHARS = 1_500


def detect_volatility(text: str, model: DriftModel = SHIPPED) -> Volatility:
    """Return the strictest kind of volatility that applies to a question.

    `text` is in any case; English only: other languages are "stable". Raises nothing. Some 8
    microseconds a question.
    """
    lowered = text[-_READ_CHARS:].lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    words = tokenize(lowered)
    if (cue := _first_cue(lowered, words)) is not None:
        return Volatility(cue.kind, 1.0, cue.name)
    probability = drift_probability(words, model)
    if probability >= model.threshold:
        return Volatility("time", probability, "drift")
    return Volatility("stable", 1.0 - probability)


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
    """Return the strictest cue that fires, of those with one of their words in the text."""
    ranks: set[int] = set()
    for word in words:
        if (more := _RANKS.get(word)) is not None:
            ranks.update(more)
    for rank in sorted(ranks):
        cue = _CUES[rank]
        if cue.pattern.search(lowered) and not (cue.unless and cue.unless.search(lowered)):
            return cue
    return None
