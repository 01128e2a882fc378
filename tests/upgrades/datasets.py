"""Make a data directory as a server of this checkout leaves it, with some of everything.

    git archive COMMIT | tar -x -C /tmp/then && cd /tmp/then
    cp -r CHECKOUT/tests/upgrades tests/ && python -m tests.upgrades.datasets FILE.tar.xz

It uses only what a server of schema 1 had from the first, so that older ones can run it. What it
asked, and was told, is in `made.json` beside the store.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from cacheserver.calibration.labels import Labels
from tests.batches.house import QUICK
from tests.house import ADMIN_KEY, MODEL, House

LONG_S = 365 * 86_400  # the longest there is
SCOPE = "a scope with a label"
ADMIN = {"x-api-key": ADMIN_KEY}


async def fill(data: Path) -> dict[str, Any]:
    async with House.open(data, upstream="simulated", max_ttl_s=LONG_S, pace=QUICK) as house:
        key = await house.key("acme")
        mine = {"x-api-key": key}
        rules = {
            "default_ttl_s": LONG_S,
            "max_ttl_s": LONG_S,
            "bar": {"similarity": 0.97},
            "budgets": {"monthly": {"usd": 50}},
        }
        put = await house.http.put("/admin/v1/tenants/acme", json=rules, headers=ADMIN)
        assert put.status_code == 200, put.text
        answers = {}
        for text in ("What is a refund?", "What is an invoice?", "How is a password made?"):
            answer = await house.ask(text, key=key, headers={"x-cache-tags": "help"})
            assert answer.status_code == 200, answer.text
            answers[text] = answer.json()["content"][0]["text"]
        hit = await house.ask("What is an invoice?", key=key)
        assert hit.headers["x-cache"] == "exact"
        namespace = {"level": "namespace", "name": "default", "bar": {"target": 0.02}, "who": "ops"}
        bar = await house.http.put("/admin/v1/tenants/acme/bars", json=namespace, headers=ADMIN)
        assert bar.status_code == 200, bar.text
        feedback = {"verdict": "good", "decision_id": hit.headers["x-cache-decision"]}
        good = await house.http.post("/v1/feedback", json=feedback, headers=mine)
        assert good.status_code == 200, good.text
        await Labels(house.parts.decision_log._redis).add("acme", SCOPE, {"n": 1})
        params = {
            "model": MODEL,
            "max_tokens": 50,
            "messages": [{"role": "user", "content": "What is an invoice, in one line?"}],
        }
        batch = await house.http.post(
            "/v1/messages/batches",
            json={"requests": [{"custom_id": "one", "params": params}]},
            headers=mine,
        )
        assert batch.status_code == 200, batch.text
        url = f"/v1/messages/batches/{batch.json()['id']}"
        while (job := await house.http.get(url, headers=mine)).json()["ended_at"] is None:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        await house.parts.ledger.flush()
        await house.parts.decision_log.flush()
        usage = await house.http.get("/v1/usage", headers=mine)
        history = await house.http.get("/admin/v1/tenants/acme/bars/history", headers=ADMIN)
        return {
            "made_at": time.time(),
            "key": key,
            "answers": answers,
            "job": job.json(),
            "usage": usage.json(),
            "history": history.json(),
            "stats": (await house.http.get("/v1/stats", headers=mine)).json(),
        }


def main() -> None:
    with tempfile.TemporaryDirectory() as made:
        data = Path(made) / "data"
        told = asyncio.run(fill(data))
        (data / "made.json").write_text(json.dumps(told, indent=1))
        with tarfile.open(sys.argv[1], "w:xz") as packed:
            packed.add(data / "made.json", "made.json")
            for path in sorted((data / "store" / "appendonlydir").iterdir()):
                packed.add(path, f"store/appendonlydir/{path.name}")


if __name__ == "__main__":
    main()
