"""Comparison of two questions: their shared words and their differences. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from cacheserver.english.canonical.typing_slips import only_misspelt
from cacheserver.english.lexicon import RARE, RAREST, Lexicon
from cacheserver.matching.profile import Difference, Profile

SHORTEST_SLIP = 5  # letters: shorter words one edit apart are mostly two words, not a slip
_PREFIXES = ("un", "in", "im", "ir", "dis", "non", "il")  # make a word its opposite


def compare(a: Profile, b: Profile, lexicon: Lexicon) -> Difference:
    """Compare two profiles. Symmetric: exchanging them exchanges the fields of a and b."""
    only_a = [w for w in dict.fromkeys(a.content) if w not in b.bag]
    only_b = [w for w in dict.fromkeys(b.content) if w not in a.bag]
    if only_a and only_b:
        _match_slips(only_a, only_b)
    flips = _flips(a.every - b.every, b.every - a.every, lexicon.opposite)
    shared = len(a.bag & b.bag)
    few = len(only_a) <= 2 and len(only_b) <= 2
    form_a, form_b = frozenset(a.form), frozenset(b.form)
    free = not (lexicon.symmetric.isdisjoint(a.every) and lexicon.symmetric.isdisjoint(b.every))
    return Difference(
        a=a,
        b=b,
        only_a=tuple(only_a),
        only_b=tuple(only_b),
        shared=shared,
        flips=flips,
        misdirected=few and not free and _misdirected(a, b, lexicon.directed),
        misordered=few and not free and _misordered(a, b),
        apart_a=tuple([word for word in a.form if word not in form_b]),
        apart_b=tuple([word for word in b.form if word not in form_a]),
    )


def are_twins(d: Difference) -> bool:
    """Return True if two questions have the same canonical form, except for typing slips.

    Quoted text and code must be equal to the letter.
    """
    a, b = d.a, d.b
    if a.spans != b.spans or not a.form:
        return False
    return a.form == b.form or (a.recognised and b.recognised and only_misspelt(a.form, b.form))


def idf(word: str, rarest: Set[str], lexicon: Lexicon) -> float:
    """Return the idf of a word, from 4 (every 50th question) to 8.5 (the words in `rarest`)."""
    return RAREST if word in rarest else lexicon.idf.get(word, RARE)


def _match_slips(only_a: list[str], only_b: list[str]) -> None:
    """Remove from both lists the words that are slips of each other."""
    long = [word for word in only_a if len(word) >= SHORTEST_SLIP]
    for word in long:
        for other in only_b:
            if misspells(word, other):
                only_a.remove(word)
                only_b.remove(other)
                break


def misspells(word: str, other: str) -> bool:
    """Return True if one word is a typing slip of the other.

    One letter dropped or doubled, or two exchanged; never one letter for another (horse, house).
    """
    if word[0] != other[0] or abs(len(word) - len(other)) > 1:
        return False
    if not word.isalpha() or not other.isalpha():
        return False
    if len(word) == len(other) >= SHORTEST_SLIP:
        at = [i for i in range(len(word)) if word[i] != other[i]]
        return (
            len(at) == 2
            and at[1] == at[0] + 1
            and word[at[0]] == other[at[1]]
            and word[at[1]] == other[at[0]]
        )
    short, long = sorted((word, other), key=len)
    return (
        len(long) - len(short) == 1
        and len(short) >= SHORTEST_SLIP
        and any(long[:i] + long[i + 1 :] == short for i in range(1, len(long)))
    )


def _flips(
    extra_a: Iterable[str], extra_b: frozenset[str], opposite: Mapping[str, frozenset[str]]
) -> int:
    if not extra_b:
        return 0
    flips = 0
    turned_b = [word for word in extra_b if word.startswith(_PREFIXES)]
    for word in extra_a:
        against = opposite.get(word)
        if against is not None and against & extra_b:
            flips += 1
        elif len(word) > 3:
            turned = bool(turned_b) and any(_turns(other, word) for other in turned_b)
            if not turned and word.startswith(_PREFIXES):
                turned = any(len(other) > 2 and _turns(word, other) for other in extra_b)
            flips += turned
    return flips


def _turns(word: str, other: str) -> bool:
    """Return True if `word` is a negating prefix and `other`."""
    return word.endswith(other) and word[: -len(other)] in _PREFIXES


def _misdirected(a: Profile, b: Profile, directed: frozenset[str]) -> bool:
    ends_a = {(cue, word) for cue, word in a.flows - b.flows if cue in directed or cue == "many"}
    ends_b = {(cue, word) for cue, word in b.flows - a.flows if cue in directed or cue == "many"}
    if a.passive != b.passive:
        ends_a = {end for end in ends_a if end[0] != "by"}
        ends_b = {end for end in ends_b if end[0] != "by"}
    return any(
        cue == other_cue and _stands_before(other, word, a) and _stands_before(word, other, b)
        for cue, word in ends_a
        for other_cue, other in ends_b
    )


def _stands_before(word: str, other: str, profile: Profile) -> bool:
    # Otherwise only a modifier moved: "from videos YUV", "from YUV videos".
    return (
        word in profile.bag
        and other in profile.bag
        and profile.content.index(word) < profile.content.index(other)
    )


def _misordered(a: Profile, b: Profile) -> bool:
    shared = a.bag & b.bag
    one = [w for w in dict.fromkeys(a.content) if w in shared]
    other = [w for w in dict.fromkeys(b.content) if w in shared]
    if len(one) < 2 or len(one) < len(a.bag) - 1 or len(one) < len(b.bag) - 1:
        return False
    if a.passive != b.passive:
        # "Did x hit y" and "was y hit by x" ask the same: the agent is first, or after "by".
        return one[0] == other[0] and len(one) <= 4
    turn = other.index(one[0])
    if other[turn:] + other[:turn] == one:
        return False  # a clause moved to the front, or to the end
    at = {word: i for i, word in enumerate(other)}
    moved = [(i, at[word]) for i, word in enumerate(one) if at[word] != i]
    # Words exchanged in pairs across another word: "do x like y", "do y like x". Other moves are
    # mostly grammar: "a project in physics", "a physics project".
    return bool(moved) and all(abs(i - j) > 1 and one[j] == other[i] for i, j in moved)
