"""Filler words in prompts, and shorter texts without them. Pure.

Rule: what carries meaning is never changed: numbers, negations, quoted text, code, tags, addresses.
A proposal is for a person to read; it is never applied automatically.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

# Filler on the left, what says the same on the right. English only. Written from the usual lists of
# plain-language guides (gov.uk, plainlanguage.gov); none holds a number or a negation.
_OBJECT: Final = r"(?=[a-z]+ (?:the|this|a|an|my|our|me)\b)"
_STRESSED: Final = r"(?=(?:important|clear|concise|careful|helpful)\b)"
_FILLER: Final = (
    (r"(?:please )?(?:note|remember|be aware|keep in mind) that ", ""),
    (r"it is (?:very )?(?:important|essential|crucial|worth) (?:to note|noting) that ", ""),
    (r"it should be noted that ", ""),
    (r"i (?:would like|want|need) you to ", ""),
    (r"i (?:would|'d) (?:really )?(?:like|appreciate it) if you (?:could|would) ", ""),
    (rf"(?:could|can|would|will) you (?:please |kindly )?{_OBJECT}", ""),
    (r"your (?:task|job|role|goal) (?:here )?is to ", ""),
    (r"(?:please )?make sure (?:that you|to|you) ", ""),
    (r"(?:please )?be sure to ", ""),
    (r"(?:thank you|thanks)(?: so much| very much)?(?: in advance)?[.!]", ""),
    (r"(?:kindly|please) ", ""),
    (r"as an? (?:(?:advanced|helpful|large|ai) ){0,4}(?:language model|assistant|ai), ", ""),
    (r"in order to ", "to "),
    (r"due to the fact that ", "because "),
    (r"in the event that ", "if "),
    (r"for the purpose of ", "for "),
    (r"with (?:regard|respect) to ", "about "),
    (r"at this point in time", "now"),
    (r"a (?:large|great) number of ", "many "),
    (r"the (?:vast )?majority of ", "most "),
    (r"in spite of the fact that ", "although "),
    (r"on the basis of ", "by "),
    (r"prior to ", "before "),
    (r"subsequent to ", "after "),
    (r"(?:is|are) able to ", "can "),
    (r"(?:has|have) the ability to ", "can "),
    (r"each and every ", "every "),
    (rf"(?:really|very|extremely|quite|absolutely) {_STRESSED}", ""),
)
_PATTERN: Final = re.compile(
    "|".join(rf"(?P<f{place}>(?<![\w-]){pattern})" for place, (pattern, _) in enumerate(_FILLER)),
    re.IGNORECASE,
)

# What must stay as it is: code, quotes, tags with their insides up to a line's end, addresses,
# template fields. Bounded, so that no text takes more than linear time.
_PROTECTED: Final = re.compile(
    r"```.{0,20000}?```|`[^`\n]{1,400}`|\"[^\"\n]{1,400}\"|\u201c[^\u201d\n]{1,400}\u201d|\u2018[^\u2019\n]{1,400}\u2019"
    r"|<[^<>\n]{1,200}>|https?://\S{1,400}|\{\{[^{}\n]{1,100}\}\}|\{[^{}\n]{0,200}\}"
    r"|(?m:^(?: {4}|\t).*$)",
    re.DOTALL,
)
_NEGATIONS: Final = re.compile(
    r"\b(?:not|no|never|none|nobody|nothing|neither|nor|without|cannot|can't|don't|doesn't|won't"
    r"|isn't|aren't|mustn't|shouldn't|unless|except)\b",
    re.IGNORECASE,
)
_NUMBERS: Final = re.compile(r"\d[\d.,:/%-]*")


def shorter(text: str) -> str:
    """Return the text without filler and runs of blanks; unchanged if that is not shorter."""
    parts = []
    for piece, kept in _pieces(text):
        parts.append(piece if kept else _spaced(_without_filler(piece)))
    proposed = "".join(parts)
    return proposed if len(proposed) < len(text) and _means_the_same(text, proposed) else text


def fillers(text: str) -> list[str]:
    """Return the filler phrases found, in order, in lower case."""
    return [
        match[0].strip().lower()
        for piece, kept in _pieces(text)
        if not kept
        for match in _PATTERN.finditer(piece)
    ]


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """Split the text into parts, each with whether it is protected."""
    place = 0
    for match in _PROTECTED.finditer(text):
        if match.start() > place:
            yield text[place : match.start()], False
        yield match[0], True
        place = match.end()
    if place < len(text):
        yield text[place:], False


def _without_filler(text: str) -> str:
    def replaced(match: re.Match[str]) -> str:
        assert match.lastgroup is not None
        instead = _FILLER[int(match.lastgroup[1:])][1]
        # "Please note that X" at the start of a sentence: X begins it now.
        return instead.capitalize() if match[0][:1].isupper() and instead else instead

    shortened = _PATTERN.sub(replaced, text)
    return (
        re.sub(r"(^|[.!?]\s+|\n)([a-z])", lambda found: found[1] + found[2].upper(), shortened)
        if shortened != text
        else text
    )


def _spaced(text: str) -> str:
    text = re.sub(r"[ \t]+(?=\n)", "", text)
    text = re.sub(r"\n{3,}", "\n\n", text)
    return re.sub(r"(?<=\S)[ \t]{2,}(?=\S)", " ", text)


def _means_the_same(text: str, proposed: str) -> bool:
    """Return whether numbers and negations are the same, in the same order."""
    return all(
        [found.lower() for found in words.findall(text)]
        == [found.lower() for found in words.findall(proposed)]
        for words in (_NUMBERS, _NEGATIONS)
    )
