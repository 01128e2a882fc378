"""From a question, the same one asked otherwise. A maker returns None where it does not apply."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from random import Random

_OPENERS = (
    "Hi, {}", "Hello! {}", "Please tell me: {}", "Could you tell me, {}", "Quick question: {}",
    "Hey, {}", "I was wondering, {}", "Can you help me with this? {}", "I need help. {}",
    "Sorry to bother you, but {}", "I have a question: {}", "Good morning, {}", "ok so {}",
    "I'm new to this. {}", "My friend asked me this: {}", "For a project at work: {}",
    "I have been searching for hours. {}", "Do you know {}", "Excuse me, {}", "just curious, {}",
)  # fmt: skip
_CLOSERS = (
    "{} Thanks!", "{} Thank you in advance.", "{} Please.", "{} Any help is appreciated.",
    "{} Please explain.", "{} Cheers", "{} Thank you so much!", "{} I would be grateful.",
    "{} Can you help?", "{} Please answer in detail.", "{} I'm a bit lost here.", "{} thx",
)  # fmt: skip
FRAMES = (
    (
        "how do i {}", "how can i {}", "how to {}", "what is the best way to {}", "how would i {}",
        "what's the way to {}", "how do you {}", "i want to {}", "i need to {}", "how could i {}",
        "what are the steps to {}", "what should i do to {}", "is there a way to {}",
        "can you tell me how to {}", "what do i have to do to {}", "i would like to {}",
    ),
    ("what is {}", "what's {}", "can you explain what {} is", "tell me what {} is"),
    ("why is {}", "what is the reason that {} is", "how come {} is"),
    ("can i {}", "am i able to {}", "is it possible to {}", "may i {}",
     "is it possible for me to {}"),
    ("what are the best {}", "which are the best {}", "what are the top {}",
     "which {} are the best"),
    ("what is the difference between {}", "what's the difference between {}",
     "what are the differences between {}", "difference between {}"),
    ("what are {}", "which are {}", "tell me {}", "can you list {}"),
    ("where can i {}", "where do i {}", "where is a place to {}", "in which place can i {}"),
    ("should i {}", "is it a good idea to {}", "do you think i should {}",
     "would you advise me to {}"),
    ("what happens if {}", "what will happen if {}", "what would happen if {}"),
    ("does anyone know {}", "do you know {}", "can anybody tell me {}"),
)  # fmt: skip
SYNONYMS = (
    ("buy", "purchase"), ("fix", "repair"), ("begin", "start"), ("delete", "remove"),
    ("big", "large"), ("quick", "fast"), ("quickly", "fast"), ("error", "problem", "issue"),
    ("error", "error message"), ("picture", "image", "photo"), ("movie", "film"),
    ("create", "make"), ("show", "display"), ("folder", "directory"), ("get", "obtain"),
    ("use", "utilize"), ("job", "position"), ("kids", "children"),
    ("help", "assist"), ("doctor", "physician"), ("illness", "disease"), ("car", "automobile"),
    ("wrong", "incorrect"), ("right", "correct"), ("easiest", "simplest"), ("hard", "difficult"),
    ("mobile", "cell phone"), ("cellphone", "mobile phone"), ("laptop", "notebook"),
    ("internet", "web"), ("different", "distinct"), ("important", "significant"),
    ("smart", "intelligent"), ("lose weight", "get slimmer"), ("improve", "get better at"),
    ("terminal", "command line"), ("start up", "boot"), ("wifi", "wireless"),
    ("broken", "not working"),
    ("doesn't work", "is not working"), ("can't", "am unable to"), ("need", "require"),
    ("find out", "discover"), ("change", "modify"), ("choose", "select", "pick"),
    ("people", "folks"), ("about", "regarding"), ("benefits", "advantages"), ("reason", "cause"),
    ("earn", "make"), ("company", "firm"), ("university", "college"), ("answer", "reply"),
    ("rich", "wealthy"), ("happen", "occur"), ("end", "finish"), ("town", "city"),
    ("sick", "ill"), ("medicine", "medication"), ("meaning", "definition"),
    ("shut down", "turn off"),
    ("switch on", "turn on"), ("enable", "activate"), ("disable", "turn off"),
    ("copy", "duplicate"),
    ("whole", "entire"), ("maximum", "highest possible"), ("cheap", "inexpensive"),
    # As patients and as doctors say it.
    ("heart attack", "myocardial infarction"), ("high blood pressure", "hypertension"),
    ("stomach pain", "abdominal pain", "belly ache"), ("flu", "influenza"),
    ("throwing up", "vomiting"), ("kidney stones", "renal calculi"), ("rash", "skin rash"),
    ("pregnant", "expecting a baby"), ("hurts", "is painful"), ("headache", "pain in my head"),
    ("drug", "medication"), ("symptoms", "signs"), ("treatment", "therapy"), ("pill", "tablet"),
    ("surgery", "an operation"), ("tired", "exhausted"), ("swollen", "puffy"),
    ("cancer", "a malignant tumor"), ("fever", "a high temperature"), ("dose", "dosage"),
    ("blood thinner", "anticoagulant"), ("painkiller", "analgesic", "pain reliever"),
    ("birth control", "contraception"), ("broken bone", "fracture"), ("baby", "infant"),
    ("side effects", "adverse effects", "unwanted effects"), ("toddler", "small child"),
    # And everyone.
    ("worried about", "concerned about"), ("take place", "happen"),
    ("how much does it cost to", "what is the price to"), ("how old", "what age"),
    ("how long does it take to", "how much time do i need to"), ("how many times", "how often"),
    ("when does", "at what time does"), ("who wrote", "who is the author of"),
    ("why do", "for what reason do"), ("what kind of", "what sort of", "which kind of"),
)  # fmt: skip
_CONTRACTIONS = (
    ("what is", "what's"), ("do not", "don't"), ("does not", "doesn't"), ("is not", "isn't"),
    ("cannot", "can't"), ("can not", "can't"), ("i am", "i'm"), ("i have", "i've"),
    ("how is", "how's"), ("it is", "it's"), ("will not", "won't"), ("should not", "shouldn't"),
    ("who is", "who's"), ("where is", "where's"), ("are not", "aren't"), ("did not", "didn't"),
)  # fmt: skip
_NUMBERS = tuple(
    zip(
        (
            *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
            *("eleven", "twelve", "thirteen", "fifteen", "twenty", "thirty", "fifty", "a hundred"),
        ),
        (*"123456789", "10", "11", "12", "13", "15", "20", "30", "50", "100"),
        strict=True,
    )
)
_INERT = ("really", "actually", "currently", "exactly", "just", "indeed", "basically", "in fact")

Paraphrase = Callable[[str, Random], str | None]


def opener(text: str, rng: Random) -> str | None:
    return rng.choice(_OPENERS).format(_lower_first(text))


def closer(text: str, rng: Random) -> str | None:
    return rng.choice(_CLOSERS).format(text)


def frame(text: str, rng: Random) -> str | None:
    """Ask with other question words: "How do I" for "What is the best way to"."""
    body = text.rstrip(" ?.!")
    low = body.lower()
    for group in FRAMES:
        for form in group:
            head, _, tail = form.partition("{}")
            if low.startswith(head) and low.endswith(tail) and len(low) > len(form):
                rest = body[len(head) : len(body) - len(tail)]
                new = rng.choice([other for other in group if other != form]).format(rest)
                mark = "" if new.startswith(("i ", "how to", "tell")) else "?"
                return new[0].upper() + new[1:] + mark
    return None


def synonym(text: str, rng: Random) -> str | None:
    return _swap_phrase(text, SYNONYMS, rng)


def contraction(text: str, rng: Random) -> str | None:
    return _swap_phrase(text, _CONTRACTIONS, rng)


def spelled_number(text: str, rng: Random) -> str | None:
    if re.search(r"\d\.\d", text):
        return None  # "version 12.04" is no dozen
    return _swap_phrase(text, _NUMBERS, rng)


def inert(text: str, rng: Random) -> str | None:
    """A word that changes nothing, after the first verb: "is it really"."""
    m = re.match(
        r"(?i)(how do i|how can i|can i|is (?:it|that|the \w+|\w+)|why is \w+|do i) ", text
    )
    return None if m is None else f"{m[0]}{rng.choice(_INERT)} {text[m.end() :]}"


def casing(text: str, rng: Random) -> str | None:
    """Lower case, no question mark, or shouting: as people type."""
    roll = rng.random()
    if roll < 0.5:
        return text.lower().rstrip("?.! ")
    if roll < 0.65:
        return text.upper()
    return text.rstrip("?.! ") + rng.choice(("", "??", " ?", ".", "?!"))


def typo(text: str, rng: Random) -> str | None:
    """One or two slips inside longer words; digits and short words stay as they are."""
    words = text.split(" ")
    long = [i for i, w in enumerate(words) if len(w) > 4 and w.isalpha()]
    if not long:
        return None
    for i in rng.sample(long, min(len(long), rng.choice((1, 1, 2)))):
        word, at = words[i], rng.randrange(1, len(words[i]) - 2)
        words[i] = rng.choice((
            word[:at] + word[at + 1 :],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            word[:at] + word[at] + word[at:],
        ))  # fmt: skip
    return " ".join(words)


def clauses(text: str, rng: Random) -> str | None:
    """Put the condition or the place first, or last."""
    body = text.rstrip(" ?.!")
    end = text[len(body) :]
    if m := re.fullmatch(r"(?i)((?:if|when|after|before) [^,]{6,}), (.{8,})", body):
        return f"{_upper_first(m[2])} {_lower_first(m[1])}{end}"
    if m := re.fullmatch(r"(?i)((?:in|on|with|for) [^,]{2,30}), (.{8,})", body):
        return f"{_upper_first(m[2])} {_lower_first(m[1])}{end}"
    if m := re.fullmatch(r"(.{10,}) ((?:if|when) [\w' ]{8,})", body):
        return f"{_upper_first(m[2])}, {_lower_first(m[1])}{end}"
    if m := re.fullmatch(
        r"((?:How|What|Why|Where|Can|Is|Which) .{8,}) ((?:in|on) [A-Z][\w.+#]+)", body
    ):
        return f"{_upper_first(m[2])}, {_lower_first(m[1])}{end}"
    return None


def genitive(text: str, rng: Random) -> str | None:
    """The same two words in another order: "the capital of France", "France's capital"."""
    m = re.search(r"\bthe ([a-z]{4,}) of ([A-Z][\w-]+)(?=[?.,]|$| (?:in|on|do) )", text)
    return None if m is None else f"{text[: m.start()]}{m[2]}'s {m[1]}{text[m.end() :]}"


def symmetric(text: str, rng: Random) -> str | None:
    """Exchange two sides that may be: "difference between A and B", "A vs B"."""
    m = re.search(
        r"(?i)\b(between|compare|pros|cons|advantages|disadvantages|both) (?:(and) )?"
        r"([\w.+#-]+) (and|with) ([\w.+#-]+)",
        text,
    )
    if m and m[2] is None:
        return f"{text[: m.start(3)]}{m[5]} {m[4]} {m[3]}{text[m.end(5) :]}"
    if m := re.search(r"\b([\w.+#-]+) (vs\.?|versus|or) ([\w.+#-]+)", text):
        return f"{text[: m.start(1)]}{m[3]} {m[2]} {m[1]}{text[m.end(3) :]}"
    return None


MAKERS: Mapping[str, tuple[Paraphrase, float]] = {
    "opener": (opener, 1.0),
    "closer": (closer, 0.7),
    "frame": (frame, 3.0),
    "synonym": (synonym, 2.5),
    "contraction": (contraction, 0.6),
    "spelled_number": (spelled_number, 1.6),
    "inert": (inert, 0.6),
    "casing": (casing, 1.0),
    "typo": (typo, 1.0),
    "clauses": (clauses, 2.0),
    "symmetric": (symmetric, 1.5),
    "genitive": (genitive, 1.5),
}


def paraphrase(text: str, rng: Random) -> tuple[str, str] | None:
    """(another wording, its kind), or None where no maker applies."""
    kinds = sorted(MAKERS, key=lambda kind: -(rng.random() ** (1 / MAKERS[kind][1])))
    for kind in kinds:
        made = MAKERS[kind][0](text, rng)
        if made is not None and made != text:
            return made, kind
    return None


def roughen(text: str, rng: Random, steps: int) -> str:
    """`text` after at most `steps` rewordings."""
    for _ in range(steps):
        made = paraphrase(text, rng)
        text = text if made is None else made[0]
    return text


def _swap_phrase(text: str, groups: tuple[tuple[str, ...], ...], rng: Random) -> str | None:
    low = text.lower()
    found = [
        (m, phrase, group)
        for group in groups
        for phrase in group
        if phrase in low and (m := re.search(rf"(?i)\b{re.escape(phrase)}\b", text))
    ]
    if not found:
        return None
    m, phrase, group = rng.choice(found)
    new = rng.choice([other for other in group if other != phrase])
    new = _upper_first(new) if m[0][0].isupper() else new
    return text[: m.start()] + new + text[m.end() :]


def _lower_first(text: str) -> str:
    keep = text[:2] in ("I ", "I'") or text[1:2].isupper()
    return text if keep else text[:1].lower() + text[1:]


def _upper_first(text: str) -> str:
    return text[:1].upper() + text[1:]
