"""Cold pairs with verification: one question stored, the other asked, in a scope without labels.

A pair is served if either question is served the other's answer. Served shares are expected values:
what is served without a call, and of what is asked the model's rate of yeses. Twins are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cacheserver.languages.rules import languages
from cacheserver.matching.conformal_bound import wilson
from cacheserver.matching.question_text import matched_text
from scripts.evaluation.cold import twin
from scripts.evaluation.data import Question
from scripts.evaluation.stream import Replay, Settings, Traffic
from scripts.evaluation.vectors import Embeddings
from scripts.evaluation.verify.step import Simulated
from scripts.pairs.types import Pair


@dataclass(frozen=True, slots=True)
class Judged:
    """One pair: whether it is served without a call, and by which models it may be with one."""

    label: int
    served: bool
    asked: frozenset[str]  # names of models


@dataclass(frozen=True, slots=True)
class Row:
    """One set and one verifying model. Shares are 0..1."""

    name: str
    model: str
    paraphrases: int
    near_misses: int
    asked: float  # share of the paraphrases
    asked_near_misses: float
    kept: float  # share of the paraphrases that are served, expected
    served: float  # share of the near misses that are served, expected
    kept_interval: tuple[float, float]  # Wilson, 95%
    served_interval: tuple[float, float]


def judged(
    listed: Sequence[Pair], embeddings: Embeddings, models: Mapping[str, Simulated], target: float
) -> list[Judged]:
    """Judge each pair in both directions; pairs that the twin rule calls one are left out."""
    language = languages()
    read = [
        (pair, matched_text(pair.a, language)[0], matched_text(pair.b, language)[0])
        for pair in listed
    ]
    embeddings.prepare(text for _, *texts in read for text in texts if text is not None)
    found = []
    for pair, a, b in read:
        if a is None or b is None:
            found.append(Judged(pair.label, False, frozenset()))
        elif not twin(a, b, language):
            both = [
                _judged(pair.label, way, embeddings, models, target) for way in ((a, b), (b, a))
            ]
            asked = frozenset().union(*(one.asked for one in both))
            found.append(Judged(pair.label, any(one.served for one in both), asked))
    return found


def _judged(
    label: int,
    texts: tuple[str, str],
    embeddings: Embeddings,
    models: Mapping[str, Simulated],
    target: float,
) -> Judged:
    meanings = ("one", "one" if label else "other")
    asked = [Question(text, said, said) for text, said in zip(texts, meanings, strict=True)]
    traffic = Traffic(asked, embeddings.of(texts))
    settings = Settings(target=target)
    replay = Replay(traffic, settings, 1)
    replay.ask(0)
    if replay.peek(1).serve is not None:
        return Judged(label, True, frozenset())
    named = set()
    for name, model in models.items():
        one = Replay(traffic, replace(settings, verifier=model), 1)
        one.ask(0)
        if one.verify(1) is not None:
            named.add(name)
    return Judged(label, False, frozenset(named))


def row(name: str, model: str, rates: Simulated, judged: Sequence[Judged]) -> Row:
    """Return the row of one model."""
    good, bad = ([one for one in judged if one.label == label] for label in (1, 0))
    asked, asked_bad = (_share(sum(model in one.asked for one in s), len(s)) for s in (good, bad))
    kept = _share(sum(one.served for one in good), len(good)) + asked * rates.sensitivity
    served = _share(sum(one.served for one in bad), len(bad)) + asked_bad * rates.false_yes
    return Row(
        name=name,
        model=model,
        paraphrases=len(good),
        near_misses=len(bad),
        asked=asked,
        asked_near_misses=asked_bad,
        kept=kept,
        served=served,
        kept_interval=wilson(kept * len(good), len(good)),
        served_interval=wilson(served * len(bad), len(bad)),
    )


HEAD = (
    f"{'cold pairs':<26}{'verifier':<12}{'paraphrases':>12}{'asked':>8}{'served':>8}  {'95%':<16}"
    f"{'near misses':>12}{'asked':>8}{'served':>8}  95%"
)


def line(row: Row) -> str:
    """Return a row of the table, shares in percent."""
    return (
        f"{row.name:<26}{row.model:<12}{row.paraphrases:>12}{100 * row.asked:>8.1f}"
        f"{100 * row.kept:>8.1f}  {_interval(row.kept_interval):<16}{row.near_misses:>12}"
        f"{100 * row.asked_near_misses:>8.1f}{100 * row.served:>8.2f}  "
        f"{_interval(row.served_interval)}"
    )


def _share(part: int, whole: int) -> float:
    return part / max(1, whole)


def _interval(interval: tuple[float, float]) -> str:
    return f"[{100 * interval[0]:.2f}, {100 * interval[1]:.2f}]"
