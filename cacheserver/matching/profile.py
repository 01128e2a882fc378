"""Profile of a question: what its words say, read once and stored beside its entry.

Pure: the lexicon is an argument. Works for any language with spaces; the word lists are English.
Greetings and thanks around a question are left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from cacheserver.matching.canonical.forms import Canonical, canonical
from cacheserver.matching.lexicon import Lexicon, stem

_APOSTROPHE = "\N{RIGHT SINGLE QUOTATION MARK}"
_TOKEN = re.compile(
    r"[$€£¥₹%?!]|\.(?=\s)|\d+(?:[.,:]\d+)*[a-zA-Z°]*"
    rf"|[^\W\d_](?:[\w'{_APOSTROPHE}+#&.-]*[\w+#])?[+#]*"
)
_NUMBER = re.compile(r"(\d+(?:[.,:]\d+)*)([a-zA-Z°]*)")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+")
_SPAN = re.compile(
    r"`([^`]+)`|\"([^\"]{2,})\"|“([^”]{2,})”|(?<![\w'])'([^']{2,})'(?!\w)"
    r"|(\b\w+\(\)|\b[a-zA-Z]\w*_\w+\b|(?<=\s)--?[a-zA-Z][\w-]*|(?<![\w/])/[\w.-]+(?:/[\w.-]+)*"
    r"|\b[\w-]+\.(?:py|js|ts|txt|csv|json|xml|html|css|sh|conf|cfg|ini|log|md|exe|deb|jar|yml|yaml"
    r"|pdf|zip|gz|so|dll|sql|java|cpp|h)\b|[=<>!&|*~^]{2,})"
)
# In every text with a span and in few others: tested first, it saves most texts `_SPAN`.
_SPAN_HINT = re.compile(r"[`\"“_(/=<>!&|*~^]|\.\w|'[^']*'|\s-")
_ENDS = frozenset("?!.")
_HALVES = frozenset(("am", "pm"))
_MONEY = frozenset("$€£¥₹")
_OR_NOT = frozenset(("or", "why"))  # "or not", "why not" negate nothing
_TITLE = 0.75  # share of capitalised words from which a capital marks no name


@dataclass(frozen=True, slots=True)
class Profile:
    """Profile of one text. Words are lower-case stems; synonyms are one word."""

    every: frozenset[str]  # all words
    content: tuple[str, ...]  # meaning words in order, numbers and units included
    bag: frozenset[str]  # `content` as a set
    numbers: frozenset[str]  # "400", "15:00", "3.10"
    quantities: frozenset[tuple[str, str]]  # numbers with a unit: ("400", "mg")
    units: frozenset[str]
    times: frozenset[str]  # months, weekdays, parts of the day, "today"
    names: frozenset[str]  # capitalised inside a sentence, or letters mixed with digits
    spans: frozenset[str]  # quoted text, code, flags, paths, file names, operators
    flows: frozenset[tuple[str, str]]  # (preposition, the meaning word after it)
    pronouns: tuple[str, ...]
    negations: int
    passive: bool
    asks: str  # the first question word, "" if none
    grams: frozenset[str]  # character trigrams of the meaning words
    length: int  # words
    form: tuple[str, ...]  # the canonical words, function words and signs included
    english: bool  # recognised as English


def read(text: str, lexicon: Lexicon) -> Profile:
    """Return the profile of `text`: about 90 microseconds for a question of a dozen words."""
    reading, form = _Reader(lexicon), canonical(text)
    text = form.inner
    for raw in _TOKEN.findall(text):
        if raw in _ENDS:
            reading.start = True
        else:
            reading.take(raw)
            reading.start = False
    return reading.profile(_spans(text), form)


@dataclass(slots=True)
class _Reader:
    """State of reading, after some of the words."""

    lexicon: Lexicon
    every: set[str] = field(default_factory=set)
    content: list[str] = field(default_factory=list)
    numbers: set[str] = field(default_factory=set)
    quantities: set[tuple[str, str]] = field(default_factory=set)
    units: set[str] = field(default_factory=set)
    times: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    flows: set[tuple[str, str]] = field(default_factory=set)
    pronouns: list[str] = field(default_factory=list)
    asks: str = ""
    negations: int = 0
    by: int = 0
    be: int = 0
    capitals: int = 0
    length: int = 0
    start: bool = True  # of a sentence
    cue: str = ""  # a preposition whose word has not come yet
    money: str = ""  # a currency whose number has not come yet
    number: str = ""  # the word before, if it was a number without a unit
    previous: str = ""

    def take(self, raw: str) -> None:
        """Read one more word."""
        lexicon, word = self.lexicon, raw.lower().replace(_APOSTROPHE, "'")
        self.length += 1
        self.capitals += raw[0].isupper()
        spelled = lexicon.number.get(word)
        if word[0].isdigit() or (spelled is not None and word != "one"):
            self._number(*(_split(word) if spelled is None else (spelled, "")))
            self.previous = word
            return
        before, self.number = self.number, ""
        if word in _HALVES and before:
            self._half(before, word)
        elif word in lexicon.unit and (before or word not in lexicon.unit_after_number_only):
            self._unit(lexicon.unit[word], before, money=raw in _MONEY)
        elif not self._function_word(raw, word):
            self._meaning(raw, word)
        self.previous = word

    def _number(self, value: str, unit: str) -> None:
        unit = self.lexicon.unit.get(unit, unit)
        if unit in _HALVES:
            value, unit = _clock(value, unit), ""
        unit = unit or self.money
        self.numbers.add(value)
        self._add_word(value)
        if unit:
            self.quantities.add((value, unit))
            self.units.add(unit)
            self.content.append(unit)
        self.number, self.money = "" if unit else value, ""

    def _half(self, value: str, half: str) -> None:
        time = _clock(value, half)
        self.numbers.discard(value)
        self.numbers.add(time)
        self.content[-1] = time
        self.every.add(time)

    def _unit(self, unit: str, value: str, *, money: bool) -> None:
        self.units.add(unit)
        self.every.add(unit)
        if value:
            self.quantities.add((value, unit))
            self.content.append(unit)
        elif money:  # "$50": said with its number
            self.money = unit
        else:
            self._add_word(unit)

    def _function_word(self, raw: str, word: str) -> bool:
        """Record a function word; return False if the word has a meaning of its own."""
        lexicon = self.lexicon
        if word not in lexicon.function and not word.endswith("n't"):
            return False
        if not self.asks and word in lexicon.asks:
            self.asks = word
        if (word in lexicon.negation or word.endswith("n't")) and self.previous not in _OR_NOT:
            self.negations += 1
        if word in lexicon.particle and self.previous + word in lexicon.phrasal:
            # "turn off": verb and particle are one word, whatever else stands "on" or "off".
            self.every.add(self.previous + word)
            if self.content and self.content[-1] == self.previous:
                self.content[-1] += word
            return True
        if word in lexicon.preposition:
            self.cue = word
            self.by += word == "by"
        elif word in lexicon.pronoun:
            self.pronouns.append(word)
        self.be += word in lexicon.be
        if word not in lexicon.skip or (raw in lexicon.named_like_skip and not self.start):
            return False
        self.every.add(stem(word))
        return True

    def _meaning(self, raw: str, word: str) -> None:
        lexicon, capital = self.lexicon, raw[0].isupper()
        time = lexicon.time.get(word)
        if time is not None and (capital or word not in lexicon.time_if_capital):
            self.times.add(time)
            self._add_word(time)
            return
        word = stem(word.replace("-", "").removesuffix("'s"))
        word = lexicon.same.get(word, word)
        mixed = not word.isalpha() and any(c.isdigit() for c in word)
        if mixed or (capital and (not self.start or not raw[1:].islower())):
            self.names.add(word)
        self._add_word(word)

    def _add_word(self, word: str) -> None:
        self.every.add(word)
        self.content.append(word)
        if self.cue:
            self.flows.add((self.cue, word))
            self.cue = ""

    def profile(self, spans: frozenset[str], form: Canonical) -> Profile:
        names = self.names
        if self.capitals > 3 and self.capitals > _TITLE * self.length:
            names = {word for word in names if not word.isalpha()}
        joined = " ".join(self.content)
        return Profile(
            every=frozenset(self.every),
            content=tuple(self.content),
            bag=frozenset(self.content),
            numbers=frozenset(self.numbers),
            quantities=frozenset(self.quantities),
            units=frozenset(self.units),
            times=frozenset(self.times),
            names=frozenset(names),
            spans=spans,
            flows=frozenset(self.flows),
            pronouns=tuple(self.pronouns),
            negations=self.negations,
            passive=bool(self.by and self.be),
            asks=self.asks,
            grams=frozenset([joined[i : i + 3] for i in range(len(joined) - 2)]),
            length=self.length,
            form=form.words,
            english=form.english,
        )


def _spans(text: str) -> frozenset[str]:
    if _SPAN_HINT.search(text) is None:
        return frozenset()
    return frozenset(
        ticked or code or next(q for q in quoted if q).lower().strip()
        for ticked, *quoted, code in _SPAN.findall(text)
    )


def _split(word: str) -> tuple[str, str]:
    """Split a number from its unit: "1,500mg" -> ("1500", "mg")."""
    match = _NUMBER.match(word)
    if match is None:  # digits of another script: a number as it stands
        return word, ""
    value = match[1]
    return value.replace(",", "") if _THOUSANDS.fullmatch(value) else value, match[2]


def _clock(value: str, half: str) -> str:
    """Convert ("3", "pm") to "15:00"; a value that is no hour stays as it is."""
    hour, _, minute = value.partition(":")
    if not hour.isascii() or not hour.isdigit() or not 1 <= int(hour) <= 12:
        return f"{value}{half}"
    return f"{int(hour) % 12 + (12 if half == 'pm' else 0):02}:{minute or '00'}"
