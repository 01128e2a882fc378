"""Declared questions over pages that are revised: what is served, and what must never be."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.evaluation import declared, knowledge_base
from scripts.evaluation.data import Question
from scripts.evaluation.knowledge_base import Asked
from scripts.evaluation.plan import Plan
from scripts.evaluation.vectors import Embeddings
from tests.evaluation.streams import desk
from tests.models import model_dir


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory: pytest.TempPathFactory) -> Embeddings:
    return Embeddings(model_dir(), tmp_path_factory.mktemp("vectors"))


def asked(question: str, *, revision: int = 1, history: tuple[str, ...] = ()) -> Asked:
    one = Question(question, "m", "t", "i")
    return Asked(one, 0, (0, 1, 2), (revision, 1, 1), history)


def test_only_a_key_keeps_revisions_apart() -> None:
    old, new = asked("How long?"), asked("How long?", revision=2)
    for way, (ask, _) in declared.WAYS.items():
        same = ask(old).scope == ask(new).scope
        assert same is (way in ("declared, no key", "chat undeclared")), way
        assert ask(old).text == "How long?" or way == "chat declared"


def test_chats_meet_where_all_turns_are_declared() -> None:
    one, other = asked("How long?", history=("Hi",)), asked("How long?", history=("Yes", "No"))
    assert declared.chat(one).scope != declared.chat(other).scope
    assert declared.declared_chat(one).fingerprint == declared.declared_chat(other).fingerprint


def test_nothing_is_served_across_revisions(
    embeddings: Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(declared, "EVERY", (10,))
    monkeypatch.setattr(knowledge_base, "PAGES", 4)
    plan = Plan(Path(), model_dir(), quick=True, rows=160, seeds=1)
    found = list(declared.measure("desk", desk(300), embeddings, plan))
    rows = {row.way: row for row in found if not row.verified}
    verified = {row.way: row for row in found if row.verified}
    assert rows.keys() == {"bare questions", *declared.WAYS}
    assert rows["bare questions"].hits > 0.1
    assert rows["declared, no key"].drifted > 0
    keyed = ("declared, kb release", "declared, 3 pages", "declared, 1 page")
    for way in (*keyed, "chat declared"):
        assert rows[way].drifted == 0, way
    for way in keyed:
        assert verified[way].drifted == 0, way
        assert verified[way].hits > rows[way].hits, way
    assert rows["declared, 1 page"].hits > rows["declared, kb release"].hits
    assert rows["chat undeclared"].hits < 0.05  # histories are seldom the same
    assert declared.line(rows["declared, 1 page"]).split()[0] == "desk"
