"""Bars set and recorded, and those that labelled pairs ask for, through the front door."""

from __future__ import annotations

from typing import Any

from tests.api.admin import ADMIN, PARIS, SIMILAR, put
from tests.house import House, came_from


async def test_bars_are_tried_dry_set_and_recorded(house: House) -> None:
    path = "tenants/default/bars"
    dry = await put(house, path, bar={"similarity": 0.999}, dry_run=True, who="ann")
    assert dry["before"]["tenant"]["similarity"] == 0.95
    assert dry["after"]["tenant"]["similarity"] == 0.999
    await house.ask(PARIS)
    assert came_from(await house.ask(SIMILAR))[0] == "semantic"
    await put(house, path, bar={"exact_only": True}, who="ann")
    await house.ask(PARIS, headers={"x-cache-namespace": "faq"})
    await put(house, path, level="namespace", name="faq", bar={"target": 0.02}, who="bob")
    assert came_from(await house.ask("Whats the capital of France")) == ("miss", "exact-only")
    history = (await house.http.get(f"/admin/v1/{path}/history", headers=ADMIN)).json()
    assert [(c["who"], c["level"], c["name"]) for c in history["items"]] == [
        ("bob", "namespace", "faq"),
        ("ann", "tenant", ""),
    ]
    shown = (await house.http.get(f"/admin/v1/{path}", headers=ADMIN)).json()
    assert shown["tenant"]["exact_only"] is True
    assert shown["namespaces"]["faq"]["target"] == 0.02
    refusals: list[dict[str, Any]] = [
        {"bar": {"target": 0.6}},
        {"bar": {"target": 0}},
        {"bar": {}},
        {"bar": {"target": 0.1, "similarity": 0.9}},
        {"level": "scope", "name": "zz", "bar": {"target": 0.1}},
        {"level": "galaxy", "bar": {"target": 0.1}},
        {"level": "namespace", "name": "nobodys", "bar": None},
    ]
    for wrong in refusals:
        refused = await house.http.put(f"/admin/v1/{path}", headers=ADMIN, json=wrong)
        assert refused.status_code == 400, wrong


async def changes(house: House, tenant: str = "default") -> list[dict[str, Any]]:
    """The history, oldest first, read two at a time."""
    path, found, cursor = f"/admin/v1/tenants/{tenant}/bars/history", [], None
    while True:
        query = {"limit": "2", **({} if cursor is None else {"cursor": cursor})}
        page = (await house.http.get(path, params=query, headers=ADMIN)).json()
        found += page["items"]
        if (cursor := page["next"]) is None:
            return found[::-1]


async def test_a_bar_that_any_route_sets_is_in_the_history(house: House) -> None:
    """Also one that a change of mode removed, and none that stayed as it was."""
    await put(house, "tenants/default/bars", bar={"target": 0.02}, who="ann")
    await put(
        house,
        "tenants/default",
        default_ttl_s=60,
        bar={"target": 0.02},
        namespace_bars={"faq": {"exact_only": True}},
    )
    await put(house, "tenants/default", max_ttl_s=600, default_ttl_s=30)
    await put(house, "tenants/default/bars", bar=None)
    told = [
        (c["who"], c["level"], c["name"], c["before"], c["after"]) for c in await changes(house)
    ]
    assert told == [
        ("ann", "tenant", "", None, {"target": 0.02}),
        ("admin", "namespace", "faq", None, {"exact_only": True}),
        ("admin", "tenant", "", {"target": 0.02}, None),
    ]
    shown = (await house.http.get("/admin/v1/tenants/default/bars", headers=ADMIN)).json()
    assert shown["tenant"]["similarity"] == 0.95  # the server's


async def undo(house: House, status: int = 200, **fields: Any) -> dict[str, Any]:
    path = "/admin/v1/tenants/default/bars/undo"
    response = await house.http.post(path, headers=ADMIN, json=fields)
    assert response.status_code == status, response.text
    found = response.json()
    assert isinstance(found, dict)
    return found


async def test_changes_are_undone_one_by_one_and_that_is_in_the_history(house: House) -> None:
    await house.ask(PARIS, headers={"x-cache-namespace": "faq"})
    path = "tenants/default/bars"
    await put(house, path, bar={"similarity": 0.99})
    await put(house, path, bar={"similarity": 0.9, "vetoes_off": ["order"]})
    await put(house, path, level="namespace", name="faq", bar={"exact_only": True})
    await put(house, path, level="namespace", name="faq", bar=None)
    back = await undo(house, level="tenant", who="ann")  # not the last of all
    assert (back["after"]["tenant"]["similarity"], back["after"]["namespaces"]) == (0.99, {})
    assert back["undone"]["after"] == {"similarity": 0.9, "vetoes_off": ["order"]}
    assert (await undo(house))["after"]["namespaces"]["faq"]["exact_only"] is True
    assert (await undo(house))["after"]["namespaces"] == {}
    assert (await undo(house))["after"]["tenant"]["similarity"] == 0.95  # the server's
    await undo(house, 404)
    history = await changes(house)
    assert [c["after"] for c in history[4:]] == [
        {"similarity": 0.99},
        {"exact_only": True},
        None,
        None,
    ]
    undone = [history[at]["id"] for at in (1, 3, 2, 0)]
    assert [c["undoes"] for c in history] == [None, None, None, None, *undone]
    assert history[4]["who"] == "ann"
    await put(house, path, bar={"target": 0.02})
    assert (await undo(house))["after"]["tenant"]["similarity"] == 0.95
    for wrong in ({"level": "scope"}, {"level": "tenant", "name": "x"}, {"name": "x"}, {"why": 1}):
        await undo(house, 400, **wrong)


async def test_labelled_pairs_give_a_curve_and_a_bar_and_change_nothing(house: House) -> None:
    tsv = "query_a\tquery_b\tlabel\n" + "\n".join(
        f"{a}\t{b}\t{label}"
        for a, b, label in [
            (PARIS, SIMILAR, 1),
            ("How do I reset my password?", "How can I reset my password?", 1),
            ("How do I enable sync?", "How do I disable sync?", 0),
            ("Who wrote Hamlet?", "Where is the nearest pharmacy?", 0),
        ]
    )
    asked = {"tsv": tsv, "target": 0.5}
    found = (await house.http.post("/admin/v1/calibrate", headers=ADMIN, json=asked)).json()
    assert (found["pairs"], found["unread"], found["target"]) == (4, 0, 0.5)
    assert found["vetoed"] == 1  # "disable" for "enable": no bar serves it
    last = found["probability"]["curve"][-1]
    assert (last["hits"], last["wrong"]) == (3, 1)
    scores = [point["bar"] for point in found["similarity"]["curve"]]
    assert scores == sorted(scores, reverse=True)
    few = found["recommended"]
    assert few["bar"] is None
    assert "4 pairs without one wrong are needed to show a target of 0.5" in few["why"]
    assert "of the 4 given the vetoes let 3 through" in few["why"]
    refusals: list[tuple[dict[str, Any], str]] = [
        ({}, "pairs"),
        ({"tsv": "a\tb\n1\t2"}, "tsv"),
        ({"tsv": "query_a\tquery_b\tlabel\nx\ty"}, "tsv"),
        ({"pairs": [{"query_a": "x"}]}, "pairs.0.query_b"),
        ({"pairs": [], "target": 0.1}, "pairs"),
        ({"tsv": tsv, "target": 0.9}, "target"),
        ({"tsv": tsv, "tarjet": 0.1}, "tarjet"),
    ]
    for wrong, field in refusals:
        refused = await house.http.post("/admin/v1/calibrate", headers=ADMIN, json=wrong)
        assert refused.status_code == 400
        assert f"`{field}`" in refused.json()["error"]["message"]


async def test_labelled_pairs_teach_a_scope_if_asked_and_confirmed(house: House) -> None:
    await house.ask(PARIS)
    id = (await house.ask(SIMILAR)).headers["x-cache-decision"]
    scope = (await house.http.get(f"/v1/decisions/{id}")).json()["scope"]
    pairs = [
        *({"query_a": f"Where is {n}?", "query_b": f"Where's {n}?", "label": 1} for n in "abcdefg"),
        {"query_a": "Who wrote Hamlet?", "query_b": "Who wrote the play Hamlet?", "label": 0},
        {"query_a": "How do I enable sync?", "query_b": "How do I disable sync?", "label": 0},
    ]

    async def teach(status: int = 200, **lesson: Any) -> dict[str, Any]:
        asked = {"pairs": pairs, "teach": {"tenant": "default", "scope": scope, **lesson}}
        found = await house.http.post("/admin/v1/calibrate", headers=ADMIN, json=asked)
        assert found.status_code == status, found.text
        told: dict[str, Any] = found.json()
        return told

    states = house.parts.calibration.states
    dry = (await teach())["taught"]
    assert (dry["labels"], dry["counted"], dry["dry_run"]) == (8, 0, True)  # one is vetoed
    assert (await states.get("default", scope)).labels == ()
    for _ in range(2):  # sent again it counts once
        assert (await teach(confirm=True))["taught"]["counted"] == 8
    labels = (await states.get("default", scope)).labels
    assert [label.right for label in labels] == [*[True] * 7, False]
    assert {(label.source, label.weight, label.served) for label in labels} == {
        ("admin", 1.0, False)
    }
    for wrong in (
        {"scope": "0" * 64},
        {"scope": "x"},
        {"tenant": "nobody"},
        {"confirm": 1},
        {"a": 1},
    ):
        refused = await teach(400, **wrong)
        assert "`teach" in refused["error"]["message"] or "`tenant`" in refused["error"]["message"]


async def test_what_is_recommended_can_be_set(house: House) -> None:
    names = ["Ann", "Bob", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hal", "Ida", "Jon"]
    right = [
        {"query_a": f"How do I add {name}?", "query_b": f"How can I add {name}?", "label": 1}
        for name in names
    ]
    wrong = [
        {"query_a": f"How do I add {name}?", "query_b": "Who wrote Hamlet?", "label": 0}
        for name in names
    ]
    asked = {"pairs": right + wrong, "target": 0.3}
    found = (await house.http.post("/admin/v1/calibrate", headers=ADMIN, json=asked)).json()
    bar, why = found["recommended"]["bar"], found["recommended"]["why"]
    assert why.startswith("serves 10 of 20 pairs, 0 of them wrong")
    changed = await put(house, "tenants/default/bars", bar=bar)
    assert changed["after"]["tenant"]["exact_only"] is False
    upside_down = [{**one, "label": 1 - one["label"]} for one in asked["pairs"]]  # type: ignore[attr-defined]
    asked = {"pairs": upside_down, "target": 0.3}
    found = (await house.http.post("/admin/v1/calibrate", headers=ADMIN, json=asked)).json()
    assert found["recommended"]["bar"] is None
    assert found["recommended"]["why"].startswith("no threshold keeps 0.3: at ")
