"""A made-up knowledge base, and the requests that are asked over it.

It has pages, each with a section for each of several intents that resemble each other, and one is
revised every so often. A page is retrieved by its nearest section.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from scripts.evaluation.data import Question
from scripts.evaluation.plan import Plan
from scripts.evaluation.vectors import Embeddings, Vectors

PAGES = 16
FOUND = 3  # pages in a prompt
_FIRST = 5  # questions of an intent that its page is written from
_ROUNDS = 20  # of grouping intents by their nearest page
_CHAT = (
    "Hi",
    "I have a problem",
    "Are you there?",
    "Thanks",
    "It is about my account",
    "One thing",
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: its question, the pages nearest to it, and all revisions at that moment."""

    question: Question
    page: int  # that answers it
    nearest: tuple[int, ...]
    revisions: tuple[int, ...]
    history: tuple[str, ...]  # of the chat before it

    def key(self, page: int) -> str:
        return f"page{page}@{self.revisions[page]}"

    @property
    def release(self) -> str:
        return f"kb@{sum(self.revisions)}"

    def revision(self, pages: int) -> int:
        """The revision of its own page in a prompt of so many pages; 0 if it is not among them."""
        return self.revisions[self.page] if self.page in self.nearest[:pages] else 0


def draw(
    questions: Sequence[Question],
    embeddings: Embeddings,
    plan: Plan,
    every: int | None,
    seed: int,
) -> list[Asked]:
    """Draw the requests of one run. Which page is revised when is drawn too."""
    rng = Random(seed)
    rows = list(questions)
    rng.shuffle(rows)
    written, rows = _written(rows)
    rows = rows[: plan.rows]
    intents = sorted(written)
    sections = np.stack([embeddings.of(written[one]).mean(axis=0) for one in intents])
    sections /= np.linalg.norm(sections, axis=1, keepdims=True)
    pages = _pages(sections, rng)
    page_of = dict(zip(intents, pages, strict=True))
    nearest = _nearest(embeddings.of([one.text for one in rows]), sections, pages)
    revisions, made = [1] * PAGES, []
    for at, one in enumerate(rows):
        if every is not None and at and at % every == 0:
            revisions[rng.randrange(len(revisions))] += 1
        history = tuple(rng.choice(_CHAT) for _ in range(rng.randrange(1, 5)))
        found = tuple(nearest[at])
        made.append(Asked(one, page_of[one.intent], found, tuple(revisions), history))
    return made


def _nearest(questions: Vectors, sections: Vectors, pages: Sequence[int]) -> list[list[int]]:
    """Return the `FOUND` pages with the nearest sections, for each question."""
    ordered = np.asarray(pages)[np.argsort(-(questions @ sections.T), axis=1, kind="stable")]
    return [list(dict.fromkeys(row))[:FOUND] for row in ordered.tolist()]


def _pages(intents: Vectors, rng: Random) -> list[int]:
    """Group intents that resemble each other into pages, by k-means; the page of each."""
    vectors = intents[rng.sample(range(len(intents)), min(PAGES, len(intents)))]
    of = np.zeros(len(intents), dtype=int)
    for _ in range(_ROUNDS):
        of = np.argmax(intents @ vectors.T, axis=1)
        groups = [intents[of == page] for page in range(len(vectors))]
        means = [
            group.mean(axis=0) if len(group) else old
            for group, old in zip(groups, vectors, strict=True)
        ]
        vectors = np.stack([one / np.linalg.norm(one) for one in means])
    return [int(page) for page in np.argmax(intents @ vectors.T, axis=1)]


def _written(rows: Sequence[Question]) -> tuple[dict[str, list[str]], list[Question]]:
    """Take the first questions of each intent for its page, and return the others."""
    counts = Counter(one.intent for one in rows)
    written: dict[str, list[str]] = defaultdict(list)
    rest = []
    for one in rows:
        if len(written[one.intent]) < max(1, min(_FIRST, counts[one.intent] // 3)):
            written[one.intent].append(one.text)
        else:
            rest.append(one)
    return written, rest
