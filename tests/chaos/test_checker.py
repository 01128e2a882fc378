"""For every kind of violation there is a history that has it, and the same one without it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from scripts.chaos_run.checker import RULES, Limits, check
from scripts.chaos_run.history import (
    MODEL,
    TALK,
    AnswerText,
    Batch,
    BatchLookup,
    Called,
    Charge,
    Closed,
    Exchange,
    Fault,
    History,
    Listing,
    Removed,
    Revoked,
    Sample,
    Turn,
    tag_of,
)
from scripts.chaos_run.rules.money import TRY_NANODOLLARS

QUESTION = "What is part number 17"


def answer_text(
    at: float, *, whose: str = "one/default/shared", question: str = QUESTION
) -> AnswerText:
    return AnswerText(whose, question, f"nonce{at}", at)


def put(at: float, **given: Any) -> Exchange:
    """An answer that Claude was asked for at `at`, acknowledged half a second later."""
    event = Exchange(
        start=at - 0.1, end=at + 0.5, tenant="one", namespace="default", question=QUESTION,
        key="k1", limit_s=20, status=200, outcome="miss", reason="empty", entry=f"entry{at}",
        ttl_s=3_600, decision=f"dec{at}", content=answer_text(at), stored=True,
    )  # fmt: skip
    return replace(event, **given)


def hit(at: float, of: Exchange, **given: Any) -> Exchange:
    event = replace(
        of, start=at, end=at + 0.1, outcome="exact", reason="identical", stored=False,
        decision=f"dec{at}", limit_s=2,
    )  # fmt: skip
    return replace(event, **given)


def probe(at: float, **given: Any) -> Exchange:
    event = put(
        at, status=404, reason="only-if-cached", entry=None, ttl_s=None, decision=None,
        content=None, stored=False, probe=True,
    )  # fmt: skip
    return replace(event, **given)


def kinds(history: History) -> set[str]:
    return {violation.kind for violation in check(history, Limits())}


FIRST = put(100)
PURGE = Removed(110, 110.2, "one", "purge", "tag", tag_of(QUESTION))


def test_the_same_question_in_another_conversation_is_no_loss() -> None:
    answers = [answer_text(at, whose=f"one/{TALK}/shared") for at in (100, 110)]
    talks = [put(one.at, namespace=TALK, content=one) for one in answers]
    assert kinds(History(exchanges=talks)) == set()


def test_a_history_in_which_all_is_well_has_no_violation() -> None:
    history = History(
        exchanges=[
            FIRST,
            hit(101, FIRST),
            hit(110.1, FIRST),  # while it is purged either is right
            put(120, refresh=True, reason="refresh"),
            hit(121, put(120)),
            hit(130, FIRST, outcome="semantic", namespace="default"),
            replace(probe(131), outcome="exact", status=200, content=answer_text(120)),
            put(140, content=None, status=None, outcome="", stored=False),
        ],
        removed=[Removed(99, 99.5, "one", "purge", "namespace", "default")],
    )
    assert kinds(history) == set()


@pytest.mark.parametrize(
    ("kind", "wrong", "right"),
    [
        ("status-500", hit(101, FIRST, status=500, content=None), hit(101, FIRST, status=502)),
        ("empty", hit(101, FIRST, content=None, blank=True), hit(101, FIRST)),
        (
            "empty",
            put(101, content=None, blank=True),
            put(101, content=None, blank=True, stored=False),
        ),
        ("malformed", hit(101, FIRST, broken="no message"), hit(101, FIRST)),
        ("over-limit", hit(101, FIRST, end=104), hit(101, FIRST, end=104, lost_s=2)),
        ("foreign", hit(101, FIRST, tenant="two"), hit(101, FIRST)),
        ("foreign", hit(101, FIRST, namespace="other"), hit(101, FIRST)),
        (
            "foreign",
            hit(101, FIRST, content=answer_text(90, whose="one/default/secret")),
            put(
                101,
                secret=True,
                outcome="bypass",
                content=answer_text(90, whose="one/default/secret"),
            ),
        ),
        (
            "wrong-answer",
            hit(101, FIRST, question="What is part number 18"),
            hit(101, FIRST, question="What's part number 17", outcome="semantic"),
        ),
        (
            "wrong-answer",
            hit(101, FIRST, question="What is part number 18", outcome="semantic"),
            hit(101, FIRST),
        ),
        ("after-deadline", hit(3_800, FIRST), hit(3_800, FIRST, outcome="stale")),
        (
            "after-deadline",  # nobody saw it made
            hit(3_800, FIRST, content=answer_text(1), entry=None),
            hit(3_600, FIRST, content=answer_text(1), entry=None),
        ),
        ("lost", probe(101), replace(probe(101), outcome="exact", status=200)),
        (
            "joined",
            put(101, outcome="coalesced", content=FIRST.content, off="output-cap"),
            put(101, outcome="coalesced", content=FIRST.content),
        ),
        ("open", put(101, key=""), put(101, key="", status=401, content=None, stored=False)),
        ("lost", put(101), put(101, reason="refresh")),
        ("lost", probe(101), probe(3_700)),  # its deadline is over
    ],
)
def test_what_an_answer_shows(kind: str, wrong: Exchange, right: Exchange) -> None:
    assert kind in kinds(History(exchanges=[FIRST, wrong]))
    assert kind not in kinds(History(exchanges=[FIRST, right]))


def test_an_error_of_claudes_is_passed_on_as_it_is() -> None:
    failed = hit(101, FIRST, status=500, content=None, outcome="failed", request_id="req_line1")
    history = History(exchanges=[FIRST, failed])
    assert kinds(history) == {"status-500"}
    history.passed = {"req_line1": 500}
    assert kinds(history) == set()
    history.passed = {"req_line1": 529}
    assert kinds(history) == {"passed-on"}
    history.passed = {"req_line2": 500}
    assert kinds(history) == {"status-500"}
    called = Called(1, 2, "GET /v1/models", 500, request_id="req_line2")
    assert kinds(replace(history, exchanges=[FIRST], called=[called])) == set()
    assert kinds(History(called=[called])) == {"status-500"}


BATCH = Batch(100, 100.2, "one", "default", "t1", "msgbatch_1", {"a": QUESTION})
SHOWN = BatchLookup(130, 130.1, BATCH.id, 200, ended_at=104.0, items={"a": answer_text(103)})
GONE = BatchLookup(130, 130.1, BATCH.id, 404)


def batch(look: BatchLookup, *removed: Removed) -> set[str]:
    return kinds(History(exchanges=[FIRST], batches=[BATCH], lookups=[look], removed=list(removed)))


def test_a_batch_has_answers_to_its_own_questions() -> None:
    assert batch(SHOWN) == set()
    foreign = answer_text(103, whose="two/default/shared")
    assert batch(replace(SHOWN, items={"a": foreign})) == {"foreign"}
    other = answer_text(103, question="What is part number 18")
    assert batch(replace(SHOWN, items={"a": other})) == {"wrong-answer"}
    alike = answer_text(103, question="What's part number 17")
    assert batch(replace(SHOWN, items={"a": alike})) == set()


def test_a_batch_that_was_taken_is_there_until_it_is_erased() -> None:
    assert batch(GONE) == {"lost"}
    assert batch(replace(GONE, status=503)) == set()
    erased = Removed(110, 110.2, "one", "erase", "tag", "t1")
    assert batch(GONE, erased) == batch(GONE, replace(erased, by="namespace", name="default"))
    assert batch(GONE, erased) == set()
    assert batch(GONE, replace(erased, end=math.inf)) == set()  # it may have been done
    for other in (
        replace(erased, kind="purge"),
        replace(erased, name="t2"),
        replace(erased, tenant="two"),
        replace(erased, by="entry", name="entry100"),
        replace(erased, start=90, end=90.2),
        replace(erased, start=140, end=140.2),
    ):
        assert batch(GONE, other) == {"lost"}


def test_what_was_erased_is_in_no_results() -> None:
    erased = Removed(110, 110.2, "one", "erase", "tag", "t1")
    assert batch(SHOWN, erased) == {"after-erase"}
    assert batch(replace(SHOWN, items={}), erased) == set()
    assert batch(SHOWN, replace(erased, kind="purge")) == set()  # results are not what is stored
    assert batch(replace(SHOWN, ended_at=111), erased) == set()  # a second pass comes for those
    assert batch(replace(SHOWN, start=110.1), erased) == set()
    by_entry = replace(erased, by="entry", name="entry103")
    shown = History(batches=[BATCH], lookups=[SHOWN], removed=[by_entry])
    assert kinds(replace(shown, exchanges=[put(103)])) == {"after-erase"}
    assert kinds(replace(shown, exchanges=[put(104, entry="entry103")])) == set()


@pytest.mark.parametrize("kind", ["purge", "erase", "feedback"])
def test_what_was_removed_is_in_no_later_batch(kind: str) -> None:
    removed = Removed(98, 98.2, "one", kind, "tag", tag_of(QUESTION))
    assert batch(replace(SHOWN, items={"a": answer_text(97)}), removed) == {f"after-{kind}"}
    assert batch(replace(SHOWN, items={"a": answer_text(99)}), removed) == set()
    under_way = replace(removed, start=99.5, end=100.1)
    assert batch(replace(SHOWN, items={"a": answer_text(99)}), under_way) == set()


def test_a_turn_that_was_kept_is_there() -> None:
    turns = [
        Turn(101, "one", "talk", "a"),
        Turn(102, "one", "talk", "a"),
        Turn(140, "one", "t", "b"),
    ]
    whole = Listing(130, "one", "talk", ("a", "b", "a"))
    assert kinds(History(turns=turns, listings=[whole])) == set()
    for questions in (("a", "b"), (), None):
        assert kinds(History(turns=turns, listings=[replace(whole, questions=questions)])) == {
            "lost"
        }
    assert (
        kinds(History(turns=turns, listings=[replace(whole, talk="other", questions=None)]))
        == set()
    )


@pytest.mark.parametrize("by", ["tag", "entry", "namespace"])
@pytest.mark.parametrize("kind", ["purge", "erase", "feedback"])
def test_what_was_removed_is_served_no_more(kind: str, by: str) -> None:
    name = {"tag": tag_of(QUESTION), "entry": "entry100", "namespace": "default"}[by]
    removed = Removed(110, 110.2, "one", kind, by, name)
    served = History(exchanges=[FIRST, hit(111, FIRST)], removed=[removed])
    assert kinds(served) == {f"after-{kind}"}
    served.removed = [replace(removed, end=math.inf)]  # it may have failed
    assert kinds(served) == set()
    served.removed = [replace(removed, tenant="two")]
    assert kinds(served) == set()
    # What was removed is not lost, nor what may have been.
    assert kinds(History(exchanges=[FIRST, probe(111)], removed=[removed])) == set()
    unsure = replace(removed, end=math.inf)
    assert kinds(History(exchanges=[FIRST, probe(111)], removed=[unsure])) == set()
    assert kinds(History(exchanges=[FIRST, probe(111)])) == {"lost"}


def test_an_answer_that_was_under_way_while_it_was_purged_is_not_served() -> None:
    late = put(109.9, start=109.8, end=112)
    assert kinds(History(exchanges=[late, hit(113, late)], removed=[PURGE])) == {"after-purge"}
    after = put(110.1)
    assert kinds(History(exchanges=[after, hit(113, after)], removed=[PURGE])) == set()


def test_what_was_replaced_is_served_no_more() -> None:
    newer = put(120, refresh=True, reason="refresh")
    assert kinds(History(exchanges=[FIRST, newer, hit(121, FIRST)])) == {"after-refresh"}
    assert kinds(History(exchanges=[FIRST, newer, hit(120.2, FIRST)])) == set()


def test_a_call_that_nobody_saw_end_may_have_replaced_what_was_stored() -> None:
    left = put(102, end=130, lost_s=math.inf, status=None, outcome="", stored=False, content=None)
    assert kinds(History(exchanges=[FIRST, left, probe(125)])) == set()


def test_a_key_that_was_revoked_lets_nobody_in_and_every_other_does() -> None:
    revoked = Revoked(90, 90.1, "k1")
    assert kinds(History(exchanges=[FIRST], revoked=[revoked])) == {"after-revocation"}
    assert kinds(History(exchanges=[FIRST], revoked=[Revoked(99.8, 99.95, "k1")])) == set()
    assert kinds(History(exchanges=[FIRST], revoked=[Revoked(90, math.inf, "k1")])) == set()
    refused = replace(FIRST, status=401, content=None, stored=False)
    assert kinds(History(exchanges=[refused])) == {"key-refused"}
    assert kinds(History(exchanges=[refused], revoked=[revoked])) == set()


def test_a_bar_that_holds_is_kept() -> None:
    semantic = hit(150, FIRST, outcome="semantic")
    closed = Closed(149.9, 200, "one", "default")
    assert kinds(History(exchanges=[FIRST, semantic], closed=[closed])) == {"below-bar"}
    assert kinds(History(exchanges=[FIRST, hit(150, FIRST)], closed=[closed])) == set()
    assert kinds(History(exchanges=[FIRST, semantic], closed=[replace(closed, end=150)])) == set()


def test_other_requests_have_limits_too() -> None:
    slow = Called(1, 9, "GET /v1/stats", 200, limit_s=5)
    assert kinds(History(called=[slow])) == {"over-limit"}
    assert kinds(History(called=[replace(slow, lost_s=4)])) == set()
    assert kinds(History(called=[replace(slow, end=2, status=500)])) == {"status-500"}
    assert kinds(History(called=[replace(slow, end=2, wrong="no list")])) == {"wrong"}


def row(event: Exchange, **given: Any) -> dict[str, Any]:
    return {
        "id": event.decision, "tenant": event.tenant, "model": None, "model_asked": MODEL,
        "claude_message_id": "msg1", "cost_nanodollars": 700, "spent_nanodollars": 0,
        "unknown_least_nanodollars": None, "unknown_most_nanodollars": None,
        "at": "1970-01-01T00:01:40Z", **given,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "invoice"),
    [
        ([row(FIRST, cost_nanodollars=701)], [Charge(100, "msg1", 700)]),  # a changed row
        ([row(FIRST), row(FIRST)], [Charge(100, "msg1", 700)]),  # one too many
        ([row(FIRST), row(FIRST, id="other")], [Charge(100, "msg1", 700)]),
        ([row(FIRST)], []),  # nobody charged it
        ([row(FIRST)], [Charge(100, "msg1", 700), Charge(100, "msg2", 700)]),  # no row for it
        ([row(FIRST, id="other")], [Charge(100, "msg1", 700)]),  # none for the answer
        ([], [Charge(100, "msg1", 700)]),  # none at all
    ],
)
def test_the_books_agree(rows: list[dict[str, Any]], invoice: list[Charge]) -> None:
    assert kinds(History(exchanges=[FIRST], rows=rows, invoice=invoice)) == {"ledger"}


def test_what_nobody_can_know_is_no_difference_between_the_books() -> None:
    right = History(exchanges=[FIRST], rows=[row(FIRST)], invoice=[Charge(100, "msg1", 700)])
    assert kinds(right) == set()
    right.invoice += [Charge(130, "msg2", 700)]
    assert kinds(right) == {"ledger"}
    killed = replace(right, faults=[Fault(131, 135, "kill-server")])
    assert kinds(killed) == set()
    batched = replace(right, batches=[BATCH], lookups=[replace(SHOWN, ended_at=None, items={})])
    batched.invoice = [right.invoice[0], replace(right.invoice[1], batched=True)]
    assert kinds(batched) == set()
    assert kinds(replace(batched, lookups=[*batched.lookups, SHOWN])) == {"ledger"}  # it has ended
    assert kinds(replace(batched, invoice=right.invoice)) == {"ledger"}
    listings = row(
        FIRST,
        id="lost",
        at="1970-01-01T00:02:12Z",
        claude_message_id=None,
        cost_nanodollars=None,
        unknown_least_nanodollars=0,
        unknown_most_nanodollars=700,
    )
    assert kinds(replace(right, rows=[row(FIRST), listings])) == set()
    for wrong in ({"unknown_most_nanodollars": 699}, {"at": "1970-01-01T00:12:12Z"}):
        assert kinds(replace(right, rows=[row(FIRST), listings | wrong])) == {"ledger"}
    assert kinds(replace(right, rows=[row(FIRST), listings | {"model_asked": "another"}])) == {
        "ledger"
    }
    # However much they may have cost: so many calls as there were tries, and no more.
    listings["unknown_most_nanodollars"] = 2 * TRY_NANODOLLARS
    right.invoice += [Charge(131, "msg3", 700)]
    assert kinds(replace(right, rows=[row(FIRST), listings])) == set()
    right.invoice += [Charge(131, "msg4", 700)]
    assert kinds(replace(right, rows=[row(FIRST), listings])) == {"ledger"}


def test_a_budget_is_overrun_by_what_was_let_in_last_alone() -> None:
    rows = [row(FIRST, id=f"dec{n}", tenant="poor", claude_message_id=f"msg{n}") for n in range(5)]
    invoice = [Charge(100, f"msg{n}", 700) for n in range(5)]
    history = History(rows=rows, invoice=invoice, budgets={"poor": 2_100})
    assert kinds(history) == set()
    assert kinds(replace(history, budgets={"poor": 2_099})) == {"budget"}
    assert kinds(replace(history, budgets={"other": 0})) == set()


def test_memory_files_and_tasks_stay() -> None:
    calm = [Sample(at, (0, 1), 300 * 2**20, 60, 30) for at in (0.0, 10.0, 20.0)]
    assert kinds(History(samples=calm)) == set()
    for kind, grown in (
        ("memory", Sample(30, (0, 1), 500 * 2**20, 60, 30)),
        ("descriptors", Sample(30, (0, 1), 300 * 2**20, 109, 30)),
        ("tasks", Sample(30, (0, 1), 300 * 2**20, 60, 79)),
    ):
        assert kinds(History(samples=[*calm, grown])) == {kind}
        for other in ((0, 2), (1, 1)):  # started again, and another server
            assert kinds(History(samples=[*calm, replace(grown, life=other)])) == set()


def test_every_rule_is_broken_above() -> None:
    """A rule without a history that breaks it may as well not be there."""
    broken = History(
        exchanges=[FIRST, hit(111, FIRST, status=500, broken="x", end=190, tenant="one")],
        removed=[PURGE],
    )
    assert len(RULES) == 17
    assert {"status-500", "malformed", "over-limit", "after-purge"} <= kinds(broken)
