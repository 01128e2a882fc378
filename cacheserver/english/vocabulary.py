"""Vocabulary coverage: the share of a question's words that questions with an answer hold.

The complement of the out-of-vocabulary rate of language modelling, weighted by idf. Evidence
compares a question with one other question; coverage compares it with all questions that have one
answer, and counts the words that none of them holds. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from cacheserver.english.comparison import SHORTEST_SLIP, idf, misspells
from cacheserver.english.lexicon import Lexicon
from cacheserver.matching.profile import Profile


def coverage(question: Profile, stored: Sequence[Profile], lexicon: Lexicon) -> float:
    """Return the share, by idf, of the question's meaning words that `stored` hold, 0..1.

    Synonyms count as one word, and so do a word and a typing slip of it. A question without
    meaning words is covered: 1.0.
    """
    vocabulary = frozenset[str]().union(*[one.bag for one in stored])
    long = [word for word in vocabulary if len(word) >= SHORTEST_SLIP]
    new = [
        word
        for word in question.bag - vocabulary
        if len(word) < SHORTEST_SLIP
        # A slip is never in the first letter; this test saves most of the calls.
        or not [other for other in long if other[0] == word[0] and misspells(word, other)]
    ]
    if not new:
        return 1.0
    rarest = question.names | question.numbers
    whole = sum([idf(word, rarest, lexicon) for word in question.bag])
    return 1 - sum([idf(word, rarest, lexicon) for word in new]) / whole
