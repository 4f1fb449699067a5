from __future__ import annotations

import pytest

from pools.fakes import FakeEngine, spec
from portico.pools.errors import BadParameter
from portico.pools.family import MAX_POOLS, PoolFamily
from portico.pools.parameters import complete, from_query
from portico.pools.pool import Pool
from portico.wire.manifest import FunctionSpec, MethodSpec, ParameterSpec

SPECS = (
    ParameterSpec(name="root", type="str", required=False, default="."),
    ParameterSpec(name="n", type="int"),
    ParameterSpec(name="flag", type="bool", required=False, default=False),
    ParameterSpec(name="raw", type="bytes", required=False, default=""),
)


def test_values_are_decoded_and_typed():
    values = from_query(SPECS, b"root=%2Fa+b%C3%A9&n=-3&flag=true&raw=AP8=&other=1&n=9")
    assert values == {"root": "/a bé", "n": -3, "flag": True, "raw": "AP8="}


@pytest.mark.parametrize(
    ("query", "name"),
    [(b"", "n"), (b"n=x", "n"), (b"n=1&flag=perhaps", "flag"), (b"n=1&raw=%21", "raw")],
)
def test_missing_or_ill_typed_values_are_named(query, name):
    with pytest.raises(BadParameter) as raised:
        from_query(SPECS, query)
    assert raised.value.name == name
    assert repr(name) in str(raised.value)


def test_defaults_are_filled_in_in_order():
    assert list(complete(SPECS, {"n": 1})) == ["root", "n", "flag", "raw"]


def test_each_combination_has_a_pool_and_the_least_recent_goes_beyond_the_bound():
    import asyncio

    async def test():
        declared = FunctionSpec(
            name="C",
            module="m",
            qualname="C",
            image="i",
            is_class=True,
            methods=(MethodSpec(name="x"),),
            parameters=SPECS,
        )
        family = PoolFamily(declared, lambda values: Pool(declared, FakeEngine(), spec))
        first = family.for_query(b"n=0")
        assert family.for_query(b"n=0&root=.") is first
        assert family.for_query(b"n=1") is not first
        for number in range(1, MAX_POOLS + 1):
            family.for_values({"n": number})
        assert family.for_query(b"n=0") is not first
        assert len(family.pools) == MAX_POOLS

    asyncio.run(test())
