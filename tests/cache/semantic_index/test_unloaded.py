"""Names of scopes that are not in memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.cache.semantic_index import unloaded
from cacheserver.cache.semantic_index.unloaded import Unloaded, pack_all, unpack_all
from tests.cache.semantic_index.servers import name

scopes = st.sampled_from(["a", "b", "c"])
numbers = st.integers(0, 20)  # many zeros: a name is also found across the border of two others
steps = st.one_of(
    st.tuples(st.just("add"), scopes, numbers),
    st.tuples(st.just("remove"), scopes, numbers),
    st.tuples(st.just("discard"), scopes, st.sets(numbers)),
    st.tuples(st.just("pop"), scopes),
)


@given(st.lists(steps, max_size=40))
def test_names_are_kept_as_a_list_by_scope_keeps_them(plan: list[tuple[object, ...]]) -> None:
    held, oracle = Unloaded(), dict[str, list[str]]()
    for step in plan:
        match step:
            case ("add", str(scope), int(number)):
                if scope not in held:
                    held.put(scope, b"")
                held.add(scope, name(number))
                oracle.setdefault(scope, []).append(name(number))
            case ("remove", str(scope), int(number)):
                was_in = name(number) in oracle.get(scope, [])
                assert held.holds(scope, name(number)) == was_in
                assert held.remove(scope, name(number)) == was_in
                oracle[scope] = [one for one in oracle.get(scope, []) if one != name(number)]
            case ("discard", str(scope), set(some)):
                gone = {name(number) for number in some}
                before = oracle.get(scope, [])
                oracle[scope] = [one for one in before if one not in gone]
                assert held.discard(scope, gone) == len(before) - len(oracle[scope])
            case ("pop", str(scope)):
                assert unpack_all(held.pop(scope)) == oracle.pop(scope, [])
        assert len(held) == sum(map(len, oracle.values()))
        for scope, names in oracle.items():
            last = [one for at, one in enumerate(names) if one not in names[at + 1 :]]
            assert held.names_of(scope) == last
    copied = held.copy()
    assert {scope: unpack_all(packed) for scope, packed in copied.items()} == {
        scope: names for scope, names in oracle.items() if names
    }
    assert unloaded.read(unloaded.write(copied)) == copied


def test_pages_go_over_all_names_and_begin_again() -> None:
    held = Unloaded()
    for scope in range(7):
        held.put(str(scope), pack_all(name(scope * 1_000 + n) for n in range(400)))
    for _ in range(2):
        seen = []
        while page := held.next_page():
            seen += page
            assert len(page) <= 1_400
            if len(page) < 1_000:
                break
        assert len(seen) == len(set(seen)) == 2_800
        assert (name(3_007), "3") in seen


def test_a_scope_is_forgotten_once_it_is_empty() -> None:
    held = Unloaded()
    held.put("a", pack_all([name(1)]))
    held.forget_empty("a")
    assert "a" in held
    held.remove("a", name(1))
    held.forget_empty("a")
    held.forget_empty("b")
    assert held.scopes() == []


@pytest.mark.parametrize("damage", [b"x", b"\xff\xff\xff\x00rest"])
def test_what_is_damaged_is_refused(damage: bytes) -> None:
    whole = unloaded.write({"a": pack_all([name(1), name(2)])})
    for bad in (damage, whole[:-1], whole + b"x"):
        with pytest.raises(ValueError, match=r"names of scopes|JSON|unexpected|content"):
            unloaded.read(bad)
