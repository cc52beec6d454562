"""Tables as people see them: golden files (see conftest.py for how to write them anew) and what must always hold."""

import io
import re

import msgspec
import pytest
from rich.cells import cell_len
from rich.console import Console

from flowernoise.show.comparison import document
from flowernoise.show.writers import table

ESCAPE = re.compile(r"\x1b\[([0-9;]*)m")


def shown(comparison, width: int | None, **options) -> str:
    """The table at a terminal of a width, or in a pipe (None); with its escape codes."""
    terminal = {"force_terminal": True, "width": width, "color_system": "standard"}
    pipe = {"force_terminal": False, "width": 100}
    settings = (pipe if width is None else terminal) | {"_environ": {}} | options
    console = Console(file=io.StringIO(), highlight=False, **settings)
    table.show(document(comparison), console)
    return console.file.getvalue()


def plain(text: str) -> str:
    return ESCAPE.sub("", text)


def lines(text: str) -> list[str]:
    return plain(text).splitlines()


def line_of(text: str, start: str) -> str:
    [line] = [line for line in lines(text) if line.startswith(start)]
    return line


def of_losses(comparison, losses: list[str]):
    """The comparison with other losses, all like cross-entropy, without the noise of a long name."""
    alike = [row for row in comparison.rows if row.loss == "ce" and ":" not in row.noise]
    rows = tuple(msgspec.structs.replace(row, loss=loss) for row in alike for loss in losses)
    conditions, columns = (tuple(dict.fromkeys(getattr(row, of) for row in rows)) for of in ("condition", "column"))
    return msgspec.structs.replace(comparison, rows=rows, conditions=conditions, columns=columns, tolerated=())


@pytest.mark.parametrize("width", [80, 200, None], ids=["80", "200", "pipe"])
def test_table_is_as_in_the_golden_file(name, comparison, width, check_golden):
    check_golden(f"{name}_{width or 'pipe'}.txt", plain(shown(comparison, width)))


@pytest.mark.parametrize("width", [40, 80, 120, 200, None])
def test_nothing_is_cut_and_no_line_ends_in_spaces(comparison, width):
    text = shown(comparison, width)
    assert "…" not in text
    assert all(line == line.rstrip() for line in lines(text))
    for value in [*comparison.rows, *(row.balanced for row in comparison.rows if row.balanced)]:
        if value.mean is not None:
            factor, digits = (100, 1) if comparison.unit == "share" else (1, 3)
            mean, low, high = (f"{factor * each:.{digits}f}" for each in (value.mean, value.ci_low, value.ci_high))
            assert re.search(rf"{mean} +\[{low}–{high}\]", plain(text))


@pytest.mark.parametrize("width", [80, 120, 200])
def test_no_line_is_wider_than_the_terminal(comparison, width):
    assert max(cell_len(line) for line in lines(shown(comparison, width))) <= width


def test_losses_that_do_not_fit_come_in_tables_under_one_another_if_that_is_shorter(made):
    few = made("five_losses")
    rates = [0.05 * k for k in range(1, 20)]
    rows = [msgspec.structs.replace(row, noise="symmetric", rate=rate) for row in few.rows[:4] for rate in rates]
    conditions, columns = (tuple(dict.fromkeys(getattr(row, of) for row in rows)) for of in ("condition", "column"))
    high = msgspec.structs.replace(few, rows=tuple(rows), conditions=conditions, columns=columns, tolerated=())
    headers = [line.split()[3:] for line in lines(shown(high, 80)) if line.startswith("noise")]
    assert headers == [["ce", "mae"], ["gce:q=0.5", "sce:alpha=0.1,beta=0.5"]]


def test_many_losses_become_rows_in_a_terminal_in_blocks_that_fit(made):
    losses = ["ce", *(f"loss{k}" for k in range(7))]
    text = lines(shown(of_losses(made("five_losses"), losses), 70))
    heads = [position for position, line in enumerate(text) if line.startswith("loss ")]
    assert len(heads) == 2
    for head in heads:
        assert [line.split()[0] for line in text[head + 2 : head + 10]] == losses


def test_a_pipe_gets_one_table_without_escape_codes_however_wide_in_its_narrower_form(made):
    text = shown(of_losses(made("five_losses"), ["ce", *(f"loss{k}" for k in range(7))]), None)
    assert "\x1b" not in text
    assert len([line for line in lines(text) if line.startswith(("noise", "loss "))]) == 1
    assert max(map(cell_len, lines(text))) <= 100
    wide = shown(of_losses(made("five_losses"), ["ce", "another", "mae"]), None)
    assert [line.split()[0] for line in lines(wide) if line.startswith(("noise", "loss "))] == ["loss"]


def test_force_color_colours_a_pipe_and_no_color_leaves_no_colour(comparison):
    coloured = {code for codes in ESCAPE.findall(shown(comparison, 80)) for code in codes.split(";")}
    assert "32" in coloured
    assert "2" not in coloured, "dim text cannot be read on every terminal"
    bare = {code for codes in ESCAPE.findall(shown(comparison, 80, no_color=True)) for code in codes.split(";")}
    assert bare <= {"", "0", "1"}


def test_the_best_has_a_star_and_what_collapsed_a_cross_with_its_seeds(made):
    text = shown(made("five_losses"), 200)
    noisy = next(line for line in lines(text) if line.startswith("symmetric"))
    assert re.search(r"88\.0 \[86\.0–90\.0\] +↓4\.0 ★", noisy)
    assert re.search(r"87\.9 \[85\.9–89\.9\] +↓12\.1 ☆", noisy)
    assert re.search(r"89\.1 \[87\.1–91\.1\] +↓1\.4 +✗ 3/3", noisy)
    assert (noisy.count("★"), noisy.count("☆"), noisy.count("−")) == (1, 1, 1)
    assert "✗ 1/3: collapsed in 1 of 3 seeds" in text


def test_significant_differences_from_the_baseline_have_a_sign(made):
    text = lines(shown(made("five_losses"), 200))
    _, most_noise, _ = (line for line in text if line.startswith("symmetric"))
    assert re.search(r"85\.0 \[83\.0–87\.0\] +↓5\.5 \+ ★", most_noise)
    assert re.search(r" 9\.0 \[7\.0–11\.0\] +−", most_noise)
    assert any("+ significantly better, − significantly worse than ce" in line for line in text)


def test_a_cell_tells_failures_and_absences_apart(made):
    text = shown(made("five_losses"), 200)
    _, most_noise, _ = (line for line in lines(text) if line.startswith("symmetric"))
    assert re.search(r"★ +3 failed +70\.0", most_noise)
    assert line_of(text, "control").split()[3:7] == ["92.0", "[90.0–94.0]", "☆", "–"]


def test_what_is_tolerated_stands_below_with_its_bounds(made):
    text = lines(shown(made("five_losses"), 200))
    title = text.index("added wrong labels tolerated (at most 2 points below ce's control)")
    assert re.split(r" {2,}", text[title + 1]) == [
        "symmetric",
        "<20.0 % [<20.0–31.0]",
        "none",
        "44.4 % [25.1–≥60.0] ✗",
        "≥60.0 %",
    ]
    turned = lines(shown(made("five_losses"), 80))
    below = turned[turned.index("added wrong labels tolerated (at most 2 points below ce's control)") :]
    assert re.split(r" {2,}", below[1]) == ["loss", "symmetric"]
    assert re.split(r" {2,}", below[5]) == ["mae", "44.4 % [25.1–≥60.0] ✗"]


def test_the_legend_explains_only_what_is_there(made):
    result = made("five_losses")
    calm = [
        msgspec.structs.replace(row, best=False, tied=False, difference=None, collapsed=0, drop=None)
        for row in result.rows
    ]
    legend = plain(shown(msgspec.structs.replace(result, rows=tuple(calm)), 80)).split("\n\n")[0]
    assert not re.search("[★☆✗↓]|[+−] ", legend)
    assert "★ best, ☆ not significantly worse" in plain(shown(result, 80))
    alone = [msgspec.structs.replace(row, tied=False) for row in result.rows]
    assert "★ best ·" in plain(shown(msgspec.structs.replace(result, rows=tuple(alone)), 200))


def test_means_intervals_and_drops_of_a_column_stand_under_one_another(made):
    text = lines(shown(made("first_experiment"), 80))
    cells = [line[26:50] for line in text if re.match("uniform|  balanced +[68]", line)]
    assert len(cells) == 5
    assert {cell.index("[") for cell in cells} == {5}
    assert {re.search(r"[↓↑][0-9.]+", cell).end() for cell in cells if re.search("[↓↑]", cell)} == {22}
    wide = [line for line in lines(shown(made("five_losses"), 200)) if re.match("control|asym|symmetric +0", line)]
    assert len({line.rindex("[") for line in wide[:2]}) == 1


def test_chance_stands_below_each_accuracy(made):
    text = lines(shown(made("first_experiment"), 80))
    position = [line.startswith("majority") for line in text].index(True)
    assert text[position].split() == ["majority", "83.0", "83.0"]
    assert text[position + 1].split() == ["balanced", "50.0", "50.0"]
    balanced = msgspec.structs.replace(made("five_losses"), metric="balanced_accuracy")
    assert line_of(shown(balanced, 200), "one answer").split()[2:] == ["20.0"] * 5
    memorised = msgspec.structs.replace(made("five_losses"), metric="memorised", better="lower")
    assert "majority" not in shown(memorised, 200)
    assert "memorised in %, ↓ lower is better" in shown(memorised, 200)


def test_published_figures_come_after_the_table_and_before_the_notes(made):
    text = plain(shown(made("first_experiment"), 80))
    assert (
        text.index("majority")
        < text.index("first experiment")
        < text.index("published figures are")
        < text.index("note:")
    )
    assert line_of(text, "corrupted, L1").split("  ")[-1] == "✗ 1 of 2 collapsed"


def test_columns_of_several_kinds_name_what_differs(made):
    text = plain(shown(made("two_data_sets"), 200))
    assert re.search(r"\n.* ce +mae +ce\n.* features +features +finetune\n", text)
    assert text.startswith("2 data sets · resnet50 features, resnet50 finetune · labels as given\n")
    assert "+ significantly better than ce trained alike (ce itself: than the first ce)" in text


def test_data_sets_come_in_sections_with_their_own_majority(made):
    text = lines(shown(made("two_data_sets"), 200))
    one = text.index("tf_flowers · 5 classes · 510 test photos · selected epoch")
    two = text.index("tf_flowers, sunflowers or not · 2 classes · 100 test photos · last epoch")
    first, second = [position for position, line in enumerate(text) if line.startswith("majority")]
    assert one < first < two < second
    assert (text[first].split()[1], text[second].split()[1]) == ("24.5", "83.0")
    assert [line.startswith("  balanced") for line in text].count(True) == 3


def test_labels_are_clean_only_where_the_program_made_them(made):
    result = made("two_data_sets")
    first, second = result.datasets
    made_by_program = msgspec.structs.replace(first, source="synthetic:photos=900")

    def text(*photos):
        return plain(shown(msgspec.structs.replace(result, datasets=photos), 200))

    alone = msgspec.structs.replace(made("five_losses"), datasets=(made_by_program,))
    assert "· 510 clean test photos" in plain(shown(alone, 200))
    assert "added" not in plain(shown(alone, 80))
    assert "\nwrong labels tolerated (at most 2 points" in plain(shown(alone, 80))
    mixed = text(made_by_program, second)
    assert "resnet50 finetune · labels as given, except where test photos are called clean\n" in mixed
    assert "510 clean test photos" in mixed
    assert "100 test photos" in mixed
    assert "added wrong labels tolerated" in mixed
    assert "clean" not in text(first, second)
    called_like_it = msgspec.structs.replace(first, source="folder:synthetic")
    assert "clean" not in text(called_like_it, second)


def test_what_is_no_share_is_shown_as_it_is(made):
    text = shown(made("likelihoods"), 80)
    assert "nll, ↓ lower is better" in text
    assert "majority" not in text
    assert re.search(r"ce +0\.200 \[0\.169–0\.231\] ★ +0\.400 \[0\.369–0\.431\] ↑0\.200 ★", plain(text))


def test_bounds_below_zero_are_told_from_a_dash(made):
    result = made("likelihoods")
    rows = tuple(msgspec.structs.replace(row, ci_low=-0.1) for row in result.rows)
    text = plain(shown(msgspec.structs.replace(result, metric="mcc", rows=rows), None))
    assert "0.200 [-0.100 to 0.231]" in text


def test_a_file_holds_what_a_pipe_gets(comparison):
    assert table.table(document(comparison)) == shown(comparison, None)
