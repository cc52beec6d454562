"""Tables of text: every form gives the same cells, and nothing but a line comes of damaged ones."""

import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowernoise.errors import BadRequestError
from flowernoise.safe import tables

ROWS = [{"path": "a, 1.jpg", "label": "rose", "note": ""}, {"path": "é.jpg", "label": "3", "note": 'say "hi"'}]


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    stream = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), stream)
    return stream.getvalue()


def cells(data: bytes, name: str) -> list[dict[str, str]]:
    return [row for _, row in tables.read(data, name).rows]


def test_every_form_gives_the_same_cells() -> None:
    quoted = '{0}path{1}label{1}note{0}\n"a, 1.jpg"{1}rose{1}\né.jpg{1}3{1}"say ""hi"""\n'
    assert cells(quoted.format("", ",").encode("utf-8-sig"), "x.csv") == ROWS
    assert cells(quoted.format("", "\t").encode(), "x.TSV") == ROWS
    lines = '{"path": "a, 1.jpg", "label": "rose"}\n\n{"path": "é.jpg", "label": 3, "note": "say \\"hi\\""}\r\n'
    assert cells(lines.encode(), "x.jsonl") == ROWS
    assert cells(as_parquet([{**ROWS[0], "note": None}, ROWS[1]]), "x.parquet") == ROWS


@pytest.mark.parametrize("value", [[1], {"a": 1}])
def test_cells_that_are_no_text_are_refused_with_their_row(value: object) -> None:
    with pytest.raises(BadRequestError, match=r"x\.parquet, row 2, 'label' is neither text nor a number"):
        cells(as_parquet([{"label": None}, {"label": value}]), "x.parquet")


@pytest.mark.parametrize("suffix", tables.SUFFIXES)
@given(data=st.data())
@settings(max_examples=60)
def test_nothing_but_a_line_comes_of_any_bytes(suffix: str, data: st.DataObject) -> None:
    sound = as_parquet(ROWS) if suffix == ".parquet" else b'{"a": 1, "b": "c"}\n{"a": 2}\n'
    start, cut = data.draw(st.integers(0, len(sound))), data.draw(st.integers(0, 20))
    mangled = sound[:start] + data.draw(st.binary(max_size=20)) + sound[start + cut :]
    for each in (mangled, data.draw(st.binary())):
        message, found = "", []
        try:
            found = cells(each, f"x{suffix}")
        except BadRequestError as error:
            message = str(error)
        assert "\n" not in message
        assert all(isinstance(cell, str) for row in found for cell in row.values())
