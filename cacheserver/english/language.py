"""English, as the request path sees it: the `Language` that the rules of this package make up."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache

from cacheserver.english import comparison, features, vetoes, vocabulary
from cacheserver.english.canonical.forms import without_courtesies
from cacheserver.english.lexicon import Lexicon, standard
from cacheserver.english.profile_reader import read_profile
from cacheserver.english.volatility.detector import detect_volatility
from cacheserver.matching.profile import Difference, Profile
from cacheserver.matching.volatility import Volatility

# Questions repeat, and an exact hit should not pay 10 to 20 us to classify one again. Callers pass
# the last 2,000 characters of a text, so this takes 8 MB at most.
_cached_volatility = lru_cache(maxsize=4_096)(detect_volatility)


class English:
    """Word rules of English. In other languages they compare literals, signs and word order."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon

    def without_courtesies(self, text: str) -> str:
        return without_courtesies(text)

    def volatility(self, text: str) -> Volatility:
        return _cached_volatility(text)

    def forget_texts(self) -> None:
        """Drop the texts of questions that are kept to be classified faster."""
        _cached_volatility.cache_clear()

    def profile(self, text: str) -> Profile:
        return read_profile(text, self._lexicon)

    def compare(self, a: Profile, b: Profile) -> Difference:
        return comparison.compare(a, b, self._lexicon)

    def are_twins(self, difference: Difference) -> bool:
        return comparison.are_twins(difference)

    def vetoes(self, difference: Difference, enabled: frozenset[str]) -> tuple[str, ...]:
        return vetoes.fired(difference, enabled, self._lexicon)

    def features(self, difference: Difference, fired: Sequence[str]) -> tuple[float, ...]:
        return features.features(difference, fired, self._lexicon)

    def coverage(self, question: Profile, stored: Sequence[Profile]) -> float:
        return vocabulary.coverage(question, stored, self._lexicon)


@cache
def english() -> English:
    """Return the rules with the lexicon that ships; built once, in about a millisecond."""
    return English(standard())
