"""Rules: plain data, bounded by their types, read with the field that will not do named."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

from cacheserver.core.errors import BadRequest
from cacheserver.core.rules.bounds import STRICT, Bound
from cacheserver.core.types import Tenant
from cacheserver.tenants import tenant_json


@dataclass(frozen=True, slots=True)
class Row:
    __pydantic_config__ = STRICT
    count: Annotated[int, Bound(0, 5)] = 0


@dataclass(frozen=True, slots=True)
class Rules:
    __pydantic_config__ = STRICT
    rows: Annotated[tuple[Row, ...], Bound(most=2)] = ()
    share: Annotated[float, Bound(above=0, most=1)] = 0.5
    name: Annotated[str, Bound(1, 4, pattern="[a-z]+")] = "a"
    named: dict[str, Row] = field(default_factory=dict)


READ = TypeAdapter(Rules)


def test_rules_within_their_bounds_are_read_from_json() -> None:
    read = READ.validate_json(b'{"rows": [{"count": 5}], "share": 1, "named": {"x": {}}}')
    assert read == Rules(rows=(Row(5),), share=1.0, named={"x": Row()})


@pytest.mark.parametrize(
    ("given", "where"),
    [
        (b'{"rows": [{"count": -1}]}', ("rows", 0, "count")),
        (b'{"rows": [{"count": 6}]}', ("rows", 0, "count")),
        (b'{"rows": [{"count": "1"}]}', ("rows", 0, "count")),
        (b'{"rows": [{"cout": 1}]}', ("rows", 0, "cout")),
        (b'{"rows": [{}, {}, {}]}', ("rows",)),
        (b'{"share": 0}', ("share",)),
        (b'{"share": 1.01}', ("share",)),
        (b'{"share": NaN}', ("share",)),
        (b'{"name": ""}', ("name",)),
        (b'{"name": "abcde"}', ("name",)),
        (b'{"name": "A"}', ("name",)),
        (b'{"name": "a\\n"}', ("name",)),
        (b'{"surplus": 1}', ("surplus",)),
    ],
)
def test_what_is_out_of_bounds_is_refused_where_it_stands(given: bytes, where: object) -> None:
    with pytest.raises(ValidationError) as refused:
        READ.validate_json(given)
    assert refused.value.errors()[0]["loc"] == where


def test_a_tenants_lever_that_will_not_do_is_named() -> None:
    with pytest.raises(BadRequest) as refused:
        tenant_json.change("acme", {}, {"caching": {"enabled": "yes"}}, Tenant("default"))
    assert "caching.enabled" in str(refused.value)


def test_a_tenants_levers_survive_being_kept() -> None:
    tenant = tenant_json.change(
        "acme", {}, {"caching": {"enabled": False}}, Tenant("default")
    ).tenant
    assert not tenant.caching.enabled
    record = tenant_json.encode(tenant_json.changes(Tenant("default"), tenant))
    assert tenant_json.decode("acme", record, Tenant("default")).tenant == tenant
