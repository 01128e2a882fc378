"""Remembered vetoes are those that the language finds, whichever are enabled."""

from __future__ import annotations

from itertools import permutations

from cacheserver.calibration.recalled_vetoes import RecalledVetoes, VetoMemory
from cacheserver.languages.rules import languages
from cacheserver.matching.language import ALL_VETOES, VETO_NAMES, vetoes_between

TEXTS = (
    "How do I enable dark mode?",
    "How do I disable dark mode?",
    "Is 5 kg more than 7 kg in Paris?",
    "Is 5 kg more than 8 lb in Oslo?",
    "Wie aktiviere ich den Dunkelmodus?",
    "",
)


def test_a_remembered_pair_has_the_vetoes_of_a_fresh_one() -> None:
    rules, memory = languages(), VetoMemory(most=20)
    found: set[str] = set()
    for enabled in (ALL_VETOES, frozenset({"antonym"}), ALL_VETOES - {"numeric"}, frozenset()):
        recalled = RecalledVetoes(rules, memory)
        for one, other in permutations(TEXTS, 2):
            for _ in range(2):
                fired = vetoes_between(
                    recalled.read(one),
                    recalled.read(other),
                    enabled,
                    recalled,  # type: ignore[arg-type]
                )
                assert fired == vetoes_between(
                    rules.profile(one), rules.profile(other), enabled, rules
                )
                found.update(fired)
    assert len(found & {*VETO_NAMES}) >= 3
    assert not any(isinstance(value, str) for value in memory._fired)
