"""Our own questions: `families.txt` filled from `slots.txt`, as labelled pairs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from scripts.pairs.types import Pair

_SLOT = re.compile(r"\{([a-z]+)(\d?)\}")
_ARTICLE = re.compile(r"\b([Aa])n? (?=([A-Za-z]))")
# Sounded, not spelled: "a European", "a university", "an hour", "an MRI" is left alone.
_CONSONANT_VOWELS = ("uni", "use", "eu", "one", "ukulele")

Slots = Mapping[str, tuple[tuple[str, ...], ...]]  # name -> fillers, each its spellings
Filling = Mapping[str, tuple[str, ...]]  # slot as written, e.g. "city1" -> spellings


@dataclass(frozen=True, slots=True)
class Family:
    """One question: its wordings, and questions that only look like it."""

    wordings: tuple[str, ...]
    lookalikes: tuple[str, ...]
    order: str  # "sym": exchanging 1 and 2 asks the same; "dir": another thing; "": neither

    def slots(self) -> tuple[str, ...]:
        """Slots of every wording and lookalike, in a stable order."""
        text = " ".join(self.wordings + self.lookalikes)
        return tuple(dict.fromkeys(name + digit for name, digit in _SLOT.findall(text)))


def read_slots(path: Path) -> Slots:
    """Raises `ValueError` for a line without a name."""
    slots: dict[str, tuple[tuple[str, ...], ...]] = {}
    for line in _lines(path):
        name, colon, fillers = line.partition(":")
        if not colon:
            raise ValueError(f"`{path.name}`: a slot line needs a name and a colon: {line!r}")
        if span := re.fullmatch(r"\s*(\d+)\.\.(\d+)\s*", fillers):
            slots[name] = tuple((str(n),) for n in range(int(span[1]), int(span[2]) + 1))
        else:
            slots[name] = tuple(
                tuple(word.strip() for word in filler.split("=")) for filler in fillers.split("|")
            )
    return slots


def read_families(path: Path) -> tuple[Family, ...]:
    """Families in file order; a block without a wording raises `ValueError`."""
    families = []
    text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("#"))
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = [line.strip() for line in block.splitlines()]
        order = lines.pop(0)[1:] if lines[0].startswith("@") else ""
        wordings = tuple(line for line in lines if not line.startswith("!"))
        lookalikes = tuple(line[1:].strip() for line in lines if line.startswith("!"))
        if not wordings:
            raise ValueError(f"`{path.name}`: a block needs a wording: {block!r}")
        families.append(Family(wordings, lookalikes, order))
    return tuple(families)


def draw_pair(families: Sequence[Family], slots: Slots, rng: Random) -> Pair:
    """One labelled pair. About 45% are the same question."""
    family = rng.choice(families)
    filling = _fill(family, slots, rng)
    roll = rng.random()
    if roll < 0.45:
        return _same(family, filling, rng)
    if roll < 0.62 and family.order == "dir":
        return Pair(
            _render(rng.choice(family.wordings), filling, rng),
            _render(rng.choice(family.wordings), _exchanged(filling), rng),
            0,
            "own:direction",
        )
    if roll < 0.72 and family.lookalikes:
        one = rng.choice(family.wordings + family.lookalikes)
        other = rng.choice([t for t in family.lookalikes if t != one] or list(family.wordings))
        return Pair(_render(one, filling, rng), _render(other, filling, rng), 0, "own:lookalike")
    if roll < 0.96 and filling:
        return _other_filling(family, filling, slots, rng)
    stranger = rng.choice([f for f in families if f is not family])
    strange = {**_fill(stranger, slots, rng), **filling}
    return Pair(
        _render(rng.choice(family.wordings), filling, rng),
        _render(rng.choice(stranger.wordings), strange, rng),
        0,
        "own:stranger",
    )


def draw_text(families: Sequence[Family], slots: Slots, rng: Random) -> str:
    """One question, for the generators that work on any text."""
    family = rng.choice(families)
    template = rng.choice(family.wordings + family.lookalikes)
    return _render(template, _fill(family, slots, rng), rng)


def _same(family: Family, filling: Filling, rng: Random) -> Pair:
    one, other = rng.sample(family.wordings, 2)
    if family.order == "sym" and rng.random() < 0.5:
        return Pair(
            _render(one, filling, rng), _render(other, _exchanged(filling), rng), 1, "own:symmetric"
        )
    return Pair(_render(one, filling, rng), _render(other, filling, rng), 1, "own:wording")


def _other_filling(family: Family, filling: Filling, slots: Slots, rng: Random) -> Pair:
    # Only a slot the second wording shows can make the two differ.
    one = rng.choice(family.wordings)
    other = one if rng.random() < 0.5 else rng.choice(family.wordings)
    shown = sorted(
        {n + d for n, d in _SLOT.findall(one)} & {n + d for n, d in _SLOT.findall(other)}
    )
    if not shown:
        return _same(family, filling, rng)
    changed = rng.choice(shown)
    used = {spelling[0] for spelling in filling.values()}
    choices = [f for f in slots[_bare(changed)] if f[0] not in used]
    changes = dict(filling)
    changes[changed] = rng.choice(choices)
    return Pair(_render(one, filling, rng), _render(other, changes, rng), 0, "own:filler")


def _fill(family: Family, slots: Slots, rng: Random) -> Filling:
    filling: dict[str, tuple[str, ...]] = {}
    for slot in family.slots():
        used = {spelling[0] for spelling in filling.values()}
        filling[slot] = rng.choice([f for f in slots[_bare(slot)] if f[0] not in used])
    return filling


def _exchanged(filling: Filling) -> Filling:
    swap = {"1": "2", "2": "1"}
    return {
        slot: filling.get(slot[:-1] + swap[slot[-1]], words) if slot[-1] in swap else words
        for slot, words in filling.items()
    }


def _render(template: str, filling: Filling, rng: Random) -> str:
    text = _SLOT.sub(lambda m: rng.choice(filling[m[1] + m[2]]), template)
    text = _ARTICLE.sub(lambda m: m[1] + ("n " if _vowel(text[m.end() :]) else " "), text)
    return text[0].upper() + text[1:] if template[0] == "{" and rng.random() < 0.5 else text


def _vowel(rest: str) -> bool:
    word = rest.lower()
    return word.startswith("hour") or (
        word[:1] in tuple("aeiou") and not word.startswith(_CONSONANT_VOWELS)
    )


def _bare(slot: str) -> str:
    return slot.rstrip("12")


def _lines(path: Path) -> list[str]:
    lines = (line.strip() for line in path.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]
