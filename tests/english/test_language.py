"""English keeps the contract of the port for word rules."""

from __future__ import annotations

from cacheserver.english.language import english
from cacheserver.english.vetoes import VETOES
from cacheserver.matching.features import COUNTED, NAMES
from cacheserver.matching.language import ALL_VETOES, VETO_NAMES, Language


def test_there_is_a_rule_for_each_veto_in_the_order_of_their_names() -> None:
    assert tuple(VETOES) == VETO_NAMES
    assert COUNTED <= ALL_VETOES


def test_there_is_a_number_for_each_feature() -> None:
    language: Language = english()
    a, b = language.profile("How do I pay?"), language.profile("Where is my invoice?")
    difference = language.compare(a, b)
    assert difference is not None
    assert len(language.features(difference, ())) == len(NAMES)
