"""The README and docs/: what they tell people to run runs, links lead somewhere, made pages are fresh."""

import importlib.util
import io
import os
import re
import shlex
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image

from flowernoise import cli

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
README = ROOT / "README.md"
ARTIFACTS = ROOT / "artifacts" / "README.md"
CODE_PAGES = (README, *sorted(DOCS.rglob("*.md")))
ALL_PAGES = (*CODE_PAGES, ARTIFACTS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md")
BLOCK = re.compile(r"(<!-- not run: .+? -->\n)?```(sh|python)\n(.*?)```", flags=re.DOTALL)
MADE = "<!-- Made by `make docs`"
OWN_PHOTOS = "flowernoise run ./photos --backbone efficientnet_lite0"  # the README's command, which others go on from


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def program() -> Any:
    return typer.main.get_command(cli.app)


def commands_in(block: str) -> list[str]:
    """The commands of a block, each on one line, without comments."""
    lines = block.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def run(command: str) -> str:
    """Runs a command in this process, which has the libraries loaded; returns its stdout."""
    program_name, *words = shlex.split(command, comments=True)
    assert program_name == "flowernoise", f"{command}: a block with other programs says why it is not run"
    with redirect_stdout(io.StringIO()) as stdout, redirect_stderr(io.StringIO()):
        program()(words, standalone_mode=False)
    return stdout.getvalue()


# What is told to be run


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with photos of one's own, labels of one's own, and the sweep of the README over them."""
    place = tmp_path_factory.mktemp("docs")
    for number, name in enumerate(("daisy", "roses", "tulips")):
        (place / "photos" / name).mkdir(parents=True)
        for k in range(14):
            pixels = np.random.default_rng([number, k]).integers(0, 256, (6, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((32, 24)).save(place / "photos" / name / f"{k:02}.jpg", quality=90)
    (command,) = (line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith(OWN_PHOTOS))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        run(command)
        run("flowernoise corrupt --export drawn.csv")
        run("flowernoise export --loss ce --seed 0 --quiet")
    header, *rows = (place / "drawn.csv").read_text(encoding="utf-8").splitlines()
    of_one_draw = [row for row in rows if row.endswith("symmetric,0.4,0")]
    (place / "mine.csv").write_text("\n".join([header, *of_one_draw]) + "\n", encoding="utf-8")
    return place


@pytest.fixture
def workplace(swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that directory, to work in; `flowernoise` is found on the path."""
    shutil.copytree(swept, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    return tmp_path / "work"


@pytest.mark.parametrize("page", [pytest.param(each, id=name_of(each)) for each in CODE_PAGES])
@pytest.mark.usefixtures("workplace")
def test_what_a_page_tells_to_run_runs(page: Path) -> None:
    for marked, language, code in BLOCK.findall(page.read_text(encoding="utf-8")):
        if marked:
            continue
        if language == "python":
            exec(compile(code, name_of(page), "exec"), {})
        else:
            for command in commands_in(code):
                run(command)


@pytest.mark.parametrize("page", [pytest.param(each, id=name_of(each)) for each in CODE_PAGES])
def test_what_is_too_slow_to_run_is_written_as_the_commands_take_it(page: Path) -> None:
    group = program()
    for marked, language, code in BLOCK.findall(page.read_text(encoding="utf-8")):
        for command in commands_in(code) if marked and language == "sh" else ():
            name, *words = shlex.split(command.partition("$(")[0], comments=True)
            if name == "flowernoise":
                group.commands[words[0]].make_context(words[0], words[1:])


def test_examples_end_the_help_and_are_on_the_pages_of_the_commands() -> None:
    for name, command in program().commands.items():
        assert len(command.help_examples) == 2
        shown = command.get_help(command.context_class(command, info_name=name))
        assert shown.endswith("Examples:\n" + "\n".join(f"  {example}" for example in command.help_examples))
        page = (DOCS / "commands" / f"{name}.md").read_text(encoding="utf-8")
        for example in command.help_examples:
            assert example.startswith(f"flowernoise {name} ") or example == f"flowernoise {name}"
            assert f"\n{example}\n" in page


def test_the_help_lists_every_command_once_under_a_heading() -> None:
    group = program()
    shown = group.get_help(group.context_class(group, info_name="flowernoise"))
    for heading in (cli.STUDY, cli.LOOK, cli.KEEP):
        assert f"\n{heading}:\n" in shown
    rows = [line.split()[0] for line in shown.partition(f"{cli.STUDY}:")[2].splitlines() if line.startswith("  ")]
    assert sorted(rows) == sorted(group.commands)
    assert "..." not in shown.partition(f"{cli.STUDY}:")[2]  # a summary that is cut off


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {
        target
        for page in ALL_PAGES
        for target in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    }
    assert {"demo", "test", "docs"} <= named <= targets


# Links


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    before = [plain[:place].count(anchor) for place, anchor in enumerate(plain)]
    return {f"{anchor}-{count}" if count else anchor for anchor, count in zip(plain, before, strict=True)}


@pytest.mark.parametrize("page", [pytest.param(each, id=name_of(each)) for each in ALL_PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        file, _, anchor = target.partition("#")
        found = page.parent / file if file else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def test_every_page_and_picture_is_linked() -> None:
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in ALL_PAGES
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    }
    there = {path.resolve() for path in DOCS.rglob("*") if path.suffix in (".md", ".svg", ".jpg", ".png")}
    assert there - linked == set()


# Made pages


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    specification = importlib.util.spec_from_file_location("generate_docs", DOCS / "generate.py")
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(generate: ModuleType) -> dict[str, str]:
    pages: dict[str, str] = generate.pages()
    return pages


def test_made_pages_are_fresh(made: dict[str, str]) -> None:
    texts = {name: text for name, text in made.items() if name.endswith(".md")}
    there = {str(path.relative_to(DOCS)): path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md")}
    assert {name for name, text in there.items() if text.startswith(MADE)} == set(texts), "run `make docs`"
    assert [name for name, text in texts.items() if there[name] != text] == [], "run `make docs`"


def test_pictures_of_shapes_are_fresh(made: dict[str, str]) -> None:
    """Up to the last digits, which differ from processor to processor."""
    number = re.compile(r"-?\d+(?:\.\d+)?")
    pictures = {name: text for name, text in made.items() if name.endswith(".svg")}
    assert {f"shapes/{path.name}" for path in (DOCS / "shapes").iterdir()} == set(pictures), "run `make docs`"
    for name, text in pictures.items():
        there = (DOCS / name).read_text(encoding="utf-8")
        assert number.sub("", there) == number.sub("", text), f"{name}: run `make docs`"
        then, now = (np.array(number.findall(each), dtype=float) for each in (there, text))
        assert np.abs(then - now).max() <= 3, f"{name}: run `make docs`"


def test_a_stale_page_is_noticed(generate: ModuleType, monkeypatch: pytest.MonkeyPatch, made: dict[str, str]) -> None:
    loss = generate.losses["gce"]
    monkeypatch.setattr(loss.function, "__doc__", loss.function.__doc__.replace("Generalised", "Renamed"))
    assert dict(generate.losses_page())["losses.md"] != made["losses.md"]


def test_a_docstring_becomes_a_section(generate: ModuleType) -> None:
    """Formula, source and parameters are there; the runnable example is not."""
    text = generate.section(generate.losses["gce"])
    assert "**Formula**: (1 − p_y^q) / q" in text
    assert "**Source**: Zhang, Sabuncu" in text
    assert "| `q` | `0.7` | above 0 and at most 1 |" in text
    assert ">>>" not in text
    assert generate.arguments_of(generate.noise_models["symmetric"])["count"].startswith("`exact` makes")


# The README


def test_the_readme_is_short() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    assert [line for line in lines if len(line) > 120] == []


def test_every_command_is_named_in_the_readme() -> None:
    readme = README.read_text(encoding="utf-8")
    assert [name for name in program().commands if f"[`{name}`](docs/commands/{name}.md)" not in readme] == []


@pytest.mark.slow
def test_the_readme_shows_the_table_of_make_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a tenth of a point: another processor rounds differently."""
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    (options,) = re.findall(r"\$\(RUN\) (synthetic --.*) --artifacts", recipe)
    monkeypatch.chdir(tmp_path)
    shown = run(f"flowernoise run {options}").rstrip()
    printed = README.read_text(encoding="utf-8").partition("```text\n")[2].partition("\n```")[0]
    number = re.compile(r"\d+\.\d")
    assert number.sub("", " ".join(shown.split())) == number.sub("", " ".join(printed.split()))
    then, now = (np.array(number.findall(each), dtype=float) for each in (printed, shown))
    assert np.abs(then - now).max() < 0.15


def test_every_array_that_is_stored_is_documented() -> None:
    from flowernoise.store import draws, evaluations, runs

    documented = ARTIFACTS.read_text(encoding="utf-8")
    for name in (*draws.ARRAYS, *evaluations.ARRAYS, *runs.PREDICTION_ARRAYS, *runs.HISTORY_ARRAYS):
        assert f"`{name}`" in documented, name
