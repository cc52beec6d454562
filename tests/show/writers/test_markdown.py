"""Markdown: text stays text, cells stay apart, and a report is told in full."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowernoise.show.document import Bullets, Document, Facts, Figure, Heading, Paragraph, Table, Verbatim
from flowernoise.show.report import content
from flowernoise.show.writers import markdown
from tests.show.small_comparisons import (
    a_report,
)


@given(st.text())
def test_markdown_text_holds_no_bare_sign_of_markup(plain):
    shown = markdown.escaped(plain)
    assert "\n" not in shown
    assert not re.search(r"<[A-Za-z/!?]", shown)
    assert not re.search(r"(?<!\\)(?:\\\\)*([`*|~#]|\][(\[:]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))", shown)


@pytest.mark.parametrize("plain", ["nce_agce", "<20.0 % [<20.0–31.0]", "a > b", "x-y", "sce:alpha=0.1,beta=0.5"])
def test_markdown_leaves_alone_what_is_no_markup(plain):
    assert markdown.escaped(plain) == plain


def test_a_line_of_markdown_begins_no_list_and_no_quotation():
    blocks = Paragraph("+ better"), Facts(("> 3", "- x")), Bullets(("- y",))
    assert markdown.markdown(Document(blocks)) == "\\+ better\n\n\\> 3 · - x\n\n- \\- y\n"


def test_markdown_tells_the_same_and_keeps_cells_apart():
    document = content.document(a_report())
    text = markdown.markdown(document)
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [
        block.text for block in document.blocks if isinstance(block, Heading)
    ]
    outside_of_code = re.sub(r"(?s)^```.*?^```$", "", text, flags=re.MULTILINE)
    assert "<script" not in outside_of_code
    assert "&lt;script>" in outside_of_code
    for block in document.blocks:
        if isinstance(block, Table):
            assert markdown.escaped(block.rows[-1][0].text) in text
    tables = [line for line in text.splitlines() if line.startswith("| ")]
    columns = [len(re.findall(r"(?<!\\)\|", line)) for line in tables]
    assert columns[:4] == [6, 6, 6, 6]  # class, three splits, all


def test_a_fence_is_longer_than_what_it_holds():
    document = Document((Verbatim(("echo ```",), shell=True),))
    assert "````sh\necho ```\n````" in markdown.markdown(document)


def test_pictures_of_markdown_are_beside_it_under_quoted_names():
    document = Document((Figure("report/a b.svg", "image/svg+xml", b"", "gist", "caption"),))
    assert "![gist](report/a%20b.svg)\n\ncaption" in markdown.markdown(document)
