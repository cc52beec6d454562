"""An option is what a field of settings says: on the command line, in the help, and for Python."""

import dataclasses
import tomllib
import typing
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from flowernoise import cli, options
from flowernoise.errors import BadRequestError
from flowernoise.options import Option, Settings
from flowernoise.registry import Between, Registry
from flowernoise.steps import settings as every

toppings = Registry("topping")


@toppings.register()
def cream(*, grams: Annotated[int, Between(1, 50)] = 20) -> int:
    """Cream."""
    return grams


@toppings.register(unkeyed="kind")
def nuts(*, kind: str = "almond") -> str:
    """Nuts."""
    return kind


def without_suffix(path: Path) -> None:
    if path.suffix:
        raise ValueError("has a suffix")


@dataclasses.dataclass(frozen=True)
class Cake(Settings):
    """What is baked."""

    kind: Annotated[str | None, Option("Kind of cake.", metavar="[KIND]", argument=True)] = None
    layers: Annotated[int, Between(1, 9), Option("Layers.")] = 3
    sizes: Annotated[tuple[float, ...], Between(0, open="low"), Option("Sizes.")] = (20.0, 18.5)
    toppings: Annotated[
        tuple[str, ...],
        Option("Topping: {names}.", names=("--topping",), registry=lambda: toppings),
    ] = ("cream",)
    oven: Annotated[Literal["gas", "electric"], Option("Oven.")] = "gas"
    recipe: Annotated[
        Path | None,
        Option("Recipe.", default="the usual", check=without_suffix),
    ] = None
    iced: Annotated[bool, Option("Iced.")] = False
    baker: str = "nobody"

    def check_together(self) -> None:
        if self.iced and self.oven == "gas":
            raise BadRequestError("--iced needs --oven electric")


@dataclasses.dataclass(frozen=True)
class Plate(Settings):
    """What it is put on."""

    colour: Annotated[str, Option("Colour.", names=("-c", "--colour"), metavar="NAME", envvar="COLOUR")] = "white"


def baked(*words: str, env: dict[str, str] | None = None) -> tuple[Cake, Plate]:
    app, made = typer.Typer(add_completion=False, rich_markup_mode=None), []

    @options.command(
        app,
        group="Bake",
        examples=("bake", "bake --layers 2"),
        without=("recipe",),
        implied=lambda given: {"baker": "Ann", "layers": 5} if given else {},
    )
    def bake(cake: Cake, plate: Plate) -> None:
        """Bake a cake."""
        made.append((cake, plate))

    done = CliRunner().invoke(app, list(words), env=env)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return made[0] if made else (done.output, None)


def test_what_is_not_given_keeps_the_default_of_the_field() -> None:
    assert baked() == (Cake(), Plate())


def test_every_type_is_read() -> None:
    words = ("carrot", "--layers", "2", "--sizes", "12, 1e1,12", "--topping", "nuts:kind=pecan", "--topping", "cream")
    cake, plate = baked(*words, "--oven", "electric", "--iced", "-c", "blue")
    expected = Cake("carrot", 2, (12.0, 10.0), ("nuts:kind=pecan", "cream"), "electric", None, True, "Ann")
    assert (cake, plate) == (expected, Plate("blue"))


def test_what_is_implied_yields_to_what_is_given() -> None:
    assert baked("--oven", "electric")[0].layers == 5
    assert baked("--layers", "4")[0].layers == 4


def test_the_environment_stands_for_an_option() -> None:
    assert baked(env={"COLOUR": "green"})[1] == Plate("green")
    assert baked("-c", "blue", env={"COLOUR": "green"})[1] == Plate("blue")


FILE = """
kind = "carrot"
layers = 2
sizes = [12, 1e1, 12]
topping = ["nuts:kind=pecan", "cream"]
oven = "electric"
iced = true
colour = "blue"
"""


def in_file(tmp_path: Path, text: str) -> str:
    (tmp_path / "cake.toml").write_text(text, encoding="utf-8")
    return str(tmp_path / "cake.toml")


def test_a_file_stands_for_options(tmp_path: Path) -> None:
    cake, plate = baked("--config", in_file(tmp_path, FILE))
    expected = Cake("carrot", 2, (12.0, 10.0), ("nuts:kind=pecan", "cream"), "electric", None, True, "Ann")
    assert (cake, plate) == (expected, Plate("blue"))


def test_options_on_the_command_line_win_over_the_file(tmp_path: Path) -> None:
    path = in_file(tmp_path, FILE)
    cake, plate = baked("--config", path, "--layers", "4", "--topping", "cream", env={"COLOUR": "green"})
    assert (cake.layers, cake.toppings, cake.oven, plate.colour) == (4, ("cream",), "electric", "green")


def test_the_file_wins_over_what_is_implied(tmp_path: Path) -> None:
    assert baked("--config", in_file(tmp_path, 'oven = "electric"'))[0].layers == 5
    assert baked("--config", in_file(tmp_path, "layers = 4"))[0].layers == 4


def test_one_value_stands_for_a_list_of_one(tmp_path: Path) -> None:
    cake, _ = baked("--config", in_file(tmp_path, 'sizes = 1\ntopping = "nuts"\n'))
    assert (cake.sizes, cake.toppings) == ((1.0,), ("nuts",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "layer = 2",
            "'layer' is not an option of bake (did you mean layers?); `flowernoise bake --help` lists them all",
        ),
        ("toppings = []", "'toppings' is not an option of bake (did you mean topping?)"),
        ('recipe = "a"', "'recipe' is not an option of bake"),  # which the command does without
        ('baker = "Ann"', "'baker' is not an option of bake"),
        ('config = "other.toml"', "'config' is not an option of bake"),
        ('layers = "2"', 'layers = "2" is not a whole number'),
        ("layers = 2.0", "layers = 2.0 is not a whole number"),
        ("layers = true", "layers = true is not a whole number"),
        ("layers = [2]", "layers = [2] is not a whole number"),
        ('sizes = ["12"]', 'sizes = "12" is not a number'),
        ("sizes = [1, nan]", "sizes = nan is not a number"),
        (f"sizes = 1{'0' * 400}", "is not a number"),
        ("sizes = [false]", "sizes = false is not a number"),
        ("sizes = []", "sizes is an empty list; leave it out for the default"),
        (f"sizes = {list(range(1, 1002))}", "sizes: 1,001 numbers are too many; at most 1,000"),
        ("topping = [1]", "topping = 1 is not text in quotes"),
        ("oven = 1979-05-27", "oven = 1979-05-27 is not text in quotes"),
        ('iced = "yes"', 'iced = "yes" is not true or false'),
        ("iced = 1", "iced = 1 is not true or false"),
        ("layers = 12", "--layers 12 must be at least 1 and at most 9"),
        ('topping = ["creme"]', "unknown topping 'creme' (did you mean cream?)"),
        ("[layers]\nlow = 2", "[layers] is a section; options are written without sections"),
        ("layers 2", "is not TOML: "),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_it(tmp_path: Path, text: str, message: str) -> None:
    path = in_file(tmp_path, text)
    with pytest.raises(BadRequestError) as caught:
        baked("--config", path)
    assert str(caught.value).startswith(path)
    assert message in str(caught.value)


@given(
    kind=st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1),
    layers=st.integers(1, 9),
    sizes=st.lists(st.floats(1e-300, 1e300), min_size=1, unique=True),
    iced=st.booleans(),
)
def test_written_options_are_read_back(kind: str, layers: int, sizes: list[float], iced: bool) -> None:
    options_given = {"kind": kind, "layers": layers, "sizes": tuple(sizes), "recipe": Path(kind[:1]), "iced": iced}
    fields = options.fields_of(Cake)
    read = {field.key: field for field in fields}
    text = options.as_toml((Cake,), options_given)
    found = {read[key].name: value for key, value in tomllib.loads(text).items()}
    made = {field.name: field.read_toml(found[field.name]) for field in fields if field.name in found}
    assert made == {**options_given, "recipe": made["recipe"]}
    assert str(made["recipe"]) == str(options_given["recipe"])


def test_the_help_has_names_defaults_and_choices() -> None:
    shown = " ".join(str(baked("--help")[0]).split())
    for part in (
        "Bake a cake.",
        "--layers N Layers. [default: 3]",
        "--sizes X[,X…] Sizes. [default: 20,18.5]",
        "--topping SPEC Topping: cream or nuts:KIND. [default: cream]",
        "--oven <gas|electric> Oven. [default: gas]",
        "-c, --colour NAME Colour. [default: white] [env var: COLOUR]",
    ):
        assert part in shown
    assert not {"--recipe", "--baker", "--no-iced"} & set(shown.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--layers", "two"), "--layers 'two' is not a whole number"),
        (("--sizes", "1,,2"), "--sizes '1,,2': '' is not a number"),
        (("--sizes", "1,inf"), "--sizes '1,inf': 'inf' is not a finite number"),
        (("--sizes", ",".join(map(str, range(1, 1002)))), "1,001 numbers are too many; at most 1,000"),
    ],
)
def test_what_cannot_be_read_is_named(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        baked(*words)
    assert message in str(caught.value)


def test_an_empty_path_is_none() -> None:
    with pytest.raises(BadRequestError, match="--recipe '' is not a path"):
        options.given((Cake,), {"recipe": ""})


@pytest.mark.parametrize(
    ("cake", "message"),
    [
        (Cake(layers=0), "--layers 0 must be at least 1 and at most 9"),
        (Cake(sizes=(20.0, float("nan"))), "--sizes nan must be above 0"),
        (Cake(toppings=("creme",)), "unknown topping 'creme' (did you mean cream?); there are: cream, nuts"),
        (Cake(toppings=("cream:grams=60",)), "topping cream: grams=60 must be at least 1 and at most 50"),
        (Cake(oven=typing.cast(typing.Any, "elektric")), "is not one of gas, electric (did you mean electric?)"),
        (Cake(recipe=Path("a.txt")), "--recipe 'a.txt' has a suffix"),
        (Cake(iced=True), "--iced needs --oven electric"),
    ],
)
def test_python_is_refused_what_the_command_line_is(cake: Cake, message: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        cake.check()
    assert message in str(caught.value)
    given = {name: value for name, value in vars(cake).items() if value != getattr(Cake(), name)}
    with pytest.raises(BadRequestError) as again:
        options.made(Cake, given)
    assert str(again.value) == str(caught.value)


SETTINGS = [kind for kind in Settings.__subclasses__() if kind.__module__ == every.__name__]


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_setting_is_an_option_with_help(kind: type[Settings]) -> None:
    fields = {field.name: field for field in options.fields_of(kind)}
    assert {field.name for field in dataclasses.fields(kind)} - set(fields) <= {"control_losses"}  # of presets alone
    for field in fields.values():
        assert "{" not in field.full_help()
        assert field.full_help().endswith((".", "]"))


@pytest.mark.parametrize(
    "kind", [kind for kind in SETTINGS if kind not in (every.RemoveSettings, every.PredictSettings)]
)
def test_defaults_are_not_refused(kind: type[Settings]) -> None:
    kind().check()


@pytest.mark.parametrize(
    ("kind", "field", "low", "high"),
    [
        (kind, field.name, field.range.low, field.range.high)
        for kind in SETTINGS
        for field in options.fields_of(kind)
        if field.range
    ],
)
def test_every_range_holds_in_python(kind: type[Settings], field: str, low: float, high: float) -> None:
    many = next(each.many for each in options.fields_of(kind) if each.name == field)
    for value in (low - 1, float("nan"), *([high * 2] if high < 1e300 else [])):
        settings = kind(**{field: (value,) if many else value})
        with pytest.raises(BadRequestError, match="must be"):
            settings.check()


@pytest.mark.parametrize(
    ("options", "form"),
    [
        ({}, "table"),
        ({"output": Path("a.tex")}, "latex"),
        ({"output": Path("a.tex"), "format": "csv"}, "csv"),
        ({"output": Path("a.unheard")}, "table"),
    ],
)
def test_a_comparison_has_the_format_asked_for_or_that_of_the_file(options, form):
    assert cli._form(every.TableSettings(**options), cli.Output()) == form
    assert cli._form(every.TableSettings(output=Path("a.tex")), cli.Output(json=True)) == "json"
