"""JSON is taken as the standard has it, and only where no two readers could differ."""

import json
import re
import time

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ollama_mcp.errors import InvalidRequest
from ollama_mcp.strict_json import MAX_DEPTH, loads

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab:\"\\", max_size=3), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(VALUES, st.booleans(), st.sampled_from([None, 1, "\t"]))
@settings(deadline=None)
def test_what_the_standard_allows_is_read_as_it_stands(value: object, ascii_only: bool, indent: int | str) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert loads(text.encode()) == orjson.loads(text) == value


@given(
    st.sampled_from(["a", "a:", "\u00e9", '"', ""]),
    st.sampled_from([False, True]),
    st.sampled_from(["", " ", "\n"]),
    st.text('ab:{}\\"é\n'),
)
@settings(deadline=None)
def test_a_name_that_occurs_twice_is_refused_however_it_is_written(
    name: str, escaped: bool, space: str, text: str
) -> None:
    first, value = json.dumps(name), json.dumps(text)
    again = '"' + "".join(f"\\u{ord(char):04x}" for char in name) + '"' if escaped else first
    for outer in ("%s", '{"x": [%s]}'):
        raw = outer % f"{{{first}{space}:1, {value}: {value}, {again}{space}: {value}}}"
        with pytest.raises(InvalidRequest, match="twice"):
            loads(raw.encode())


@pytest.mark.parametrize("raw", [b'{"a": {"b": 1}, "c": {"b": 1}}', b'[{"a": 1}, {"a": 2}]', b'{"a": "\\u003a"}'])
def test_the_same_name_in_two_objects_is_allowed(raw: bytes) -> None:
    assert loads(raw) == json.loads(raw)


@pytest.mark.parametrize("colon", ["\\u003a", "\\u003A"])
def test_a_colon_hidden_in_an_escape_does_not_hide_a_second_name(colon: str) -> None:
    with pytest.raises(InvalidRequest, match="twice"):
        loads(f'{{"a": 1, "a": "{colon}"}}'.encode())


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 10**30, 10**308])
def test_an_integer_of_more_than_64_bits_is_refused(number: int) -> None:
    with pytest.raises(InvalidRequest, match="64 bits"):
        loads(b'{"seed": [%d]}' % number)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b'{"%s": 1, "%s": 2}' % (b"n" * 100, b"n" * 100), f" '{'n' * 64}' occurs twice"),
        (b"1" * 24, f" {'1' * 24} does not fit"),
        (b"1" * 25, f" {'1' * 24}… does not fit"),
    ],
)
def test_what_is_wrong_is_told_without_all_of_its_length(raw: bytes, says: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(says)):
        loads(raw)


@pytest.mark.parametrize(
    "number", ["9223372036854775807", "-9223372036854775808", "1.2345678901234567890123", '"1e19"']
)
def test_a_long_number_that_fits_is_allowed(number: str) -> None:
    raw = b'{"seed": %s}' % number.encode()
    assert loads(raw) == json.loads(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"{}{}",
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": 01}',
        b"NaN",
        b"[Infinity]",
        b"[-Infinity]",
        b"[1e999]",
        b"\xef\xbb\xbf{}",
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'"\x01"',
        b"// a\n{}",
        b'{"a": 1}'.decode().encode("utf-16"),
        b"[" * 100_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
    ],
)
def test_what_the_standard_does_not_allow_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequest, match="not valid JSON"):
        loads(raw)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_depth_is_bounded(opening: bytes, closing: bytes) -> None:
    loads(opening * MAX_DEPTH + b"1" + closing * MAX_DEPTH)
    with pytest.raises(InvalidRequest, match="64 levels"):
        loads(opening * (MAX_DEPTH + 1) + b"1" + closing * (MAX_DEPTH + 1))


def test_brackets_in_a_text_are_no_levels() -> None:
    assert loads(b'"%s"' % (b"[" * 100)) == "[" * 100
    assert loads(b'["%s", {"a": "%s"}]' % (b"[" * 100, b"{" * 100)) == ["[" * 100, {"a": "{" * 100}]


def test_a_megabyte_of_text_takes_a_few_milliseconds() -> None:
    messages = [{"role": "user", "content": 'The quick "brown" fox.\n' * 40} for _ in range(1000)]
    raw = json.dumps({"messages": messages}).encode()
    assert len(raw) > 2**20

    def best() -> float:
        started = time.perf_counter()
        loads(raw)
        return time.perf_counter() - started

    assert min(best() for _ in range(5)) < 0.03
