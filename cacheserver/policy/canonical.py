"""The canonical form of a question. Twins are those that share it.

Rule: two questions are twins where nothing differs but what is listed here as meaning nothing. In
English (`is_english`): greetings and thanks around the question (`shells`), contractions, articles,
"please" behind "you" or "I", number words, the frames of `_FRAMES`, the full stop or question mark
at the end, and the case of a sentence's first word. In any other language: the last mark and the
first word's case. All else is compared as written: signs, operators, commas, quotes, order, every
other word, and case within a sentence. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cacheserver.policy import shells
from cacheserver.policy.lexicon import words as listed
from cacheserver.policy.question_text import spell_marks

_TOKEN = re.compile(r"\d+(?:[.,:]\d+)*|[^\W\d]\w*(?:'\w+)*|[^\w\s]+|\n+")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+")
_STRAIGHT = str.maketrans("\u2018\u2019\u02bc\u201c\u201d\u201e", "'''\"\"\"")
_PLAIN = frozenset(".,;:?!\"'()\u2026\u3002\u061f\u0964\u00bf\u00a1")
_QUOTES = frozenset("\"'()")
_SPACE = "\N{OPEN BOX}"
_ENDS = ".?!\u2026\u3002\u061f\u0964"
_ASKED = frozenset("?!\u061f")

# English: one of the first and a third of all words among both, or half of all and at least three.
_ENGLISH = listed("""the how what what's where when why which who could would should does your with this that you
    my please thanks there these those their have don't doesn't can't isn't i'm didn't""")
_COMMON = _ENGLISH | listed("""a an is are was were do did can will may must i me we it he she they to of in on at for from
    by and or not if be as but than then has had our us his her its him them any all some no so am
    about after before into out up get got want need make use""")
_SHARE, _SHARE_ALONE, _LEAST_ALONE = 0.3, 0.5, 3

_NEGATED = {"can't": "can", "cannot": "can", "won't": "will", "shan't": "shall"} | {
    f"{verb}n't": verb
    for verb in (
        *("do", "does", "did", "is", "are", "was", "were", "has", "have", "had", "could", "would"),
        *("should", "must", "need"),
    )
}
_NEGATED |= {
    word.replace("'", ""): verb
    for word, verb in _NEGATED.items()
    if word not in ("can't", "won't", "shan't")
}
_WITH_IS = listed("what who where how when why that there here it he she this")
_RUN_TOGETHER = {"whats": "what's", "thats": "that's", "im": "I'm", "ive": "I've", "hows": "how's"}
_TAILS = {"'m": "am", "'re": "are", "'ve": "have", "'ll": "will"}
# "What's changed" is "what has changed", "who's called" may be either.
_PARTICIPLE = re.compile(
    r"\w+(?:ed|en)|gone|done|been|got|had|made|left|sent|come|become|lost|paid"
)

_ARTICLES = frozenset(("a", "an", "the"))
# Before these an article decides: "a few", "few"; "a number of", "the number of"; "a third".
_ARTICLE_KEPT = listed("""few little lot number bit while second third fourth fifth sixth seventh eighth ninth tenth
    quarter half day week month year hour minute one many most more less only other same""")
# Behind these "a" is a letter.
_LETTERED = listed("""vitamin hepatitis type class grade option section part group unit appendix plan block side
    category level influenza schedule figure exhibit letter note key point column row
    series""")
_NO_NOUN = listed("""in on at of to for from by with and or is are was were be do does did can could not if than
    as vs versus has have will would should into about""")
_POLITE = frozenset(("please", "pls", "plz", "kindly"))
_BEFORE_POLITE = frozenset(("you", "I", "we", "someone", "anyone", "somebody"))
_BEFORE_I = listed("""do can should could would may must will did am have had was if when that because how what
    where why which and but or as before after while until since than""")
_AFTER_I = listed("""am have had was can could will would should do did don't didn't can't need want might may
    must cannot get got forgot lost""")
_NUMBERS = dict(
    zip(
        (
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
        ),
        map(str, range(2, 13)),
        strict=True,
    )
)

_TELL = (
    r"(?:(?:can|could|would|will) you (?:tell me|let me know)|tell me|let me know"
    r"|I (?:would like|want|need) to know|I (?:was|am) wondering|I wonder)"
)
_HOW = "how-to"
_STATES = (  # "How do I look?" is not "How can I look?"
    "look|feel|sound|seem|smell|taste|appear|compare|rank|score|rate|keep|have|owe|be|know|need|"
    "want|like|love|forget|die|differ|end|deserve|qualify|get|always|often|still|usually|never"
)
_PERSON = "I|we|you|they|it|he|she"
_VERB = "can|could|should|would|will|must|may|am|are|is|was|were|have|had|has"
_FRAMES: Sequence[tuple[re.Pattern[str], str]] = tuple(
    (re.compile(pattern), into)
    for pattern, into in (
        # "tell me where I can park": "where can I park"
        (
            rf"^{_TELL} (how|what|where|when|why|who|which) ({_PERSON}) ({_VERB}) (?=\w)",
            r"\1 \3 \2 ",
        ),
        (rf"^{_TELL} (?:if|whether) ({_PERSON}) ({_VERB}) (?=\w)", r"\2 \1 "),
        # "tell me what the capital of France is": "what is the capital of France"
        (rf"^{_TELL} (what|where|who|when) ((?:\w+ ){{1,8}})(is|are|was|were)$", r"\1 \3 \2"),
        (rf"^{_TELL} (?=how to |(?:what|where|who|when|why) (?:is|are|was|were|do|does|did) )", ""),
        # "how do I", "how can I", "how would I", "how to", "what is the way to"
        (rf"(^|[.?!] )how (?:(?:do|can|would) I|to) (?!(?:{_STATES})\b)(?=\w)", rf"\1{_HOW} "),
        (rf"(^|[.?!] )what is (?:the|a) way to (?!(?:{_STATES})\b)(?=\w)", rf"\1{_HOW} "),
        (r"(^|[.?!] )is (?:there (?:a|any) way|it possible) to (?=\w)", r"\1possible-to "),
    )
)
_FRAME_HINTS = ("how ", " way ", " possible ", "tell me", "know", "wonder")


@dataclass(frozen=True, slots=True)
class Canonical:
    """A question without what means nothing."""

    inner: str  # the text between its shells, marks spelled
    words: tuple[str, ...]  # words and signs, in order: twins share them
    english: bool


def canonical(text: str) -> Canonical:
    """Return the canonical form of a normalised question."""
    text = spell_marks(text.translate(_STRAIGHT))
    words = _words(text)
    if not is_english(words):
        return Canonical(text, _without_end(text, words, english=False), False)
    inner = shells.within(text)
    if len(inner) != len(text):
        words = _words(inner)
    found = _framed(_expanded(_without_end(inner, words, english=True)))
    return Canonical(inner, tuple(_without_articles(found)), True)


def is_english(words: Sequence[str]) -> bool:
    """Whether the text is recognisably English: a test of its function words."""
    low = [word.lower() for word in words if word[0].isalpha()]
    common = [word for word in low if word in _COMMON]
    if not _ENGLISH.isdisjoint(common):
        return len(common) >= _SHARE * len(low)
    return len(common) >= max(_SHARE_ALONE * len(low), _LEAST_ALONE)


def _words(text: str) -> tuple[str, ...]:
    """Words, numbers and signs. A sign keeps the spaces at its sides: "- 10" is not "-10"."""
    found: list[str] = []
    start = True  # of a sentence
    for match in _TOKEN.finditer(text):
        raw = match[0]
        first = raw[0]
        if first.isalpha() or first == "_":
            if start and (raw[1:].islower() or raw == "A"):
                raw = raw[0].lower() + raw[1:]
            found.append(raw)
            start = False
        elif first.isdigit():
            found.append(raw.replace(",", "") if _THOUSANDS.fullmatch(raw) else raw)
            start = False
        elif first == "\n":
            found.append("\n")
            start = True
        else:
            start = _sign(found, raw, text, match.span()) or (start and raw in "\"'(\u00bf\u00a1")
    return tuple(found)


def _sign(found: list[str], raw: str, text: str, span: tuple[int, int]) -> bool:
    """Take a run of signs; True where it ends a sentence."""
    at, end = span
    operator = len(raw) > 1 and not _QUOTES.issuperset(raw)  # "?.", "??", "..." between words
    if operator and (text[end : end + 1].isalnum() or (at > 0 and text[at - 1].isspace())):
        sign = raw
    else:
        sign = raw.rstrip(".,;:?!)\"'")
    if sign is raw or (sign and not _PLAIN.issuperset(sign)):
        before = _SPACE if at == 0 or text[at - 1].isspace() else ""
        after = _SPACE if text[at + len(sign) : at + len(sign) + 1].isspace() else ""
        found.append(f"{before}{sign}{after}")
        found.extend(raw[len(sign) :])
    else:
        found.extend(raw)
    closes = raw[-1] in _ENDS and end < len(text) and text[end].isspace()
    return closes and not (raw == "." and at > 1 and not text[at - 2].isalnum())  # "U. S."


def _without_end(text: str, words: tuple[str, ...], *, english: bool) -> tuple[str, ...]:
    """Take off the last mark where it means nothing.

    A question mark does behind a question, a full stop behind anything else; `C!`, `?.` and `??`
    may be what is asked about.
    """
    body = text.rstrip(_ENDS)
    run = text[len(body) :]
    if not run or not body or (len(set(run)) > 1 and not _ASKED.issuperset(run)):
        return words
    spaced = body[-1].isspace()
    last = words[-len(run) - 1] if len(words) > len(run) else ""
    if spaced and (len(run) > 1 or last.lower() in _NO_NOUN or last == "between"):
        return words
    if "!" in run and (len(last) == 1 or last[-1:].isdigit()):
        return words  # 5! and n!
    if last[-1:] in "*+" and not body[-2:-1].isalnum() and body[-2:-1] != "+":
        return words  # the end of a pattern
    asks = not _ASKED.isdisjoint(run.replace("!", ""))
    question = _starts_question(words) if english else "?" in run
    if asks and not question:
        return (*words[: -len(run)], "?")
    if not asks and not english and "." not in run and "\u3002" not in run:
        return (*words[: -len(run)], "!")
    return words[: -len(run)]


_STARTS = listed("""how what what's where when why who who's which whose whom can could would will should do does
    did is are am was were may must has have had don't doesn't isn't can't please tell""")


def _starts_question(words: Sequence[str]) -> bool:
    at = max(
        (i + 1 for i, w in enumerate(words[:-1]) if w in ".?!\n" and i + 1 < len(words)), default=0
    )
    first = next((word for word in words[at:] if word[0].isalpha()), "")
    return not {first.lower(), words[0].lower()}.isdisjoint(_STARTS)


def _expanded(words: Sequence[str]) -> list[str]:
    """Contractions in full, number words as numbers, "i" as "I"."""
    found: list[str] = []
    for at, word in enumerate(words):
        following = words[at + 1] if at + 1 < len(words) else ""
        if word == "i" and (
            at == 0
            or words[at - 1] in _BEFORE_I
            or following in _AFTER_I
            or words[at - 1] in (".", "?", "!", "\n")
        ):
            found.append("I")
            continue
        if word in _NUMBERS:
            found.append(_NUMBERS[word])
            continue
        if "'" not in word and word not in _RUN_TOGETHER and word not in _NEGATED:
            found.append(word)
            continue
        word = _RUN_TOGETHER.get(word, word)
        head, apostrophe, tail = word.partition("'")
        tail = apostrophe + tail
        head = "I" if head == "i" else head
        if word in _NEGATED:
            found += (_NEGATED[word], "not")
        elif tail == "'s" and head in _WITH_IS and not _PARTICIPLE.fullmatch(following):
            found += (head, "is")
        elif tail in _TAILS:
            found += (head, _TAILS[tail])
        elif tail == "'d" and following in ("like", "love", "prefer"):
            found += (head, "would")
        else:
            found.append(word)
    return found


def _framed(words: Sequence[str]) -> list[str]:
    kept = [
        word
        for at, word in enumerate(words)
        if word not in _POLITE or at == 0 or words[at - 1] not in _BEFORE_POLITE
    ]
    line = " ".join(kept)
    if any(hint in line for hint in _FRAME_HINTS) or line.startswith("how "):
        framed = line
        for pattern, into in _FRAMES:
            framed = pattern.sub(into, framed)
        if framed is not line:
            return framed.rstrip(" ").split(" ")
    return kept


def _without_articles(words: Sequence[str]) -> list[str]:
    found = []
    for at, word in enumerate(words):
        if word in _ARTICLES:
            before = words[at - 1].lower() if at else ""
            following = words[at + 1] if at + 1 < len(words) else ""
            noun = following[:1].isalnum() and following not in _NO_NOUN
            letter = word == "a" and before in _LETTERED
            if noun and not letter and following not in _ARTICLE_KEPT:
                continue
        found.append(word)
    return found
