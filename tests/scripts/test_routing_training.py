"""The training of the complexity classifier: what is fitted is what the server reads."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.sparse import csr_array

from cacheserver.analysis.audit.tally import ROUTED_RIGHT
from cacheserver.core import data_files
from cacheserver.core.rules.routing import RoutingRules
from cacheserver.routing import complexity
from cacheserver.routing.complexity_weights import FILE, WITH_VECTOR, WITHOUT, of_table
from cacheserver.routing.task_inference import infer_task
from scripts.routing import train, weightsfile
from scripts.routing.fitting import LEVELS, Example, Fitted, Settings, softmax, temperature
from tests.models import model_dir

HARD = ["Prove it holds", "Derive the bound", "Prove the lemma", "Derive the law"]
EASY = ["What is tea", "What is rain", "Who is Ann", "Who is Bob"]
MIDDLING = ["Compare a with b", "Compare c with d", "Explain the sea", "Explain the wind"]


def examples() -> list[Example]:
    rng = np.random.default_rng(1)
    made = zip(LEVELS, (EASY, MIDDLING, HARD), strict=True)
    return [
        Example(p, label, "x", 1.0, rng.normal(size=384) / 20) for label, ps in made for p in ps
    ]


@pytest.mark.parametrize("vector", [True, False])
def test_the_server_computes_what_was_fitted(vector: bool) -> None:
    known = examples()
    fit = Fitted(known, vector=vector, settings=Settings(drop_below=0.0))
    weights = fit.weights(1.0)
    shares = softmax(fit.logits(known))
    for example, expected in zip(known, shares, strict=True):
        given = example.vector.tolist() if vector else None
        seen = complexity.read(
            example.prompt,
            infer_task({}, example.prompt),
            given,
            with_vector=weights if vector else WITH_VECTOR,
            without=weights,
        )
        found = [seen.simple, seen.medium, seen.complex]
        assert found == pytest.approx(list(expected), abs=0.01)
        assert LEVELS[int(np.argmax(found))] == example.label


def test_a_temperature_makes_bold_probabilities_modest_and_meek_ones_bold() -> None:
    labels = ["SIMPLE", "SIMPLE", "MEDIUM", "COMPLEX"]
    bold = np.array([[9.0, 0, 0], [0, 0, 9.0], [0, 9.0, 0], [0, 0, 9.0]])
    meek = np.array([[0.1, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.1]])
    assert temperature(bold, labels) > 1 > temperature(meek, labels)


def test_the_weights_file_holds_the_weights_and_is_the_same_each_time() -> None:
    text = weightsfile.source(WITH_VECTOR, WITHOUT)
    assert text == weightsfile.source(WITH_VECTOR, WITHOUT)
    assert text == data_files.text("cacheserver.routing", FILE)
    found = {name: of_table(table) for name, table in json.loads(text).items()}
    assert found == {"with_vector": WITH_VECTOR, "without": WITHOUT}
    assert (len(WITH_VECTOR.vector[0]), len(WITH_VECTOR.vector[1])) == (384, 384)


def grams(text: str) -> set[str]:
    plain = " ".join(text.lower().split())
    return {plain[i : i + 4] for i in range(max(1, len(plain) - 3))}


def as_rows(prompts: list[str], number: dict[str, int]) -> csr_array:
    """Return each prompt's grams as a row of ones; `number` gives each gram its column."""
    columns = [[number.setdefault(gram, len(number)) for gram in grams(one)] for one in prompts]
    ends = np.cumsum([0, *map(len, columns)])
    ones = np.ones(ends[-1], dtype=np.int32)
    return csr_array((ones, np.concatenate(columns), ends), shape=(len(prompts), len(number)))


def test_our_own_prompts_are_nothing_like_the_test_half_and_each_stands_once() -> None:
    ours = [e.prompt for kind in ("own", "later") for e in train.own(kind)]
    assert len(ours) == len(set(ours)) > 1_000
    assert {e.label for e in train.own()} == set(LEVELS)
    held = [e.prompt for e in train.half("test")]
    number: dict[str, int] = {}
    one, other = (as_rows(prompts, number) for prompts in (ours, held))
    one.resize(len(ours), len(number))
    shared = (one @ other.T).toarray()
    all_ = one.sum(axis=1).reshape(-1, 1) + other.sum(axis=1).reshape(1, -1) - shared
    # Counted, not shown: nobody who writes features reads that half.
    assert np.count_nonzero(shared / all_ >= 0.5) == 0


def test_what_ships_beats_the_keywords_on_the_train_half_by_its_words_alone() -> None:
    known = train.half("train")
    shares = train.shipped(known, WITH_VECTOR, WITHOUT)
    ours = train.judged("", shares, known, RoutingRules(), embedded=False)
    assert ours.right > 0.8 > 0.5 > train.baseline(known).right
    assert ours.complex_to_low <= 0.02


def test_an_audit_tells_of_each_tier_how_often_it_is_enough() -> None:
    """On the test half. Another CPU may move a prompt or two over a cut."""
    held = train.Vectors(model_dir()).give(train.half("test"))
    shares = train.shipped(held, WITH_VECTOR, WITHOUT)
    found = train.levels(shares, RoutingRules(), embedded=True)
    for tier, level in (("low", "SIMPLE"), ("middle", "MEDIUM")):
        most = LEVELS.index(level)
        sent = [e for e, one in zip(held, found, strict=True) if (one or "MEDIUM") == level]
        enough = sum(LEVELS.index(e.label) <= most for e in sent)
        assert (enough, len(sent)) == pytest.approx(ROUTED_RIGHT[tier], abs=3)
