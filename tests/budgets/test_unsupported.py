"""A wave of unsupported questions is told once, from the request to the operator."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cacheserver.calibration.states import encode
from cacheserver.core.evidence import Evidence
from cacheserver.matching.calibration import Label
from cacheserver.simulated import Directives
from tests.house import ADMIN_KEY, House, came_from

ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
KNOWN = "How do I reset my password?"
WAVE = [
    f"{ask} {verb} {what}?"
    for ask, verb, what in itertools.product(
        ("What is the way to", "Where do I go to", "Which steps do I take to", "How can I"),
        ("reset", "change", "recover"),
        ("the password of my account", "my login password", "my forgotten password"),
    )
]


def answering(body: Mapping[str, Any]) -> Directives:
    return Directives(text="Open the settings, choose security and press reset; a mail follows.")


async def teach(house: House, entry_id: str) -> None:
    """Labels of hits whose questions all lay next to stored ones, closer than any of `WAVE`."""
    entry = await house.parts.calibration.feedback._entries.by_id("default", entry_id)
    assert entry is not None
    states = house.parts.calibration.feedback._states
    for n in range(600):
        probability = 0.5 + n % 50 / 100
        found = Evidence(
            0.97,
            0.3,
            1.0,
            1.0,
            0.95,
            4.0,
            company=10,
            group=f"g{n % 20}",
            recorded_probability=probability,
        )
        label = Label(
            evidence=found,
            right=True,
            weight=1.0,
            source="miss",
            served=False,
            embedder=states.embedder,
            caller=f"caller {n % 60}",
        )
        row = encode(label)
        row["evidence"]["crowd"] = 0.99 + n % 7 / 1_000
        await states._labels.add("default", entry.scope, row)


async def unsupported_alerts(house: House) -> list[Mapping[str, Any]]:
    await house.parts.alerts.check()
    shown = (await house.http.get("/admin/v1/alerts", headers=ADMIN)).json()["alerts"]
    return [one for one in shown if one["kind"] == "unsupported"]


async def an_hour(house: House, number: int) -> None:
    for n in range(20):
        system = "You are a calculator."
        answer = await house.ask(f"What is {number} times {100 + n}?", system=system)
        assert came_from(answer)[1] != "unsupported"
    house.clock.ahead_s += 3_600


async def test_a_wave_is_told_once(tmp_path: Path) -> None:
    async with House.open(tmp_path, claude=answering, similarity=None, target=0.5) as house:
        for number in range(6):
            await an_hour(house, number)
            assert await unsupported_alerts(house) == []
        house.clock.ahead_s += 3_600
        await teach(house, (await house.ask(KNOWN)).headers["x-cache-entry"])
        reasons = Counter([came_from(await house.ask(text)) for text in WAVE])
        strange = reasons["miss", "unsupported"]
        assert strange >= 20
        (alert,) = await unsupported_alerts(house)
        assert (alert["tenant"], alert["facts"]["unsupported"]) == ("default", strange)
        assert alert["facts"]["usual"] == 0
        assert "password" not in str(alert)
        assert await unsupported_alerts(house) == [alert]  # and not again
        metrics = (await house.http.get("/metrics", headers=ADMIN)).text
        assert 'cacheserver_alerts_total{kind="unsupported"} 1.0' in metrics
