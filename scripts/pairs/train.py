"""Training the pair verifier for a given number of minutes, on one core."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from index.pairs_torch import PairModel, load
from index.pairs_torch import trained as trained_by
from scripts.pairs import mix
from scripts.pairs.types import Pair

BATCH = 32
CHUNK = 64  # batches drawn together and sorted by length: 1% padding in place of 26%
LONGEST = 80  # tokens of a joined pair; longer ones are cut
RATE = 1e-4  # peak
WARM_UP = 0.04  # of the time
SAVE_EVERY_S = 180.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to train on, for how long, from what."""

    data: Path
    out: Path
    weights: Path  # the folder of the public model
    variant: mix.Variant
    minutes: float
    seed: int
    start: Path | None = None  # to go on from: a checkpoint, or deltas that `pack` wrote


def train(plan: Plan) -> None:
    """Write `checkpoint.safetensors` and `training.json` to `plan.out`, often and at the end.

    The learning rate follows the clock, so a busy machine trains less, not longer.
    """
    torch.manual_seed(plan.seed)
    torch.set_num_threads(1)
    plan.out.mkdir(parents=True, exist_ok=True)
    model = PairModel(plan.weights)
    if plan.start is not None:
        model.load_state_dict(_started(plan.start, plan.weights), strict=False)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for n, p in trained.items() if not n.startswith("head")], "scale": 1.0},
            {"params": list(model.head.parameters()), "scale": 4.0},
        ],
        lr=RATE, weight_decay=0.01, betas=(0.9, 0.98), fused=True,
    )  # fmt: skip
    begun = saved = time.monotonic()
    losses: list[float] = []
    model.train()
    for step, (batch, labels) in enumerate(_batches(plan)):
        done = (time.monotonic() - begun) / (60 * plan.minutes)
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = RATE * group["scale"] * _shape(done)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(**batch)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), labels)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        if step % 100 == 99:
            print(
                f"{done:.3f} pairs {(step + 1) * BATCH} loss {np.mean(losses[-100:]):.4f}",
                flush=True,
            )
        if time.monotonic() - saved > SAVE_EVERY_S:
            saved = time.monotonic()
            _save(plan, trained, losses)
    _save(plan, trained, losses)


def _started(file: Path, weights: Path) -> Mapping[str, Tensor]:
    made = load_file(file)
    return trained_by(load(file, weights)) if any(n.endswith(".scale") for n in made) else made


def encode(tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    """Model inputs for pairs, padded to the longest among them."""
    encoded = tokenizer.encode_batch(list(pairs))
    longest = max(len(e.ids) for e in encoded)

    def padded(values: Iterator[Sequence[int]]) -> Tensor:
        return torch.tensor([[*v, *[0] * (longest - len(v))] for v in values])

    return {
        "input_ids": padded(e.ids for e in encoded),
        "attention_mask": padded(e.attention_mask for e in encoded),
        "token_type_ids": padded(e.type_ids for e in encoded),
    }


def tokenizer_of(weights: Path) -> Tokenizer:
    """The public model's tokenizer, for pairs of at most `LONGEST` tokens."""
    tokenizer = Tokenizer.from_file(str(weights / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    return tokenizer


def _batches(plan: Plan) -> Iterator[tuple[Mapping[str, Tensor], Tensor]]:
    tokenizer, rng = tokenizer_of(plan.weights), Random(plan.seed)
    pairs = mix.stream(plan.data, plan.variant, plan.seed)
    while True:
        chunk: list[Pair] = list(itertools.islice(pairs, BATCH * CHUNK))
        lengths = [len(e.ids) for e in tokenizer.encode_batch([(p.a, p.b) for p in chunk])]
        chunk = [chunk[i] for i in np.argsort(lengths, kind="stable")]
        starts = list(range(0, len(chunk), BATCH))
        rng.shuffle(starts)
        for start in starts:
            batch = chunk[start : start + BATCH]
            yield (
                encode(tokenizer, [(p.a, p.b) for p in batch]),
                torch.tensor([float(p.label) for p in batch]),
            )


def _shape(done: float) -> float:
    return min(1.0, done / WARM_UP) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


def _save(plan: Plan, trained: Mapping[str, Tensor], losses: Sequence[float]) -> None:
    # First beside, then over it: a run that is stopped leaves the last whole checkpoint.
    fresh = plan.out / "checkpoint.new"
    save_file({n: p.detach().contiguous() for n, p in trained.items()}, fresh)
    fresh.replace(plan.out / "checkpoint.safetensors")
    facts = {
        "variant": plan.variant,
        "seed": plan.seed,
        "minutes": plan.minutes,
        "pairs": len(losses) * BATCH,
        "loss": round(float(np.mean(losses[-300:])), 4),
    }
    (plan.out / "training.json").write_text(json.dumps(facts, indent=2) + "\n")
