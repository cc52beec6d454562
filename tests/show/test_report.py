"""What a report is made of, section by section."""

from flowernoise.show.document import Cell, Grids, Heading, Table
from flowernoise.show.report import content
from flowernoise.show.writers import html_
from flowernoise.store.records import (
    Row,
)
from tests.show.small_comparisons import (
    CLEAN,
    NOISY,
    a_report,
    a_row,
    against,
    compared,
)


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
    [table] = [b for b in blocks if isinstance(b, Table) and b.title.startswith("Significant differences")]
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
