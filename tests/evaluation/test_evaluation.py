"""The harness judged on data small enough to count by hand."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest

from scripts.evaluation import baselines, data, mixed, report, vcache
from scripts.evaluation.answers import WORDINGS, answer
from scripts.evaluation.data import Asked
from scripts.evaluation.stream import Outcome, Replay, Settings, Traffic
from scripts.pairs.types import Pair


def traffic(meanings: list[int], seed: int = 1) -> Traffic:
    """Questions near their meaning's own direction; answers likewise."""
    rng = np.random.default_rng(seed)
    rows = np.eye(16, dtype=np.float32)[meanings] + rng.normal(0, 0.05, (len(meanings), 16))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    words = (
        *("amber", "birch", "cedar", "delta", "ember", "frost"),
        *("grove", "heath", "iris", "jade", "kelp", "lotus"),
    )
    asked = [Asked(f"where is the {words[m]} kept", str(m), words[m]) for m in meanings]
    told = [answer(a.meaning, a.topic, i) for i, a in enumerate(asked)]
    plain = np.eye(16, dtype=np.float32)[meanings]
    return Traffic(asked, rows, told, plain)


def test_a_folder_is_known_by_its_columns(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/near.tsv").write_text("query_a\tquery_b\tlabel\na\tb\t1\na\tc\t0\n")
    (tmp_path / "mine/talk.tsv").write_text("query\tintent\nhello\tgreet\nwhat\toos\n")
    (tmp_path / "mine/notes.tsv").write_text("something\telse\n1\t2\n")
    found = data.read(tmp_path)
    assert [p.label for p in found.pairs["mine/near"]] == [1, 0]
    assert [a.meaning for a in found.streams["mine"]] == ["greet", "oos: what"]
    assert not found.logs
    assert not data.read(tmp_path, "talk").pairs


def test_a_malformed_pair_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/near.tsv").write_text("query_a\tquery_b\tlabel\na\tb\tyes\n")
    with pytest.raises(ValueError, match=r"near\.tsv"):
        data.read(tmp_path)


def test_parametric_intents_are_unique_answers_only_where_rows_have_a_domain(
    tmp_path: Path,
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x.tsv").write_text("query\tintent\tdomain\nto Rome\ttranslate\ttravel\n")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/x.tsv").write_text("query\tintent\nwhat rate\texchange_rate\n")
    streams = data.read(tmp_path).streams
    assert streams["a"][0].meaning == "translate: to rome"
    assert streams["b"][0].meaning == "exchange_rate"


def test_wordings_of_one_meaning_differ_and_meanings_differ_more() -> None:
    said = {answer("m", "cards", wording) for wording in range(WORDINGS)}
    assert len(said) == WORDINGS
    assert answer("m", "cards", 0) != answer("n", "cards", 0)


@pytest.mark.parametrize("dial", [0.05, 0.2])
def test_the_dial_is_the_share_of_traps_and_each_follows_what_it_resembles(dial: float) -> None:
    asked = [Asked(f"q{i}", f"m{i % 9}", "t") for i in range(1_000)]
    pairs = [Pair(f"a{i}", f"b{i}", 0, "x") for i in range(500)]
    made = mixed.mix(asked, pairs, dial, seed=3)
    assert sum(a.trap for a in made) / len(made) == pytest.approx(dial, rel=0.1)
    seen: set[str] = set()
    for one in made:
        assert not one.trap or one.text.replace("b", "a") in seen
        seen.add(one.text)


def test_the_perfect_verifier_is_never_wrong_and_misses_each_meaning_once() -> None:
    outcome = baselines.perfect(traffic([0, 1, 0, 1, 2, 0]))
    assert outcome.hits == [False, False, True, True, False, True]
    assert not any(outcome.wrong)


def test_a_threshold_is_wrong_where_another_meaning_is_near_enough() -> None:
    assert sum(baselines.static(traffic([0, 1, 2]), -1.0).wrong) == 2
    assert not any(baselines.static(traffic([0, 1, 2]), 0.9).hits)


def test_vcache_explores_until_an_entry_was_seen_often_enough() -> None:
    entry = vcache.Entry()
    assert vcache.exploration(entry, 0.99, 0.01) == 1.0
    for _ in range(60):
        entry.observe(0.95, True)
        entry.observe(0.5, False)
    assert vcache.exploration(entry, 0.99, 0.2) < vcache.exploration(entry, 0.6, 0.2)


def test_a_replay_learns_to_serve_what_repeats_and_charges_its_audits() -> None:
    rng = Random(1)
    made = traffic([rng.randrange(12) for _ in range(700)])
    outcome = Replay(made, Settings(target=0.05), None, seed=1).run()
    assert sum(outcome.hits[350:]) > 200
    assert sum(outcome.wrong) / sum(outcome.hits) <= 0.05
    row = report.row("mine", "calibrated", 0.05, [outcome])
    assert row.charged < row.hits
    assert row.charged == pytest.approx(
        (sum(outcome.hits) - sum(outcome.audited)) / len(outcome.hits)
    )


def test_a_row_pools_the_seeds_and_bounds_the_wrong_share() -> None:
    one = Outcome(hits=[True] * 100, wrong=[True] + [False] * 99, audited=[False] * 100)
    row = report.row("s", "w", 0.01, [one, one])
    assert (row.hits, row.wrong, row.second_half) == (1.0, 0.01, 0.0)
    assert row.interval[0] < 0.01 < row.interval[1]
