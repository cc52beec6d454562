"""Grids become tables: turned where there are many columns, several in one where their columns are the same."""

import dataclasses

import pytest

from flowernoise.show.document import MISSING, Axis, Cell, Grid, Grids, Header, Table, columns


def an_axis(corner: str, *names: str) -> Axis:
    return Axis(tuple(Header(name, (name,), name, below=f"below {name}") for name in names), columns(corner), corner)


def a_grid(rows: str, losses: str, **known) -> Grid:
    """A grid whose cells name their row and column; ``absent`` are those that it lacks."""
    absent = known.pop("absent", ())
    cells = tuple(tuple(None if r + c in absent else Cell(r + c) for c in losses) for r in rows)
    return Grid(an_axis("noise", *rows), an_axis("loss", *losses), cells, **known)


def texts(table: Table) -> list[list[str]]:
    return [[column.name for column in table.columns], *([cell.text for cell in row] for row in table.rows)]


@pytest.mark.parametrize(
    ("rows", "losses", "turned"),
    [("xy", "abc", False), ("xy", "abcd", True), ("vwxyz", "abcd", False), ("wxyz", "abcd", True)],
)
def test_a_grid_is_turned_where_it_has_more_columns_unless_that_makes_it_wider(rows, losses, turned):
    [table] = Grids((a_grid(rows, losses),)).tables(3)
    shown = texts(table)
    assert shown[0] == (["loss", *rows] if turned else ["noise", *losses])
    assert shown[1] == (
        [losses[0], *(r + losses[0] for r in rows)] if turned else [rows[0], *(rows[0] + c for c in losses)]
    )
    assert {column.below for column in table.columns[1:]} == {f"below {name}" for name in (rows if turned else losses)}


def test_rows_and_columns_without_anything_are_left_out_and_other_gaps_are_filled():
    [table] = Grids((a_grid("xy", "abc", absent=("ya", "xb", "yb", "yc")),)).tables(9)
    assert texts(table) == [["noise", "a", "c"], ["x", "xa", "xc"]]
    [table] = Grids((a_grid("xy", "ab", absent=("ya",)),)).tables(9)
    assert table.rows[1][1] == MISSING


def test_grids_of_a_subject_are_one_table_and_what_is_said_of_them_stands_below():
    chance = (("majority", Cell("0.5", beneath=Cell("0.2", label="balanced"))),)
    first = a_grid("x", "ab", subject="one", title="measured", chance=chance)
    second = a_grid("x", "ab", subject="one", title="tolerated at most", prefix="tolerated")
    other = dataclasses.replace(first, subject="two", chance=())
    one, two = Grids((first, second, other)).tables(9)
    assert texts(one) == [["noise", "a", "b"], ["x", "xa", "xb"], ["tolerated: x", "xa", "xb"]]
    assert (one.title, one.notes) == ("one · measured", ("tolerated at most", "majority: 0.5, balanced 0.2"))
    assert (two.title, two.notes, len(two.rows)) == ("two · measured", (), 1)


def test_a_grid_turned_twice_is_itself():
    grid = a_grid("xyz", "ab", absent=("xa",))
    assert grid.turned().turned() == grid
    assert [header.name for header, _ in grid.turned().lines()] == ["a", "b"]


def test_a_cell_says_its_value_with_signs_and_the_rest_below():
    cell = Cell("94.0", "[92.0–96.0]", "↑1.0", "+", "★", "✗", ("✗ collapsed",), Cell("84.0", label="balanced"))
    assert (cell.signed, cell.below) == ("94.0 ↑1.0 + ★", "[92.0–96.0] · balanced 84.0 · ✗ collapsed")
