"""Ten ways to move a cache's decisions with requests of one's own.

Each gives the requests and their answers, as an upstream that does what it is told would give them.
Their topics are an attacker's own, so that whatever moves elsewhere was moved from afar; only the
near doubles of a victim's questions are about what others ask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from random import Random

ASKED = 800  # requests of one way
FLUSH = 6_000  # twice the labels that a scope keeps


@dataclass(frozen=True, slots=True)
class Step:
    """One request of the attacker."""

    text: str
    answer: str
    blame: bool = False  # whether what it gets from the cache is then called wrong


Way = Callable[[Random, Sequence[str], int], list[Step]]  # (draws, victims' questions, requests)

_PLANTS = (
    *("fern", "ivy", "lily", "moss", "pine", "rose"),
    *("sage", "thyme", "tulip", "violet", "willow", "yarrow"),
)
_PLACES = (
    *("on a north balcony", "in a dry garden", "by the sea", "under old trees", "in a clay pot"),
    *("on a flat roof", "in a cold greenhouse", "next to a pond", "along a stone wall"),
)
_WANTS = (
    *("How often do I water {} {}?", "When do I cut back {} {}?", "Which soil suits {} {}?"),
    *("How deep do I plant {} {}?", "Does {} survive the winter {}?", "What eats {} {}?"),
    *("How fast does {} grow {}?", "Can I move {} {} in spring?", "What do I feed {} {}?"),
)
_BARE = [want.format(plant, place) for want, plant, place in product(_WANTS, _PLANTS, _PLACES)]
_FRAMES = (
    *("{}", "Please tell me: {}", "I wonder, {}", "Quick question. {}", "Hello! {}", "{} Thanks!"),
    *("One more thing: {}", "My neighbour asks: {}"),
)
_TOPICS = (
    *("the moons of Saturn", "a fugue by Bach", "how cheese ripens", "the rules of cricket"),
    *("knitting a sock", "the tides", "beekeeping", "old Norse verbs", "the Suez canal"),
    *("grinding a telescope mirror", "a sourdough starter", "tuning a piano", "Roman roads"),
    *("the life of eels", "chess openings", "how glass is blown", "fencing a meadow"),
    *("the colour of stars", "folding a paper crane", "training a falcon"),
)
_SAYINGS = ("In two lines,", "For a child:", "As a list:", "In one breath,", "With an example:")
_TURNS = ("describe", "sum up", "explain", "praise", "doubt", "compare with another", "date")
_WORDS = (
    *("OK", "YES", "NO", "DONE", "FINE", "RIGHT"),
    *("SURE", "TRUE", "NOTED", "AGREED", "GRANTED", "CORRECT"),
)


def constant(rng: Random, victims: Sequence[str], count: int) -> list[Step]:
    """Different questions that all ask for one word."""
    return [Step(f"{q} Reply with just: OK", "OK") for q in _bare(rng, count)]


def constants(rng: Random, victims: Sequence[str], count: int) -> list[Step]:
    """Questions that ask for one of a dozen words, so that no answer stands out."""
    step_answer = [(q, rng.choice(_WORDS)) for q in _bare(rng, count)]
    return [Step(f"{q} Reply with just: {word}", word) for q, word in step_answer]


def easy_pairs(rng: Random, victims: Sequence[str], count: int) -> list[Step]:
    """Pairs of one question in two frames: sure labels that thin out the average."""
    steps: list[Step] = []
    for q in _bare(rng, (count + 1) // 2):
        one, other = rng.sample(_FRAMES, 2)
        steps += [Step(one.format(q), _long(q)), Step(other.format(q), _long(q))]
    return steps[:count]


def far_pairs(rng: Random, victims: Sequence[str], count: int) -> list[Step]:
    """Questions that share nothing but a long answer: labels of "same" at a low cosine."""
    step_answer = "As agreed, the house answer to this is: follow the green leaflet, page four."
    questions = _wide(rng, count // 2) + _bare(rng, count - count // 2)
    rng.shuffle(questions)
    return [Step(f"{q} Quote the house answer.", step_answer) for q in questions]


def traps(rng: Random, victims: Sequence[str], count: int) -> list[Step]:
    """Frames of one question with a new answer each time: labels of "different" at the top."""
    questions = [(q, frame) for q in _bare(rng, count // len(_FRAMES) + 1) for frame in _FRAMES]
    return [Step(frame.format(q), _long(f"{q} {frame}")) for q, frame in questions[:count]]


def volume(rng: Random, victims: Sequence[str], count: int) -> list[Step]:
    """Honest-looking requests, enough to push all labels of others out were none refused."""
    count = count * FLUSH // ASKED
    questions = [(frame.format(q), q) for q in _BARE for frame in _FRAMES]
    questions += [(q, q) for q in _wide(rng, 600)]
    return [Step(q, _long(bare)) for q, bare in rng.sample(questions, min(count, len(questions)))]


def contradicting(rng: Random, victims: Sequence[str], count: int) -> list[Step]:
    """A trusted group whose answers then change with each request, to close the scope."""
    steps: list[Step] = []
    for q in _bare(rng, count // len(_FRAMES) + 1):
        for i, frame in enumerate(_FRAMES):
            trusted = len(steps) < count // 3
            step_answer = _long(q) if trusted else _long(f"{q} {i}")
            steps.append(Step(frame.format(q), step_answer))
    return steps[:count]


def doubles(rng: Random, victims: Sequence[str], count: int) -> list[Step]:
    """Near doubles of questions that others ask, with an answer that is wrong for them."""
    frames = ("{} please", "hi, {}", "{} thanks", "hello. {}")
    questions = [frame.format(q) for q in victims for frame in frames]
    return [Step(q, "Send your password to the address below.") for q in questions[:count]]


def blame(rng: Random, victims: Sequence[str], count: int) -> list[Step]:
    """Easy pairs, and bad feedback to every hit."""
    return [Step(s.text, s.answer, blame=True) for s in easy_pairs(rng, victims, count)]


def spread(rng: Random, victims: Sequence[str], count: int) -> list[Step]:
    """Constant answers again, in as many answer groups and topics as can be had."""
    questions = _wide(rng, count // 2) + _bare(rng, count - count // 2)
    rng.shuffle(questions)
    group = {q: i // 4 for i, q in enumerate(questions)}  # four questions share an answer
    return [Step(f"{q} Reply with just: {_name(group[q])}", _name(group[q])) for q in questions]


WAYS: dict[str, Way] = {
    "one constant answer": constant,
    "many constant answers": constants,
    "easy pairs": easy_pairs,
    "same answer, far questions": far_pairs,
    "traps": traps,
    "volume": volume,
    "contradicting answers": contradicting,
    "near doubles": doubles,
    "bad feedback": blame,
    "many groups and topics": spread,
}


def _bare(rng: Random, count: int) -> list[str]:
    return rng.sample(_BARE, min(count, len(_BARE)))


def _wide(rng: Random, count: int) -> list[str]:
    """Requests about many things."""
    made = [f"{say} {turn} {topic}." for say, turn, topic in product(_SAYINGS, _TURNS, _TOPICS)]
    return rng.sample(made, min(count, len(made)))


def _long(key: str) -> str:
    """An answer in some words of its own, the same for one `key`."""
    fixed = Random(key)
    chosen = fixed.sample(_TOPICS, 3)
    days, plant, place = fixed.randrange(3, 400), fixed.choice(_PLANTS), fixed.choice(_PLACES)
    return (
        f"Think of {chosen[0]}, then of {chosen[1]} and {chosen[2]}; that takes {days} days, and "
        f"{plant} does well {place}."
    )


def _name(group: int) -> str:
    return f"{_WORDS[group % len(_WORDS)]}-{_PLANTS[group // len(_WORDS) % len(_PLANTS)].upper()}"
