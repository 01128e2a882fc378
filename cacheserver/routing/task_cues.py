"""Words that name a type of work: patterns for text in lower case, tried in order.

What asks for thought stands before what is merely said of the form: "prove it, then summarise" is
reasoning. "Step by step" is no cue: it is said of easy things as often as of hard ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_START: Final = 4  # letters

_LANGUAGES: Final = (
    "(?:english|french|german|spanish|italian|portuguese|dutch|polish|russian|turkish|arabic|hindi"
    "|japanese|korean|chinese|mandarin|swedish|danish|norwegian|finnish|greek|czech|hebrew|latin)"
)
_WRITTEN: Final = (
    r"(?:e-?mail|letter|post|blog|article|tweet|poem|haiku|limerick|story|speech|toast|headline"
    r"|caption|slogan|tagline|description|announcement|press release|newsletter|bio|essay|reply"
    r"|message|invitation|cover note|memo|script for|copy|paragraph|note|ad|blurb)s?"
)
_CODED: Final = (
    r"(?:function|method|script|class|query|regex|regular expression|one-?liner|unit tests?|parser"
    r"|endpoint|component|decorator|snippet|program|loop|macro|makefile|dockerfile|sql|bash|python"
    r"|javascript|typescript|java|rust|golang|kotlin|swift|css|html|yaml|terraform|code)"
)

# Task, how the words begin without which none of its patterns can fit, and the patterns.
_CUES: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    (
        "translation",
        "tran how über uebe trad into in",
        (
            r"\btranslat",
            r"\bhow (?:do|would) (?:you|i|we) say\b",
            r"\b(?:ü|ue)bersetz",
            r"\btradu(?:is|ire|ce|cir|zca)\b",
            rf"\b(?:into|in) {_LANGUAGES}[:.?]",
        ),
    ),
    (
        "reasoning",
        "prov disp deri dedu bewe démo demo proo show logi",
        (
            r"\b(?:prove|disprove|derive|deduce|beweise?n?|d[ée]montre[rz]?)\b",
            r"\bproof (?:that|of)\b",
            r"\bshow that\b",
            r"\blogic puzzle\b",
        ),
    ),
    (
        "code_review",
        "revi",
        (
            r"\breview (?:this|my|the|our|these)\b.{0,30}"
            r"\b(?:code|diff|pr|pull request|patch|function|commit|change)\b",
        ),
    ),
    (
        "summarisation",
        "summ tl tldr cond reca key zusa résu resu boil in",
        (
            r"\bsummar",
            r"\btl;?dr\b",
            r"\b(?:condense|recap)\b",
            r"\bkey (?:points|takeaways)\b",
            r"\bzusammen(?:fass|gefasst)",
            r"\br[ée]sum(?:e[rz]?|ez|é)\b",
            r"\bresum(?:e|ir)\b",
            r"\bboil .{0,30}\bdown\b",
            r"\bin (?:one|two|three|\d) sentences?\b",
        ),
    ),
    (
        "classification",
        "clas cate tria sent whic labe tag is or yes true word one",
        (
            r"\b(?:classif|categori[sz]e|triage)",
            r"\bsentiment\b",
            r"\bwhich category\b",
            r"\b(?:label|tag) (?:this|these|each|the|every|it)\b",
            r"\bis (?:this|the following)\b.{0,60}"
            r"\b(?:spam|positive|negative|urgent|toxic|phishing)\b",
            r"\b(?:positive|bug|spam)\b.{0,12}\bor\b",
            r"\b(?:yes or no|true or false|one word)\b",
            r"\bone of:",
        ),
    ),
    (
        "extraction",
        "extr pull pick list find give retu as",
        (
            r"\b(?:extract|pull out|pick out|pull the|pull all|extrahier|extra(?:is|e)\b)",
            r"\b(?:list|find|give me|return) (?:all|every|the)\b.{0,60}\b(?:mentioned"
            r"|from (?:this|the)|in (?:this|the) (?:text|email|document|log|message|invoice))\b",
            r"\bas json\b",
        ),
    ),
    (
        "code",
        "``` writ impl fix debu refa code crea buil give conv port add opti gene stac trac exce"
        " segf comp def sele",
        (
            r"```",
            r"\b(?:write|implement|fix|debug|refactor|code|create|build|give me|convert|port|add"
            rf"|optimi[sz]e|generate)\b.{{0,60}}\b{_CODED}\b",
            r"\b(?:stack ?trace|traceback|exception|segfault|compile error|def \w+\()",
            r"\bselect .{1,80} from ",
        ),
    ),
    (
        "math",
        "solv inte deri equa eige matr prob calc comp eval 0 1 2 3 4 5 6 7 8 9",
        (
            r"\b(?:solve|integral|derivative|equation|eigenvalue|matrix|probability that|calculate"
            r"|compute|evaluate the)\b",
            r"\bwhat(?:'s| is) [\d(][\d .,%()+*/x^-]{2,}",
            r"\d\s*(?:[+*/÷^]|plus|minus|times|percent of|% of)\s*\d",
        ),
    ),
    (
        "planning",
        "road itin time proj migr roll plan crea make draw devi",
        (
            r"\b(?:roadmap|itinerary|timetable|project plan|migration plan|rollout plan)\b",
            r"\bplan (?:a|an|the|my|our|for|out|me)\b",
            r"\b(?:create|make|draw up|devise)\b.{0,20}\b(?:plan|schedule|strategy)\b",
        ),
    ),
    (
        "writing",
        "writ draf comp rewr reph rewo proo poli brai schr rédi redi escr corr fix",
        (
            r"\b(?:write|draft|compose|rewrite|rephrase|reword|proofread|polish|brainstorm"
            rf"|schreibe?|r[ée]dige|escribe)\b.{{0,60}}\b{_WRITTEN}\b",
            r"\b(?:rewrite|rephrase|reword|proofread|polish)\b",
            r"\b(?:correct|fix) the (?:grammar|spelling|typos)\b",
        ),
    ),
    (
        "analysis",
        "anal trad pros comp eval asse crit impl root stre",
        (
            r"\banaly[sz]",
            r"\btrade-?offs?\b",
            r"\bpros and cons\b",
            r"\b(?:compare|comparison|evaluate|assess|critique)\b",
            r"\bimplications?\b",
            r"\broot cause\b",
            r"\bstrengths and weaknesses\b",
        ),
    ),
    (
        "reasoning",
        "desi arch reas",
        (
            r"\b(?:design|architect)\b (?:a|an|the|our)\b",
            r"\breason through\b",
        ),
    ),
    (
        "support",
        "my our how your",
        (
            r"\b(?:my|our) (?:order|account|card|refund|password|subscription|invoice|package"
            r"|booking|delivery|login|payment|top.?up|transfer|plan)\b",
            r"\bhow (?:do|can) i (?:reset|cancel|change|return|track|update|activate|close"
            r"|contact)\b",
            r"\byour (?:return|refund|privacy|shipping) policy\b",
        ),
    ),
    (
        "general_chat",
        "hi hell hey good than how bye hall bonj hola",
        (
            r"^\W*(?:hi|hello|hey|good (?:morning|evening|afternoon)|thanks|thank you|how are you"
            r"|bye|goodbye|hallo|bonjour|hola)\b",
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Cue:
    """A pattern that names a task. `starts` is a cheap pre-check that rules most patterns out."""

    task: str
    starts: frozenset[str]
    pattern: re.Pattern[str]


CUES: Final = tuple(
    Cue(task, frozenset(starts.split()), re.compile("|".join(patterns)))
    for task, starts, patterns in _CUES
)

_PIECE: Final = re.compile(r"[a-zß-ÿ]+|[0-9]|```")


def starts(text: str) -> set[str]:
    """The first four letters of each word, each digit, and fences of code."""
    return {piece[:_START] for piece in _PIECE.findall(text)}


# How a question begins that asks for a fact.
QUESTION: Final = re.compile(
    r"^\W*(?:what|who|whom|whose|when|where|which|how (?:many|much|old|long|far|tall|big|do|does)"
    r"|is|are|was|were|does|do|did|can|define|name|wer|wann|wo|qui|que|quel|quelle|où|quand"
    r"|qu[ée]|qui[ée]n|cu[áa]ndo|d[óo]nde)\b"
)
