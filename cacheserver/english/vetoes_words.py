"""Function words and signs, by kind: lists for `vetoes_wording`. English, with one exception."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from cacheserver.english.lexicon import stem, words

PREPOSITIONS = words(
    """
    in on at to from for of with without by about over under before after during since until
    till within between through via into onto off out up down near behind beside against per
    than as above below inside outside across along around toward towards past
    """
)
QUANTIFIERS = words(
    """
    all any some every each only no none both either neither few many much more less fewer most
    least another other several enough almost nearly exactly always never sometimes usually
    once twice half last again already still yet even too just
    """
)
DECIDING = frozenset(("a", "an", "the"))  # articles that the canonical form keeps: "a few"
# Without meaning if the other question has none: "get (more) followers", "so (many) people".
SOFT = words("any some most many much more several just even already too again still enough")
# Interchangeable: "think of", "think about"; "in Africa", "of Africa".
ALIKE_PREPOSITIONS = tuple(
    frozenset(pair.split())
    for pair in ("of in", "of about", "about on", "of for", "to for", "into in", "till until")
)
MODALS = words("can could should would must may might will shall ought")
ABLE = frozenset(("can", "could"))
PAST = words("was were did had")
NOT_PAST = words("is are am do does has have will can")
FUTURE = frozenset(("will", "shall"))
PERSONS: Mapping[str, str] = MappingProxyType(
    {
        word: person
        for person, words in (
            ("I", "I i me my mine myself how-to"),
            ("we", "we us our ours ourselves"),
            ("you", "you your yours yourself"),
            ("he", "he him his himself"),
            ("she", "she her hers herself"),
            ("they", "they them their theirs themselves"),
            ("it", "it its itself"),
        )
        for word in words.split()
    }
)
ANYBODY = frozenset(("I", "you", "we", "how-to"))  # "how do you ..." asks what "how do I ..." asks
WH = frozenset(("how", "how-to", "what", "where", "when", "which", "why"))
POINTERS = words("this that these those here there now then")
ASKED = ("who", "whom", "whose", "where", "when", "why", "what", "how", "which")
ALIKE = (  # interchangeable in a paraphrase
    frozenset(("what", "which")),
    frozenset(("what", "how")),
    frozenset(("when", "how")),
    frozenset(("who", "whom")),
    frozenset(("where", "how")),
    frozenset(("who", "what")),
    frozenset(("who", "which")),
    frozenset(("which", "where")),
    frozenset(("why", "what")),
)
JOINED = frozenset(("and", "or", "vs", "versus", "with", ",", "/", "&"))
MUTUAL = words(
    """
    between vs versus compare compared comparison difference differ similar same distance apart
    together common relationship married related equal
    """
)
FOCUS = words("not only never just even always also no")
NOT_ELSEWHERE = words(
    """
    nicht kein keine keinen keiner nie niemals ohne no nunca sin jam\u00e1s ne pas jamais sans aucun
    aucune non mai senza n\u00e3o sem niet geen nooit zonder
    \u043d\u0435 \u043d\u0435\u0442 \u0431\u0435\u0437
    inte ingen aldrig utan ikke aldri uden bez de\u011fil
    """
)
NOT = words(
    """
    not no never don't doesn't didn't isn't aren't wasn't weren't can't cannot couldn't won't
    wouldn't shouldn't haven't hasn't hadn't dont doesnt didnt isnt cant wont
    """
)
SUBJECTS = words("I you we they he she it")
# Hyphens, dashes, slashes, money, emphasis, brackets.
HARMLESS = frozenset("\N{OPEN BOX}-\u2013\u2014/&%$€£¥₹#*_~`()[]\"'")
DASHES = frozenset(
    f"{before}{dash}{after}"
    for dash in "-\u2013\u2014/&()[]"
    for before in ("", "\N{OPEN BOX}")
    for after in ("", "\N{OPEN BOX}")
) - {"\N{OPEN BOX}-"}
STOPS = frozenset(".,;:?!\"'()\u2026\u00bf\u00a1\u3002\u061f\u0964")
SPACE = "\N{OPEN BOX}"
SYMBOL = 3  # letters of a unit or a chemical formula
# Another word in capitals, or with one.
CASED = words(
    """
    us it who aids am or and not in so no on ram lan cat sad fast basic polish turkey china may
    march august apple amazon windows word excel access outlook teams office pages numbers java
    python ruby rust go swift shell oracle meta target gap chase square stripe slack zoom
    signal edge chrome opera spark jordan chad nice reading bath bill mark frank will grace
    hope faith rose lily amber pat art jack gene dean drew rob sue ray guy miles hamburg lima
    mobile boxing mass lent catholic democrat republican liberal conservative labor labour
    green state congress house bar led him pip add arm ace aim are cop dot era gas ice ira let
    lot map nod pop raw sat set sin sip sos tea
    """
)
FEW = 4  # canonical words that only one of them has


FUNCTION = frozenset(
    stem(word)
    for group in (PREPOSITIONS, QUANTIFIERS, MODALS, PERSONS, POINTERS, ASKED, WH)
    for word in group
)

DENIED = FUNCTION | {stem(word) for word in NOT}
