"""From a question, another one that looks like it and needs a different answer.

Each maker returns None where its handle (a number, a name, a cue) is not in the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w]*\.\d)")
SPELLED = (
    *("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fifteen", "twenty", "thirty", "fifty"),
)
_SPELLED_NUMBER = re.compile(rf"(?i)\b({'|'.join(SPELLED)})\b")
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][A-Za-z0-9+#.]*[A-Za-z0-9+#]")

_CAN_BE_DENIED = re.compile(
    r"(?i:\b(?:should|can|could|would|will|must|do|does|did|is|are|was) "
    r"(?:i|you|we|they|it|he|she|this|that))\b(?= \w)|\b(?:should|can|will|must|to)\b(?= [a-z])"
)

UNITS = (
    ("mg", "mcg", "g"), ("milligrams", "micrograms", "grams"), ("kg", "lbs", "grams"),
    ("km", "miles", "meters"), ("cm", "inches", "mm"), ("seconds", "minutes", "hours"),
    ("days", "weeks", "months", "years"), ("day", "week", "month", "year"),
    ("MB", "GB", "TB", "KB"), ("Celsius", "Fahrenheit"), ("daily", "weekly", "monthly"),
    ("dollars", "euros", "pounds"), ("ml", "liters", "cups"), ("percent", "percentage points"),
    ("32-bit", "64-bit"), ("32bit", "64bit"), ("AM", "PM"), ("am", "pm"),
)  # fmt: skip
TIMES = (
    ("today", "tomorrow", "yesterday"), ("this", "last", "next"), ("before", "after"),
    ("now", "later"), ("morning", "evening", "night"), ("January", "June", "October"),
    ("February", "July", "November"), ("March", "August", "December"), ("April", "September"),
    ("Monday", "Wednesday", "Friday"), ("Tuesday", "Thursday", "Saturday"), ("until", "since"),
    ("summer", "winter", "spring"), ("always", "never", "sometimes"), ("first", "last"),
    ("previous", "next"), ("current", "previous"), ("during", "before", "after"),
)  # fmt: skip
ANTONYMS = (
    ("increase", "decrease"), ("enable", "disable"), ("install", "uninstall", "update"),
    ("start", "stop", "restart"), ("open", "close"), ("add", "remove"), ("best", "worst"),
    ("more", "less"), ("most", "least"), ("buy", "sell", "rent"), ("upload", "download"),
    ("import", "export"), ("lock", "unlock"), ("mount", "unmount"), ("encrypt", "decrypt"),
    ("hide", "show"), ("advantages", "disadvantages"), ("pros", "cons"), ("gain", "lose"),
    ("good", "bad"), ("cheap", "expensive"), ("fast", "slow"), ("faster", "slower"),
    ("high", "low"), ("maximum", "minimum"), ("upgrade", "downgrade"), ("connect", "disconnect"),
    ("accept", "reject"), ("push", "pull"), ("send", "receive"), ("cause", "prevent", "cure"),
    ("causes", "symptoms", "treatments"), ("create", "delete", "rename"), ("read", "write"),
    ("internal", "external"), ("public", "private"), ("deposit", "withdraw"), ("win", "lose"),
    ("all", "some", "none"), ("only", "also"), ("can", "must"), ("should", "could"),
    ("automatically", "manually"), ("temporarily", "permanently"), ("left", "right"),
    ("up", "down"), ("on", "off"), ("in", "out"), ("with", "without"), ("input", "output"),
    ("local", "remote"), ("old", "new"), ("small", "large"), ("shrink", "extend"),
    ("men", "women"), ("boys", "girls"), ("he", "she"), ("his", "her"), ("and", "or"),
    ("is", "was", "becomes"), ("ascending", "descending"), ("legal", "illegal"),
    ("possible", "impossible"), ("safe", "dangerous"), ("love", "hate"), ("easy", "hard"),
)  # fmt: skip
QUESTION_WORDS = ("how", "why", "when", "where", "who", "which")
DIRECTIONS = (
    "to", "than", "before", "after", "into", "instead of", "over", "rather than",
    "because of", "without", "inside", "on top of", "under",
)  # fmt: skip
QUALIFIERS = (
    "without internet", "for children", "for beginners", "at night", "in 2019", "without root",
    "on a Mac", "over the phone", "for free", "as a student", "in the background", "by email",
    "during pregnancy", "in winter", "in Python", "from the command line", "on a tablet",
    "without losing data", "for a small business", "with a friend", "at the airport", "over SSH",
    "while abroad", "if I am under 18", "for two users", "with only one hand", "in Canada",
    "on a virtual machine", "in less than an hour", "after an update", "on an old computer",
)  # fmt: skip
ADJECTIVES = (
    "free", "second", "external", "old", "broken", "new", "cheap", "wireless", "damaged", "large",
    "foreign", "temporary", "shared", "empty", "personal", "used", "fake", "portable", "secure",
)  # fmt: skip
_STOP = """
a an the is are was were be been do does did i my me you your it its this that of to in on for
with from by at as and or not can could should would will how what why when where who which have
has had there their they them he she his her we our if so than then get
"""

_SKIP = frozenset(_STOP.split())

# What stands between two words that may change places.
_JOINED = re.compile(r"\s*(and|or|,|vs\.?|versus|with)?\s*")

_THING = re.compile(r"(?i)(?<=\b(?:my|an) )[a-z]{3,}|(?<=\bthe )[a-z]{3,}|(?<=\ba )[a-z]{3,}")
_MAY_TURN = re.compile(r"(?i)\b(and|or|between|both|compare|compatible|same|vs|versus)\b")

NearMiss = Callable[[str, "Words", Random], str | None]


@dataclass(frozen=True, slots=True)
class Words:
    """Replacement words: names, and content words by their ending."""

    names: Sequence[str]
    by_ending: Mapping[str, Sequence[str]]


def gather(texts: Sequence[str]) -> Words:
    """The stock of replacement words in `texts`."""
    names: dict[str, None] = {}
    endings: dict[str, dict[str, None]] = {}
    for text in texts:
        names.update(dict.fromkeys(_NAME.findall(text)))
        for word in _WORD.findall(text):
            if word.islower() and word not in _SKIP and len(word) > 3:
                endings.setdefault(_ending(word), {})[word] = None
    return Words(tuple(names), {e: tuple(words) for e, words in endings.items()})


def number(text: str, words: Words, rng: Random) -> str | None:
    """Another number, in digits or in words."""
    found = [*_NUMBER.finditer(text), *_SPELLED_NUMBER.finditer(text)]
    return _replace_one(found, text, lambda old: _other_number(old, rng), rng)


def unit(text: str, words: Words, rng: Random) -> str | None:
    return _from_groups(text, UNITS, rng)


def time(text: str, words: Words, rng: Random) -> str | None:
    return _from_groups(text, TIMES, rng)


def antonym(text: str, words: Words, rng: Random) -> str | None:
    return _from_groups(text, ANTONYMS, rng)


def question_word(text: str, words: Words, rng: Random) -> str | None:
    return _from_groups(text, (QUESTION_WORDS,), rng)


def negation(text: str, words: Words, rng: Random) -> str | None:
    """Put a "not" in, or take one out."""
    if match := re.search(r"\b(ca|wo)?n't\b| not\b|n't\b", text):
        verb = {"ca": "can", "wo": "will"}.get(match[1] or "", "")
        return text[: match.start()] + verb + text[match.end() :]
    match = _CAN_BE_DENIED.search(text)
    return None if match is None else f"{text[: match.end()]} not{text[match.end() :]}"


def name(text: str, words: Words, rng: Random) -> str | None:
    return _replace_one(
        _NAME.finditer(text), text, lambda old: rng.choice(words.names or (old,)), rng
    )


def content_word(text: str, words: Words, rng: Random) -> str | None:
    """Another content word with the same ending: "engineering" for "processing"."""
    found = [m for m in _WORD.finditer(text) if m[0] not in _SKIP and len(m[0]) > 3]
    return _replace_one(
        (m for m in found if m[0].islower()),
        text,
        lambda old: rng.choice(words.by_ending.get(_ending(old), (old,))),
        rng,
    )


def direction(text: str, words: Words, rng: Random) -> str | None:
    """Exchange the words on the two sides of "to", "than", "before"..."""
    if m := re.search(r"\bfrom ([\w.+#-]+) to ([\w.+#-]+)", text):
        return f"{text[: m.start()]}from {m[2]} to {m[1]}{text[m.end() :]}"
    cue = "|".join(DIRECTIONS)
    found = list(re.finditer(rf"\b([\w.+#-]+) ({cue}) (?:(a|an|the|my) )?([\w.+#-]+)", text))
    found = [m for m in found if not {m[1].lower(), m[4].lower()} & _SKIP and m[1] != m[4]]
    if not found:
        return None
    m = rng.choice(found)
    middle = f"{m[2]} {m[3]} " if m[3] else f"{m[2]} "
    return f"{text[: m.start()]}{m[4]} {middle}{m[1]}{text[m.end() :]}"


def exchanged(text: str, words: Words, rng: Random) -> str | None:
    """Exchange two names that no "and" joins: who does what to whom."""
    found = list(_NAME.finditer(text))
    if len(found) < 2:
        return None
    one, other = sorted(rng.sample(found, 2), key=lambda m: m.start())
    between = text[one.end() : other.start()]
    if one[0] == other[0] or _JOINED.fullmatch(between):
        return None
    return text[: one.start()] + other[0] + between + one[0] + text[other.end() :]


def reordered(text: str, words: Words, rng: Random) -> str | None:
    """Exchange two numbers, or two things: "my phone to the router", "3 guests, 12 eggs"."""
    if _MAY_TURN.search(text):
        return None
    for shape in rng.sample((_NUMBER, _THING), 2):
        found = list(shape.finditer(text))
        if len({m[0].lower() for m in found}) < 2:
            continue
        one, other = sorted(rng.sample(found, 2), key=lambda m: m.start())
        between = text[one.end() : other.start()]
        return text[: one.start()] + other[0] + between + one[0] + text[other.end() :]
    return None


def qualifier(text: str, words: Words, rng: Random) -> str | None:
    """Ask for a special case of it."""
    if rng.random() < 0.4:
        nouns = list(re.finditer(r"\b(a|the|my) (?=[a-z]{3})", text))
        if nouns:
            m = rng.choice(nouns)
            article = "a " if m[1] == "a" else f"{m[1]} "
            adjective = rng.choice([w for w in ADJECTIVES if w[0] not in "aeiou"])
            return f"{text[: m.start()]}{article}{adjective} {text[m.end() :]}"
    body = text.rstrip(" ?.!")
    return f"{body} {rng.choice(QUALIFIERS)}{text[len(body) :]}"


def general(text: str, words: Words, rng: Random) -> str | None:
    """Drop the last "for ...", "in ...", "with ...": the general case of it."""
    body = text.rstrip(" ?.!")
    match = re.fullmatch(
        r"(.{12,}) (?:for|in|with|on|without|from|using|as) [\w .+#'-]{3,40}", body
    )
    return None if match is None else match[1] + text[len(body) :]


# Weights chosen by hand: a text allows some kinds (another word, a qualifier) far more often than
# others (a unit, two names), and without weights these would drown the rest.
MAKERS: Mapping[str, tuple[NearMiss, float]] = {
    "number": (number, 2.0),
    "unit": (unit, 1.5),
    "time": (time, 1.2),
    "antonym": (antonym, 1.6),
    "question_word": (question_word, 0.5),
    "negation": (negation, 0.8),
    "name": (name, 1.6),
    "content_word": (content_word, 2.2),
    "direction": (direction, 1.6),
    "exchanged": (exchanged, 1.6),
    "reordered": (reordered, 1.0),
    "qualifier": (qualifier, 1.4),
    "general": (general, 0.7),
}


def near_miss(text: str, words: Words, rng: Random) -> tuple[str, str] | None:
    """(the near miss, its kind), or None where no maker found its handle."""
    kinds = sorted(MAKERS, key=lambda kind: -(rng.random() ** (1 / MAKERS[kind][1])))
    for kind in kinds:
        made = MAKERS[kind][0](text, words, rng)
        if made is not None and made.lower() != text.lower():
            return made, kind
    return None


def _ending(word: str) -> str:
    return next((e for e in ("ing", "ed", "ly", "tion", "er", "s", "e") if word.endswith(e)), "")


def _other_number(old: str, rng: Random) -> str:
    if old.isalpha():
        new = rng.choice([word for word in SPELLED if word != old.lower()])
        return new.capitalize() if old[0].isupper() else new
    value = float(old)
    if value >= 1900 and value <= 2100 and "." not in old:
        return str(int(value) + rng.choice((-3, -2, -1, 1, 2, 4)))
    if "." in old:
        whole, _, part = old.partition(".")
        return rng.choice((f"{int(whole) + 1}.{part}", f"{whole}.{int(part) + 1}", whole))
    return str(
        rng.choice((int(value) + 1, int(value) * 2 or 3, int(value) * 10 or 5, int(value) + 7))
    )


def _from_groups(text: str, groups: Sequence[Sequence[str]], rng: Random) -> str | None:
    by_word = {word: group for group in groups for word in group}
    found = [m for m in _WORD_OR_UNIT.finditer(text) if m[0] in by_word or m[0].lower() in by_word]
    if not found:
        return None
    m = rng.choice(found)
    old = m[0] if m[0] in by_word else m[0].lower()
    new = rng.choice([word for word in by_word[old] if word != old])
    new = new.capitalize() if m[0][0].isupper() and old[0].islower() else new
    return text[: m.start()] + new + text[m.end() :]


_WORD_OR_UNIT = re.compile(r"[A-Za-z]+|\d+-?bit\b|(?<=\d)[A-Za-z]+")


def _replace_one(
    found: Iterable[re.Match[str]], text: str, replace: Callable[[str], str], rng: Random
) -> str | None:
    matches = list(found)
    if not matches:
        return None
    m = rng.choice(matches)
    new = replace(m[0])
    return None if new == m[0] else text[: m.start()] + new + text[m.end() :]
