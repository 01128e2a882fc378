"""Corroboration, over any sequence of people and answers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from cacheserver.cache import corroboration
from cacheserver.core.types import Candidate, Entry, Query, Tenant
from tests.cache.entries import entry
from tests.cache.queries import query

PLAIN = query(tenant=Tenant("acme", corroborate=True))
OFF = query(tenant=Tenant("acme"))

people = st.sampled_from([None, "ann", "bob", "cem"])
# Who asks, and what Claude would tell them: "spam" is what a prompt made it say.
asking = st.tuples(people, st.sampled_from(["right", "spam"]))


@dataclass
class Cache:
    """Entries that are similar to whatever is asked, as decision and learning treat them."""

    entries: dict[str, Entry]
    answers: dict[str, str]
    marked: set[str]

    def served(self, asked: Query) -> Entry | None:
        for one in self.entries.values():
            candidate = Candidate(one, 0.99, corroborated=one.id in self.marked)
            if corroboration.may_serve(asked, candidate):
                return one
        return None

    def answered(self, asked: Query, answer: str) -> None:
        fresh = entry(actor=asked.actor)
        agreeing = [one for id, one in self.entries.items() if self.answers[id] == answer]
        told = corroboration.corroborated(fresh, agreeing)
        self.marked |= {one.id for one in told}
        self.entries[fresh.id], self.answers[fresh.id] = fresh, answer


@given(st.lists(asking, max_size=30))
def test_an_uncorroborated_entry_never_serves_another_by_similarity(
    asked: list[tuple[str | None, str]],
) -> None:
    cache = Cache({}, {}, set())
    witnesses: dict[str, set[str]] = {"right": set(), "spam": set()}
    for who, answer in asked:
        this = replace(PLAIN, actor=who)
        found = cache.served(this)
        if found is not None:
            seconds = witnesses[cache.answers[found.id]]
            own = who is not None and found.actor == who
            assert own or len(seconds) >= 2
            continue
        cache.answered(this, answer)
        witnesses[answer] |= set() if who is None else {who}


@given(st.lists(asking, max_size=30), people)
def test_one_who_repeats_himself_is_never_a_second_witness(
    asked: list[tuple[str | None, str]], other: str | None
) -> None:
    cache = Cache({}, {}, set())
    for _, answer in asked:
        cache.answered(replace(PLAIN, actor="eve"), answer)
        cache.answered(replace(PLAIN, actor=None), answer)
    assert cache.marked == set()
    assert cache.served(replace(PLAIN, actor=other)) is None


def test_a_second_witness_vouches_for_both_and_for_no_answer_of_the_nameless() -> None:
    ann, bob, nameless = entry(actor="ann"), entry(actor="bob"), entry()
    assert corroboration.corroborated(bob, [ann, nameless]) == [bob, ann]
    assert corroboration.corroborated(bob, [nameless]) == []
    assert corroboration.corroborated(nameless, [ann, bob]) == []
    assert corroboration.corroborated(bob, []) == []


def test_where_it_is_not_asked_for_everybody_is_served() -> None:
    assert corroboration.may_serve(OFF, Candidate(entry(), 0.99))
    assert not corroboration.may_serve(PLAIN, Candidate(entry(), 0.99))
    assert corroboration.may_serve(PLAIN, Candidate(entry(), 0.99, corroborated=True))
