"""The port for the word rules of a language.

Similarity only proposes a stored answer; word rules refuse it. Rule: if the rules cannot read a
pair of questions, similarity alone never serves it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cacheserver.matching.profile import Difference, Profile
from cacheserver.matching.volatility import Volatility

# Names of the vetoes, in the order in which they are reported. A bar may switch each off.
VETO_NAMES = (
    *("numeric", "unit", "temporal", "negation", "antonym", "entity", "substitution", "direction"),
    *("order", "role", "connective", "span", "scope", "narrowing"),
    *("preposition", "quantifier", "modal", "tense", "person", "pointer", "asked", "sign", "case"),
    *("marks", "exchange", "focus"),
)
ALL_VETOES = frozenset(VETO_NAMES)

# Stands in place of a veto if no rule can read the pair. No bar switches it off.
UNREADABLE = "unreadable"


class Language(Protocol):
    """Word rules. Pure; each text is one that `question_text.normalise` returned."""

    def without_courtesies(self, text: str) -> str:
        """Return a question without the greetings and thanks around it."""

    def volatility(self, text: str) -> Volatility:
        """Return how the answer depends on time, place or person. Takes any text."""

    def profile(self, text: str) -> Profile:
        """Read a question, or an answer."""

    def compare(self, a: Profile, b: Profile) -> Difference | None:
        """Compare two profiles; None if the rules cannot read one of them. Symmetric."""

    def are_twins(self, difference: Difference) -> bool:
        """Return True if both ask the same in words that differ in nothing that matters."""

    def vetoes(self, difference: Difference, enabled: frozenset[str]) -> tuple[str, ...]:
        """Return the enabled vetoes that fire, in the order of `VETO_NAMES`. None for twins."""

    def features(self, difference: Difference, fired: Sequence[str]) -> tuple[float, ...]:
        """Return one number for each of `features.NAMES`. `fired`: all vetoes that fire."""

    def coverage(self, question: Profile, stored: Sequence[Profile]) -> float:
        """Return the share, by idf, of the question's meaning words that `stored` hold, 0..1."""

    def forget_texts(self) -> None:
        """Drop the texts that are kept in memory to be read faster."""


def vetoes_between(
    a: Profile, b: Profile, enabled: frozenset[str], language: Language
) -> tuple[str, ...]:
    """Return the reasons, from the words alone, not to serve one question's answer for the other.

    These are enabled vetoes, or `UNREADABLE`.
    """
    difference = language.compare(a, b)
    return (UNREADABLE,) if difference is None else language.vetoes(difference, enabled)
