"""What can be picked is listed from the registries, each with help that says what a user needs."""

import re

import pytest

from flowernoise.cli import ListSettings
from flowernoise.errors import BadRequestError
from flowernoise.options import fields_of
from flowernoise.steps.list import REGISTRIES, list_things


def test_everything_registered_is_listed_once() -> None:
    listed = [(thing.kind, thing.name) for thing in list_things()]
    assert listed == [(kind, entry.name) for kind, registry in REGISTRIES.items() for entry in registry]


@pytest.mark.parametrize("thing", list_things(), ids=lambda thing: f"{thing.kind}-{thing.name}")
def test_every_thing_says_what_it_is_in_one_line(thing: object) -> None:
    assert thing.summary.endswith(".")
    assert "\n" not in thing.summary
    assert len(thing.summary) <= 120


@pytest.mark.parametrize("kind", ["losses", "noise"])
def test_losses_and_noise_models_name_formula_source_and_example(kind: str) -> None:
    for thing in list_things(kind):
        assert "Source:" in thing.details or thing.name == "observed", thing.name
        assert ">>>" in thing.details or "Example:" in thing.details, thing.name


def test_the_help_names_every_kind() -> None:
    kind, _ = fields_of(ListSettings)
    assert all(re.search(rf"\b{each}\b", kind.full_help()) for each in REGISTRIES)


def test_parameters_are_shown_with_their_defaults() -> None:
    (gce,) = list_things("losses", "gce")
    assert gce.parameters == ("q=0.7", "k=0")


@pytest.mark.parametrize(("kind", "name", "hint"), [("loss", None, "losses"), ("losses", "gcd", "gce")])
def test_what_there_is_not_is_named_with_the_nearest(kind: str, name: str | None, hint: str) -> None:
    with pytest.raises(BadRequestError, match=f"did you mean {hint}"):
        list_things(kind, name)
