"""Tables as people see them: golden files (see conftest.py for how to write them anew) and what must always hold."""

import dataclasses
import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from flowernoise.show import table

ESCAPE = re.compile(r"\x1b\[([0-9;]*)m")


def shown(comparison, width: int | None, **options) -> str:
    """The table at a terminal of a width, or in a pipe (None); with its escape codes."""
    terminal = {"force_terminal": True, "width": width, "color_system": "standard"}
    pipe = {"force_terminal": False, "width": 100}
    settings = (pipe if width is None else terminal) | {"_environ": {}} | options
    console = Console(file=io.StringIO(), highlight=False, **settings)
    table.show(comparison, console)
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
    rows = tuple(dataclasses.replace(row, loss=loss) for row in alike for loss in losses)
    return dataclasses.replace(comparison, rows=rows)


@pytest.mark.parametrize("width", [80, 200, None], ids=["80", "200", "pipe"])
def test_table_is_as_in_the_golden_file(name, comparison, width, check_golden):
    check_golden(f"{name}_{width or 'pipe'}.txt", plain(shown(comparison, width)))


@pytest.mark.parametrize("width", [40, 80, 120, 200, None])
def test_nothing_is_cut_and_no_line_ends_in_spaces(comparison, width):
    text = shown(comparison, width)
    assert "…" not in text
    assert all(line == line.rstrip() for line in lines(text))
    for row in (*comparison.rows, *comparison.balanced):
        if row.mean is not None:
            assert f"{100 * row.mean:.1f} [{100 * row.ci_low:.1f}–{100 * row.ci_high:.1f}]" in plain(text)


@pytest.mark.parametrize("width", [80, 120, 200])
def test_no_line_is_wider_than_the_terminal(comparison, width):
    assert max(cell_len(line) for line in lines(shown(comparison, width))) <= width


def test_losses_that_do_not_fit_come_in_tables_under_one_another(made):
    losses = ["ce", *(f"loss{k}" for k in range(7))]
    text = shown(of_losses(made("five_losses"), losses), 80)
    headers = [line.split()[3:] for line in lines(text) if line.startswith("noise")]
    assert [loss for header in headers for loss in header] == losses
    assert [len(header) for header in headers] == [2, 2, 2, 2]
    assert len([line for line in lines(text) if line.startswith("control")]) == 4


def test_a_pipe_gets_one_table_without_escape_codes_however_wide(made):
    text = shown(of_losses(made("five_losses"), ["ce", *(f"loss{k}" for k in range(7))]), None)
    assert "\x1b" not in text
    assert len([line for line in lines(text) if line.startswith("noise")]) == 1


def test_force_color_colours_a_pipe_and_no_color_leaves_no_colour(comparison):
    coloured = {code for codes in ESCAPE.findall(shown(comparison, 80)) for code in codes.split(";")}
    assert "32" in coloured
    assert "2" not in coloured, "dim text cannot be read on every terminal"
    bare = {code for codes in ESCAPE.findall(shown(comparison, 80, no_color=True)) for code in codes.split(";")}
    assert bare <= {"", "0", "1"}


def test_the_control_is_on_top_whatever_the_order_of_the_rows(made):
    result = made("five_losses")
    text = shown(dataclasses.replace(result, rows=result.rows[::-1]), 200)
    below = lines(text)[[line.startswith("noise") for line in lines(text)].index(True) + 2 :]
    assert below[0].startswith("control")


def test_the_best_has_a_star_and_what_collapsed_a_cross_with_its_seeds(made):
    text = shown(made("five_losses"), 200)
    noisy = next(line for line in lines(text) if line.startswith("symmetric"))
    assert re.search(r"88\.0 \[86\.0–90\.0\] +↓4\.0 ★", noisy)
    assert re.search(r"89\.1 \[87\.1–91\.1\] +↓1\.4 ✗ 3/3", noisy)
    assert noisy.count("★") == 1
    assert "✗ 1/3 collapsed in 1 of 3 seeds" in text


def test_a_cell_tells_failures_and_absences_apart(made):
    text = shown(made("five_losses"), 200)
    _, most_noise = (line for line in lines(text) if line.startswith("symmetric"))
    assert most_noise.split()[7:11] == ["9.0", "[7.0–11.0]", "3", "failed"]
    assert line_of(text, "control").split()[3:6] == ["92.0", "[90.0–94.0]", "–"]


def test_the_legend_explains_only_what_is_there(made):
    result = made("five_losses")
    calm = [dataclasses.replace(row, best=False, collapsed=0, drop=None) for row in result.rows]
    legend = plain(shown(dataclasses.replace(result, rows=tuple(calm)), 80)).split("\n\n")[0]
    assert not re.search("[★✗↓↑]", legend)
    assert re.search("★ best of row", plain(shown(result, 80)))


def test_means_intervals_and_drops_of_a_column_stand_under_one_another(made):
    text = lines(shown(made("first_experiment"), 80))
    cells = [line[26:50] for line in text if re.match("uniform|  balanced +[68]", line)]
    assert len(cells) == 5
    assert {cell.index("[") for cell in cells} == {5}
    assert {re.search(r"[↓↑][0-9.]+", cell).end() for cell in cells if re.search("[↓↑]", cell)} == {22}


def test_chance_stands_below_each_accuracy(made):
    text = lines(shown(made("first_experiment"), 80))
    position = [line.startswith("majority") for line in text].index(True)
    assert text[position].split() == ["majority", "83.0", "83.0"]
    assert text[position + 1].split() == ["balanced", "50.0", "50.0"]
    balanced = dataclasses.replace(made("five_losses"), metric="balanced_accuracy")
    assert line_of(shown(balanced, 200), "one answer").split()[2:] == ["20.0"] * 5
    memorised = dataclasses.replace(made("five_losses"), metric="memorised", better="lower")
    assert "majority" not in shown(memorised, 200)
    assert "memorised in %, lower is better" in shown(memorised, 200)


def test_published_figures_come_after_the_table_and_before_the_notes(made):
    text = plain(shown(made("first_experiment"), 80))
    assert (
        text.index("majority")
        < text.index("first experiment")
        < text.index("published figures are")
        < text.index("note:")
    )
    assert line_of(text, "corrupted, L1").split("  ")[-1] == "✗ 1 of 2 collapsed"


def test_columns_of_several_kinds_name_backbone_and_mode(made):
    result = made("first_experiment")
    other = tuple(dataclasses.replace(row, backbone="efficientnet_lite0", mode="finetune") for row in result.rows)
    both = dataclasses.replace(result, rows=result.rows + other, balanced=result.balanced * 2)
    text = plain(shown(both, 200))
    assert re.search(r"efficientnet_lite0 +efficientnet_lite0 +resnet50 +resnet50", text)
    assert re.search(r"finetune +finetune +features +features", text)


def test_a_table_can_be_captured_whole(comparison):
    console = Console(file=io.StringIO(), width=100, no_color=True)
    with console.capture() as captured:
        table.show(comparison, console)
    assert captured.get() == shown(comparison, None)
    assert console.file.getvalue() == ""
