"""Pictures: artists hold what the data say, all of it is on the sheet, and equal data give equal bytes."""

import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib
import msgspec
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure

from flowernoise.analysis.views.charts import Chart, ChartCell, Measure, chart_of
from flowernoise.analysis.views.curves import Spread
from flowernoise.analysis.views.histories import Histories, History
from flowernoise.analysis.views.matrices import Confusion, Confusions, Transition
from flowernoise.analysis.views.pictures import Picture
from flowernoise.show import formats, plot
from flowernoise.show.plot import sheet, styles, subject
from flowernoise.show.plot.kinds import pictures
from tests.fabricated import a_setup


def many_losses(comparison, count: int = 21):
    """As many losses, each a little worse than the one before; the last one collapsed under symmetric 0.6."""
    rows = []
    for row, k in itertools.product([row for row in comparison.rows if row.loss == "ce"], range(count)):
        less = 0.01 * k
        facts = {"mean": row.mean - less, "ci_low": row.ci_low - less, "ci_high": row.ci_high - less, "best": k == 1}
        collapsed = 3 if k == count - 1 and row.rate == 0.6 else 0
        facts["values"] = tuple(value - less for value in row.values)
        rows.append(msgspec.structs.replace(row, loss=f"loss{k:02}" if k else "ce", collapsed=collapsed, **facts))
    columns = tuple(dict.fromkeys(row.column for row in rows))
    return msgspec.structs.replace(comparison, rows=tuple(rows), columns=columns)


def of_photos(comparison, **known):
    """The comparison with something else known of its test photos."""
    [photos] = comparison.datasets
    return msgspec.structs.replace(comparison, datasets=(msgspec.structs.replace(photos, **known),))


def histories(comparison) -> Histories:
    """Three seeds of six epochs, one of them two epochs shorter; each value tells where it comes from."""
    found = []
    for k, row in enumerate(row for row in comparison.rows if row.realised_rate > 0):
        memorised = (0.01 * k % 0.5) + np.linspace(0, 0.3, 6) + np.array([[-0.02], [0.0], [0.05]])
        memorised[2, 4:] = np.nan
        found.append(History(row.noise, row.rate, row.loss, memorised, 0.9 - memorised, 0.6 - memorised / 2))
    return Histories(chart_of(comparison), 2489, 534, tuple(found))


def confusions(comparison, classes: int | None = None) -> Confusions:
    [photos] = comparison.datasets
    names = photos.classes if classes is None else tuple(f"class number {k}" for k in range(classes))
    totals = photos.test_counts if classes is None else (4,) * classes
    right = np.diag(totals)
    sure = np.zeros_like(right)
    sure[:, 0] = totals  # always the first class
    matrices = (Confusion("ce", right, False), Confusion("mae", sure, True))
    of = of_photos(comparison, classes=names, test_counts=totals)
    return Confusions(chart_of(of), "symmetric", 0.6, 0.612, 3, matrices)


def transition(comparison, *, nominal: bool = True) -> Transition:
    [photos] = comparison.datasets
    count = len(photos.classes)
    realised = np.full((count, count), 0.2 / (count - 1)) + np.eye(count) * (0.8 - 0.2 / (count - 1))
    realised[1] = np.nan  # a class without training photos
    totals = tuple(0 if k == 1 else 100 + k for k in range(count))
    named = {"noise": "symmetric", "rate": 0.2, "realised_rate": 0.2, "seed": 1}
    nothing = np.eye(count) if nominal else None
    return Transition("tf_flowers", photos.classes, totals, nominal=nothing, realised=realised, **named)


def spread(comparison) -> Spread:
    return Spread(chart_of(comparison))


MAKERS = {
    "accuracy": chart_of,
    "memorisation": histories,
    "confusion": confusions,
    "transition": transition,
    "seeds": spread,
}
KIND_OF = {
    Chart: "accuracy",
    Histories: "memorisation",
    Confusions: "confusion",
    Transition: "transition",
    Spread: "seeds",
}


def picture_of(kind: str, comparison) -> Picture:
    return Picture(kind, kind, MAKERS[kind](comparison))


def figure_of(data) -> Figure:
    return pictures[KIND_OF[type(data)]].function(data)


@pytest.fixture(autouse=True)
def own_style():
    """Figures that tests make are made as they are by `draw`."""
    with sheet.style():
        yield


def lines(panel, label: str):
    return [line for line in panel.get_lines() if line.get_label() == label]


def line(panel, label: str):
    [found] = lines(panel, label)
    return found


def texts(figure: Figure) -> str:
    from matplotlib.text import Text

    return "\n".join(found.get_text() for found in figure.findobj(Text))


def panel_of(figure: Figure, title: str):
    [found] = [panel for panel in figure.axes if panel.get_title(loc="left") == title]
    return found


# What is drawn


def test_lines_hold_the_means_of_the_comparison(made):
    comparison = made("five_losses")
    figure = figure_of(chart_of(comparison))
    for noise, title in (("asymmetric:pairs=roses/tulips", "asymmetric"), ("symmetric", "symmetric")):
        panel = panel_of(figure, title)
        for loss in {row.loss for row in comparison.rows}:
            cells = [r for r in comparison.rows if r.loss == loss and r.noise in ("none", noise) and r.mean is not None]
            x, y = line(panel, loss).get_data()
            assert x.tolist() == [100 * row.realised_rate for row in cells]
            expected = [np.nan if row.collapsed else 100 * row.mean for row in cells]
            np.testing.assert_allclose(y, expected)


def test_bars_are_the_intervals(made):
    comparison = made("first_experiment")
    [panel, _] = figure_of(chart_of(comparison)).axes
    segments = [segment for bars in panel.collections for segment in bars.get_segments()]
    shown = sorted((x, low, high) for (x, low), (_, high) in segments)
    expected = sorted((100 * row.realised_rate, 100 * row.ci_low, 100 * row.ci_high) for row in comparison.rows)
    np.testing.assert_allclose(shown, expected)


def test_majority_and_the_control_of_the_baseline_are_drawn_in_and_named(made):
    comparison = made("first_experiment")
    figure = figure_of(chart_of(comparison))
    plain, balanced = figure.axes
    assert set(line(plain, "chance").get_ydata()) == {83.0}
    assert set(line(plain, "control").get_ydata()) == {93.0}
    assert set(line(balanced, "chance").get_ydata()) == {50.0}
    assert set(line(balanced, "control").get_ydata()) == {82.0}
    assert "majority: 83.0 %, balanced 50.0 %" in texts(figure)
    assert "ce without noise: 93.0 %, balanced 82.0 %" in texts(figure)


def test_a_collapsed_cell_is_hollow_and_crossed_and_on_no_line(made):
    comparison = made("first_experiment")
    figure = figure_of(chart_of(comparison))
    for panel, share in zip(figure.axes, (0.83, 0.5), strict=True):
        marker = line(panel, "mae, collapsed")
        assert marker.get_xydata().tolist() == [[10.0, 100 * share]]
        assert to_rgba(marker.get_markerfacecolor()) == to_rgba("white")
        assert np.isnan(line(panel, "mae").get_ydata()).tolist() == [True, False]
        assert not lines(panel, "ce, collapsed")
    assert subject.COLLAPSED in texts(figure)


def test_a_majority_line_far_below_the_data_is_brought_near_and_the_break_is_marked(made):
    comparison = many_losses(made("five_losses"), 3)  # all above 58 %, the majority 24.5 %
    panel = panel_of(figure_of(chart_of(comparison)), "asymmetric")
    heights = panel.transData.transform([(0, 24.5), (0, 58), (0, 68)])[:, 1]
    assert (heights[1] - heights[0]) / 33.5 < 0.5 * (heights[2] - heights[1]) / 10
    low, _ = panel.get_ylim()
    assert low < 100 * comparison.majority
    assert "24.5" in [label.get_text() for label in panel.get_yticklabels()]
    assert [each for each in panel.get_lines() if isinstance(each.get_marker(), list)]


def test_of_many_losses_the_baseline_and_the_best_stand_out(made):
    comparison = many_losses(made("five_losses"))
    drawn = chart_of(comparison)
    assert drawn.highlighted == ("ce", "loss01", "loss02", "loss03", "loss04", "loss05")
    figure = figure_of(drawn)
    panel = panel_of(figure, "symmetric")
    colours = {loss: to_hex(line(panel, loss).get_color()) for loss in {row.loss for row in comparison.rows}}
    assert len({colours[loss] for loss in drawn.highlighted}) == 6
    assert {colour for loss, colour in colours.items() if loss not in drawn.highlighted} == {styles.OTHER.colour}
    assert "15 other losses" in texts(figure)
    assert lines(panel, "loss20, collapsed")


def test_losses_differ_without_colour_too():
    for count in (8, 40):
        made = styles.of_losses([f"loss{k}" for k in range(count)]).values()
        assert len({(style.marker, str(style.dashes)) for style in made}) == count
    seven = [to_rgba(style.colour) for style in styles.of_losses([f"loss{k}" for k in range(7)]).values()]
    assert len(set(seven)) == 7
    contrast = [1.05 / (0.05 + _luminance(colour)) for colour in seven]
    assert min(contrast) > 2.0  # against white; markers and bars help the lightest


def _luminance(colour) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_memorisation_is_the_mean_over_seeds_and_its_band_their_range(made):
    comparison = msgspec.structs.replace(
        made("five_losses"), rows=tuple(r for r in made("five_losses").rows if r.loss in ("ce", "mae"))
    )
    data = histories(comparison)
    figure = figure_of(data)
    first = panel_of(figure, "symmetric 0.2")
    for history in data.histories:
        if (history.noise, history.rate) == ("symmetric", 0.2):
            drawn = line(first, history.loss)
            assert drawn.get_xdata().tolist() == [1, 2, 3, 4, 5, 6]
            np.testing.assert_allclose(drawn.get_ydata(), 100 * np.nanmean(history.memorised, axis=0))
    bands = [band.get_paths()[0].vertices[:, 1] for band in first.collections]
    lowest = min(100 * np.nanmin(h.memorised) for h in data.histories if (h.noise, h.rate) == ("symmetric", 0.2))
    assert min(band.min() for band in bands) == pytest.approx(lowest)
    assert lines(first, "mae, collapsed")
    assert "mean of 3 seeds, band: their range" in texts(figure)
    assert "2,489 training, 534 val and 510 test photos" in texts(figure).replace("\n", " ")


def test_cells_of_a_confusion_matrix_sum_to_the_test_photos(made):
    data = confusions(made("five_losses"))
    figure = figure_of(data)
    for panel, matrix in zip(figure.axes, data.matrices, strict=True):
        written = [int(re.match(r"\d+", text.get_text())[0]) for text in panel.texts]
        assert sum(written) == sum(data.chart.test_counts) == matrix.counts.sum()
        shares = np.asarray(panel.get_images()[0].get_array())
        np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert [panel.get_title(loc="left").splitlines()[0] for panel in figure.axes] == [
        "ce: 100.0 % right",
        "mae: 19.6 % right",
    ]
    assert "collapsed" not in figure.axes[0].get_title(loc="left")
    assert "collapsed" in figure.axes[1].get_title(loc="left")
    assert "daisy (100)" in texts(figure)


def test_matrices_of_many_classes_have_colours_and_no_numbers(made):
    for classes in (20, 60):
        figure = figure_of(confusions(made("five_losses"), classes))
        assert not [text for panel in figure.axes for text in panel.texts]
        assert ("class number 3" in texts(figure)) == (classes == 20)


def test_a_transition_matrix_is_shown_as_meant_and_as_it_came_out(made):
    data = transition(made("five_losses"))
    nominal, realised = figure_of(data).axes
    np.testing.assert_allclose(np.asarray(nominal.get_images()[0].get_array()), data.nominal)
    np.testing.assert_allclose(np.asarray(realised.get_images()[0].get_array()), np.nan_to_num(data.realised))
    written = [text.get_text() for text in realised.texts]
    assert written[0] == "80.0\n(80)"
    assert written[5:10] == ["–"] * 5
    alone = figure_of(transition(made("five_losses"), nominal=False))
    assert len(alone.axes) == 1
    assert "nominal T unknown" in texts(alone)


def test_every_seed_has_its_dot(made):
    comparison = made("five_losses")
    figure = figure_of(Spread(chart_of(comparison)))
    for (noise, rate), title in {("none", 0.0): "control", ("symmetric", 0.2): "symmetric 0.2"}.items():
        panel = panel_of(figure, title)
        for row in comparison.rows:
            if (row.noise, row.rate) == (noise, rate):
                dots = line(panel, row.loss)
                np.testing.assert_allclose(dots.get_xdata(), 100 * np.array(row.values))
                hollow = to_rgba(dots.get_markerfacecolor()) == to_rgba("white")
                assert hollow == bool(row.collapsed)
    assert "✗ 3/3" in texts(figure)
    assert "3 failed" in texts(figure)


def test_a_metric_that_is_no_share_is_drawn_as_it_is():
    cells = tuple(
        ChartCell("symmetric" if rate else "none", rate, rate, "ce", 2, (nll - 0.1, nll + 0.1), nll, 0.2, 2.5, 0, 0)
        for rate, nll in ((0.0, 0.4), (0.2, 1.9))
    )
    measure = Measure("nll", "plain", "lower", None, cells)
    whole = ("tf_flowers", ("a", "b"), (3, 4), a_setup(), (), "selected", "ce", ("ce",))
    [panel] = (figure := figure_of(Chart(*whole, (measure,)))).axes
    assert line(panel, "ce").get_ydata().tolist() == [0.4, 1.9]
    assert panel.get_ylabel() == "NLL (lower is better)"
    assert "ce without noise: 0.400" in texts(figure)
    noisy = figure_of(Spread(Chart(*whole, (measure,)))).axes[1]
    assert line(noisy, "ce").get_xdata() == pytest.approx([1.8, 2.0])


# How it is drawn


@pytest.mark.parametrize("kind", pictures.names())
def test_every_picture_tells_in_words_what_it_shows(made, kind):
    picture = picture_of(kind, made("five_losses"))
    caption, alt = plot.caption(picture), plot.alt(picture)
    assert caption.endswith(".")
    assert re.search(r"\d", alt), "the words for those who cannot see it name no number"
    assert alt.endswith(".")


@pytest.mark.parametrize("kind", pictures.names())
@pytest.mark.parametrize("of", ["two classes", "five losses", "21 losses"])
def test_everything_is_on_the_sheet_and_the_head_covers_nothing(made, kind, of):
    comparison = made("first_experiment" if of == "two classes" else "five_losses")
    comparison = many_losses(comparison) if of == "21 losses" else comparison
    comparison = of_photos(comparison, source="folder:/a/long/way/to/" + "many/" * 30 + "photos")
    figure = figure_of(MAKERS[kind](comparison))
    renderer = FigureCanvasAgg(figure).get_renderer()
    whole = figure.bbox
    placed = [*figure.texts, *(text for panel in figure.axes for text in panel.texts), *figure.legends, *figure.axes]
    for artist in placed:
        box = artist.get_tightbbox(renderer)
        assert (whole.x0 <= box.x0, whole.y0 <= box.y0) == (True, True), artist
        assert (box.x1 <= whole.x1, box.y1 <= whole.y1) == (True, True), artist
    head = [text.get_window_extent(renderer) for text in figure.texts]
    head += [legend.get_window_extent(renderer) for legend in figure.legends]
    assert all(upper.y0 > lower.y0 for upper, lower in itertools.pairwise(head))
    for panel in figure.axes:
        assert panel.get_tightbbox(renderer).y1 <= min(box.y0 for box in head) + 1


@pytest.mark.parametrize("kind", pictures.names())
def test_an_svg_is_xml_and_its_text_has_units_and_numbers_of_photos(made, kind):
    drawn = plot.draw(picture_of(kind, made("five_losses")), "svg")
    root = ET.fromstring(drawn)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    said = " ".join(element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text"))
    assert "%" in said
    assert "tf_flowers" in said
    assert "5 classes" in said
    assert re.search(r"510 (clean )?test photos|409 training photos", said)
    if kind != "transition":
        assert "resnet50 features" in said
    if kind in ("accuracy", "confusion", "seeds"):
        assert "selected epoch" in said
    if kind in ("accuracy", "memorisation", "seeds"):
        assert "3 seeds" in said
    assert b"matplotlib" not in drawn.replace(b"matplotlib.axis", b"")  # no version
    assert not re.search(rb"20\d\d-\d\d-\d\d", drawn)


@pytest.mark.parametrize("form", formats.PICTURES)
def test_each_drawing_is_the_same_bytes(made, form):
    picture = picture_of("confusion", made("five_losses"))
    assert len({plot.draw(picture, form) for _ in range(6)}) == 1


PROCESS = """
import hashlib, importlib.util, json, sys
spec = importlib.util.spec_from_file_location("pictures", sys.argv[1])
pictures = importlib.util.module_from_spec(spec); spec.loader.exec_module(pictures)
spec = importlib.util.spec_from_file_location("made", sys.argv[2])
made = importlib.util.module_from_spec(spec); spec.loader.exec_module(made)
print(json.dumps(pictures.digests(made.five_losses())))
"""


def digests(comparison) -> dict[str, str]:
    return {
        f"{kind}.{form}": hashlib.sha256(plot.draw(picture_of(kind, comparison), form)).hexdigest()
        for kind, form in [*((kind, "svg") for kind in pictures.names()), ("accuracy", "png"), ("confusion", "png")]
    }


def test_another_process_with_other_settings_draws_the_same_bytes(made, tmp_path):
    (tmp_path / "matplotlibrc").write_text("font.size: 20\nlines.linewidth: 9\nsvg.fonttype: path\nbackend: svg\n")
    own = {"MATPLOTLIBRC": str(tmp_path), "PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "0", "TZ": "Asia/Tokyo"}
    here = Path(__file__)
    command = [sys.executable, "-c", PROCESS, str(here), str(here.with_name("conftest.py"))]
    shown = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **own}, check=True)
    assert json.loads(shown.stdout) == digests(made("five_losses"))


def test_nobody_elses_settings_change(made):
    with matplotlib.rc_context({"font.size": 33.0}):
        plot.draw(picture_of("transition", made("five_losses")))
        assert matplotlib.rcParams["font.size"] == 33.0
