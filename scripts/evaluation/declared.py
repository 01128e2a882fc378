"""Declared questions: a stream asked through a RAG prompt whose documents change, and in chats.

A prompt holds a template, the pages that `knowledge_base` retrieves, and the question. Keys and
scopes are those of `cache.fingerprint.read`. A hit is wrong if its answer is of another intent or
was made without the right page; it has drifted if the page was revised since. Labels are shared
between revisions, as the server shares them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cacheserver.cache import fingerprint
from cacheserver.core import json_text
from cacheserver.core.rules.declared import DeclaredRules
from cacheserver.core.types import Controls, Declaration, Query, Tenant
from cacheserver.english.language import english
from cacheserver.matching.calibration import Calibration
from cacheserver.matching.conformal_bound import Bar, wilson
from cacheserver.matching.cosine_scale import CosineScale
from cacheserver.matching.decision import ScoredCandidate
from cacheserver.matching.neighbours import Neighbour
from scripts.evaluation import knowledge_base
from scripts.evaluation.data import Question
from scripts.evaluation.knowledge_base import Asked
from scripts.evaluation.near import StoredVectors
from scripts.evaluation.plan import DEFAULT, Plan
from scripts.evaluation.stream import Replay, Settings, Traffic, prepare
from scripts.evaluation.vectors import Embeddings, Vectors
from scripts.evaluation.verify.step import Reply, Simulated

EVERY = (1_000, 100)  # requests from one revision to the next
VERIFIER = Simulated(0.95, 0.02)
_TENANT = Tenant("rag", declared=DeclaredRules(enabled=True))


@dataclass(frozen=True, slots=True)
class Row:
    """One way to ask one stream, all seeds together. Shares are 0..1."""

    stream: str
    way: str
    verified: bool  # doubtful candidates asked about, by a model as `VERIFIER`
    every: int | None  # requests between two revisions; None: none
    requests: int
    hits: float  # share served, equal questions included
    of_bare: float  # hits over those of the bare questions
    wrong: float  # share of the hits with another intent's answer
    drifted: float  # share of the hits with the answer of an earlier revision
    interval: tuple[float, float]  # Wilson, 95%, of both


Ask = Callable[[Asked], Query]


def bare(asked: Asked) -> Query:
    """The question alone, as if no page were ever revised."""
    return _read(_body([asked.question.text]))


def undeclared(asked: Asked) -> Query:
    """The prompt, with nothing declared."""
    return _read(_prompt(asked, knowledge_base.FOUND))


def by_release(asked: Asked) -> Query:
    """The question, with the release of the knowledge base as its context key."""
    return _declared(asked, knowledge_base.FOUND, (asked.release,))


def by_pages(asked: Asked) -> Query:
    """The question, with the pages in the prompt as context keys."""
    return _declared(asked, knowledge_base.FOUND, tuple(map(asked.key, asked.nearest)))


def by_page(asked: Asked) -> Query:
    """The question over the nearest page alone, which is the context key too."""
    return _declared(asked, 1, (asked.key(asked.nearest[0]),))


def without_key(asked: Asked) -> Query:
    """The question, with nothing said of the pages."""
    return _declared(asked, knowledge_base.FOUND, ())


def chat(asked: Asked) -> Query:
    """A chat with turns of its own, and nothing declared."""
    return _read(_body([asked.question.text], asked.history))


def declared_chat(asked: Asked) -> Query:
    """The same chat; the stand-alone question is declared for all its turns."""
    body = _body(["And that?"], asked.history)
    return _read(body, Declaration(asked.question.text, (asked.release,), ("messages",)))


# How a question is asked, and the pages in its prompt.
WAYS: Mapping[str, tuple[Ask, int]] = {
    "prompt undeclared": (undeclared, knowledge_base.FOUND),
    "declared, 1 page": (by_page, 1),
    "declared, 3 pages": (by_pages, knowledge_base.FOUND),
    "declared, kb release": (by_release, knowledge_base.FOUND),
    "declared, no key": (without_key, knowledge_base.FOUND),
    "chat undeclared": (chat, knowledge_base.PAGES),
    "chat declared": (declared_chat, knowledge_base.PAGES),
}
_BARE = "bare questions"
_PACED = ("declared, kb release", "declared, 3 pages", "declared, 1 page")  # at every pace
HEAD = (
    f"{'declared questions':<20}{'way':<24}{'verified':>9}{'every':>7}{'hits':>7}{'of bare':>9}"
    f"{'wrong':>7}{'drifted':>9}  95% of both"
)


def line(row: Row) -> str:
    """A row of the table, shares in percent."""
    every = "never" if row.every is None else str(row.every)
    low, high = row.interval
    asked = "95/2" if row.verified else "-"
    return (
        f"{row.stream:<20}{row.way:<24}{asked:>9}{every:>7}{100 * row.hits:>7.1f}"
        f"{100 * row.of_bare:>9.1f}{100 * row.wrong:>7.2f}{100 * row.drifted:>9.2f}"
        f"  [{100 * low:.2f}, {100 * high:.2f}]"
    )


def measure(
    name: str, questions: Sequence[Question], embeddings: Embeddings, plan: Plan
) -> Iterator[Row]:
    """Yield a row for each way and each pace of revisions, without verification and with it."""
    paces = EVERY[:1] if plan.quick else EVERY
    drawn = {
        every: {
            seed: knowledge_base.draw(questions, embeddings, plan, every, seed)
            for seed in plan.seeds_of(DEFAULT)
        }
        for every in (None, *paces)
    }

    def counts(ask: Ask, pages: int, every: int | None, model: Simulated | None) -> list[_Counts]:
        return [
            _run(stream, ask, pages, embeddings, seed, model)
            for seed, stream in drawn[every].items()
        ]

    for model in (None, VERIFIER):
        first = _row(name, _BARE, None, counts(bare, 0, None, model), model, None)
        yield first
        for every in paces:
            for way, (ask, pages) in WAYS.items():
                if way in _PACED or (every == EVERY[0] and model is None):
                    yield _row(name, way, every, counts(ask, pages, every, model), model, first)


@dataclass(slots=True)
class _Counts:
    requests: int = 0
    hits: int = 0
    wrong: int = 0
    drifted: int = 0


def _row(
    name: str,
    way: str,
    every: int | None,
    found: Sequence[_Counts],
    model: Simulated | None,
    bares: Row | None,
) -> Row:
    requests, hits = sum(one.requests for one in found), sum(one.hits for one in found)
    wrong, drifted = sum(one.wrong for one in found), sum(one.drifted for one in found)
    share = hits / requests
    return Row(
        stream=name,
        way=way,
        verified=model is not None,
        every=every,
        requests=requests,
        hits=share,
        of_bare=1.0 if bares is None else share / max(bares.hits, 1e-9),
        wrong=wrong / max(1, hits),
        drifted=drifted / max(1, hits),
        interval=wilson(wrong + drifted, hits),
    )


def _run(
    asked: Sequence[Asked],
    ask: Ask,
    pages: int,
    embeddings: Embeddings,
    seed: int,
    verifier: Simulated | None,
) -> _Counts:
    queries = [ask(one) for one in asked]
    questions = [
        replace(
            one.question,
            text=query.text or one.question.text,
            answer=f"{one.question.meaning}@{one.revision(pages)}",
        )
        for one, query in zip(asked, queries, strict=True)
    ]
    traffic = prepare(questions, embeddings)
    replay = _Scopes(traffic, queries, seed, verifier)
    replay.run()
    counts = _Counts(requests=len(asked), hits=len(replay.answered_by))
    for at, entry in replay.answered_by:
        one, stored = asked[at], asked[entry]
        mine, its = one.revision(pages), stored.revision(pages)
        if one.question.meaning != stored.question.meaning or (mine and not its):
            counts.wrong += 1
        elif mine and mine != its:
            counts.drifted += 1
    return counts


class _Scopes(Replay):
    """A replay with a partition for each scope, and a calibration for each scope of labels."""

    def __init__(
        self,
        traffic: Traffic,
        queries: Sequence[Query],
        seed: int,
        verifier: Simulated | None,
    ) -> None:
        super().__init__(traffic, Settings(target=DEFAULT, verifier=verifier), seed)
        self._queries = queries
        self._exact: dict[str, int] = {}  # entry by fingerprint
        self._parts: dict[str, StoredVectors] = {}
        self._prior = self.state, self.bar
        self._states: dict[str, tuple[Calibration, Bar]] = {}  # by scope of labels
        self.answered_by: list[tuple[int, int]] = []  # (request, entry)

    def ask(self, at: int) -> None:
        query = self._queries[at]
        if (entry := self._exact.get(query.fingerprint)) is not None:
            self.answered_by.append((at, entry))
            return
        self._texts.clear()  # an equal text is an exact hit in its own scope alone
        if query.scope not in self._parts:
            self._parts[query.scope] = _Partition(self.traffic.vectors, self.traffic.prior.scale)
        self.stored = self._parts[query.scope]
        self.state, self.bar = self._states.get(query.label_scope, self._prior)
        super().ask(at)
        self._states[query.label_scope] = self.state, self.bar

    def _neighbours(self, at: int) -> list[Neighbour]:
        return super()._neighbours(at) if self._queries[at].scope else []

    def _hit(
        self, at: int, served: ScoredCandidate, share: float, reply: Reply | None = None
    ) -> None:
        self.answered_by.append((at, int(served.id)))
        super()._hit(at, served, share, reply)

    def _store(self, at: int, same: Sequence[Neighbour]) -> None:
        self._exact[self._queries[at].fingerprint] = at
        super()._store(at, same)


class _Partition(StoredVectors):
    """Stored vectors of one of many scopes: most hold few."""

    def __init__(self, vectors: Vectors, scale: CosineScale) -> None:
        super().__init__(vectors, scale)
        self._rows = np.empty_like(vectors[:4])

    def add(self, at: int) -> None:
        if len(self.ids) == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        super().add(at)


def _prompt(asked: Asked, pages: int) -> dict[str, Any]:
    texts = [f"The text of {asked.key(page)}." for page in asked.nearest[:pages]]
    return _body([*texts, asked.question.text])


def _body(texts: Sequence[str], history: Sequence[str] = ()) -> dict[str, Any]:
    turns: list[dict[str, Any]] = []
    for said in history:
        turns += [{"role": "user", "content": said}, {"role": "assistant", "content": "Go on."}]
    content = [{"type": "text", "text": text} for text in texts]
    return {
        "model": "auto",
        "max_tokens": 500,
        "system": "Answer from the documents alone.",
        "messages": [*turns, {"role": "user", "content": content}],
    }


def _declared(asked: Asked, pages: int, context: tuple[str, ...]) -> Query:
    blocks = ("messages.-1.content",)
    declared = Declaration(asked.question.text, tuple(sorted(context)), blocks)
    return _read(_prompt(asked, pages), declared)


def _read(body: Mapping[str, Any], declared: Declaration | None = None) -> Query:
    return fingerprint.read(
        body,
        json_text.dumps(body),
        headers={},
        tenant=_TENANT,
        controls=Controls(declared=declared),
        upstream="simulated",
        language=english(),
    )
