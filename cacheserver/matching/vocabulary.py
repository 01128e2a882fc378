"""Vocabulary coverage: how much of a question do questions that have an answer say, too?

The complement of the out-of-vocabulary rate of language modelling, by idf. Evidence compares
a question with one other, and words that part them count as they did among the scope's labels. Here
a word counts that none of the questions with that answer says: a new one. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from cacheserver.matching.evidence import SHORTEST_SLIP, idf, misspells
from cacheserver.matching.lexicon import Lexicon
from cacheserver.matching.profile import Profile


def coverage(question: Profile, said: Sequence[Profile], lexicon: Lexicon) -> float:
    """Return the share, by idf, of the question's meaning words that `said` hold, 0..1.

    Synonyms are one word, and so are a word and a slip in typing it. Nothing to say is all said.
    """
    vocabulary = frozenset[str]().union(*[one.bag for one in said])
    long = [word for word in vocabulary if len(word) >= SHORTEST_SLIP]
    new = [
        word
        for word in question.bag - vocabulary
        if len(word) < SHORTEST_SLIP
        # A slip never begins a word; asked first, it saves most of the calls.
        or not [other for other in long if other[0] == word[0] and misspells(word, other)]
    ]
    if not new:
        return 1.0
    rarest = question.names | question.numbers
    whole = sum([idf(word, rarest, lexicon) for word in question.bag])
    return 1 - sum([idf(word, rarest, lexicon) for word in new]) / whole
