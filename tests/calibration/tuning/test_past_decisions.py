"""Past decisions that are remembered are those of the store, and hold no text."""

from __future__ import annotations

from typing import Any

import pytest

from cacheserver.calibration.past_decisions import PastDecisions
from cacheserver.core import json_text
from cacheserver.core.errors import StoreError
from cacheserver.english.language import english
from cacheserver.languages.rules import languages
from cacheserver.matching.language import ALL_VETOES, Language, vetoes_between
from cacheserver.observability.metrics import Metrics
from tests.house import ADMIN_KEY, House

ADMIN = {"x-api-key": ADMIN_KEY}
TEXTS = ("How do I enable dark mode?", "How do I disable dark mode?", "Is 5 kg more than 7 kg?", "")


class Log:
    """A decision log that counts what is read of it."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.read: list[str] = []

    async def near(self, tenant: str) -> list[dict[str, Any]]:
        raise NotImplementedError

    async def near_stored(self, tenant: str) -> list[tuple[str, bytes]]:
        return [*self.stored.items()]

    async def decoded(
        self, tenant: str, named: list[tuple[str, bytes]]
    ) -> list[dict[str, Any] | None]:
        self.read += [id for id, _ in named]
        return [json_text.loads(value) for _, value in named]

    def record(self, id: str, asked: str, stored: str, **given: Any) -> None:
        row = {"entry": "e", "question": stored, "similarity": 0.9, "penalty": 0.0}
        row |= {"probability": 0.5, "veto": None, "supported": None}
        shown = {"kind": "miss", "candidates": [row]}
        found = {"id": id, "at": 1.0, "scope": "s", "namespace": "n", "fingerprint": "f"}
        found |= {"asked": asked, "decision": shown, "cost_usd": "0.000000003", **given}
        self.stored[id] = json_text.dumps(found)


def reader(log: Log, language: Language, metrics: Metrics | None = None) -> PastDecisions:
    return PastDecisions(
        log,  # type: ignore[arg-type]
        made=lambda row: "embedder" not in row,
        language=language,
        metrics=metrics or Metrics(),
    )


@pytest.mark.parametrize("language", [english(), languages()])
async def test_a_remembered_pair_has_the_vetoes_of_a_fresh_one(language: Language) -> None:
    log = Log()
    pairs = {
        f"{a}.{b}": (one, other) for a, one in enumerate(TEXTS) for b, other in enumerate(TEXTS)
    }
    for id, pair in pairs.items():
        log.record(id, *pair)
    pasts = reader(log, language)
    for _ in range(2):
        for past in (await pasts.of("t")).decisions:
            one, other = (language.profile(text) for text in pairs[past.id])
            fired = past.candidates[0].fired
            assert fired == vetoes_between(one, other, ALL_VETOES, language)
    assert sorted(log.read) == sorted(pairs)  # each once
    assert not any(text and text in repr([*pasts._kept._kept.values()]) for text in TEXTS)


async def test_what_changed_in_the_store_is_read_again_and_what_is_gone_is_gone() -> None:
    log = Log()
    log.record("one", "a?", "b?")
    log.record("two", "a?", "b?")
    log.record("another", "a?", "b?", embedder="another")
    pasts = reader(log, english())
    assert [past.worth for past in (await pasts.of("t")).decisions] == [3, 3]
    log.record("one", "a?", "b?", cost_usd="0.000000004")
    del log.stored["two"]
    assert [past.worth for past in (await pasts.of("t")).decisions] == [4]
    assert log.read == ["one", "two", "another", "one"]
    assert [past.worth for past in (await pasts.of("u")).decisions] == [4]
    assert log.read[4:] == ["one", "another"]  # of another tenant nothing is remembered


async def test_an_erased_question_is_in_no_dry_run_after_it(house: House) -> None:
    await house.ask("What is the capital of France?")
    await house.ask("What's the capital of France?")
    change = {"bar": {"similarity": 1.0}, "dry_run": True}
    path = "/admin/v1/tenants/default/bars"
    tried = (await house.http.put(path, headers=ADMIN, json=change)).json()["would_have"]
    assert tried["replayed"]["decisions"] == 1
    erased = await house.http.post(
        "/admin/v1/tenants/default/erase", headers=ADMIN, json={"tenant": "default"}
    )
    assert erased.status_code == 200, erased.text
    tried = (await house.http.put(path, headers=ADMIN, json=change)).json()["would_have"]
    assert (tried["replayed"]["decisions"], tried["questions"]["items"]) == (0, [])


async def test_decisions_are_read_once_before_the_first_dry_run_asks() -> None:
    log = Log()
    log.record("one", "a?", "b?")
    pasts = reader(log, english())
    pasts.prepare("t")
    pasts.prepare("another")  # one at a time
    assert len((await pasts.of("t")).decisions) == 1
    pasts.prepare("t")
    assert len((await pasts.of("t")).decisions) == 1
    assert log.read == ["one"]
    await pasts.close()


async def test_a_store_that_fails_in_the_background_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log, metrics = Log(), Metrics()
    log.record("one", "a?", "b?")
    pasts = reader(log, english(), metrics)

    async def fails(tenant: str) -> list[tuple[str, bytes]]:
        raise StoreError("away")

    with monkeypatch.context() as away:
        away.setattr(log, "near_stored", fails)
        pasts.prepare("t")
        with pytest.raises(StoreError):
            await pasts.of("t")
    assert b'cacheserver_swallowed_total{site="past-decisions"} 1.0' in metrics.render()
    assert len((await pasts.of("t")).decisions) == 1
    await pasts.close()


async def test_the_tuning_screen_prepares_dry_runs_of_its_tenant(house: House) -> None:
    await house.ask("What is the capital of France?")
    await house.ask("What is the capital city of France?")
    scope = (await house.http.get("/admin/v1/scopes?tenant=default", headers=ADMIN)).json()
    path = f"/admin/v1/scopes/default/{scope['items'][0]['scope']}/tuning"
    assert (await house.http.get(path, headers=ADMIN)).status_code == 200
    past = house.parts.calibration.what_if._decisions
    assert past._prepared is not None
    await past._prepared[1]
    assert len(past._kept) == 1
