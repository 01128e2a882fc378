"""English words for `canonical`: words without meaning in a question, and words that tell English.

A frame is listed only if it asked the same in every pair that `scripts/count_twins` found.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cacheserver.english.lexicon import words as listed

# A text is English (`forms.is_english`) if it has a word of `ENGLISH` and a quarter of its words
# are in `COMMON`; or if half of all words are, at least three, of which one is not in `SHARED`.
# "Is" and a first "I" count as `ENGLISH` if no word is in `FOREIGN`.
ENGLISH = listed(
    """
    the are it's that's there's where's who's how's when's dont doesnt whats how what what's
    where when why which who could would should does your with this that you my please thanks
    there these those their have don't doesn't can't isn't i'm didn't
    """
)
COMMON = ENGLISH | listed(
    """
    a an is was were do did can will may must i me we it he she they to of in on at for
    from by and or not if be as but than then has had our us his her its him them any all some
    no so am about after before into out up get got want need make use hi hello hey dear good
    morning afternoon evening regards cheers thank help quick question
    """
)
SHARE, SHARE_ALONE, LEAST_ALONE = 0.25, 0.5, 3
# Common words of Dutch, German, French, Spanish, Portuguese or Italian, too: "Was will er in
# Wien?", "No me has dado la factura". They count, but never alone.
SHARED = listed(
    """
    a am an as by do had has he her him his i if in is it me may must no of on or our so to us was
    we were will all any
    """
)
# Common words of these languages that are not English: "Wat is de prijs?".
FOREIGN = listed(
    """
    de het een voor mijn niet ik je uw er dit dat op te zijn naar ook nog bij hoe wat waar wie
    der das und ist nicht ich mein meine für mit auf wo wann ein eine zu es sie dem
    le la les des je mes avec quel quelle où une du il
    el los las que mi por para una del cómo dónde
    uma um meu minha não da
    lo gli di che mio mia è dove
    """
)
SHORTENED = ("n't", "'re", "'ve", "'ll", "'m")

NEGATED = {"can't": "can", "cannot": "can", "won't": "will", "shan't": "shall"} | {
    f"{verb}n't": verb
    for verb in (
        *("do", "does", "did", "is", "are", "was", "were", "has", "have", "had", "could", "would"),
        *("should", "must", "need"),
    )
}
NEGATED |= {
    word.replace("'", ""): verb
    for word, verb in NEGATED.items()
    if word not in ("can't", "won't", "shan't")
}
WITH_IS = listed("what who where how when why that there here it he she this")
RUN_TOGETHER = {f"{word}s": f"{word}'s" for word in ("what", "that", "how", "who", "where")} | {
    "im": "I'm",
    "ive": "I've",
}
TAILS = {"'m": "am", "'re": "are", "'ve": "have", "'ll": "will"}
# "What's changed" is "what has changed", "who's called" may be either.
# After these a full stop ends no sentence.
ABBREVIATED = listed("dr mr mrs ms st prof vs etc inc jr sr fig no approx dept")
PARTICIPLE = re.compile(r"\w+(?:ed|en)|gone|done|been|got|had|made|left|sent|come|become|lost|paid")

ARTICLES = frozenset(("a", "an", "the"))
# Before these an article changes the meaning: "a few", "few"; "a number of", "the number of"; "a
# third"; "in the front of", "in front of".
ARTICLE_KEPT = listed(
    """
    few little lot number bit while second third fourth fifth sixth seventh eighth ninth tenth
    quarter half day week month year hour minute one many most more less only other same front place
    case
    """
)
# Between a preposition and these too: "in office", "in the office"; "out of question".
PLACES = listed(
    """
    question office hospital prison jail school college church court bed table sea board air
    future charge way end scenes bars house table fire loss hand hands hurry duty town
    market line touch
    """
)
BEFORE_PLACES = listed("in on at of to by under behind from")
BE = listed("is are was were am")
SUBJECTS = listed("he she it this that they you I we")
BEGINS = BE | listed("does do did can could should will would has have may must")
# "The" before one of these says which; "a" would be another.
UNIQUE = listed(
    """
    lottery constitution internet sun moon world government president king queen pope bible law
    police list press universe economy
    """
)
# A number and its unit may be written as one word; "1e5", "2x" and "5g" are words of their own.
UNITS = listed(
    """
    mg mcg kg ml cl dl km cm mm nm ft lb lbs oz kb mb gb tb kbps mbps gbps hz khz mhz ghz kw kwh mw
    mah mph kmh rpm fps dpi px pm am ms min mins sec secs hr hrs usd inr eur
    """
)
# After these "a" is a letter.
LETTERED = listed(
    """
    vitamin hepatitis team type class grade option section part group unit appendix plan block side
    category level influenza schedule figure exhibit letter note key point column row series
    """
)
NO_NOUN = listed(
    """
    in on at of to for from by with and or is are was were be do does did can could not if than
    as vs versus has have will would should into about before after
    """
)
POLITE = frozenset(("please", "pls", "plz", "kindly"))
BEFORE_POLITE = frozenset(("you", "I", "we", "someone", "anyone", "somebody"))
# "Can I please everyone", "how do I kindly decline": words of the question itself.
PLEASED = listed(
    "my your his her their our its the a an him them me us everyone everybody people all both"
)
ASKED_KINDLY = frozenset(("you", "someone", "anyone", "somebody"))
BEFORE_I = listed(
    """
    do can should could would may must will did am have had was if when that because how what
    where why which and but or as before after while until since than
    """
)
AFTER_I = listed(
    """
    am have had was can could will would should do did don't didn't can't need want might may
    must cannot cant wont get got forgot lost
    """
)
# With these, the question may be about words, and "twelve" differs from "12".
SPELLED = listed(
    """
    spell spelled spelt spelling contraction sentence braille letters syllable syllables
    word words write written pronounce
    pronounced rhyme rhymes vowel vowels say translate hyphen capitalize characters
    """
)
NUMBERS = dict(
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

TELL = (
    r"(?:(?:can|could|would|will) (?:you|anyone|someone) (?:tell me|let me know)"
    r"|tell me|let me know"
    r"|I (?:would like|want|need) to know|I (?:was|am) wondering|I wonder)"
)
# "Can you explain the fee?" asks for more than "can you tell me the fee?"; not so before "how to".
EXPLAIN = (
    r"(?:(?:can|could|would|will) (?:you|anyone|someone) explain(?: to me)?|explain(?: to me)?)"
)
TELL_HINTS = "tell know wondering wonder"
# "Tell me when it is done" asks to be told then.
LATER = r"(?!(?:tell me|let me know|(?:can|could|would|will) you let me know) when )"
HOW = "how-to"
STATES = (  # "How do I look?" is not "How can I look?"
    "come across|"
    "look|feel|sound|seem|smell|taste|appear|compare|rank|score|rate|keep|have|owe|be|know|need|"
    "act|behave|react|live|think|exist|"
    "catch|suffer|age|sleep|stand|benefit|fit|measure up|earn so|happen|matter|belong|count|"
    r"do (?:in|on|at|so)|grow (?:old|up)|become (?:old|ill|sick|tired|poor)|lose(?! weight| fat)|"
    # "How do I get charged?", but "how do I get a refund?"
    r"get(?! (?:rid of|to|over|started|access) )(?! (?:an?|the|my) (?:\S+ )?"
    r"(?:refund|receipt|invoice|copy|job|visa|loan|card|account|discount|quote|appointment|certificate|license|"
    r"passport|internship|scholarship|degree|money)\b)|"
    "want|like|love|forget|die|differ|end|deserve|qualify|fail|stack|always|often|still|usually|never"
)
PERSON = "I|we|you|they|it|he|she"
VERB = "can|could|should|would|will|must|may|am|are|is|was|were|have|had|has"
# (words of which one must be present, pattern, replacement)
FRAMES: Sequence[tuple[frozenset[str], re.Pattern[str], str]] = tuple(
    (frozenset(hint.split()), re.compile(pattern), into)
    for hint, pattern, into in (
        # "tell me where I can park": "where can I park"
        (
            TELL_HINTS,
            rf"^{LATER}{TELL} (how|what|where|when|why|who|which) ({PERSON}) ({VERB}) (?=\w)",
            r"\1 \3 \2 ",
        ),
        (TELL_HINTS, rf"^{TELL} (?:if|whether) ({PERSON}) ({VERB}) (?=\w)", r"\2 \1 "),
        # "tell me what the capital of France is": "what is the capital of France"
        (
            TELL_HINTS,
            rf"^{LATER}{TELL} (what|where|who|when) ((?:\w+ ){{1,8}})(is|are|was|were)$",
            r"\1 \3 \2",
        ),
        (
            TELL_HINTS,
            rf"^{LATER}{TELL} (?=(?:how|what|where|when|why|who|which|if|whether) \w)",
            "",
        ),
        (TELL_HINTS, rf"^{TELL} ", "tell me "),
        ("explain", rf"^{EXPLAIN} what ((?:\w+ ){{1,8}})(is|are)$", r"what \2 \1"),
        ("explain", rf"^{EXPLAIN} (?=how to \w)", ""),
        ("like", r"(^|[.?!] )I would like ", r"\1I want "),
        # "how do I", "how can I", "how would I", "how to", "what is the way to"
        (
            "how",
            rf"(^|[.?!,:] )how (?:(?:do|can|would) I|to) (?!(?:{STATES})\b)(?=\w)",
            rf"\1{HOW} ",
        ),
        # but not "what is the way to work", "... to market"
        (
            "way",
            rf"(^|[.?!] )what is (?:the|a) way to (?!(?:{STATES}|an?|the|my)\b)(?=[a-z]\S* \w)",
            rf"\1{HOW} ",
        ),
        (
            "way possible",
            r"(^|[.?!] )is (?:there (?:a|any) way|it possible) to (?=\w)",
            r"\1possible-to ",
        ),
    )
)
ASKING = listed("how what where when why who which")
STARTS = listed(
    """
    how what what's where when why who who's which whose whom can could would will should do
    does did is are am was were may must has have had don't doesn't isn't can't please tell
    """
)
