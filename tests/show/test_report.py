"""Sentences that state results, from fabricated comparisons; and the two forms of a document."""

import dataclasses
import html as html_library
import re
from html.parser import HTMLParser

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowernoise.analysis.views.reports import DrawnCondition, Report
from flowernoise.show import sentences
from flowernoise.show.document import Bullets, Cell, Document, Facts, Figure, Grids, Heading, Paragraph, Table, Verbatim
from flowernoise.show.report import content
from flowernoise.show.writers import html_, markdown
from flowernoise.store import files, records
from flowernoise.store.records import (
    CONTROL,
    Comparison,
    Condition,
    Dataset,
    DatasetRequest,
    Difference,
    Provenance,
    Rate,
    RateInterval,
    Row,
    Tolerated,
)
from tests.fabricated import a_setup

CLEAN, NOISY = Condition(CONTROL, 0.0), Condition("symmetric", 0.4)
PHOTOS = {"train": 1400, "val": 300, "test": 300}


TUNED = a_setup(mode="finetune")


def a_row(condition: Condition, loss: str, mean: float | None, **known) -> Row:
    facts = {
        "realised_rate": condition.rate,
        "setup": a_setup(),
        "seeds": 5,
        "values": () if mean is None else (mean,) * 5,
        "ci_low": None if mean is None else mean - 0.02,
        "ci_high": None if mean is None else mean + 0.02,
        "drop": None,
        "collapsed": 0,
        "failed": 0,
        "best": False,
    }
    return Row(noise=condition.noise, rate=condition.rate, loss=loss, mean=mean, **(facts | known))


def against(mean: float, p: float, verdict: str | None) -> Difference:
    return Difference(mean, mean - 0.01, mean + 0.01, p, p, "sign_flip", 5, verdict)


def rated(loss: str, point: Rate, *, collapsed: bool = False) -> Tolerated:
    interval = RateInterval(point, Rate("below", 0.2), Rate("exact", 0.39))
    return Tolerated("symmetric", loss, a_setup(), interval, None, collapsed)


def compared(*rows: Row, **known) -> Comparison:
    photos = records.TestPhotos(
        "tf_flowers", "tf_flowers", ("daisy", "roses", "tulips"), (100, 100, 100), 1 / 3, "selected"
    )
    facts = {
        "directories": (),
        "datasets": (photos,),
        "metric": "accuracy",
        "unit": "share",
        "better": "higher",
        "baseline": "ce",
        "delta": 0.02,
        "conditions": tuple(dict.fromkeys(row.condition for row in rows)),
        "columns": tuple(dict.fromkeys(row.column for row in rows)),
        "tolerated": (),
        "beside": (),
        "why": "",
        "notes": (),
    }
    return Comparison(rows=rows, **(facts | known))


# Which is best


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("ce", 0.8, {"best": True}), ("mae", 0.7, {})], "ce has the highest accuracy, 80.0 %; whether others are"),
        (
            [("ce", 0.8, {"best": True}), ("mae", 0.7, {"difference": against(-0.1, 0.01, "worse")})],
            "; all others are significantly worse, or collapsed or failed.",
        ),
        ([("ce", 0.8, {"best": True}), ("mae", 0.7, {"tied": True})], "; mae is not significantly worse."),
        (
            [("ce", 0.8, {"best": True}), *((loss, 0.7, {"tied": True}) for loss in ("elr", "gce", "mae"))],
            "; elr, gce and mae are not significantly worse.",
        ),
        (
            [("ce", 0.8, {"best": True}), ("x", 0.1, {}), *((f"l{k}", 0.7, {"tied": True}) for k in range(5))],
            "; 5 of 6 others are not significantly worse.",
        ),
        ([("ce", 0.8, {"best": True}), ("mae", 0.8, {"best": True})], "ce and mae share the highest accuracy, 80.0 %"),
        ([("ce", 0.8, {})], "ce, the only loss, has 80.0 % accuracy."),
        ([("ce", 0.5, {"collapsed": 1}), ("mae", 0.5, {"collapsed": 5})], "every loss collapsed or failed"),
        ([("ce", None, {"failed": 5, "seeds": 0})], "all runs failed."),
    ],
)
def test_best_says_who_leads_who_is_tied_and_that_nobody_does(rows, expected):
    [sentence] = sentences.best(compared(*(a_row(NOISY, loss, mean, **known) for loss, mean, known in rows)))
    assert sentence.startswith("Under symmetric 0.4 (40.0 % added wrong labels), ")
    assert expected in sentence


def test_lower_is_better_is_said_of_metrics_like_that():
    rows = a_row(CLEAN, "ce", 0.4, best=True), a_row(CLEAN, "mae", 0.6)
    [sentence] = sentences.best(compared(*rows, metric="nll", unit="plain", better="lower"))
    assert sentence == (
        "On labels as given, ce has the lowest NLL, 0.400; whether others are worse by more than chance was not tested."
    )


# Against the baseline


def test_a_missing_baseline_is_said():
    [sentence] = sentences.against_baseline(compared(a_row(NOISY, "mae", 0.7)))
    assert sentence.startswith("There are no runs with the baseline ce")


def test_an_untested_metric_is_not_called_without_difference():
    rows = a_row(NOISY, "ce", 0.7, best=True), a_row(NOISY, "mae", 0.71)
    result = compared(*rows, metric="memorised", better="lower")
    assert sentences.against_baseline(result) == [
        "No difference from ce in share of added wrong labels memorised was tested: read the intervals."
    ]
    assert sentences.question(result).startswith("What do added wrong training labels do to")


def test_conditions_under_which_a_metric_means_nothing_are_passed_over():
    rows = a_row(CLEAN, "ce", None), a_row(NOISY, "ce", 0.2, best=True)
    [sentence] = sentences.best(compared(*rows, metric="memorised", better="lower"))
    assert sentence.startswith("Under symmetric")


@pytest.mark.parametrize(
    ("metric", "written"),
    [("balanced_accuracy", "balanced accuracy"), ("recall:roses", "recall of roses"), ("ece", "ECE")],
)
def test_metrics_are_called_as_people_write_them(metric, written):
    assert sentences.metric_name(compared(a_row(CLEAN, "ce", 0.9), metric=metric)) == written


def test_nothing_to_compare_with_is_said():
    [sentence] = sentences.against_baseline(compared(a_row(NOISY, "ce", 0.7)))
    assert sentence.startswith("Nothing was compared with ce")


def test_no_significant_difference_is_said_with_the_number_of_tests():
    rows = a_row(NOISY, "ce", 0.7), a_row(NOISY, "mae", 0.71, difference=against(0.01, 0.4, None))
    assert sentences.against_baseline(compared(*rows)) == [
        "No loss differs significantly from ce under any noise (1 test, Holm's correction, 5 %)."
    ]


def test_differences_are_counted_and_then_told_better_ones_first():
    rows = (
        a_row(NOISY, "ce", 0.7),
        a_row(NOISY, "mae", 0.6, difference=against(-0.1, 0.0004, "worse")),
        a_row(NOISY, "gce", 0.753, difference=against(0.053, 0.012, "better")),
    )
    assert sentences.against_baseline(compared(*rows)) == [
        "Against ce, gce is significantly better in 1 comparison; mae is significantly worse in 1 comparison "
        "(2 tests, Holm's correction, 5 %).",
        "Under symmetric 0.4 (40.0 % added wrong labels), gce differs from ce by +5.3 points [+4.3 to +6.3]: better, "
        "p = 0.012.",
        "Under symmetric 0.4 (40.0 % added wrong labels), mae differs from ce by −10.0 points [−11.0 to −9.0]: worse, "
        "p < 0.001.",
    ]


# Tolerated rates


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            [rated("ce", Rate("below", 0.2)), rated("mae", Rate("exact", 0.231))],
            "symmetric: mae stands the most added wrong labels within 2 points of ce's control, 23.1 % "
            "(95 % interval <20.0 % to 39.0 %).",
        ),
        (
            [rated("ce", Rate("at_least", 0.6)), rated("mae", Rate("at_least", 0.6))],
            "symmetric: ce and mae stay within 2 points of ce's control up to the highest rate tried, at least 60.0 % "
            "(95 % interval <20.0 % to 39.0 %).",
        ),
        (
            [rated("ce", Rate("below", 0.2)), rated("mae", Rate("none", None))],
            "symmetric: no loss stays within 2 points of ce's control at any rate that was tried.",
        ),
        (
            [rated("mae", Rate("at_least", 0.6), collapsed=True)],
            "symmetric: every loss collapsed at some tolerated rate, so none is called tolerant.",
        ),
        (
            [rated("mae", Rate("at_least", 0.6), collapsed=True), rated("ce", Rate("exact", 0.3))],
            "symmetric: ce stands the most added wrong labels within 2 points of ce's control, 30.0 % "
            "(95 % interval <20.0 % to 39.0 %).",
        ),
    ],
)
def test_tolerance_names_the_most_tolerant_loss_that_did_not_collapse(lines, expected):
    rows = a_row(CLEAN, "ce", 0.9), a_row(CLEAN, "mae", 0.9)
    assert sentences.tolerances(compared(*rows, tolerated=tuple(lines))) == [expected]


# What not to conclude


def cautions(result: Comparison, source: str = "tf_flowers", photos=PHOTOS) -> str:
    return "\n".join(sentences.cautions(result, source, 0, photos))


def with_photos(**facts) -> dict:
    [photos] = compared(a_row(CLEAN, "ce", 0.9)).datasets
    return {"datasets": (msgspec.structs.replace(photos, **facts),)}


MANY = with_photos(test_counts=(4000, 4000, 4000))


@pytest.mark.parametrize(
    ("phrase", "applies", "does_not"),
    [
        ("One seed:", compared(a_row(CLEAN, "ce", 0.9, seeds=1)), compared(a_row(CLEAN, "ce", 0.9))),
        (
            "Few seeds: 3",
            compared(a_row(CLEAN, "ce", 0.9, seeds=3), a_row(NOISY, "ce", 0.9)),
            compared(a_row(CLEAN, "ce", 0.9)),
        ),
        ("± 5.7 points", compared(a_row(CLEAN, "ce", 0.9)), compared(a_row(CLEAN, "ce", 0.9), **MANY)),
        (
            "Few photos of some classes: 9",
            compared(a_row(CLEAN, "ce", 0.9), **with_photos(test_counts=(9, 100, 100))),
            compared(a_row(CLEAN, "ce", 0.9)),
        ),
        (
            "right for 83.0 %",
            compared(a_row(CLEAN, "ce", 0.9), **with_photos(test_counts=(83, 17), majority=0.83)),
            compared(a_row(CLEAN, "ce", 0.9)),
        ),
        (
            "Not above the majority score of 33.3 %, within their intervals: ce under symmetric 0.4.",
            compared(a_row(CLEAN, "ce", 0.9), a_row(NOISY, "ce", 0.34)),
            compared(a_row(NOISY, "ce", 0.4)),
        ),
        (
            "mae under symmetric 0.4 (2 of 5)",
            compared(a_row(NOISY, "mae", 0.6, collapsed=2)),
            compared(a_row(NOISY, "mae", 0.6)),
        ),
        (
            "Failed runs: mae under the control (1)",
            compared(a_row(CLEAN, "mae", 0.6, failed=1)),
            compared(a_row(CLEAN, "ce", 0.9)),
        ),
        (
            "does not mean equal",
            compared(a_row(NOISY, "mae", 0.6, difference=against(0.01, 0.5, None))),
            compared(a_row(NOISY, "mae", 0.6, difference=against(0.1, 0.01, "better"))),
        ),
        (
            "Oracle:",
            compared(a_row(CLEAN, "ce", 0.9), **with_photos(select="oracle")),
            compared(a_row(CLEAN, "ce", 0.9)),
        ),
        ("Frozen features:", compared(a_row(CLEAN, "ce", 0.9)), compared(a_row(CLEAN, "ce", 0.9, setup=TUNED))),
    ],
)  # fmt: skip
def test_cautions_stand_where_the_numbers_give_reason_and_nowhere_else(phrase, applies, does_not):
    assert phrase in cautions(applies)
    assert phrase not in cautions(does_not)


def test_cautions_on_split_photos_and_validation():
    result = compared(a_row(CLEAN, "ce", 0.9))
    assert "One split (seed 0)" in cautions(result)
    assert "Synthetic photos" in cautions(result, "synthetic:photos=700")
    assert "Synthetic photos" not in cautions(result)
    assert "No validation split" in cautions(result, photos={**PHOTOS, "val": 0})
    assert "No validation split" not in cautions(result)


def test_cautions_say_what_wrong_test_labels_do_unless_the_program_made_the_labels():
    given = cautions(compared(a_row(CLEAN, "ce", 0.9)))
    assert "Labels as given: nobody has checked them here, in test either." in given
    assert "always right scores 1 − e, so 95 % where 5 % are wrong" in given
    assert "e/2 + a (1 − 3e/2): 90 % becomes 85.8 %, and a difference of 2 points 1.85." in given  # 3 classes
    binary = cautions(compared(a_row(CLEAN, "ce", 0.9), **with_photos(classes=("a", "b"), test_counts=(50, 50))))
    assert "e + a (1 − 2e): 90 % becomes 86.0 %, and a difference of 2 points 1.80." in binary
    made = cautions(compared(a_row(CLEAN, "ce", 0.9), **with_photos(source="synthetic:photos=900")))
    assert "abels as given" not in made
    assert "rong test labels" not in made


@pytest.mark.parametrize("classes", [2, 3, 5, 100])
@pytest.mark.parametrize(("metric", "there"), [("accuracy", True), ("balanced_accuracy", False), ("memorised", False)])
def test_the_formula_for_wrong_test_labels_is_that_of_accuracy(classes, metric, there):
    photos = with_photos(classes=tuple(map(str, range(classes))), test_counts=(100,) * classes)
    text = cautions(compared(a_row(CLEAN, "ce", 0.9), metric=metric, **photos))
    assert ("always right scores 1 − e" in text) is there
    assert ("Wrong test labels change every number" in text) is (metric == "balanced_accuracy")
    if there:
        wrong = np.eye(classes) * 0.95 + (1 - np.eye(classes)) * 0.05 / (classes - 1)  # P(label | true class)
        answers = np.eye(classes) * 0.9 + (1 - np.eye(classes)) * 0.1 / (classes - 1)  # P(answer | true class)
        became = re.search(r"90 % becomes ([0-9.]+) %", text)
        assert float(became[1]) == pytest.approx(100 * (wrong * answers).sum(axis=1).mean(), abs=0.051)


def test_headlines_say_fall_significance_tolerance_and_collapse():
    rows = (
        a_row(CLEAN, "ce", 0.909),
        a_row(NOISY, "ce", 0.707),
        a_row(NOISY, "mae", 0.5, collapsed=1, difference=against(-0.2, 0.001, "worse")),
    )
    tolerated = (rated("ce", Rate("exact", 0.231)),)
    fall, significance, tolerance, collapse = sentences.headlines(compared(*rows, tolerated=tolerated))
    assert fall == (
        "With ce, accuracy goes from 90.9 % on labels as given to 70.7 % with 40.0 % added wrong ones (symmetric 0.4)."
    )
    assert "mae is significantly worse" in significance
    assert tolerance.startswith("symmetric: ce stands")
    assert collapse == "1 run has collapsed; see what not to conclude."


def test_losses_are_named_with_their_backbone_where_there_are_several():
    rows = a_row(CLEAN, "ce", 0.9, best=True), a_row(CLEAN, "ce", 0.8, setup=a_setup("efficientnet_lite0"))
    first, second = sentences.best(compared(a_row(CLEAN, "mae", 0.7), *rows))
    assert "ce · resnet50 has the highest accuracy" in first
    assert "ce · efficientnet_lite0, the only loss, has 80.0 % accuracy" in second


def test_a_loss_that_is_given_the_true_matrix_is_never_called_best_or_most_tolerant():
    oracle = a_row(CLEAN, "forward:T=true", 0.95, oracle=True)
    [sentence] = sentences.best(compared(oracle, a_row(CLEAN, "ce", 0.9, best=True), a_row(CLEAN, "mae", 0.8)))
    assert "ce has the highest accuracy" in sentence
    [alone] = sentences.best(compared(oracle))
    assert "every loss is given the true transition matrix, so none is called best" in alone
    lines = (rated("forward:T=true", Rate("at_least", 0.6)), rated("ce", Rate("exact", 0.3)))
    [tolerant] = sentences.tolerances(compared(oracle, a_row(CLEAN, "ce", 0.9), tolerated=lines))
    assert "ce stands" in tolerant


# Forms

EVIL = '<script>alert("1")</script> & [a](b) | *c* _d_ `e`'


def a_report(**known) -> Report:
    """A report without pictures on a data set with a class that is called like a script."""
    dataset = Dataset(
        id="0" * 64,
        request=DatasetRequest(f"folder:{EVIL}", None, None, None, 224, 0),
        source_fingerprint=None,
        classes=("daisy", EVIL),
        counts=((60, 40), (10, 10), (15, 15)),
        found=150,
        archive=files.NOT_WRITTEN,
        index=files.NOT_WRITTEN,
        identical=(("a", "b"),),
        contradictory=(),
        unreadable=(),
    )
    rows = a_row(CLEAN, "ce", 0.9, best=True), a_row(CLEAN, "mae", 0.8), a_row(NOISY, "ce", 0.7, best=True)
    facts = {
        "dataset": dataset,
        "comparison": compared(*rows, notes=(f"note on {EVIL}",)),
        "drawn": (DrawnCondition("symmetric", 0.4, 5, (0.39, 0.41)),),
        "pictures": (),
        "sheets": (),
        "passed_over": (f"no picture of {EVIL}",),
        "commands": (f"flowernoise prepare 'folder:{EVIL}'",),
        "provenance": (Provenance({"numpy": "2.0"}, "tensorflow", "cpu"),),
        "digests": (("data set", "0" * 64),),
    }
    return Report(**(facts | known))


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


def results(*rows: Row) -> Grids:
    """The report's table of the metric."""
    [found] = [b for b in content.document(a_report(comparison=compared(*rows))).blocks if isinstance(b, Grids)]
    return found


def test_many_losses_are_rows_and_few_are_columns():
    def table(count: int) -> Table:
        rows = [a_row(condition, f"l{k}", 0.9) for condition in (CLEAN, NOISY) for k in range(count)]
        [found] = results(*rows).tables(html_.MAX_COLUMNS)
        return found

    few, many = table(html_.MAX_COLUMNS), table(html_.MAX_COLUMNS + 1)
    assert "test photos with labels as given" in few.title
    assert [column.name for column in few.columns] == ["noise, added wrong labels", "l0", "l1", "l2", "l3", "l4"]
    assert [column.name for column in many.columns] == ["loss", "control", "symmetric 0.4"]
    assert [column.below for column in many.columns] == ["", "labels as given", "40.0 % added wrong"]
    assert len(many.rows) == html_.MAX_COLUMNS + 1


def test_more_differences_than_one_reads_become_a_table():
    rows = [a_row(NOISY, "ce", 0.9)]
    rows += [a_row(NOISY, f"l{k:02}", 0.8, difference=against(-0.1, 0.01, "worse")) for k in range(11)]
    blocks = content.document(a_report(comparison=compared(*rows))).blocks
    [table] = [b for b in blocks if isinstance(b, Table) and b.title.startswith("What differs")]
    assert len(table.rows) == 11
    assert [cell.text for cell in table.rows[0]] == [
        "symmetric 0.4", "l00", "−10.0", "−11.0 to −9.0", "p = 0.010", "worse",
    ]  # fmt: skip


def test_collapsed_and_failed_cells_say_so_in_words():
    rows = a_row(NOISY, "ce", 0.5, collapsed=2, failed=1), a_row(NOISY, "mae", None, seeds=0, failed=5)
    [table] = results(*rows).tables(html_.MAX_COLUMNS)
    assert table.rows[0][1].below.endswith("✗ collapsed 2 of 5 · 1 failed")
    assert table.rows[0][2] == Cell("5 failed", tone="bad", prose=True)


def test_sections_without_content_are_left_out():
    titles = [b.text for b in content.document(a_report(passed_over=())).blocks if isinstance(b, Heading)]
    assert {"Plots", "Photos", "Tolerated noise"}.isdisjoint(titles)
    assert titles[-1] == "How to reproduce"
