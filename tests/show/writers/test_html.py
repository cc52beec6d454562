"""HTML: nothing becomes markup, nothing is loaded, and everything can be heard and read."""

import dataclasses
import html as html_library
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowernoise.show.document import Document, Figure, Table, cells, columns
from flowernoise.show.report import content
from flowernoise.show.writers import html_
from tests.show.small_comparisons import (
    EVIL,
    a_report,
)


class Page(HTMLParser):
    """What a browser makes of a page: start tags with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]


def a_page() -> Page:
    document = content.document(a_report())
    picture = Figure("a.svg", "image/svg+xml", b"<svg/>", f"alt {EVIL}", "caption")
    return Page(html_.html_(dataclasses.replace(document, blocks=(*document.blocks, picture))))


def test_names_cannot_become_markup_in_html():
    page = a_page()
    assert page.text.replace("\xa0", " ").count(EVIL) >= 5
    assert {"script", "form", "c", "b"}.isdisjoint(tag for tag, _ in page.tags)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_the_page_loads_nothing():
    page = a_page()
    assert all(each["src"].startswith("data:image/") for each in page.all("img"))
    assert all(each["href"].startswith("#") for each in page.all("a"))
    policies = [each["content"] for each in page.all("meta") if each.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert not page.all("script", "iframe", "object", "link", "base")
    assert not re.search(r"url\(|@import", html_._STYLE)


def test_the_page_can_be_heard():
    page = a_page()
    headings = [tag for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert headings == ["h1", *["h2"] * (len(headings) - 1)]
    assert page.all("html") == [{"lang": "en"}]
    assert [each["alt"] for each in page.all("img")] == [f"alt {EVIL}"]
    assert len(page.all("table")) == len(page.all("caption")) >= 4
    assert {each["scope"] for each in page.all("th")} == {"col", "row"}
    ids = [each["id"] for _, each in page.tags if "id" in each]
    assert len(ids) == len(set(ids))
    assert {each["href"].removeprefix("#") for each in page.all("a")} <= set(ids)
    assert {each["aria-labelledby"] for each in page.all("div") if "aria-labelledby" in each} <= set(ids)


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    digits = colour * 2 if len(colour) == 3 else colour
    shares = [int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_all_text_has_a_contrast_of_4_5_on_all_grounds():
    inks = set(re.findall(r"(?<![-\w])color:#(\w+)", html_._STYLE))
    grounds = set(re.findall(r"background:#(\w+)", html_._STYLE))
    assert (len(inks), len(grounds)) >= (3, 2)
    for ink in inks:
        for ground in grounds:
            high, low = sorted((luminance(ink), luminance(ground)), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, ground)


@given(st.text())
def test_html_text_reads_back_as_it_was(plain):
    shown = html_.text(plain).replace("<wbr>", "")
    assert html_library.unescape(shown).replace("\xa0", " ") == html_library.unescape(
        html_library.escape(plain)
    ).replace("\xa0", " ")
    assert not re.search(r"[<>\"]", shown)


@pytest.mark.parametrize(("wide", "widths"), [(5, [6]), (6, [4, 4]), (12, [5, 5, 5])])
def test_a_table_too_wide_for_paper_is_split_and_loses_nothing(wide: int, widths: list[int]) -> None:
    heads = columns("loss", *(f"c{k}" for k in range(wide)), numeric=True)
    rows = tuple(cells(name, *(f"{name}{k}" for k in range(wide))) for name in ("ce", "mae"))
    page = html_.html_(Document((Table(heads, rows, "Accuracy.", cells("all", *"x" * wide), ("A note.",)),)))
    parts = re.findall(r"<table>.*?</table>", page, flags=re.DOTALL)
    assert [part.count('scope="col"') for part in parts] == widths
    assert all(part.count('scope="row">ce<') == part.count('scope="row">all<') == 1 for part in parts)
    found = [name for part in parts for name in re.findall(r">(mae\d+)<", part)]
    assert found == [f"mae{k}" for k in range(wide)]
    assert page.count("A note.") == 1
    assert page.count("(continued)") == len(widths) - 1
