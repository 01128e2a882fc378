"""Removes the courtesies around a question: greetings in front, thanks at the end.

Only whole phrases at the two ends count, separated by punctuation or by how a question begins:
"How do I say thanks in French?" has none, nor has a text that Claude is given to work on
("Translate into German: How are you? Many thanks"). English. Pure.
"""

from __future__ import annotations

import re

from cacheserver.english.lexicon import words

_WHOM = (
    r"(?:there|again|team|all|everyone|everybody|folks|guys|support|customer\ (?:support|service)"
    r"|help\ ?desk|sir(?:\ or\ |/)madam|sir|madam|friends?|claude|assistant)"
)
_ASKING = (
    r"(?:how|what|what's|where|when|why|who|which|can|could|would|will|is|are|am|do|does|did|"
    r"should|may|i|i'm|i've|i'd|my|we|please)"
)
_OPENING = re.compile(
    rf"""(?:
      (?:hi|hello|hey|dear|greetings|good\ (?:morning|afternoon|evening|day))(?:\ {_WHOM})*
        (?:\s*[,.!\n][\s,.!]*|\ +[-\u2013\u2014]\ +|\ +(?={_ASKING}\b))
    | i?\ ?hope\ (?:you(?:\ are|'re)\ (?:doing\ |all\ )?(?:well|fine|ok|okay|good)
        |(?:this\ (?:message\ |email\ )?|it\ )finds\ you\ well)\s*[,.!\n][\s,.!]*
    | (?:just\ )?(?:a\ )?quick\ question\s*[,:.\n-]\s*
    | i\ have\ a\ (?:quick\ )?question\s*[,:.\n-]\s*
    | (?:excuse\ me|sorry\ to\ bother\ you)\s*,\s*(?:but\ )?
    | (?:please|pls|plz),?\ +(?!please)
    | (?:so|ok|okay|well)(?:\s*,\s*|\ +)(?=(?:how|what|what's|where|when|why|who|which)\ +\w)
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_THANKS = r"""(?:(?:many|much)\ )?(?:thanks|thank\ you|thankyou|thx)
      (?:\ (?:a\ (?:lot|million|bunch)|(?:so|very)\ much|again|in\ advance
        |for\ (?:your|the|any|all\ your)\ (?:help|time|support|assistance|kind\ help)))*"""
_CLOSING = re.compile(
    rf"""(?:
      (?P<apart>[\s]*[,.!?;\n][\s,.!?;]*|\s+[-\u2013\u2014]+\s+)
      (?:and\ )?(?:{_THANKS}
      | cheers | ta | please | pls | plz
      | (?:(?:with\ )?(?:best|kind|warm)\ )?regards | best\ wishes
      | (?:much|greatly)\ appreciated | i(?:\ really|'d)?\ appreciate\ (?:it|your\ help)
      | (?:any|your)\ help\ (?:is|would\ be|will\ be)\ (?:much\ |greatly\ |very\ )?appreciated
      | have\ a\ (?:nice|good|great|lovely)\ (?:day|evening|weekend|one)
      | (?:i\ )?look(?:ing)?\ forward\ to\ (?:your\ (?:reply|answer|response)|hearing\ from\ you))
    | (?<=[a-z\d)])\ +(?P<after>please|pls|plz|{_THANKS})
    )[\s,.!?]*$""",
    re.IGNORECASE | re.VERBOSE,
)
# First words of openings, last words of closings: these rule out most questions.
_OPENS = words(
    """
    hi hello hey dear greetings good i hope just a quick excuse sorry please pls plz so
    ok okay well
    """
)
_CLOSES = words(
    """
    thanks thank thankyou thx you much lot million bunch again help advance time support assistance
    cheers ta please pls plz it regards wishes appreciated day evening weekend one reply answer
    response
    """
)
_FIRST = re.compile(r"\w+")
_LAST = re.compile(r"(\w+)\W*$")
# Words that take an object: the question is about the words after them.
_WANTING = re.compile(
    r"\b(?:say|says|said|saying|word|words|mean|means|meaning|write|writing|spell|of|for|to|in|as|"
    r"and|or|with|by|about|the|a|an|is|are|than|between|called|translate|phrase|term|you|no|not|"
    r"from|do|does|my|your|their|his|her|our|this|that|any|some|"
    r"give|gives|giving|gave|express|expressing|send|sending|owe|owes|deserve|deserves|accept|"
    r"offer|show|receive|return|get|need|want|without)$",
    re.IGNORECASE,
)
# If a text is given to work on (after a colon, a task on words, "this email"), its closing may be
# part of it. So may its opening, if the task comes after it.
_WORKED_ON = re.compile(
    r":\s|\b(?:translat\w+|proofread|rephrase|reword|paraphrase|rewrite)\b"
    r"|\bthis (?:e?-?mail|text|sentence|message|letter|phrase|reply|draft|note)\b"
    r"[^.?!,\n]{0,80}[.?!,\n]\s*\w"
    r"|\b(?:sentences?|sentiment|sarcastic|statement|classify)\b[^.?!\n]{0,80}[.?!\n]\s*\w",
    re.IGNORECASE,
)
# "Dear sir, is it a polite greeting?" asks about its own beginning.
_GREETING = re.compile(
    r"\b(?:greetings?|salutations?|polite|impolite|rude|formal|informal|opening line|opener"
    r"|form of address|addressed)\b",
    re.IGNORECASE,
)
_PART_ENDS = re.compile(r"[.?!,\n]\s")
_TASK = re.compile(
    r"\b(?:translat\w+|proofread|rephrase|reword|paraphrase|rewrite)\b", re.IGNORECASE
)
# "How do you say yes, please"
_SAYING = re.compile(
    r"\b(?:say|saying|spell|pronounce|sign|finish|answer)\b[^.?!\n]{0,80}$", re.IGNORECASE
)
_LONGEST = 90  # characters of a closing phrase, its punctuation included
_MOST_CLOSINGS = 8  # tried: each reads the whole text before it
_LONGEST_WORD = 20  # characters of the last word of a closing


def without_courtesies(text: str) -> str:
    """Return `text` without its courtesies, or all of it if nothing else is in it."""
    start = 0
    first = _FIRST.match(text)
    if first is None or first[0].lower() not in _OPENS or _is_asked_about(text):
        start = -1
    while start >= 0 and (found := _OPENING.match(text, start)) is not None and found.end() > start:
        start = found.end()
    start, end = max(start, 0), len(text)
    for _ in range(_MOST_CLOSINGS):
        if (cut := _closing(text, start, end)) is None:
            break
        end = cut
    inner = text[start:end].strip()
    if end < len(text) and inner[-1:].isalnum() and text.rstrip().endswith("?"):
        inner += "?"  # "Where is it, please?"
    return inner if any(map(str.isalnum, inner)) else text


def _is_asked_about(text: str) -> bool:
    """Return True if the opening may be the subject of the question. Linear time.

    A task on words follows a first part ("Hello. Translate it"), or the question is about
    greetings.
    """
    first = _FIRST.match(text)
    if _GREETING.search(text, 0 if first is None else first.end()):
        return True
    end = _PART_ENDS.search(text)
    return end is not None and _TASK.search(text, end.end()) is not None


def _closing(text: str, start: int, end: int) -> int | None:
    """Return the index at which a closing phrase that ends at `end` begins, or None."""
    last = _LAST.search(text, max(start, end - _LONGEST_WORD), end)
    if last is None or last[1].lower() not in _CLOSES:
        return None
    found = _CLOSING.search(text[:end], max(start, end - _LONGEST))
    if found is None:
        return None
    before = text[start : found.start()]
    if _WORKED_ON.search(before):
        return None
    if found["after"] and (found["after"][0].isupper() or _WANTING.search(before)):
        return None  # a title ("Who sings Thank You?"), or an object
    if found["apart"] and set(found["apart"]).isdisjoint(".?!\n") and _SAYING.search(before):
        return None
    kept = re.match(r"\s*[.?!]+", text[found.start() : end])
    return found.start() + (kept.end() if kept else 0)
