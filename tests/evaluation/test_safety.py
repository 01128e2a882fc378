"""The parts that ask what must not be served, on data small enough to count by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from math import comb
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.policy.support import Support
from scripts.evaluation import attack, cold, data, easy, foreign, halves, poison, poisons, shift
from scripts.evaluation.baselines import Threshold, VCache
from scripts.evaluation.data import Asked, Folder, Malformed
from scripts.evaluation.deciders import Decider, fork, ours
from scripts.evaluation.noise import Rates
from scripts.evaluation.shift import Shifted, Sizes
from scripts.evaluation.stream import Outcome, Replay, Settings, Traffic
from scripts.evaluation.vectors import Embeddings
from scripts.evaluation.windows import quantile, windows
from scripts.pairs.types import Pair
from tests.models import model_dir

ROOT = Path(__file__).parents[2]
SIZES = Sizes(learned=60, foreign=40, each=10, later=40)


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory: pytest.TempPathFactory) -> Embeddings:
    return Embeddings(model_dir(), tmp_path_factory.mktemp("vectors"))


def desk(count: int) -> list[Asked]:
    return Random(1).sample(easy.stream(), count)


def strange(count: int) -> list[Asked]:
    return [
        Asked(f"Who wrote volume {i} of the atlas?", f"other: {i}", "atlas") for i in range(count)
    ]


# Windows


@pytest.mark.parametrize("planted", [0, 9])
def test_a_planted_excess_of_wrong_hits_is_found_in_its_window(planted: int) -> None:
    hits = [i % 2 == 0 for i in range(2_000)]
    wrong = [hit and i % 400 == 0 for i, hit in enumerate(hits)]  # one in 200 hits
    for i in range(1_002, 1_002 + 2 * planted, 2):
        wrong[i] = True
    over = [one.first for one in windows(hits, wrong, 0.01) if one.over]
    assert over == ([1_000] if planted else [])
    assert [one.first for one in windows(hits, wrong, 0.01, since=700)] == [700, 1_200]


@given(st.integers(0, 120), st.floats(0.001, 0.5))
def test_the_quantile_is_the_least_count_that_chance_stays_within(count: int, share: float) -> None:
    def within(k: int) -> float:
        chances = (comb(count, i) * share**i * (1 - share) ** (count - i) for i in range(k + 1))
        return sum(chances)

    k = quantile(count, share)
    assert within(k) >= 0.999 - 1e-9
    assert k == 0 or within(k - 1) < 0.999 + 1e-9


# Halves


@given(st.lists(st.tuples(st.sampled_from("abcdefghij"), st.sampled_from("abcdefghij"))))
def test_halves_of_pairs_share_no_question_and_cover_all(edges: list[tuple[str, str]]) -> None:
    listed = [Pair(a, b, 1, "x") for a, b in edges]
    tune, report = (halves.of_pairs(listed, half) for half in ("tune", "report"))
    assert Counter(tune) + Counter(report) == Counter(listed)
    questions = [{text for pair in half for text in (pair.a, pair.b)} for half in (tune, report)]
    assert questions[0].isdisjoint(questions[1])


def test_halves_of_a_folder_are_disjoint_and_cover_all() -> None:
    asked = [Asked(f"where is room {i}", str(i), "room") for i in range(200)]
    asked += [replace(one, text=one.text.upper()) for one in asked]
    listed = [Pair(f"is {i} even", f"is {i} odd", 0, "x") for i in range(100)]
    whole = Folder({"p": listed}, {"s": asked}, {}, {"p": listed}, {"p": listed})
    tune, report = halves.of(whole, "tune"), halves.of(whole, "report")
    for half in (tune, report):
        assert 60 < len(half.streams["s"]) / 2 < 140
        assert 25 < len(half.pairs["p"]) < 75
        assert half.pairs == half.whole == half.attacks
    assert Counter(tune.streams["s"]) + Counter(report.streams["s"]) == Counter(asked)
    texts = [{one.text.lower() for one in half.streams["s"]} for half in (tune, report)]
    assert texts[0].isdisjoint(texts[1])
    assert halves.of(whole, "all") is whole


# Shift


def served_everything(traffic: Traffic, seed: int) -> Decider:
    return Threshold(traffic, -1.0)


def served_nothing(traffic: Traffic, seed: int) -> Decider:
    return Threshold(traffic, 2.0)


def test_a_foreign_question_that_gets_an_answer_of_the_home_stream_is_counted(
    embeddings: Embeddings,
) -> None:
    made = Shifted(desk(200), {"atlas": strange(40)}, embeddings, seed=1, sizes=SIZES)
    found = {share: c for _, share, c in made.runs(served_everything, 0.01, (0.2, 1.0))}
    assert (found[0.0].foreign, found[0.0].home) == (40, 40)
    assert (found[1.0].foreign, found[1.0].home, found[1.0].other) == (40, 40, 0)
    assert (found[0.2].foreign, found[0.2].requests) == (10, 50)
    row = shift.row("desk", "atlas", 1.0, "all", 0.01, found[1.0])
    assert row.served == row.astray == row.wrong == 1.0
    assert "MISSED" in shift.verdict(row)
    kept = {share: c for _, share, c in made.runs(served_nothing, 0.01, (1.0,))}
    assert (kept[1.0].served, kept[1.0].hits, kept[0.0].served) == (0, 0, 0)


def test_answers_of_other_foreign_questions_are_judged_by_their_own_meaning(
    embeddings: Embeddings,
) -> None:
    same = [replace(one, meaning="other: one") for one in strange(10)]
    made = Shifted(desk(200), {"same": same, "apart": strange(10)}, embeddings, seed=1, sizes=SIZES)
    runs = made.runs(lambda traffic, _: Threshold(traffic, 0.8), 0.01, (1.0,))
    found = {(source, share): counts for source, share, counts in runs}
    assert (found["same", 1.0].own, found["same", 1.0].other) == (9, 0)
    assert (found["apart", 1.0].own, found["apart", 1.0].other) == (0, 9)
    assert found["same", 0.0].served == found["apart", 0.0].served == 0
    assert (found["same", 1.0].wrong, found["apart", 1.0].wrong) == (0, 9)


def test_ours_is_stepped_like_any_other_way(embeddings: Embeddings) -> None:
    made = Shifted(desk(200), {"atlas": strange(20)}, embeddings, seed=1, sizes=SIZES)
    for _, _, counts in made.runs(ours(Settings()), 0.01, (0.5,)):
        assert counts.foreign == 20
        assert counts.hits == counts.wrong or counts.requests == 40


def test_rows_are_pooled_by_way_with_look_ups_apart() -> None:
    rows = [
        shift.row("a", "b", share, way, 0.01, shift.Counts(foreign=100, home=home))
        for share, way, home in ((0.0, "x", 7), (0.2, "x", 1), (0.5, "x", 2), (0.5, "y", 4))
    ]
    mixed = {row.way: row.served for row in shift.pooled(rows, read_only=False)}
    assert mixed == {"x": 0.015, "y": 0.04}
    assert [row.served for row in shift.pooled(rows, read_only=True)] == [0.07]


def test_one_foreign_question_is_taken_of_what_a_set_calls_the_same() -> None:
    listed = [Pair("a", "b", 1, "x"), Pair("b", "c", 1, "x"), Pair("c", "d", 0, "x")]
    assert [one.text for one in foreign.unlike(listed)] == ["a", "d"]


def test_no_home_asks_what_another_is_asked() -> None:
    rows = [
        Asked("block my card", "card", "card", "card", domain="credit_cards"),
        Asked("tell a joke", "joke", "joke", "joke", domain="small_talk"),
        Asked("what", "oos: what", "what", "oos"),
    ]
    made = Folder({}, {"talk": rows, "talk, reworded": rows}, {}, {}, {})
    homes = foreign.homes(made, "all")
    assert {name: len(listed) for name, listed in homes.items()} == {
        "talk": 1,
        "easy": len(easy.stream()),
    }
    (one,) = foreign.strangers(made, homes)["talk"]
    assert one.meaning == "talk: joke"


# Deciders


def test_a_peek_changes_nothing(embeddings: Embeddings) -> None:
    made = Shifted(desk(120), {}, embeddings, seed=3, sizes=SIZES)
    for make in (
        ours(Settings()),
        served_everything,
        lambda traffic, seed: VCache(traffic, 0.2, seed),
    ):
        looked, plain = make(made.traffic, 1), make(made.traffic, 1)
        for at in range(100):
            served = looked.peek(at)
            looked.ask(at)
            plain.ask(at)
            exact = looked.outcome.exact[-1]
            assert exact or looked.outcome.hits[-1] == (served is not None)
        assert looked.outcome == plain.outcome


def test_a_fork_leaves_what_it_was_forked_from(embeddings: Embeddings) -> None:
    made = Shifted(desk(120), {}, embeddings, seed=3, sizes=SIZES)
    one = ours(Settings())(made.traffic, 1)
    for at in range(40):
        one.ask(at)
    other = fork(one, made.traffic)
    for at in range(40, 80):
        other.ask(at)
    assert (len(one.outcome.hits), len(other.outcome.hits)) == (40, 80)


# Poison


def test_every_way_gives_the_requests_asked_for_and_they_differ() -> None:
    victims = [f"how do i get to pier {i}" for i in range(60)]
    for name, way in poisons.WAYS.items():
        steps = way(Random(2), victims, 90)
        assert len(steps) == (270 if name == "volume" else 90), name
        assert len({step.text for step in steps}) == len(steps), name
        assert steps == way(Random(2), victims, 90)
    assert len(poisons.WAYS) == 10


def test_what_an_attack_moves_is_told(
    embeddings: Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def grab(rng: Random, victims: object, count: int) -> list[poisons.Step]:
        return [poisons.Step("Do pears keep in a cellar?", "Yes.")]

    def idle(rng: Random, victims: object, count: int) -> list[poisons.Step]:
        return [poisons.Step(f"Do pears keep for {i} weeks?", "Yes.") for i in range(5)]

    ask = Replay.ask

    def planted(replay: Replay, at: int) -> None:
        """A decision that one request opens wide."""
        if replay.traffic.asked[at].text == "Do pears keep in a cellar?":
            replay.bar = replace(replay.bar, level=0.0, support=Support(least=-1.0))
        else:
            ask(replay, at)

    monkeypatch.setitem(poisons.WAYS, "grab", grab)
    monkeypatch.setitem(poisons.WAYS, "idle", idle)
    monkeypatch.setattr(Replay, "ask", planted)
    made = poison.Poisoned(
        desk(400),
        strange(30),
        embeddings,
        seed=1,
        sizes=poison.Sizes(learned=60, each=30, pool=60, asked=20),
        ways=("grab", "idle"),
        settings=Settings(),
    )
    rows = {(row.way, row.caller): row for row in poison.added(list(made.moved("desk")))}
    assert set(rows) == {(w, c) for w in ("grab", "idle") for c in poison.CALLERS}
    for caller in poison.CALLERS:
        moved, still = rows["grab", caller], rows["idle", caller]
        assert moved.far == still.far > 50
        assert moved.changed >= moved.begun > 0
        assert moved.wrong_after > moved.wrong
        assert (still.changed, still.begun, still.ended, still.poisoned) == (0, 0, 0, 0)
    assert "MISSED" in poison.verdict(list(rows.values()))
    assert "kept" in poison.verdict([rows["idle", "another"]])


def test_attackers_are_told_from_honest_callers(embeddings: Embeddings) -> None:
    made = poison.Poisoned(
        desk(200),
        strange(5),
        embeddings,
        seed=1,
        sizes=poison.Sizes(learned=20, each=5, pool=10, asked=8),
        ways=("traps",),
        settings=Settings(),
    )
    assert Counter(one.caller for one in made.traffic.asked)["attacker"] == 8


def test_bad_feedback_is_a_label_and_its_answer_is_not_served_to_that_question_again() -> None:
    texts = ("how do i open the heath gate", "how do i open the heath gate please")
    asked = [Asked(text, "heath", "heath") for text in texts]
    row = np.eye(4, dtype=np.float32)[[0, 0]]
    replay = Replay(Traffic(asked, row), Settings(), None, 1)
    replay.ask(0)
    assert replay.peek(1).serve is not None
    replay.blame(1)
    assert replay.peek(1).serve is None
    assert [label.right for label in replay.state.labels] == [False]


# Noise


def test_same_answers_called_different_or_left_open_teach_otherwise(embeddings: Embeddings) -> None:
    asked = [replace(one, meaning="one", topic="one") for one in desk(60)]
    made = Shifted(asked, {}, embeddings, seed=1, sizes=SIZES)
    told: list[Counter[bool]] = []
    for rates in (Rates(), Rates(same_different=1.0), Rates(same_open=1.0)):
        replay = Replay(made.traffic, Settings(noise=rates), None, 1)
        replay.run()
        told.append(Counter(label.right for label in replay.state.labels))
    truth, different, left_open = told
    assert truth[True] > 5
    assert different[True] == left_open[True] == 0
    assert different[False] > left_open[False] + 5


# Cold and attack


def test_a_pair_is_served_in_either_direction_and_twins_stand_apart(
    embeddings: Embeddings,
) -> None:
    listed = [
        Pair("how do i renew my passport", "how do i renew my passport please", 1, "frame"),
        Pair("how do i renew my passport", "how do i renew my licence", 0, "object"),
    ]
    found = cold.judged(listed, embeddings, None, Settings())
    assert [one.served for one in found[cold.OURS]] == [True, False]
    plain, twins = cold.rows("mine", cold.OURS, found[cold.OURS])
    assert (plain.paraphrases, plain.near_misses, twins.paraphrases) == (0, 1, 1)
    assert (twins.kept, twins.served, len(twins.pairs)) == (1.0, 0.0, 2)
    assert [one.served for one in found["GPTCache 0.60"]] == [True, True]
    classes = {(r.label, r.kind): r for r in attack.rows("mine", "x", found["GPTCache 0.60"])}
    assert set(classes) == {(0, "object"), (0, "all"), (1, "frame"), (1, "all")}
    assert classes[0, "all"].wrong == [(listed[1].a, listed[1].b)]
    assert (classes[1, "all"].twins, classes[1, "all"].twins_served) == (1, 1)


def test_an_earlier_version_is_held_to_the_same_pairs(tmp_path: Path) -> None:
    told = cold.Judged("a", "b", 1, served=True, twin=False, source="x")
    rows = cold.rows("own/x", cold.OURS, [told])
    file = tmp_path / "before.json"
    file.write_text(json.dumps({"cold": [as_json(row) for row in rows]}))
    assert cold.earlier(file) == {"own/x": [told]}
    file.write_text("{}")
    with pytest.raises(Malformed, match="no figures of the part `cold`"):
        cold.earlier(file)


def as_json(row: cold.Row) -> dict[str, object]:
    return {
        "name": row.name,
        "way": row.way,
        "pairs": [
            {name: getattr(one, name) for name in ("a", "b", "label", "served", "twin", "source")}
            for one in row.pairs
        ],
    }


def test_our_own_pairs_are_as_many_paraphrases_as_near_misses() -> None:
    for name, listed in data.own().items():
        assert Counter(pair.label for pair in listed) == {0: 80, 1: 80}, name
        assert len({(pair.a, pair.b) for pair in listed}) == 160, name
        assert all(pair.a != pair.b for pair in listed), name


def test_a_file_of_classes_is_told_by_its_column(tmp_path: Path) -> None:
    file = tmp_path / "attack.tsv"
    file.write_text("query_a\tquery_b\tlabel\tclass\na\tb\t0\tcase\n")
    assert data.pairs_of(file) == [Pair("a", "b", 0, "case")]
    (tmp_path / "mine").mkdir()
    file.rename(tmp_path / "mine" / "attack.tsv")
    assert data.read(tmp_path).attacks == {"mine/attack": [Pair("a", "b", 0, "case")]}
    bare = tmp_path / "bare.tsv"
    bare.write_text("query_a\tlabel\na\t0\n")
    with pytest.raises(Malformed, match="the header lacks query_b"):
        data.pairs_of(bare)


@pytest.mark.parametrize("dials", ["5", "5,x", "-1,5", "60,50", "0,0"])
def test_noise_is_two_percentages(dials: str) -> None:
    command = [sys.executable, str(ROOT / "scripts/evaluate"), "--data", ".", f"--noise={dials}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert f"--noise {dials}" in done.stderr


def test_the_same_text_again_is_no_decision_of_a_baseline_either() -> None:
    asked = [Asked("one", "m", "t"), Asked("one", "m", "t")]
    rows = np.eye(2, dtype=np.float32)[[0, 0]]
    for decider in (
        Threshold(Traffic(asked, rows), 0.5),
        VCache(Traffic(asked, rows), 0.1, 1),
    ):
        decider.ask(0)
        decider.ask(1)
        outcome: Outcome = decider.outcome
        assert (outcome.hits, outcome.exact) == ([False, False], [False, True])
