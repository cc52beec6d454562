"""LaTeX: whatever the texts, nothing is read as a command, and every row has as many cells as the table."""

import re

from hypothesis import given
from hypothesis import strategies as st

from flowernoise.show.comparison import document
from flowernoise.show.document import Bullets, Cell, Document, Facts, Table, TableColumn
from flowernoise.show.writers import latex


def bare(text: str) -> str:
    """The text without escaped signs and without what the writer sets in mathematics."""
    return re.sub(r"\\[{}$&#%_]|\$[<>+|-]\$|\$\\[a-z]+\$|\\[a-z]+\{\}", "", text)


@given(st.text())
def test_text_holds_no_sign_of_a_command(plain):
    shown = latex.escaped(plain)
    assert "\n" not in shown
    assert not re.search(r"[\\{}$&#%_^~<>|\"]", bare(shown))


def test_every_row_of_a_table_has_a_cell_for_each_column(comparison):
    lines = latex.latex(document(comparison)).splitlines()
    [*starts] = [place for place, line in enumerate(lines) if line.startswith(r"  \begin{tabular}")]
    assert len(starts) == len(comparison.datasets) + bool(comparison.beside)
    for start in starts:
        columns = re.search(r"\{tabular\}\{(\w+)\}", lines[start])[1]
        rows = [line for line in lines[start : lines.index(r"  \end{tabular}", start)] if line.endswith(r" \\")]
        assert len(rows) >= 3
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(columns) - 1}
    braces = re.sub(r"\\[\\{}]", "", "\n".join(lines))
    assert braces.count("{") == braces.count("}")


def test_facts_before_a_table_are_its_caption_and_other_facts_a_paragraph():
    table = Table(
        (TableColumn("name"), TableColumn("n", numeric=True)), ((Cell("[a]"), Cell("1")),), "title", notes=("note",)
    )
    text = latex.latex(Document((Facts(("50 %",)), Facts(("b",)), table, Facts(("alone",)), Bullets(("item",)))))
    assert r"\caption{title; 50 \%; b; note.}" in text
    assert "\nalone\n" in text
    assert r"\begin{tabular}{lr}" in text
    assert text.count("alone") == text.count(r"50 \%") == 1


def test_a_row_that_begins_with_a_bracket_or_star_is_no_argument_of_the_row_before():
    rows = ((Cell("[a]"),), (Cell("*b"),), (Cell("c"),))
    text = latex.latex(Document((Table((TableColumn("name"),), rows),)))
    assert [line.strip() for line in text.splitlines() if line.endswith(r" \\")] == [
        r"name \\", r"{}[a] \\", r"{}*b \\", r"c \\",
    ]  # fmt: skip
