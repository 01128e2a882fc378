"""Equivalent wordings of an English question, as rules on its canonical words.

Each rule is narrow: it states where the words must be, and which words must not be beside them.
Articles are removed before, contractions are expanded, "how do I" is `how-to`. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from cacheserver.english.canonical.lists import STATES
from cacheserver.english.lexicon import words as listed

_BEST = (
    "best|worst|biggest|largest|smallest|fastest|quickest|slowest|cheapest|easiest|hardest|highest|"
    "lowest|longest|shortest|oldest|newest|safest|simplest|strongest|richest|tallest|greatest"
)
_SUPERLATIVE = (
    rf"(?:(?:the )?(?:most|least) (?=[a-z])|(?:{_BEST})\b"
    r"|(?!priest)[a-z]{2,}iest\b|(?:weird|cool|strang|nic|smart|harsh|rar|kind|cold|hott)est\b)"
)
# Mean a few of many with or without "some": "some good ways", "good ways".
_PRAISED = "good|effective|interesting|fun|cool|useful"
_GOES_ON = r"(?=(?:is|are|do|does|did|should|can|could|has|have|will|would|was|were) )"
_NO_NOUN = (
    r"(?!(?:is|are|was|were|do|does|did|can|could|should|would|will|may|might|must|has|have|had|of|"
    r"in|on|at|to|for|from|if|when|one|ones|I|you|we|they|it|he|she|this|that|these|those|and|or|"
    r"not|happens|happened|makes|made|causes|caused|works|worked|else|exactly|about|like|way|up|"
    r"time|a|an|the|kind|type|sort|next|part|extent|use|good|point|business|sense|difference|right|"
    r"chance|matter)\b)"
)
# Done by anybody: "how do you cook rice" asks nobody in particular.
_ANYBODYS = "(?:cook|boil|bake|fry|roast|grill|spell|pronounce|knit|lose weight|gain weight) "
_PERSONAL = r"(?!.*\b(?:I|me|my|mine|you|your|yours|we|us|our|ours|him|her|his|them|their|one)\b)"
# "I cant", not "is he wont to go".
_SAYS = r"(?<!\b(?:is|am) )(?<!\b(?:are|was) )(?<!\bwere )\b(I|you|we|they|he|she|it|why)"
_SPACE = "\N{OPEN BOX}"
_WORD = r"[A-Za-z][A-Za-z]+"
_PLAIN = r"(?!(?:of|in|on|at|for|to|from|and|or|not|with|by|as|that|than)\b)[a-z]\S* "
_SEVERAL = "features|advantages|disadvantages|benefits|symptoms|causes|effects|requirements|uses"
_TERM = rf"(?!(?:and|or|not|the|that|this|it|in|on|of|for)\b){_WORD}"
_AFTER_TERM = r"(?=$| [?.]$| in )"

# (words of which one must be present, pattern, replacement)
_WORDINGS: Sequence[tuple[frozenset[str], re.Pattern[str], str]] = tuple(
    (frozenset(hint.split()), re.compile(pattern), into)
    for hint, pattern, into in (
        # "how exactly do I", "what exactly is"
        ("exactly", r"^(how|what|why|who) exactly (?=(?:is|are|do|does|did|was|were) )", r"\1 "),
        ("which", rf"^which (is|are) (?=(?:some (?:of )?)?{_SUPERLATIVE})", r"what \1 "),
        ("which", r"^which (is|are) your favorite ", r"what \1 your favorite "),
        ("which", r"^which one is ", "which is "),
        # "what is best websites": the noun tells how many
        ("are", rf"^what are (?={_SUPERLATIVE})", "what is "),
        # "some of the best books", "the best books"
        ("some", rf"^what are some (?:of )?(?:the )?(?={_SUPERLATIVE})", "what is "),
        ("the", r"^what (is|are) the (?=most |least )", r"what \1 "),
        (
            "some",
            rf"^what are some (?:of )?(?=(?:{_PRAISED}) |(?:tips|tricks) (?:for|to|on) )",
            "what are ",
        ),
        # "which instrument is used", "what instrument is used"
        ("which", rf"^which {_NO_NOUN}([a-z]\S* (?:{_NO_NOUN}[a-z]\S* )?){_GOES_ON}", r"what \1"),
        # "how does one study", "how can one be"
        ("one", rf"^how (?:does|can) one (?!(?:{STATES})\b)(?=[a-z]\S* \w)", "how-to "),
        ("you", rf"^how (?:do|can|would) you (?={_ANYBODYS}){_PERSONAL}", "how-to "),
        (
            "think",
            r"^what do (you|(?:most )?people|they|experts) think of "
            r"(?!(?:when|first|as|doing|next|before)\b)",
            r"what do \1 think about ",
        ),
        # "the worst thing you have ever seen"
        ("ever", rf"^((?=.*\b{_SUPERLATIVE}).* (?:you|I|we|they) have) ever (?=[a-z])", r"\1 "),
        (
            "mean",
            r"^what does (?!(?:I|he|she|it|one|my|your|his|her|our|their)\b)((?:\S+ ){1,4}?)mean$",
            r"what is meaning of \1",
        ),
        ("method", r"^what is best method (to|for|of) ", r"what is best way \1 "),
        (
            "whether",
            r"\b(check|know|see|tell|decide|determine|find out) whether (?!or\b)(?!.* or )",
            r"\1 if ",
        ),
        (
            "into",
            r"\b(log|sign) into\b(?! (?:\S+ )?(?:file|files|disk|table|database|logs?)\b)",
            r"\1 in to",
        ),
        ("any", r"^(is|are) there any (?!(?:other|more|of|left|one|way)\b)(?=[a-z])", r"\1 there "),
        (
            "any",
            r"^(do you (?:have|sell|offer)) any (?!(?:other|more)\b)"
            rf"(?=(?:{_PLAIN}){{0,2}}?[a-z]+[^s\W]s\b)",
            r"\1 ",
        ),
        (
            "that",
            r"\b(things?|something|anything|everything) that (?=(?:I|you|we|they|he|she) )",
            r"\1 ",
        ),
        # "some of the unknown facts", "some unknown facts"
        (
            "some",
            r"^what are some of (?!(?:my|your|his|her|our|their|its|these|those|this|that|them|us|"
            r"you|all|both|which|whom)\b)(?=[a-z])",
            "what are some ",
        ),
        ("that", rf"^((?=what is {_SUPERLATIVE}).*) that (?=(?:I|you|we|they|he|she) )", r"\1 "),
        # "does it really work"
        (
            "really actually",
            r"^((?:what |when )?(?:do|does|did) (?!(?:I|you|we|they|he|she)\b)"
            r"(?:[A-Za-z]\S* ){1,3}?)(?:really|actually) "
            r"(?=(?:work|exist|happen|matter|mean|cause|help|cover)\b)",
            r"\1",
        ),
        ("feel", r"^how does it feel (?:like )?to (?=[a-z])", "what is it like to "),
        ("feel", r"^what does it feel like to (?=[a-z])", "what is it like to "),
        ("what", rf"^what can I do to (?!(?:{STATES})\b)(?=[a-z]\S* \w)", "how-to "),
        ("cause", r"^what is cause of (?=\w)", "what causes "),
        ("causes", r"^what are causes of (?=\w)", "what causes "),
        (
            "mean meant",
            r"^what (?:is meant|do you mean) by (?!(?:this|that|it|these|those)\b)(?=\w)",
            "what is meaning of ",
        ),
        (
            "site sites",
            r"\bbest ((?:[a-z]\S* )?)site(s?) "
            r"(?=to (?:download|learn|watch|buy|sell|find|practice|read) )",
            r"best \1website\2 ",
        ),
        (
            f"{_SPACE}&{_SPACE}",
            rf"\b(pros|terms|advantages) {_SPACE}&{_SPACE} (?=(?:cons|conditions|disadvantages)\b)",
            r"\1 and ",
        ),
        (
            "-",
            r"\b(self|long|short|full|part|real|high|low|open|third|front|non) - (?=[a-z]{3})",
            r"\1 ",
        ),
        ("where", r"^where do I (?=(?:find|buy|download) )", "where can I "),
        ("some", r"^what are some (?=examples of (?!.* in ))", "what are "),
        (
            "on about",
            r"^what (?:is|are) your (view|opinion|thought)s? (?:on|about) (?=\w)",
            r"what is your \1 on ",
        ),
        (
            "-",
            r"\b([a-z]{3,}) - "
            r"(?=(?:friendly|sided|term|time|level|based|quality|free|paid|related)\b)",
            r"\1 ",
        ),
        ("quickest", r"\bquickest way\b", "fastest way"),
        (
            "cant",
            rf"{_SAYS} cant (?=[A-Za-z])",
            r"\1 can not ",
        ),
        (
            "wont",
            rf"{_SAYS} wont (?=[A-Za-z])",
            r"\1 will not ",
        ),
        ("mail mails", r"\b[eE] - (mails?)\b", r"e\1"),
        ("fi Fi", r"\b[wW]i - [fF]i\b", "wifi"),
        ("WiFi Wifi", r"\bWi[fF]i\b", "wifi"),
        ("Card", r"\b(PAN|SIM|ATM|ID|SD) Card\b", r"\1 card"),
        ("Machine Learning", r"\b[Mm]achine [Ll]earning\b", "machine learning"),
        ("are", r"^what are ((?:main |key |basic )?difference)s? between ", r"what is \1 between "),
        ("is", rf"^what is ({_SEVERAL}) (?=of )", r"what are \1 "),
        ("cons", r"\bcons and pros\b", "pros and cons"),
    )
)
_HINTED: Mapping[str, Sequence[int]] = {
    hint: [at for at, wording in enumerate(_WORDINGS) if hint in wording[0]]
    for hint in frozenset().union(*(hints for hints, _, _ in _WORDINGS))
}
_BETWEEN = re.compile(
    r"^((?:(?:what is|explain|tell me) )?(?:(?:main|key|basic|real) )?difference between )"
    rf"({_TERM}) and ({_TERM}){_AFTER_TERM}"
)
_EITHER = re.compile(
    r"^(?:which|what)(?: one)? is ((?:better|faster|cheaper|safer|easier|bigger|older) )"
    rf"(?:(?:[,:]|{_SPACE}[-\u2013\u2014]{_SPACE}) )?({_TERM}) or ({_TERM})$"
)
# "In Python, how do I ...": the name of a language or a system may be at either end.
_WHERE = re.compile(
    r"^(?:(?P<where>(?:in|on|using|with) )(?P<name>[A-Za-z][\w+#]*) ,|(?P<topic>[A-Za-z][\w+#]*) :)"
    r" (?P<asked>(?:how-to|what is) .+?)(?: \?)?$"
)
_TECHNICAL = listed(
    """
    Python Java javascript typescript C C# C++ Go Rust Ruby PHP Perl R Swift kotlin Scala Haskell
    SQL mysql postgres postgresql sqlite mongodb Excel linux ubuntu debian Windows macOS Git git
    Bash bash Node Django React Vue Angular Docker kubernetes pandas numpy CSS HTML Vim vim
    """
)
# After these it may belong to another word: "a file saved", "... saved in Excel".
_CLAUSE = listed(
    """
    that who which when if because while where before after not or so but from , . ? : ; in on
    using with written made built done stored
    """
)
_COMMA = re.compile(
    r" [,.] (?=(?:how|what|where|when|why|who|which) (?:do|does|did|is|are|can|could|should|would|"
    r"will|was|were)\b|how-to )"
)


def unify_wordings(words: Sequence[str]) -> list[str]:
    """Replace wordings that ask the same by one of them.

    A text of several lines is not changed: it is unknown where a wording begins and ends there.
    """
    if any(word.startswith("\n") for word in words):
        return list(words)
    line = " ".join(words)
    if "," in words or "." in words:
        line = _COMMA.sub(" , ", line)
    for at in sorted({at for word in set(words) for at in _HINTED.get(word, ())}):
        _, pattern, into = _WORDINGS[at]
        line = pattern.sub(into, line)
    if " between " in line:
        line = _BETWEEN.sub(lambda found: _in_order(found, "and"), line)
    elif " or " in line:
        line = _EITHER.sub(lambda found: f"which is {_in_order(found, 'or')}", line)
    if ("," in words or ":" in words) and (found := _WHERE.match(line)) is not None:
        name, asked = found["name"] or found["topic"], found["asked"]
        free = not any(w in _CLAUSE or w.endswith(("ed", "ing")) for w in asked.split(" "))
        if free and name in _TECHNICAL:
            line = f"{asked} {found['where'] or 'in '}{name}"
    return line.rstrip(" ").split(" ")


def _in_order(found: re.Match[str], joint: str) -> str:
    """Sort two ends of equal rank: "between a and b" asks what "between b and a" asks."""
    one, other = sorted((found[2], found[3]))
    return f"{found[1]}{one} {joint} {other}"
