"""The README names everything there is, and its Python runs."""

import re
from pathlib import Path

import pytest
import typer

from flowernoise import cli
from flowernoise.steps.list import REGISTRIES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARTIFACTS = (ROOT / "artifacts" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", list(REGISTRIES))
def test_everything_that_can_be_picked_is_named(kind: str) -> None:
    missing = [entry.name for entry in REGISTRIES[kind] if not re.search(rf"`{entry.name}\b", README)]
    assert missing == []


def test_every_command_and_option_is_named() -> None:
    group = typer.main.get_command(cli.app)
    for name, command in group.commands.items():
        assert f"`{name}" in README
        for parameter in command.params:
            options = [option for option in parameter.opts if option.startswith("--") and option != "--help"]
            assert all(option in README for option in options), (name, options)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL))
def test_python_examples_run(code: str, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished.parent)
    exec(compile(code, "README.md", "exec"), {})


def test_every_array_that_is_stored_is_documented() -> None:
    from flowernoise.store import draws, evaluations, runs

    for name in (*draws.ARRAYS, *evaluations.ARRAYS, *runs.PREDICTION_ARRAYS, *runs.HISTORY_ARRAYS):
        assert f"`{name}`" in ARTIFACTS, name


def test_make_targets_in_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", README, flags=re.MULTILINE))
    assert {"demo", "test"} <= named <= targets
