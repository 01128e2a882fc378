"""Names of the lexical features: a `Language` returns one number for each, the prior reads them."""

from __future__ import annotations

# Each is symmetric in the two texts, mostly 0..1, and 0 if nothing is against serving.
NAMES = (
    "unlike_words",  # 1 - weighted Jaccard of the meaning words
    "unlike_letters",  # 1 - Jaccard of the character trigrams
    "uncontained",  # weighted share of the shorter one's words that the longer lacks
    "rarest",  # idf of the rarest word that only one of them has, /10
    "second_rarest",
    "missing",  # log of the number of words that only one of them has
    "both_miss",  # such words on the side with fewer, capped at 3, /3
    "numbers_both",
    "numbers_one",
    "units",
    "times_both",
    "times_one",
    "turned",  # opposite polarity: negations and antonyms do not cancel
    "flipped",  # there is an antonym
    "names_both",
    "names_one",
    "moved",  # misdirected or misordered
    "spans",
    "asks",  # another question word
    "lengths",  # log ratio of the lengths
    "same_words",  # the same meaning words
    "short",  # fewer than three meaning words in one of them
    "vetoes",  # how many of `COUNTED` fired, capped at 3, /3
    "numeric",
    "substitution",
    "entity",
    "narrowing",
    "polar",  # negation or antonym vetoed
)

# The vetoes that the prior was fitted with. Newer ones exclude a candidate but are not counted
# here: the prior would have to be fitted again (`scripts/fit_prior`).
COUNTED = frozenset(
    (
        *("numeric", "unit", "temporal", "negation", "antonym", "entity", "substitution"),
        *("direction", "order", "role", "connective", "span", "scope", "narrowing"),
    )
)
