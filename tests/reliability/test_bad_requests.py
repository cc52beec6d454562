"""Bad requests: each is refused with its exit code and one line that names what is wrong.

A request runs in a forked child of a process that has the command line loaded (short), and as the real command (full).
"""

import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.fabricated import train_by_hand
from tests.reliability.real_command import flowernoise
from tests.test_structure import COMMANDS

CLASSES = ("daisy", "roses", "tulips")
NOBODY = 65534
BIG = "1" + 30 * "0"
SMALL = "synthetic:photos=20,size=16"


@dataclasses.dataclass(frozen=True)
class Request:
    """A request; ``names`` must stand in the line. ``user`` None is who we are, else whom permissions hold for."""

    stage: str
    arguments: tuple[str, ...]
    names: str
    code: int = 2
    env: tuple[tuple[str, str], ...] = ()
    unprivileged: bool = False


def ask(stage: str, names: str, *arguments: str, code: int = 2, unprivileged: bool = False, **env: str) -> Request:
    return Request(stage, arguments, names, code, tuple(env.items()), unprivileged)


def wrong_values(stage: str, command: str, option: str, values: str, *more: str, code: int = 2) -> list[Request]:
    """A request for each wrong value of an option, which must be named as it was given."""
    return [ask(stage, value, command, *more, option, value, code=code) for value in values.split()]


COUNTS = f"0 -1 1.5 1e3 {BIG} nan inf many ५ 1_0 0x1 --"  # not a count of anything
NUMBERS = "nan inf 1e400 -1 x ५ 0_1 --"
REQUESTS: tuple[Request, ...] = (
    # commands and options that are none
    ask("nothing", "no-such-command", "no-such-command"),
    ask("nothing", "''", ""),
    ask("nothing", "--no-such-option", "--no-such-option"),
    *(ask("finished", "--no-such-option", command, "--no-such-option") for command in COMMANDS),
    *(ask("finished", "surplus", command, "surplus") for command in ("corrupt", "train", "evaluate", "status")),
    *(ask("finished", "surplus", command, "surplus") for command in ("preview", "report", "verify")),
    ask("finished", "--repair", "verify", "--repair=yes"),
    ask("nothing", "surplus", "list", "losses", "ce", "surplus"),
    ask("nothing", "surplus", "prepare", SMALL, "surplus"),
    ask("nothing", "surplus", "run", SMALL, "surplus"),
    ask("finished", "surplus", "plot", "accuracy", "surplus"),
    ask("finished", "--quiet", "evaluate", "--quiet=yes"),
    ask("finished", "--json", "status", "--json=no"),
    # an option without its value
    *(
        ask("finished", option, command, option)
        for command, options in {
            "prepare": "--positive --train --val --test --image-size --seed --data-dir --artifacts",
            "corrupt": "--noise --rates --seeds --import --export",
            "train": "--loss --backbone --mode --epochs --batch-size --learning-rate --l2 --optimizer --memory",
            "compare": "--metric --select --baseline --format --sort-by --rows --columns --where --delta --output",
            "plot": "--rate --seed",
            "preview": "--photos",
            "run": "--preset",
        }.items()
        for option in options.split()
    ),
    # a stage that is missing
    *(
        ask("nothing", "run `flowernoise prepare` first", command)
        for command in ("corrupt", "train", "evaluate", "compare", "plot", "report", "preview")
    ),
    ask("prepared", "run `flowernoise corrupt` first", "train"),
    ask("prepared", "run `flowernoise train` first", "evaluate"),
    ask("drawn", "run `flowernoise train` first", "evaluate"),
    *(
        ask(stage, "run `flowernoise evaluate` first", *command)
        for stage in ("prepared", "drawn", "trained")
        for command in (("compare",), ("plot", "accuracy"), ("report",))
    ),
    ask("finished", "nowhere", "compare", "nowhere"),
    # prepare
    *wrong_values("nothing", "prepare", "--train", COUNTS, SMALL, "--test", "5"),
    *wrong_values("nothing", "prepare", "--test", COUNTS, SMALL, "--train", "5"),
    *wrong_values("nothing", "prepare", "--val", COUNTS.removeprefix("0"), SMALL, "--train", "5", "--test", "5"),
    *wrong_values("nothing", "prepare", "--image-size", f"{COUNTS} 4097", SMALL),
    *wrong_values("nothing", "prepare", "--seed", COUNTS.removeprefix("0"), SMALL),
    ask("nothing", "--train 5", "prepare", SMALL, "--train", "5"),
    ask("nothing", "--val 5", "prepare", SMALL, "--val", "5"),
    ask("nothing", "more than the 20 there are", "prepare", SMALL, "--train", "15", "--test", "6"),
    ask("nothing", "''", "prepare", ""),
    ask("nothing", "no_such_source", "prepare", "no_such_source"),
    ask("nothing", "photos=9", "prepare", "synthetic:photos=9"),
    ask("nothing", "photos=1e3", "prepare", "synthetic:photos=1e3"),
    ask("nothing", "photos=२०", "prepare", "synthetic:photos=२०"),
    ask("nothing", f"size={BIG}", "prepare", f"synthetic:size={BIG}"),
    ask("nothing", "seed=-1", "prepare", "synthetic:seed=-1"),
    ask("nothing", "'petals'", "prepare", "synthetic:petals=5"),
    ask("nothing", "photos is given twice", "prepare", "synthetic:photos=20,photos=30"),
    ask("nothing", "tfds needs name", "prepare", "tfds"),
    ask("nothing", "tfds:../x", "prepare", "tfds:../x"),
    ask("nothing", "folder: needs a directory", "prepare", "folder:"),
    ask("nothing", "{file}", "prepare", "{file}"),
    ask("nothing", "{files}/no-such", "prepare", "{files}/no-such"),
    ask("nothing", "{empty}", "prepare", "{empty}"),
    ask("nothing", "'daisy'", "prepare", "{one_class}"),
    ask("nothing", "{long}", "prepare", "{long}"),
    ask("nothing", "~nobody-of-that-name", "prepare", "~nobody-of-that-name/photos"),
    ask("nothing", r"{files}/\udce9", "prepare", "{files}/\udce9"),
    ask("nothing", "'rose'", "prepare", "{photos}", "--positive", "rose"),
    ask("nothing", "''", "prepare", "{photos}", "--positive", ""),
    ask("nothing", "''", "prepare", "tf_flowers", "--data-dir", ""),
    ask("nothing", "{locked}", "prepare", "{locked}", code=1, unprivileged=True),
    ask("nothing", "{half_locked}", "prepare", "{half_locked}", code=1, unprivileged=True),
    # corrupt
    *wrong_values("prepared", "corrupt", "--seeds", COUNTS),
    ask("prepared", "''", "corrupt", "--seeds", ""),
    *wrong_values("prepared", "corrupt", "--rates", NUMBERS + " 1.5 0.1,,0.2 0.1;0.2 ,"),
    ask("prepared", "''", "corrupt", "--rates", ""),
    ask("prepared", "0,1,2,3", "corrupt", "--rates", ",".join(map(str, range(2000)))),
    ask("prepared", "--seeds 1000000", "corrupt", "--seeds", "1000000", "--rates", "0.1,0.2"),
    *(
        ask("prepared", names, "corrupt", "--noise", spec)
        for names, spec in (
            ("''", ""),
            ("symetric", "symetric"),
            ("SYMMETRIC", "SYMMETRIC"),
            ("'count'", "symmetric:count"),
            ("''", "symmetric:="),
            ("count=some", "symmetric:count=some"),
            ("count is given twice", "symmetric:count=exact,count=exact"),
            ("'rate'", "symmetric:rate=0.1"),
            ("temperature=0", "instance:temperature=0"),
            ("temperature=nan", "instance:temperature=nan"),
            ("temperature=1_0", "instance:temperature=1_0"),
            ("'resnet51'", "instance:backbone=resnet51"),
            ("'tulpis'", "asymmetric:pairs=roses/tulpis"),
            ("'roses'", "asymmetric:pairs=roses"),
            ("matrix needs file", "matrix"),
            ("needs a file, a column", "observed"),
            ("{files}/no-such", "matrix:{files}/no-such"),
            ("{empty}", "matrix:{empty}"),
            ("/dev/zero", "matrix:/dev/zero"),
            ("/dev/null", "matrix:/dev/null"),
            ("{pipe}", "matrix:{pipe}"),
            ("{socket}", "matrix:{socket}"),
            ("{long}", "matrix:{long}"),
            ("{sparse}", "matrix:{sparse}"),
            ("{latin}", "matrix:{latin}"),
            ("{nul}", "matrix:{nul}"),
            ("{blank}", "matrix:{blank}"),
            ("{huge_line}", "matrix:{huge_line}"),
            ("{two}", "matrix:{two}"),
            ("{transposed}", "matrix:{transposed}"),
            ("{negative}", "matrix:{negative}"),
            ("{ragged}", "matrix:{ragged}"),
            ("{digits}", "matrix:{digits}"),
            ("{deep}", "matrix:{deep}"),
            ("{enormous}", "matrix:{enormous}"),
            ("{strings}", "matrix:{strings}"),
            ("{truths}", "matrix:{truths}"),
            ("{infinite}", "matrix:{infinite}"),
            ("{object}", "matrix:{object}"),
            ("{good}", "matrix:{good},sha256=0123456789ab"),
            ("needs a file, a column", "observed:{good},field=label"),
        )
    ),
    ask("prepared", "--rates", "corrupt", "--noise", "matrix:{good}", "--rates", "0.1"),
    *(
        ask("prepared", names, "corrupt", "--import", path)
        for names, path in (
            ("''", ""),
            ("{files}/no-such", "{files}/no-such"),
            ("{empty}", "{empty}"),
            ("{pipe}", "{pipe}"),
            ("/dev/zero", "/dev/zero"),
            ("/dev/null", "/dev/null"),
            ("{socket}", "{socket}"),
            ("{file}/below", "{file}/below"),
            ("{long}", "{long}"),
            ("{latin}", "{latin}"),
            ("{utf16}", "{utf16}"),
            ("{nul}", "{nul}"),
            ("{blank}", "{blank}"),
            ("{huge_line}", "{huge_line}"),
            ("{header_only}", "{header_only}"),
            ("'oak'", "{wrong_class}"),
            ("'no-such-photo'", "{wrong_photo}"),
            ("line 2", "{short_row}"),
            ("'label'", "{two_columns}"),
        )
    ),
    *(
        ask("prepared", path, "corrupt", "--export", path)
        for path in ("{empty}", "/dev/full", "/dev/null/below", "{file}/below", "{pipe}", "{long}", "{dangling}/below")
    ),
    ask("prepared", "''", "corrupt", "--export", ""),
    ask("prepared", "{locked}", "corrupt", "--export", "{locked}/labels.csv", unprivileged=True),
    ask("prepared", "{unreadable}", "corrupt", "--import", "{unreadable}", unprivileged=True),
    # train
    *wrong_values("drawn", "train", "--epochs", f"{COUNTS} 10001"),
    *wrong_values("drawn", "train", "--batch-size", f"{COUNTS} 1000001"),
    *wrong_values("drawn", "train", "--learning-rate", "0 1e-300 1e+300 nan inf 1e400 -1 x ५ 0_1 1;5 1, ,"),
    *wrong_values("drawn", "train", "--l2", "1e+300 nan inf 1e400 -1 x ५ 0_1 ,1"),
    *wrong_values("drawn", "train", "--memory", "0 nan inf 1e400 -1 x ५ 0_1 1,5 1e+300"),
    *wrong_values("drawn", "train", "--optimizer", "Adam rmsprop 0"),
    *wrong_values("drawn", "train", "--mode", "finetuned FEATURES 0"),
    ask("drawn", "''", "train", "--optimizer", ""),
    ask("drawn", "''", "train", "--mode", ""),
    ask("drawn", "''", "train", "--l2", ""),
    ask("drawn", "pairs", "train", "--learning-rate", ",".join(map(str, range(1, 201))), "--l2", "0,1,2,3,4,5"),
    ask("drawn", "--augment is for --mode finetune", "train", "--augment", "crop"),
    ask("drawn", "--keep-weights is for --mode finetune", "train", "--keep-weights"),
    ask("drawn", "last:N", "train", "--mode", "finetune", "--tune", "last:0"),
    ask("drawn", "--ema 1", "train", "--mode", "finetune", "--ema", "1"),
    *(
        ask("drawn", names, "train", "--loss", spec)
        for names, spec in (
            ("''", ""),
            ("'cee'", "cee"),
            ("q=0", "gce:q=0"),
            ("q=nan", "gce:q=nan"),
            ("q=०.५", "gce:q=०.५"),
            ("'p'", "gce:p=1"),
            ("'0.5'", "gce:0.5"),
            ("'q'", "ce:q=1"),
            ("{files}/no-such", "forward:T={files}/no-such"),
            ("{two}", "forward:T={two}"),
            ("/dev/zero", "forward:T=/dev/zero"),
            ("{pipe}", "backward:T={pipe}"),
        )
    ),
    *(
        ask("drawn", names, "train", "--backbone", spec)
        for names, spec in (
            ("''", ""),
            ("'resnet51'", "resnet51"),
            ("weights={files}/no-such", "resnet50:weights={files}/no-such"),
            ("weights={empty}", "resnet50:weights={empty}"),
            ("weights=/dev/null", "resnet50:weights=/dev/null"),
            ("weights={file}", "resnet50:weights={file}"),
            ("'weight'", "resnet50:weight=none"),
            ("weights=some", "efficientnet_lite0:weights=some"),
        )
    ),
    # compare
    *wrong_values("finished", "compare", "--delta", f"{NUMBERS} 1,5 100"),
    *wrong_values("finished", "compare", "--sort-by", "luck MEAN 0"),
    *wrong_values("finished", "compare", "--select", "best LAST 0"),
    *wrong_values("finished", "compare", "--format", "yaml CSV 0"),
    *wrong_values("finished", "compare", "--rows", "0.9 pairflip nan ,"),
    *wrong_values("finished", "compare", "--columns", "mae efficientnet_lite0 ,"),
    *wrong_values("finished", "compare", "--baseline", "xe CE"),
    *wrong_values("finished", "compare", "--metric", "acuracy ACCURACY"),
    ask("finished", "''", "compare", "--sort-by", ""),
    ask("finished", "''", "compare", "--rows", ""),
    ask("finished", "''", "compare", "--columns", ""),
    ask("finished", "''", "compare", "--baseline", ""),
    ask("finished", "''", "compare", "--metric", ""),
    ask("finished", "''", "compare", ""),
    ask("finished", "q=2", "compare", "--baseline", "gce:q=2"),
    ask("finished", "recall needs label", "compare", "--metric", "recall"),
    ask("finished", "'oak'", "compare", "--metric", "recall:oak"),
    ask("finished", "bins=0", "compare", "--metric", "ece:bins=0"),
    ask("finished", f"bins={BIG}", "compare", "--metric", f"ece:bins={BIG}"),
    *wrong_values("finished", "compare", "--where", "epochs epochs= epoch=3 epochs=many rate=nan epochs=99"),
    *wrong_values("finished", "remove", "--where", "epochs epoch=3 epochs=99"),
    ask("finished", "'xe'", "compare", "--where", "loss=xe"),
    ask("finished", "--where", "remove"),
    ask("finished", "named twice", "compare", "{finished}", "{finished}"),
    ask("finished", "--json and --format csv", "compare", "--json", "--format", "csv"),
    *(
        ask("finished", path, "compare", "--output", path)
        for path in ("{empty}", "/dev/full", "/dev/null/below", "{file}/below", "{pipe}", "{long}")
    ),
    ask("finished", "''", "compare", "--output", ""),
    ask("finished", "{locked}", "compare", "--output", "{locked}/table.csv", unprivileged=True),
    ask("finished", "{read_only}", "compare", "--output", "{read_only}/table.csv", unprivileged=True),
    # plot, preview, report, list
    ask("finished", "'acuracy'", "plot", "acuracy"),
    ask("finished", "''", "plot", ""),
    *wrong_values("finished", "plot", "--rate", "nan inf 1e400 x ५ 0.3", "confusion"),
    *wrong_values("finished", "plot", "--seed", f"9 -1 1.5 {BIG} x ५ 1_0", "confusion"),
    *wrong_values("finished", "plot", "--format", "jpeg PNG"),
    *wrong_values("finished", "plot", "--loss", "gce maee"),
    *wrong_values("finished", "plot", "--noise", "pairflip symetric"),
    *wrong_values("finished", "plot", "--metric", "acuracy"),
    *wrong_values("finished", "plot", "--select", "best"),
    ask("finished", "--rate", "plot", "accuracy", "--rate", "0.4"),
    ask("finished", "--metric", "plot", "transition", "--metric", "nll"),
    ask("finished", "all.png", "plot", "--output", "all.png"),
    ask("finished", "one.svg", "plot", "accuracy", "--format", "png", "--output", "one.svg"),
    *(
        ask("finished", path, "plot", "accuracy", "--output", path)
        for path in ("/dev/full", "/dev/null/below.png", "{file}/below.png", "{pipe}", "{long}")
    ),
    ask("finished", "''", "plot", "--output", ""),
    *wrong_values("finished", "preview", "--photos", f"{COUNTS} 601"),
    *wrong_values("finished", "preview", "--seeds", "0 -1 1.5 x ५"),
    *wrong_values("finished", "preview", "--seed", "1.5 x ५ 1_0"),
    *wrong_values("finished", "preview", "--noise", "pairflip symetric"),
    *wrong_values("finished", "preview", "--rates", "0.9 nan x"),
    *wrong_values("finished", "preview", "--loss", "mae maee"),
    *(
        ask("finished", path, command, "--output", path)
        for command in ("preview", "report")
        for path in ("{file}", "/dev/full", "{file}/below", "{pipe}", "{long}")
    ),
    ask("finished", "''", "preview", "--output", ""),
    ask("finished", "''", "report", "--output", ""),
    ask("finished", "{locked}", "report", "--output", "{locked}", unprivileged=True),
    ask("finished", "{read_only}", "preview", "--output", "{read_only}/new", unprivileged=True),
    *wrong_values("finished", "report", "--metric", "acuracy"),
    *wrong_values("finished", "report", "--select", "best"),
    ask("nothing", "'lossses'", "list", "lossses"),
    ask("nothing", "'cee'", "list", "losses", "cee"),
    ask("nothing", "''", "list", ""),
    ask("nothing", r"\x1b[31m", "list", "\x1b[31m"),
    ask("nothing", r"\udcff", "list", "\udcff"),
    # run refuses what its later stages would, before the first of them
    ask("nothing", "'sed'", "run", "--preset", "sed"),
    ask("nothing", "''", "run", "--preset", ""),
    ask("nothing", "--json and --format markdown", "run", SMALL, "--json", "--format", "markdown"),
    ask("nothing", "{file}/below", "run", SMALL, "--output", "{file}/below"),
    *(
        ask("nothing", value, "run", SMALL, option, value)
        for option, value in (
            ("--noise", "symetric"),
            ("--rates", "1.5"),
            ("--seeds", BIG),
            ("--loss", "cee"),
            ("--backbone", "resnet51"),
            ("--epochs", "0"),
            ("--batch-size", "-1"),
            ("--memory", "0"),
            ("--metric", "acuracy"),
            ("--baseline", "xe"),
            ("--sort-by", "luck"),
            ("--delta", "-1"),
            ("--rows", ","),
            ("--train", "-1"),
            ("--image-size", "0"),
        )
    ),
    # the artifacts directory
    *(
        ask("finished", "''", command, "-a", "")
        for command in ("prepare", "corrupt", "evaluate", "compare", "status", "plot", "verify")
    ),
    *(ask("finished", "{file}", command, "-a", "{file}") for command in ("corrupt", "train", "evaluate", "status")),
    *(ask("finished", "{file}", command, "-a", "{file}") for command in ("compare", "plot", "preview", "report")),
    *(ask("finished", "{file}", "verify", *more, "-a", "{file}") for more in ((), ("--repair",))),
    *(ask("nothing", "{nothing} does not exist", "verify", *more) for more in ((), ("--repair",))),
    ask("finished", "{file}", "prepare", SMALL, "-a", "{file}"),
    ask("finished", "{file}", "prepare", SMALL, "-a", "{file}/below", code=1),
    ask("finished", "{long}", "prepare", SMALL, "-a", "{long}", code=1),
    ask("finished", "{long}", "status", "-a", "{long}", code=1),
    ask("finished", "{dangling}", "prepare", SMALL, "-a", "{dangling}", code=1),
    ask("finished", "{locked}", "status", "-a", "{locked}/below", code=1, unprivileged=True),
    ask("finished", "{locked}", "compare", "-a", "{locked}/below", code=1, unprivileged=True),
    ask("finished", "{locked}", "verify", "--repair", "-a", "{locked}/below", code=1, unprivileged=True),
    ask("finished", "{read_only}", "prepare", SMALL, "-a", "{read_only}", code=1, unprivileged=True),
    ask("finished", "{read_only}", "prepare", SMALL, "-a", "{read_only}/below", code=1, unprivileged=True),
    ask("prepared", "{prepared}", "corrupt", code=1, unprivileged=True),
    ask("trained", "{trained}", "evaluate", code=1, unprivileged=True),
    ask("finished", "{finished}", "preview", code=1, unprivileged=True),
    # the environment
    ask("finished", "{file}", "status", FLOWERNOISE_ARTIFACTS="{file}"),
    ask("drawn", "FLOWERNOISE_ENGINE=fast", "train", "--backbone", "efficientnet_lite0", FLOWERNOISE_ENGINE="fast"),
    ask("drawn", "KERAS_BACKEND=nonsense", "train", "--backbone", "efficientnet_lite0", KERAS_BACKEND="nonsense"),
    ask("drawn", "KERAS_BACKEND=numpy", "train", "--backbone", "efficientnet_lite0", KERAS_BACKEND="numpy"),
    ask("drawn", "KERAS_BACKEND=../os", "train", "--backbone", "efficientnet_lite0", KERAS_BACKEND="../os"),
)


class Forked:
    """Runs requests in children of a process that has the command line loaded."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("request_server.py"))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(
        self, arguments: list[str], cwd: Path, env: dict[str, str], unprivileged: bool
    ) -> tuple[int | None, str, str]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        user = NOBODY if unprivileged and os.geteuid() == 0 else None
        request = {"arguments": arguments, "cwd": str(cwd), "env": env, "user": user}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return answer["code"], answer["stdout"], answer["stderr"]

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def forked() -> Iterator[Forked]:
    runner = Forked()
    yield runner
    runner.close()


@pytest.fixture(scope="module")
def places(forked: Forked) -> Iterator[dict[str, str]]:
    """Paths by name: directories with so many stages done, and files of which each has something wrong with it."""
    root = Path(tempfile.mkdtemp(prefix="flowernoise-"))  # not below pytest's, which nobody else may enter
    root.chmod(0o755)
    (root / "cwd").mkdir()
    draw_photos(root / "photos")
    before = None
    for stage, command in (
        ("prepared", ("prepare", str(root / "photos"), "--image-size", "16")),
        ("drawn", ("corrupt", "--rates", "0.4", "--seeds", "2")),
        ("trained", None),
        ("evaluated", ("evaluate",)),
        ("finished", ("compare",)),  # which keeps what it has compared
    ):
        if before:
            shutil.copytree(root / before, root / stage)
        if command is None:
            train_by_hand(root / stage)
        else:
            code, _, stderr = forked([*command, "-a", str(root / stage)], root / "cwd", {}, False)
            assert code == 0, stderr
        before = stage
    names = ("cwd", "photos", "nothing", "prepared", "drawn", "trained", "finished", "read_only")
    yield {name: str(root / name) for name in names} | wrong_files(root / "files") | wrong_folders(root)
    for path in root.rglob("*locked*"):
        path.chmod(0o755)
    shutil.rmtree(root)


def draw_photos(folder: Path, classes: tuple[str, ...] = CLASSES) -> None:
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for k in range(12):
            pixels = np.random.default_rng([number, k]).integers(0, 256, (24, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{k:02}.jpg", quality=90)


def wrong_folders(root: Path) -> dict[str, str]:
    draw_photos(root / "one_class", CLASSES[:1])
    draw_photos(root / "half_locked", CLASSES[:2])
    (root / "half_locked" / "roses").chmod(0o000)
    for name, mode in (("empty", 0o755), ("read_only", 0o555), ("locked", 0o000)):
        (root / name).mkdir()
        (root / name).chmod(mode)
    (root / "dangling").symlink_to("nowhere/at/all")
    return {name: str(root / name) for name in ("one_class", "half_locked", "empty", "read_only", "locked", "dangling")}


def wrong_files(folder: Path) -> dict[str, str]:
    folder.mkdir()
    contents: dict[str, bytes] = {
        "file": b"text\n",
        "unreadable": b"id,label\n",
        "good": b"0.8,0.1,0.1\n0.1,0.8,0.1\n0.1,0.1,0.8\n",
        "latin": b"id,label\ncaf\xe9,roses\n",
        "utf16": "id,label\n".encode("utf-16"),
        "nul": b"id,label\n\0\0\0,\0\n",
        "blank": b"\n\n \n",
        "huge_line": b"id,label," + b"x" * 200_000 + b"\n",
        "header_only": b"\xef\xbb\xbfid,label\n",
        "wrong_class": b"path,id,label\nx,daisy/00.jpg,oak\n",
        "wrong_photo": b"id,label\nno-such-photo,roses\n",
        "short_row": b"id,label\ndaisy/00.jpg\n",
        "two_columns": b"id,label,label\ndaisy/00.jpg,daisy,roses\n",
        "two": b"0.9,0.1\n0.2,0.8\n",
        "transposed": b"0.8,0.1,0.2\n0.1,0.8,0.1\n0.1,0.1,0.7\n",
        "negative": b"1.1,-0.1,0\n0,1,0\n0,0,1\n",
        "ragged": b"1,0,0\n0,1\n0,0,1\n",
        "digits": "१,0,0\n0,1,0\n0,0,1\n".encode(),
        "deep.json": b"[" * 100_000,
        "enormous.json": b"[[1" + b"0" * 400 + b",0,0],[0,1,0],[0,0,1]]",
        "strings.json": b'["100","010","001"]',
        "truths.json": b"[[true,false,false],[false,true,false],[false,false,true]]",
        "infinite.json": b"[[1e999,0,0],[0,1,0],[0,0,NaN]]",
        "object.json": b'{"T": [[1,0,0],[0,1,0],[0,0,1]]}',
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "unreadable").chmod(0o000)
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
    with (folder / "sparse").open("wb") as sparse:
        sparse.truncate(17 * 2**20)
    paths = {name.partition(".")[0]: str(folder / name) for name in (*contents, "pipe", "socket", "sparse")}
    return paths | {"files": str(folder), "long": "/" + "x" * 300}


def filled(text: str, places: dict[str, str]) -> str:
    for name, path in places.items():
        text = text.replace(f"{{{name}}}", path)
    return text


def everything(places: dict[str, str]) -> dict[str, Any]:
    """Every folder below the root, and every file with size and time of its last change."""
    found: dict[str, Any] = {}
    for folder, _, names in os.walk(Path(places["cwd"]).parent):
        found[folder] = None
        for name in names:
            status = os.lstat(path := os.path.join(folder, name))  # noqa: PTH118 (many, and often)
            found[path] = (status.st_size, status.st_mtime_ns)
    return found


def problem_of(request: Request, code: int | None, stdout: str, stderr: str, places: dict[str, str]) -> str | None:
    """What is wrong with the answer to a request."""
    names = filled(request.names, places)
    if code != request.code:
        return f"code {code}, not {request.code}"
    if stdout or stderr.count("\n") != 1 or not stderr.startswith("error: "):
        return "not one line of error"
    if "error: unexpected" in stderr or "Traceback" in stderr or not stderr.removesuffix("\n").isprintable():
        return "no line for people"
    return None if names in stderr else f"does not name {names!r}"


def problems(
    requests: tuple[Request, ...], places: dict[str, str], run: Callable[..., tuple[int | None, str, str]]
) -> list[str]:
    found, before = [], everything(places)
    for request in requests:
        arguments = [filled(argument, places) for argument in request.arguments]
        env = {"FLOWERNOISE_ARTIFACTS": places[request.stage]} | {k: filled(v, places) for k, v in request.env}
        code, stdout, stderr = run(arguments, Path(places["cwd"]), env, request.unprivileged)
        problem = problem_of(request, code, stdout, stderr, places)
        if (after := everything(places)) != before:
            problem = f"{problem}; changed {set(after.items()) ^ set(before.items())}"
        before = after
        if problem:
            found.append(f"{arguments!r:.150}: {problem}: {stderr[:300]!r} {stdout[:100]!r}")
    return found


def test_there_are_two_hundred_requests_and_more() -> None:
    assert len(set(REQUESTS)) == len(REQUESTS) >= 200


def test_every_bad_request_is_one_line_that_names_what_is_wrong(
    forked: Forked, places: dict[str, str], measured: Callable[[str], None]
) -> None:
    found = problems(REQUESTS, places, forked)
    measured(f"{len(REQUESTS)} requests, {len(found)} without their code and exactly one line that names what is wrong")
    assert found == [], "\n".join(found)


@pytest.mark.slow
def test_the_real_command_says_the_same(places: dict[str, str], measured: Callable[[str], None]) -> None:
    def run(arguments: list[str], cwd: Path, env: dict[str, str], _: bool) -> tuple[int, str, str]:
        shown = flowernoise(*arguments, cwd=cwd, env=env)
        return shown.returncode, shown.stdout, shown.stderr

    requests = tuple(request for request in REQUESTS if not request.unprivileged)
    found = problems(requests, places, run)
    measured(f"{len(requests)} requests as real commands, {len(found)} without their code and exactly one line")
    assert found == [], "\n".join(found)
