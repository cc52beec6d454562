"""Text in columns, whatever the texts: nothing is lost, and parts stand under one another."""

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from flowernoise.show import text_table
from flowernoise.show.text_table import BLANK, TextCell, TextLine, TextTable, TextTitle

WORDS = st.text("ab★é漢", min_size=1, max_size=6)
PARTS = st.tuples(WORDS, st.just(""))
EMPTY = ("", "")


@st.composite
def tables(draw: st.DrawFn) -> TextTable:
    """Tables of two columns of labels and up to five columns of cells of two parts, some of one and some missing."""
    columns = draw(st.integers(1, 5))
    cell = st.one_of(
        st.none(), st.tuples(PARTS).map(TextCell), st.tuples(PARTS, st.one_of(PARTS, st.just(EMPTY))).map(TextCell)
    )
    line = st.builds(TextLine, st.tuples(WORDS, WORDS), st.lists(cell, min_size=columns, max_size=columns))
    lines = draw(st.lists(st.one_of(line, st.just(BLANK), WORDS.map(TextTitle)), min_size=1, max_size=6))
    headings = draw(st.lists(WORDS, min_size=columns, max_size=columns))
    return TextTable(("left", "right"), (False, True), headings, (True, False), lines)


@given(tables(), st.one_of(st.none(), st.integers(10, 60)))
def test_every_text_is_there_and_no_line_is_wider_than_its_block(made: TextTable, most: int | None) -> None:
    widths = text_table.measure(made)
    blocks = text_table.blocks(widths, most)
    assert [column for block in blocks for column in block] == list(range(len(made.headings)))
    for block in blocks:
        text = text_table.render(made, widths, block).plain
        assert max(map(cell_len, text.split("\n"))) <= widths.of(block) or any(
            isinstance(x, TextTitle) for x in made.lines
        )
        assert most is None or len(block) == 1 or widths.of(block) <= most
        assert "\n\n\n" not in text
        assert all(line == line.rstrip() for line in text.split("\n"))
        for column in block:
            assert made.headings[column] in text
            for line in made.lines:
                if isinstance(line, TextLine) and (cell := line.cells[column]):
                    assert all(part in text for part, _ in cell.parts)


def test_parts_stand_under_one_another_and_numbers_end_at_the_right() -> None:
    lines = [
        TextLine(("one", ""), [TextCell((("1.0", ""), ("[a]", "")))]),
        TextLine(("two", "2"), [TextCell((("10.0", ""), ("[b]", "bold")))]),
        BLANK,
        TextLine(("three\n  more", ""), [TextCell((("all of it", ""),))]),
        TextLine(("nothing", ""), [None]),
    ]
    made = TextTable(("name", "n"), (False, True), ["head\nof two"], (True, False), lines, title="above")
    assert text_table.render(made, text_table.measure(made), [0]).plain.split("\n") == [
        "above",
        "            head",
        "name     n  of two",
        "─────────────────────",
        "one          1.0 [a]",
        "two      2  10.0 [b]",
        "",
        "three       all of it",
        "  more",
    ]


def test_styles_stay_with_their_parts() -> None:
    made = TextTable(
        ("",), (False,), [""], (False, False), [TextLine(("x",), [TextCell((("ab", "bold"), ("c", "red")))])]
    )
    text = text_table.render(made, text_table.measure(made), [0])
    assert {(text.plain[span.start : span.end], span.style) for span in text.spans} >= {("ab", "bold"), ("c", "red")}
