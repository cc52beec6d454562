from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowernoise.errors import BadRequestError, ExitCode
from flowernoise.registry import Between, FilePath, Registry, Spec

ices = Registry("ice", "ices")


@ices.register(colour="white")
def vanilla(
    portion: str,
    *,
    sugar: Annotated[float, Between(0, 1, open="low")] = 0.5,
    scoops: Annotated[int, Between(1, 9)] = 1,
    topping: str = "none",
    size: Literal["small", "large"] = "small",
    cone: bool = False,
) -> tuple[Any, ...]:
    """Plain vanilla.

    And more about it.
    """
    return portion, sugar, scoops, topping, size, cone


@ices.register()
def lemon(portion: str) -> str:
    """Sour."""
    return portion


@ices.register(unkeyed="name")
def special(portion: str, *, name: str, degrees: float = -10.0) -> tuple[str, str, float]:
    return portion, name, degrees


@ices.register()
def lambda_(_: str) -> None:
    """Named after a word that Python keeps."""


def refusal(text: str, registry: Registry = ices) -> str:
    """The message with which a spec is refused; checks that it is one line with exit code 2."""
    with pytest.raises(BadRequestError) as caught:
        registry.parse(text)
    assert caught.value.exit_code is ExitCode.BAD_REQUEST
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


WORDS = st.text(st.characters(exclude_characters=",", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=8)


@st.composite
def written_specs(draw: st.DrawFn) -> str:
    """Specs as a user may write them, keys in any order."""
    if draw(st.booleans()):
        words = draw(st.lists(WORDS, min_size=1, max_size=1))
        more = draw(st.sampled_from(["", ",degrees=-3", ",degrees=1e-7", ",degrees=-10.0"]))
        return f"special:name={words[0]}{more}"
    values = {
        "sugar": st.floats(0, 1, exclude_min=True).map(repr),
        "scoops": st.integers(1, 9).map(str),
        "topping": WORDS,
        "size": st.sampled_from(["small", "large"]),
        "cone": st.sampled_from(["true", "false"]),
    }
    keys = draw(st.permutations(sorted(values)))[: draw(st.integers(0, 5))]
    return f"vanilla:{','.join(f'{key}={draw(values[key])}' for key in keys)}"


@pytest.mark.parametrize(
    ("text", "files"),
    [("cone", {}), ("cone:recipe=plain", {}), ("cone:recipe=a/b.txt", {"recipe": "a/b.txt"}), ("cone:recipe=", {})],
)
def test_a_spec_knows_which_of_its_values_are_paths_of_files(text: str, files: dict[str, str]) -> None:
    cones = Registry("cone")

    @cones.register()
    def cone(*, recipe: Annotated[str, FilePath(instead=("plain", ""))] = "plain", topping: str = "a.txt") -> None:
        """A cone."""

    assert cones.parse(text).files == files


@given(written_specs())
def test_the_canonical_form_reads_back_as_the_same_spec(text: str) -> None:
    spec = ices.parse(text)
    again = ices.parse(str(spec))
    assert again == spec
    assert again.values == spec.values
    assert str(again) == str(spec)


@given(st.text(max_size=30) | st.text("vanilspecgr:,=.0159-_ \n").map(lambda tail: f"vanilla:{tail}"))
def test_any_text_is_a_spec_or_refused_in_one_line(text: str) -> None:
    message, spec = "", None
    try:
        spec = ices.parse(text)
    except BadRequestError as error:
        message = str(error)
    assert len(message.splitlines()) == (spec is None)
    assert spec is None or ices.parse(str(spec)) == spec


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("vanilla", "vanilla"),
        (" vanilla ", "vanilla"),
        ("vanilla:", "vanilla"),
        ("vanilla:sugar=0.5,scoops=1,topping=none,size=small,cone=false", "vanilla"),
        ("vanilla:topping=nuts,sugar=0.30", "vanilla:sugar=0.3,topping=nuts"),
        ("vanilla:sugar=3e-1", "vanilla:sugar=0.3"),
        ("vanilla:sugar=1.0", "vanilla:sugar=1"),
        ("vanilla:sugar=.25, scoops = 03", "vanilla:scoops=3,sugar=0.25"),
        ("vanilla:cone=true", "vanilla:cone=true"),
        ("vanilla:topping=a=b", "vanilla:topping=a=b"),
        ("vanilla:topping=", "vanilla:topping="),
        ("special:monday", "special:monday"),
        ("special:name=monday", "special:monday"),
        ("special:degrees=-20.0,name=monday", "special:monday,degrees=-20"),
        ("special:name=a=b", "special:name=a=b"),
        ("special:rose, wild", "special:rose, wild"),
        ("special:name=a=b,c, d,degrees=3", "special:degrees=3,name=a=b,c, d"),
        ("special:rose, wild,degrees=3", "special:rose, wild,degrees=3"),
        ("special:degrees=-0.0,name=x", "special:x,degrees=0"),
        ("lambda", "lambda"),
    ],
)
def test_canonical_forms(text: str, canonical: str) -> None:
    assert str(ices.parse(text)) == canonical


def test_equal_specs_are_one_in_a_set_and_specs_of_other_registries_are_others() -> None:
    others = Registry("drink")

    @others.register()
    def lemon() -> None:
        """The same name."""

    same = {ices.parse("vanilla:sugar=0.5"), ices.parse("vanilla"), ices.parse("vanilla:cone=false")}
    assert len(same) == 1
    assert ices.parse("lemon") != others.parse("lemon")
    assert ices.parse("vanilla") != "vanilla"


def test_a_spec_calls_its_function_with_its_parameters() -> None:
    spec = ices.parse("vanilla:scoops=2,cone=true,size=large")
    assert spec("mine") == ("mine", 0.5, 2, "none", "large", True)


def test_values_have_the_types_of_their_parameters() -> None:
    values = ices.parse("vanilla:sugar=1,scoops=2").values
    assert isinstance(values["sugar"], float)
    assert isinstance(values["scoops"], int)
    assert values["cone"] is False


def test_the_values_of_a_spec_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        ices.parse("vanilla").values["sugar"] = 1  # type: ignore[index]


def test_entries_tell_what_is_known_of_a_thing() -> None:
    entry = ices["vanilla"]
    assert (entry.kind, entry.name, entry.summary) == ("ice", "vanilla", "Plain vanilla.")
    assert entry.properties == {"colour": "white"}
    assert list(entry.parameters) == ["sugar", "scoops", "topping", "size", "cone"]
    assert entry.parameters["size"].choices == ("small", "large")
    assert ices["special"].summary == ""


def test_things_come_in_the_order_of_their_registration() -> None:
    assert ices.names() == ("vanilla", "lemon", "special", "lambda")
    assert [entry.name for entry in ices] == list(ices.names())


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("vanila", ["unknown ice 'vanila'", "did you mean vanilla?", "there are: vanilla, lemon, special, lambda"]),
        ("xyzzy", ["unknown ice 'xyzzy'; there are: vanilla, lemon"]),
        ("", ["unknown ice ''; there are: "]),
        (
            "vanilla:suger=1",
            ["ice vanilla has no parameter 'suger'", "(did you mean sugar?)", "it takes: sugar, scoops"],
        ),
        ("lemon:sugar=1", ["ice lemon takes no parameters; leave out 'sugar'"]),
        ("vanilla:sugar=0.1,sugar=0.1", ["sugar is given twice"]),
        ("special:monday,name=tuesday", ["name is given twice"]),
        ("vanilla:0.5", ["'0.5' is not of the form key=value"]),
        ("special:degrees=1,monday", ["'monday' is not of the form key=value"]),
        ("vanilla:sugar=0.1,", ["'' is not of the form key=value"]),
        ("special", ["ice special needs name, as in special:name=…"]),
        ("special:degrees=1", ["ice special needs name"]),
        ("vanilla:sugar=much", ["ice vanilla: sugar=much is not a number"]),
        ("vanilla:sugar=", ["sugar= is not a number"]),
        ("vanilla:sugar=nan", ["sugar=nan is not a finite number"]),
        ("vanilla:sugar=०.५", ["sugar=०.५ is not a number"]),
        ("vanilla:sugar=0_1", ["sugar=0_1 is not a number"]),
        ("vanilla:scoops=५", ["scoops=५ is not a whole number"]),
        ("vanilla:scoops=0_5", ["scoops=0_5 is not a whole number"]),
        ("special:x,degrees=inf", ["degrees=inf is not a finite number"]),
        ("vanilla:sugar=0", ["sugar=0 must be above 0 and at most 1"]),
        ("vanilla:sugar=1.01", ["sugar=1.01 must be above 0 and at most 1"]),
        ("vanilla:scoops=1.5", ["scoops=1.5 is not a whole number"]),
        ("vanilla:scoops=10", ["scoops=10 must be at least 1 and at most 9"]),
        (f"vanilla:scoops={'9' * 400}", ["must be at least 1 and at most 9"]),
        (f"vanilla:scoops={'9' * 5000}", ["is not a whole number"]),
        ("vanilla:size=lagre", ["size=lagre is not one of small, large (did you mean large?)"]),
        ("vanilla:cone=yes", ["cone=yes is neither true nor false"]),
        ("vanilla:sugar=a\nb", [r"sugar='a\nb' is not a number"]),
    ],
)
def test_refusals_name_the_thing_the_reason_and_what_there_is(text: str, parts: list[str]) -> None:
    message = refusal(text)
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("ends", "value", "inside"),
    [
        ("", 0.0, True),
        ("", 1.0, True),
        ("low", 0.0, False),
        ("low", 1.0, True),
        ("high", 1.0, False),
        ("high", 0.0, True),
        ("low high", 0.5, True),
        ("low high", 0.0, False),
        ("low high", 1.0, False),
        ("", float("nan"), False),
        ("", -0.1, False),
        ("", 1.1, False),
    ],
)
def test_ranges_hold_their_ends_unless_open(ends: str, value: float, inside: bool) -> None:
    assert Between(0, 1, open=ends).admits(value) is inside


def test_a_range_without_an_upper_end_admits_every_finite_number_above() -> None:
    assert Between(0).admits(10**400)
    assert not Between(0).admits(float("inf"))
    assert str(Between(0)) == "at least 0"
    assert str(Between(0, 1, open="low high")) == "above 0 and below 1"


def test_two_things_of_one_name_are_a_mistake_of_the_programmer() -> None:
    registry = Registry("thing")
    registry.register()(lemon)
    with pytest.raises(RuntimeError, match="two things are called lemon"):
        registry.register()(lemon)


def test_parameters_that_no_spec_could_name_are_a_mistake_of_the_programmer() -> None:
    def odd(*, _hidden: int = 0) -> None:
        """Its parameter begins with an underscore."""

    with pytest.raises(RuntimeError, match="_hidden cannot be a key"):
        Registry("thing").register()(odd)


def test_a_spec_made_without_parsing_is_written_in_the_same_form() -> None:
    assert str(Spec(ices["special"], {"name": "monday", "degrees": -10.0})) == "special:monday"
