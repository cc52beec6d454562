"""The one-way imports of the design, read from the source, and that nothing heavy is loaded before it is needed."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import flowernoise
from flowernoise.catalogue.losses import NEEDS, losses, needs_of
from flowernoise.catalogue.metrics import metrics
from flowernoise.training import tasks
from tests.fabricated import train_by_hand

PACKAGE = Path(flowernoise.__file__).parent
HEAVY = (
    "tensorflow",
    "keras",
    "h5py",
    "scipy",
    "tensorflow_datasets",
    "matplotlib",
    "sklearn",
    "torch",
    "jax",
    "openvino",
)

# The house, from the top floor down: a room may import itself and all that is on lower floors; neighbours on a floor
# know nothing of each other.
FLOORS = (
    {"__main__"},
    {"cli"},
    {"api"},
    {"steps"},
    {"options"},  # how the settings of steps become options
    {"show"},
    {"analysis"},
    {"training", "catalogue", "store"},
    {"registry", "safe"},
    {"progress", "randomness"},
    {"errors"},
)
ALLOWED = {
    **{room: {room, "__version__"}.union(*FLOORS[floor + 1 :]) for floor, rooms in enumerate(FLOORS) for room in rooms},
    "__init__": {"api"},  # when first used
}


def modules() -> Iterator[tuple[str, Path]]:
    """Dotted name within the package, and file, of every module."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts), path


def for_type_checkers(tree: ast.Module) -> set[ast.AST]:
    """The nodes under ``if TYPE_CHECKING:``."""
    return {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }


def imports(name: str, source: str) -> set[str]:
    """What a module imports or names of the package, anywhere in its text: modules, or names within modules."""
    tree = ast.parse(source)
    passed_over = for_type_checkers(tree) if name == "cli" else set()
    found = set()
    for node in ast.walk(tree):
        if node in passed_over:
            continue
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import in line {node.lineno}"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):  # importlib.import_module("…")
            found |= {node.value} if re.fullmatch(r"flowernoise(\.\w+)+", node.value) else set()
    return {full.removeprefix("flowernoise.") for full in found if full.startswith("flowernoise.")}


def forbidden(name: str, source: str) -> set[str]:
    """The imports of a module that its place in the house does not allow."""
    allowed = ALLOWED.get(name.partition(".")[0], set())
    return {
        target
        for target in imports(name, source)
        if not any(target == each or target.startswith(f"{each}.") for each in allowed)
    }


@pytest.mark.parametrize(("name", "path"), [pytest.param(*each, id=each[0]) for each in modules()])
def test_every_module_imports_only_what_lies_below_it(name: str, path: Path) -> None:
    assert name.partition(".")[0] in ALLOWED, f"{name} has no place in the design; say here what it may import"
    assert forbidden(name, path.read_text()) == set()


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("catalogue.x", "from flowernoise.store import files", {"store.files"}),
        ("catalogue.x", "def f():\n    import flowernoise.steps.train", {"steps.train"}),
        ("store.x", "if TYPE_CHECKING:\n    from flowernoise.training.heads import x", {"training.heads.x"}),
        ("training.x", "from flowernoise.store import records", {"store.records"}),
        ("show.x", "from flowernoise.steps.run import RunResult", {"steps.run.RunResult"}),
        ("analysis.x", "from flowernoise.show import plot", {"show.plot"}),
        ("steps.x", "from flowernoise import cli, registry", {"cli"}),
        ("steps.x", "from flowernoise.show.plot import draw", set()),
        ("training.x", "from flowernoise.catalogue import losses", {"catalogue.losses"}),
        ("safe.x", "importlib.import_module('flowernoise.steps.prepare')", {"steps.prepare"}),
        ("safe.x", "from flowernoise import registry", {"registry"}),
        ("errors", "from flowernoise.progress import Silent", {"progress.Silent"}),
        ("cli", "if TYPE_CHECKING:\n    from flowernoise.store import runs", set()),
    ],
)
def test_forbidden_imports_are_found_wherever_they_stand(name: str, source: str, expected: set[str]) -> None:
    assert forbidden(name, source) == expected


def untyped(source: str) -> set[str]:
    """Functions of a module that take or give Any, and its Protocols: what mypy would not follow from step to page."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
            annotations = [node.returns, *(each.annotation for each in every if each)]
            found |= {node.name for each in annotations if isinstance(each, ast.Name) and each.id == "Any"}
        elif isinstance(node, ast.ClassDef):
            found |= {node.name for base in node.bases if isinstance(base, ast.Name) and base.id == "Protocol"}
    return found


def test_results_keep_their_types_on_the_way_to_what_people_see() -> None:
    shown = {name: path for name, path in modules() if name.startswith(("analysis.views", "analysis.results", "show"))}
    assert {name: hidden for name, path in shown.items() if (hidden := untyped(path.read_text()))} == {}


def test_what_hides_a_type_is_found() -> None:
    assert untyped("def f(x: Any): ...\ndef g(*, y: int = 0) -> Any: ...\nclass A(Protocol): ...") == {"f", "g", "A"}
    assert untyped("def f(x: dict[str, Any]) -> int: ...\nclass A(B): ...") == set()


def told_apart(source: str, names: set[str]) -> set[str]:
    """Those of the names that a module compares something with: what it should ask of the registered thing itself."""
    compared = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Compare | ast.MatchValue)]
    inner = {node for each in compared for node in ast.walk(each) if isinstance(node, ast.Constant)}
    return {node.value for node in inner if isinstance(node.value, str)} & names


def test_metrics_are_told_apart_by_what_is_registered_of_them() -> None:
    names = set(metrics.names())
    found = {name: told_apart(path.read_text(), names) for name, path in modules() if name != "catalogue.metrics"}
    assert {name: some for name, some in found.items() if some} == {}


def test_names_that_are_told_apart_are_found() -> None:
    names = {"accuracy", "nll"}
    assert told_apart("if metric == 'accuracy': pass", names) == {"accuracy"}
    assert told_apart("x = metric in ('nll', 'ece')", names) == {"nll"}
    assert told_apart("match metric:\n case 'nll': pass", names) == {"nll"}
    assert told_apart("metric: str = 'accuracy'\narrays['nll'] = nll", names) == set()


def test_what_a_loss_can_need_is_declared_once_and_supplied_in_training() -> None:
    assert {need for entry in losses for need in needs_of(losses.parse(entry.name))} <= set(NEEDS)
    assert set(tasks.NEEDS) == set(NEEDS)


def classes_of(source: str) -> list[str]:
    """Names of the classes that a module defines, those in functions too."""
    return [node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]


def test_no_two_classes_share_a_name() -> None:
    homes: dict[str, list[str]] = {}
    for name, path in modules():
        for each in classes_of(path.read_text()):
            homes.setdefault(each, []).append(name)
    assert {each: at for each, at in homes.items() if len(at) > 1} == {}
    assert classes_of("class A:\n class B: ...\ndef f():\n class A: ...") == ["A", "B", "A"]


def test_no_module_is_called_as_one_of_the_standard_library() -> None:
    parts = {part for name, _ in modules() for part in name.split(".")}
    assert parts & set(sys.stdlib_module_names) == set()


def test_the_top_level_is_seen_at_a_glance() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 10


def test_only_the_entry_point_imports_the_command_line() -> None:
    assert [name for name, path in modules() if any(t.startswith("cli") for t in imports(name, path.read_text()))] == [
        "__main__"
    ]


# What is loaded


def loaded_after(code: str, *arguments: str) -> set[str]:
    """Heavy modules that are loaded once ``code`` has run in a fresh interpreter; it may end by SystemExit(0)."""
    script = (
        "import json, os, sys\n"
        "answer = os.fdopen(os.dup(1), 'w')\n"
        f"try:\n    exec({code!r})\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        f"answer.write('\\n' + json.dumps([name for name in {HEAVY!r} if name in sys.modules]))\n"
        "answer.flush()\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return set(json.loads(finished.stdout.splitlines()[-1]))


RUN = "from flowernoise.__main__ import run; sys.argv[0] = 'flowernoise'; sys.exit(run())"
STEPS = ("prepare", "corrupt", "train", "evaluate", "compare", "run")
COMMANDS = (*STEPS, "export", "features", "list", "plot", "predict", "preview", "remove", "report", "status", "verify")


def test_the_check_sees_a_heavy_module() -> None:
    assert "h5py" in loaded_after("import h5py")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_loads_nothing_heavy(command: str) -> None:
    assert loaded_after(RUN, *filter(None, [command]), "--help") == set()


def test_every_command_is_checked() -> None:
    from typer.main import get_command

    from flowernoise.cli import app

    assert set(get_command(app).commands) == set(COMMANDS)  # type: ignore[attr-defined]


def test_importing_every_module_loads_nothing_heavy() -> None:
    names = [f"flowernoise.{name}" for name, _ in modules() if name not in ("__init__", "__main__")]
    assert loaded_after(f"import importlib\nfor name in {names!r}: importlib.import_module(name)") == set()


def test_no_step_but_training_loads_tensorflow_or_keras(photo_folder: Path, tmp_path: Path) -> None:
    artifacts = tmp_path / "artifacts"

    def loaded_by(*arguments: str) -> set[str]:
        return loaded_after(RUN, *arguments, "--artifacts", str(artifacts))

    assert loaded_by("prepare", str(photo_folder), "--image-size", "16") == set()
    assert loaded_by("corrupt") <= {"h5py"}
    train_by_hand(artifacts)
    assert loaded_by("evaluate") <= {"h5py", "scipy"}
    assert loaded_by("compare", "--json") <= {"h5py"}
    assert loaded_by("preview", "--photos", "6") <= {"h5py"}
    assert loaded_by("status") == set()
    assert loaded_by("plot") <= {"h5py", "matplotlib"}
    assert loaded_by("report") <= {"h5py", "matplotlib"}
