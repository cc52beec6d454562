"""How long fine-tuning will take is told from parts of epochs that are like the rest."""

import pytest

from flowernoise.steps.train.by_finetuning import ENOUGH_PARTS, SKIPPED, Forecast


def test_the_first_parts_with_their_compilation_are_left_out() -> None:
    forecast = Forecast(photos_in_all=3200)
    told = [forecast.seconds(32, seconds) for seconds in (40.0, 12.0, *[1.0] * 20)]
    known = [seconds for seconds in told if seconds is not None]
    assert known == [pytest.approx(100.0)]
    assert told.index(known[0]) == SKIPPED + ENOUGH_PARTS - 1


def test_a_part_that_had_to_wait_does_not_count() -> None:
    forecast = Forecast(photos_in_all=3200)
    told = [forecast.seconds(32, seconds) for seconds in (40.0, 12.0, 1.0, 1.0, 7.0, *[1.0] * 20)]
    assert [seconds for seconds in told if seconds is not None] == [pytest.approx(100.0)]


def test_slow_parts_are_told_after_few() -> None:
    forecast = Forecast(photos_in_all=640)
    assert [forecast.seconds(32, 30.0) for _ in range(4)] == [None, None, pytest.approx(600.0), None]
