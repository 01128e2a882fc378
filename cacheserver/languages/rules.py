"""Word rules for questions in any language: those of English, and `plain` for all others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from cacheserver.english import features, vocabulary
from cacheserver.english.language import English
from cacheserver.english.lexicon import Lexicon, standard
from cacheserver.english.profile_reader import read_profile
from cacheserver.languages import detection, plain
from cacheserver.matching.profile import Difference, Profile
from cacheserver.matching.volatility import Volatility


class Languages:
    """Rules of English for English and for short texts that may be; `plain` where either is not."""

    def __init__(self, english: English, lexicon: Lexicon) -> None:
        self._english = english
        self._lexicon = lexicon

    def without_courtesies(self, text: str) -> str:
        return self._english.without_courtesies(text)

    def volatility(self, text: str) -> Volatility:
        return self._english.volatility(text)

    def forget_texts(self) -> None:
        """Drop the texts of questions that are kept to be read faster."""
        self._english.forget_texts()

    def profile(self, text: str) -> Profile:
        read = read_profile(text, self._lexicon, _label)
        if detection.reads_english(read.language):
            return read
        return plain.read_profile(read, read.language)

    def compare(self, a: Profile, b: Profile) -> Difference | None:
        """Compare two profiles; None for two languages, or if no rule reads what differs."""
        if not detection.comparable(a.language, b.language):
            return None
        one, other = (detection.reads_english(p.language) for p in (a, b))
        if one and other:
            return self._english.compare(a, b)
        return plain.compare(
            plain.read_profile(a, b.language) if one else a,
            plain.read_profile(b, a.language) if other else b,
            self._lexicon,
        )

    def are_twins(self, difference: Difference) -> bool:
        if _in_english(difference):
            return self._english.are_twins(difference)
        return plain.are_twins(difference)

    def vetoes(self, difference: Difference, enabled: frozenset[str]) -> tuple[str, ...]:
        if _in_english(difference):
            return self._english.vetoes(difference, enabled)
        return plain.fired(difference, enabled, self._lexicon)

    def features(self, difference: Difference, fired: Sequence[str]) -> tuple[float, ...]:
        return features.features(difference, fired, self._lexicon)

    def coverage(self, question: Profile, stored: Sequence[Profile]) -> float:
        return vocabulary.coverage(question, stored, self._lexicon)


def _label(text: str, recognised: bool) -> str:
    return detection.detect(text, english=recognised)


def _in_english(difference: Difference) -> bool:
    return detection.reads_english(difference.a.language) and detection.reads_english(
        difference.b.language
    )


@cache
def languages() -> Languages:
    """Return the rules with the lexicon that ships; built once."""
    lexicon = standard()
    return Languages(English(lexicon), lexicon)
