"""Values of class parameters, as URLs and calls give them."""

from __future__ import annotations

import base64
import re
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from portico.pools.errors import BadParameter
from portico.pools.parameters import Parameters
from portico.wire.manifest import LARGEST_INT, SMALLEST_INT, ParameterSpec

PARAMETERS = Parameters(
    (
        ParameterSpec(name="root", type="str", required=False, default="."),
        ParameterSpec(name="n", type="int", required=False, default=0),
        ParameterSpec(name="flag", type="bool", required=False, default=False),
        ParameterSpec(name="raw", type="bytes", required=False, default=""),
    )
)
DEFAULTS = {"root": ".", "n": 0, "flag": False, "raw": ""}


def read(query: bytes) -> dict[str, object]:
    return PARAMETERS.named(PARAMETERS.from_query(query))


@pytest.mark.parametrize(
    ("query", "value"),
    [
        (b"root=%2F", "/"),
        (b"root=/a/b", "/a/b"),
        (b"root=a+b%20c%2Bd", "a b c+d"),
        (b"root=caf%C3%A9", "café"),
        ("root=café".encode(), "café"),
        (b"root=%00", "\x00"),
        (b"root=", ""),
        (b"root", ""),
        (b"root=a=b", "a=b"),
        (b"root=a;n=1", "a;n=1"),
        (b"root=first&root=second", "first"),
        (b"root=%2", "%2"),
        (b"root=%zz", "%zz"),
        (b"&&x=1&root=a&", "a"),
        (b"r%6fot=a", "a"),
        (b"ROOT=a", "."),
        (b"other=a", "."),
        (b"", "."),
    ],
)
def test_text_is_decoded_as_forms_encode_it(query, value):
    assert read(query) == {**DEFAULTS, "root": value}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("-7", -7),
        ("%2B7", 7),
        ("007", 7),
        ("-0", 0),
        (str(LARGEST_INT), LARGEST_INT),
        (str(SMALLEST_INT), SMALLEST_INT),
    ],
)
def test_an_int_is_digits_and_a_sign(text, value):
    assert read(f"n={text}".encode()) == {**DEFAULTS, "n": value}


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "1.0", "1e3", "0x1", "1_0", "+1", "%201", "1%20", "1%0A", "--1", "%2B-1", "1-"),
        *("٣", "%D9%A3", "%EF%BC%91", "²", "%00"),
        *(str(LARGEST_INT + 1), str(SMALLEST_INT - 1), "9" * 60_000, "0" * 60_000),
    ],
)
def test_what_is_no_int_is_refused_at_once(text):
    with pytest.raises(BadParameter, match="class parameter 'n' must be int") as raised:
        PARAMETERS.from_query(f"n={text}".encode())
    assert raised.value.name == "n"
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "1", "yes", "y", "on", "t", "%74rue"])
def test_true_has_the_spellings_that_pydantic_takes(text):
    assert read(f"flag={text}".encode())["flag"] is True


@pytest.mark.parametrize("text", ["false", "False", "0", "no", "N", "off", "f"])
def test_false_has_the_spellings_that_pydantic_takes(text):
    assert read(f"flag={text}".encode())["flag"] is False


@pytest.mark.parametrize(
    "text", ["//79", "__79", "_/79", "%2F%2f79", "//79=".rstrip("="), "//79".replace("/", "_")]
)
def test_bytes_are_base64_in_either_alphabet(text):
    assert read(f"raw={text}".encode())["raw"] == "//79"


@pytest.mark.parametrize("text", ["--8=", "--8", "%2B%2B8%3D", "++8=", "-%2B8", "--9"])
def test_bytes_have_one_spelling_however_they_were_padded(text):
    assert read(f"raw={text}".encode())["raw"] == "++8="


@pytest.mark.parametrize(
    "query",
    [
        *(b"raw=!", b"raw=A", b"raw=AA=", b"raw=AA===", b"raw=AA==AA==", b"raw=A%20AA"),
        *(b"raw=AAAA%0A", b"raw=%C3%A9", b"raw=====", b"root=%FF", b"root=\xff", b"root=%ED%A0%80"),
        *(b"flag=", b"flag=2", b"flag=perhaps", b"flag=%20true"),
    ],
)
def test_what_is_ill_typed_is_named(query):
    name = query.partition(b"=")[0].decode()
    with pytest.raises(BadParameter, match=re.escape(f"class parameter {name!r} must be")) as it:
        PARAMETERS.from_query(query)
    assert it.value.name == name


def test_only_the_first_of_a_repeated_key_is_read():
    assert read(b"n=1&n=x")["n"] == 1
    with pytest.raises(BadParameter, match="'n'"):
        PARAMETERS.from_query(b"n=x&n=1")


def test_order_spelling_and_defaults_given_make_no_difference():
    one = PARAMETERS.from_query(b"root=a%20b&n=2&flag=1&raw=AA")
    assert one == PARAMETERS.from_query(b"raw=AA%3D%3D&flag=yes&page=9&n=02&root=a+b")
    assert one == PARAMETERS.from_values({"raw": "AA", "n": 2, "root": "a b", "flag": True})
    assert PARAMETERS.from_query(b"") == PARAMETERS.from_query(b"flag=off&root=.&raw=&n=-0")


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.integers(SMALLEST_INT, LARGEST_INT),
    st.booleans(),
    st.binary(),
    st.sampled_from([quote, quote_plus]),
)
@example("/a b+c&d=e;f#%", -1, True, b"\xfb\xff", quote)
def test_whatever_urlencode_makes_of_values_is_read_back(root, n, flag, raw, how):
    encoded = base64.b64encode(raw).decode()
    pairs = {"root": root, "n": n, "flag": flag, "raw": encoded, "page": root}
    query = urlencode(pairs, quote_via=how).encode()
    assert read(query) == {"root": root, "n": n, "flag": flag, "raw": encoded}
    assert PARAMETERS.from_values(read(query)) == PARAMETERS.from_query(query)


@given(st.binary())
def test_any_query_gives_values_or_a_named_refusal(query):
    refused = None
    try:
        values = read(query)
    except BadParameter as error:
        refused = error.name
    if refused is None:
        assert [type(value) for value in values.values()] == [str, int, bool, str]
    else:
        assert refused in DEFAULTS


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"n": "1"}, "n"),
        ({"n": True}, "n"),
        ({"n": 1 << 63}, "n"),
        ({"root": 1}, "root"),
        ({"flag": 1}, "flag"),
        ({"raw": "A"}, "raw"),
        ({"raw": "é"}, "raw"),
        ({"raw": 1}, "raw"),
        ({"rot": "x"}, "rot"),
    ],
)
def test_a_calls_values_are_checked_and_not_cast(values, name):
    with pytest.raises(BadParameter, match=f"'{name}'") as raised:
        PARAMETERS.from_values(values)
    assert raised.value.name == name


def test_a_missing_one_is_named_with_its_type():
    required = Parameters((ParameterSpec(name="n", type="int"),))
    for read_nothing in (lambda: required.from_query(b"m=1"), lambda: required.from_values({})):
        with pytest.raises(BadParameter, match=r"'n' \(int\) is missing"):
            read_nothing()
    assert not required.all_have_defaults
    assert PARAMETERS.all_have_defaults


def test_values_are_carried_over_to_the_next_version_of_a_class():
    def version(**defaults: object) -> Parameters:
        return Parameters(
            [
                ParameterSpec(name=n, type=type(v).__name__, required=False, default=v)
                for n, v in defaults.items()
            ]
        )

    old = version(a=1, b="x")
    given_both = old.from_values({"a": 5, "b": "y"})
    assert version(b="z", a=2).carried_over(old, given_both) == ("y", 5)
    assert version(a=1).carried_over(old, given_both) == (5,)
    # Whoever gave none gets the new default, as a new request does.
    assert version(a=2, b="z").carried_over(old, old.from_query(b"")) == (2, "z")
    with pytest.raises(BadParameter, match="'b'"):
        version(a=1, b=True).carried_over(old, given_both)
