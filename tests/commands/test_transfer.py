"""`cacheserver export` and `import`: from one server to another."""

from __future__ import annotations

from pathlib import Path

from tests.api.admin import ADMIN, put
from tests.commands.conftest import Shell
from tests.house import House, came_from
from tests.transfer.imports import FAQ, SYSTEM, curate, imported

ASKED = FAQ[0]["question"]


async def test_a_tenant_moves_with_its_entries_and_settings(
    house: House, shell: Shell, tmp_path: Path
) -> None:
    await put(
        house,
        "tenants/shop",
        default_ttl_s=77,
        budgets={"alerts": {"webhook": "https://93.184.215.14/secret"}},
    )
    await house.key("shop")
    await imported(house)
    path = tmp_path / "shop.jsonl.zst"
    done = await shell("export", str(path), "--tenant", "shop", "--json")
    assert (done.status, done.json["records"]) == (0, 4), done.err
    assert b"secret" not in path.read_bytes()
    again = await shell("export", str(path), "--tenant", "shop")
    assert "there already" in again.err
    upstream = house.parts.host.settings.upstream
    async with House.open(tmp_path / "two", upstream=upstream) as other:
        shell.point(other)
        key = await other.key("shop")
        moved = await shell("import", str(path), "--tenant", "shop", "--json")
        assert (moved.status, moved.json["stored"], moved.json["left_out"]) == (0, 3, 0), moved.err
        assert came_from(await other.ask(ASKED, key=key, system=SYSTEM))[0] == "exact"
        found = await other.http.get("/admin/v1/tenants/shop", headers=ADMIN)
        assert found.json()["own"]["default_ttl_s"] == 77
        await curate(other)
        for option, count, left in ((), "conflict", 1), (("--replace",), "replaced", 0):
            moved = await shell("import", str(path), "--tenant", "shop", "--json", *option)
            assert (moved.json[count], moved.json["left_out"]) == (1, left), moved.err
            assert ("an operator has curated" in moved.err) is (left == 1)
        await other.key("bank")
        refused = await shell("import", str(path), "--tenant", "bank")
        assert (refused.status, "exported_from" in refused.err) == (2, True)
        path.write_bytes(path.read_bytes()[:-1])
        spoilt = await shell("import", str(path), "--tenant", "shop")
        assert (spoilt.status != 0, "not whole" in spoilt.err) == (True, True)
