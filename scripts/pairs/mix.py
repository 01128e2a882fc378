"""What the verifier is shown: a stream of labelled pairs, mixed from sets and generators."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Literal, TypeAlias

from scripts.pairs import families, near_misses, paraphrases, sets
from scripts.pairs.evaluate import cleaned
from scripts.pairs.types import Pair

# own: our questions, AskUbuntu, the GPTCache pairs, and the generators over them. permissive:
# CheckList too. all: QQP too, whose terms forbid passing its text on. None reads banking77,
# clinc150 or kmemo: they judge.
Variant: TypeAlias = Literal["own", "permissive", "all"]
Draw: TypeAlias = Callable[[Random], Pair]

_SHARES: Mapping[Variant, Mapping[str, float]] = {
    "own": {"own": 42, "generated": 42, "askubuntu": 8, "mined": 5, "gptcache": 2, "qqp": 0},
    "permissive": {
        "own": 36, "generated": 36, "askubuntu": 7, "mined": 5, "gptcache": 2, "checklist": 14,
    },
    "all": {
        "own": 13, "generated": 18, "askubuntu": 3, "mined": 2, "gptcache": 1, "checklist": 6,
        "qqp_hard": 22, "qqp_easy": 35,
    },
}  # fmt: skip
HELD_FOR_PRIOR = 0.12  # of QQP train: rows that the verifier never sees, to fit the prior on


def stream(data: Path, variant: Variant, seed: int) -> Iterator[Pair]:
    """Endless labelled pairs, the same for the same folder, variant and seed."""
    rng = Random(seed)
    draws = _draws(data, variant, rng)
    shares = {name: share for name, share in _SHARES[variant].items() if share}
    names, weights = list(shares), list(shares.values())
    while True:
        yield _rough(draws[rng.choices(names, weights)[0]](rng), rng)


def _draws(data: Path, variant: Variant, rng: Random) -> Mapping[str, Draw]:
    here = Path(__file__).parent
    slots = families.read_slots(here / "slots.txt")
    known = families.read_families(here / "families.txt")
    askubuntu = sets.read(data / "askubuntu/train.tsv", "askubuntu")
    gptcache = sets.read(data / "gptcache_mock/pairs.tsv", "gptcache")
    draws: dict[str, Draw] = {
        "own": lambda r: families.draw_pair(known, slots, r),
        "askubuntu": _any_of([p for p in askubuntu if p.label] + askubuntu[:2_000]),
        "gptcache": _any_of(gptcache),
        "mined": _any_of(sets.mine_strangers(askubuntu, 6_000, rng)),
    }
    titles = [t for p in askubuntu for t in (p.a, p.b)]
    mine = [families.draw_text(known, slots, rng) for _ in range(12_000)]
    texts = titles[::2] + mine + [p.a for p in gptcache]
    if variant != "own":
        draws["checklist"] = _by_source(
            sets.read(data / "checklist/mft_train.tsv", "checklist", by="test")
        )
    if variant == "all":
        qqp, _ = sets.split_by_component(sets.read_qqp(data / "qqp/train.tsv"), HELD_FOR_PRIOR)
        qqp = cleaned(qqp)
        draws["qqp_hard"] = _any_of([p for p in qqp if p.source == "qqp:hard"])
        draws["qqp_easy"] = _any_of([p for p in qqp if p.source == "qqp:easy"])
        texts += [p.a for p in qqp]
    words = near_misses.gather(texts)
    draws["generated"] = lambda r: generated(r.choice(texts), words, r)
    return draws


def generated(text: str, words: near_misses.Words, rng: Random) -> Pair:
    """A pair made from one text: 45% rewordings, the rest near misses."""
    if rng.random() > 0.45:
        made = near_misses.near_miss(text, words, rng)
        if made is not None:
            return Pair(text, made[0], 0, f"generated:{made[1]}")
    steps = rng.choice((1, 2, 2, 3))
    return Pair(text, paraphrases.roughen(text, rng, steps), 1, "generated:wording")


def _rough(pair: Pair, rng: Random) -> Pair:
    # On both labels alike: a "please" or a typo must tell nothing about the label.
    steps = (
        (0, 0, 0, 1, 1, 2) if pair.source.startswith(("own", "gen", "check")) else (0, 0, 0, 0, 1)
    )
    a = paraphrases.roughen(pair.a, rng, rng.choice(steps))
    b = paraphrases.roughen(pair.b, rng, rng.choice(steps))
    return replace(pair, a=b, b=a) if rng.random() < 0.5 else replace(pair, a=a, b=b)


def _any_of(pairs: Sequence[Pair]) -> Draw:
    return lambda rng: rng.choice(pairs)


def _by_source(pairs: Sequence[Pair]) -> Draw:
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.source].append(pair)
    names = sorted(groups)
    return lambda rng: rng.choice(groups[rng.choice(names)])
