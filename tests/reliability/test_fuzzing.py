"""Any text in specs, lists, tables and records is either read or refused with one of our errors."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowernoise.catalogue import transition_matrix
from flowernoise.catalogue.sources import parse_source
from flowernoise.errors import FlowernoiseError
from flowernoise.options import fields_of
from flowernoise.registry import Parameter, Registry, format_value
from flowernoise.steps.list import REGISTRIES
from flowernoise.steps.settings import CorruptSettings
from flowernoise.store import files, labels, records
from flowernoise.store.photos import IndexedPhoto
from tests.reliability.real_command import short_and_full

Strategy = st.SearchStrategy[Any]
FULL = 2500
RECORDS = (
    records.Dataset,
    records.DrawBatch,
    records.FeatureShard,
    records.RunBlock,
    records.BlockHead,
    records.Evaluation,
    records.PresetRecord,
    records.KeptComparison,
)
# What parsers are known to stumble over, as text.
ODD = (
    *(
        "",
        " ",
        "0",
        "-0",
        "1e400",
        "-1e400",
        "1" + 400 * "0",
        5000 * "9",
        "nan",
        "inf",
        "-inf",
        "1_0",
        "५",
        "0x1",
        "1.",
    ),
    *("true", "None", "\0", "\x1b[31m", "\ufeff", "\u202e", "\ud800", "a=b", "a:b", "../..", "~nobody", "/dev/null"),
    *("é", "e\u0301", "\u2028", "\x85", '"', "'", "\n", "\r", "x" * 300),
)
texts = st.sampled_from(ODD) | st.text(max_size=20) | st.text("abc019.,:=+-/e_ \"'\n", max_size=20)


def fuzz(count: int, strategy: Strategy, check: Callable[[Any], None]) -> str:
    """Checks ``count`` examples; tells how many were read. Short ones are always the same examples."""
    read: list[bool] = []

    @settings(
        max_examples=count,
        derandomize=count < FULL,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def examples(example: Any) -> None:
        try:
            check(example)
        except FlowernoiseError:
            read.append(False)
        else:
            read.append(True)

    examples()
    return f"{len(read):,} examples, {sum(read):,} of them read, the others refused by our errors alone"


# Specs


def values(parameter: Parameter) -> Strategy:
    """Texts for a parameter that are of its type, and often right."""
    good: Strategy = st.sampled_from(parameter.choices) if parameter.choices else texts
    if parameter.type is bool:
        good = st.sampled_from(["true", "false"])
    if parameter.type is int:
        good = st.integers().map(str) | st.integers(0, 50).map(str)
    if parameter.type is float:
        good = st.floats().map(repr) | st.floats(0, 2).map(str) | st.decimals(0, 1, places=3).map(str)
    return good


def one_in(number: int) -> Strategy:
    return st.integers(1, number).map(lambda drawn: drawn == number)


@st.composite
def specs(draw: st.DrawFn, registry: Registry) -> str:
    """A spec of known names and keys for the most part."""
    entry = draw(st.sampled_from(list(registry)))
    parts = []
    for _ in range(draw(st.integers(0, 3))):
        known = st.sampled_from(list(entry.parameters)) if entry.parameters else texts
        key = draw(texts if draw(one_in(8)) else known)
        parameter = entry.parameters.get(key)
        value = draw(texts if parameter is None or draw(one_in(6)) else values(parameter))
        unkeyed = entry.unkeyed == key and draw(st.booleans())
        parts.append(value if unkeyed else f"{key}{draw(st.sampled_from(['=', '=', ' = ', '==']))}{value}")
    return f"{entry.name}:{','.join(parts)}" if parts else entry.name


@short_and_full(100, FULL)
@pytest.mark.parametrize("kind", REGISTRIES)
def test_specs(count: int, kind: str, measured: Callable[[str], None]) -> None:
    parse = parse_source if kind == "sources" else REGISTRIES[kind].parse

    def check(text: str) -> None:
        spec = parse(text)
        again = parse(str(spec))
        assert str(again) == str(spec)
        assert again == spec
        assert {key: repr(value) for key, value in again.values.items()} == {
            key: repr(value) for key, value in spec.values.items()
        }

    measured(f"{kind}: {fuzz(count, st.one_of(*3 * [specs(REGISTRIES[kind])], texts), check)}")


# Lists of numbers


@short_and_full(100, FULL)
def test_lists_of_numbers(count: int, measured: Callable[[str], None]) -> None:
    numbers = st.lists(st.floats().map(repr) | st.floats(0, 1).map(format_value) | texts, max_size=5).map(",".join)

    rates = next(field for field in fields_of(CorruptSettings) if field.name == "rates")

    def check(text: str) -> None:
        read = rates.read(text)
        assert read
        assert all(map(math.isfinite, read))
        assert rates.read(",".join(map(format_value, read))) == read

    measured(fuzz(count, numbers | texts, check))


# Tables


def mangled(data: bytes) -> Strategy:
    """The bytes with a piece cut out, replaced or doubled."""
    places = st.integers(0, len(data))
    pieces = st.binary(max_size=4) | texts.map(lambda text: text.encode(errors="surrogatepass"))
    return st.tuples(places, st.integers(0, 20), pieces).map(
        lambda cut: data[: cut[0]] + cut[2] + data[cut[0] + cut[1] :]
    )


PHOTOS = [
    IndexedPhoto(f"{number:064x}", split, number % 3, f"daisy/{number:02}.jpg")
    for number, split in enumerate(("train", "train", "train", "val", "val", "test"))
]
CLASSES = ("daisy", "roses", "tulips")


def table(rows: list[list[str]]) -> bytes:
    return "\n".join(map(",".join, rows)).encode(errors="surrogatepass")


@short_and_full(100, FULL)
def test_label_files(count: int, measured: Callable[[str], None]) -> None:
    whole = [["id", "label"], *([photo.id, CLASSES[photo.label]] for photo in PHOTOS)]
    ids = st.sampled_from([photo.id for photo in PHOTOS] + [photo.path for photo in PHOTOS]) | texts
    headers = st.lists(st.sampled_from(["id", "label", "observed_label", "noise", "seed"]) | texts, max_size=4)
    rows = st.lists(st.lists(ids | st.sampled_from(CLASSES), min_size=1, max_size=4), max_size=8)
    made = st.tuples(headers, rows).map(lambda parts: table([parts[0], *parts[1]]))
    shuffled = st.permutations(whole[1:]).map(lambda order: table([whole[0], *order]))

    def check(data: bytes) -> None:
        read = labels.read(data, "labels.csv", PHOTOS, CLASSES)
        assert {split: len(own) for split, own in read.items()} == {"train": 3, "val": 2}
        assert all(0 <= label < len(CLASSES) for own in read.values() for label in own)

    measured(fuzz(count, made | shuffled | mangled(table(whole)) | st.binary(), check))


@short_and_full(100, FULL)
@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_matrix_files(count: int, suffix: str, tmp_path: Path, measured: Callable[[str], None]) -> None:
    path = tmp_path / f"T.{suffix}"
    good = st.permutations(range(3)).map(lambda order: np.eye(3)[list(order)].tolist())
    if suffix == "csv":
        rows = good.map(lambda T: table([[str(cell) for cell in row] for row in T]))
        rows |= st.lists(st.lists(texts, max_size=4), max_size=4).map(table)
        whole = b"0.8,0.1,0.1\n0.1,0.8,0.1\n0.1,0.1,0.8\n"
    else:
        cells = st.floats() | st.integers() | st.just(10**400) | st.none() | st.booleans() | st.text("01.", max_size=3)
        numbers = st.lists(st.lists(st.integers() | st.just(10**400) | st.floats(), max_size=3), max_size=3)
        rows = (good | numbers | st.recursive(cells, st.lists, max_leaves=12)).map(
            lambda plain: json.dumps(plain).encode()
        )
        rows |= st.integers(0, 100_000).map(lambda depth: b"[" * depth)
        whole = b"[[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]"

    def check(data: bytes) -> None:
        path.write_bytes(data)
        T = transition_matrix.read(str(path), 3, owner="noise model matrix")
        assert T.shape == (3, 3)
        assert np.allclose(T.sum(axis=1), 1)

    measured(f"{suffix}: {fuzz(count, rows | mangled(whole) | st.binary(), check)}")


# Records


def plain(kind: Any) -> Strategy:
    """Plain data that a record type takes."""
    info = msgspec.inspect
    match kind:
        case info.StructType() | info.NamedTupleType():
            fields = {field.encode_name: plain(field.type) for field in kind.fields}
            if isinstance(kind, info.StructType):
                return st.fixed_dictionaries(fields)
            return st.tuples(*fields.values()).map(list)
        case info.VarTupleType():
            return st.lists(plain(kind.item_type), max_size=2)
        case info.TupleType():
            return st.tuples(*map(plain, kind.item_types)).map(list)
        case info.DictType():
            return st.dictionaries(plain(kind.key_type), plain(kind.value_type), max_size=2)
        case info.UnionType():
            return st.one_of(*map(plain, kind.types))
        case info.LiteralType():
            return st.sampled_from(kind.values)
    leaves: dict[type, Strategy] = {
        info.IntType: st.integers(0, 9),
        info.FloatType: st.floats(0, 1),
        info.BoolType: st.booleans(),
        info.StrType: st.text("abc019", max_size=5),
        info.NoneType: st.none(),
    }
    return leaves[type(kind)]


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def mutated(draw: st.DrawFn, data: Any) -> Any:
    """Plain data in which something is replaced, missing or new; or nothing."""
    if draw(st.integers(0, 3)) == 0:
        return draw(JUNK)
    if isinstance(data, dict) and data:
        key = draw(st.sampled_from(sorted(data)))
        rest = {name: value for name, value in data.items() if name != key}
        action = draw(st.sampled_from(["within", "within", "missing", "new", "none"]))
        if action == "within":
            return {**data, key: draw(mutated(data[key]))}
        return {"missing": rest, "new": {**data, draw(texts): draw(JUNK)}, "none": data}[action]
    if isinstance(data, list) and data:
        place = draw(st.integers(0, len(data) - 1))
        return [*data[:place], draw(mutated(data[place])), *data[place + 1 :]]
    return data


def envelope(body: bytes) -> bytes:
    """A record with the digest of its body."""
    head = f'{{"schema": {files.SCHEMA}, "kind": "record", "sha256": "{files.digest(body)}",\n"body": '
    return head.encode() + body + b"}\n"


@short_and_full(100, FULL)
@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_records(count: int, kind: type, tmp_path: Path, measured: Callable[[str], None]) -> None:
    path = tmp_path / "record.json"
    right = plain(msgspec.inspect.type_info(kind))
    by_us = right.map(lambda data: msgspec.json.format(msgspec.json.encode(msgspec.convert(data, kind)), indent=1))
    by_others = right.flatmap(mutated).map(lambda data: json.dumps(data).encode(errors="surrogatepass"))
    deep = st.integers(0, 100_000).map(lambda depth: b"[" * depth + b"]" * depth)
    odd = st.sampled_from(
        [b"", b"{", b"{}}", b'{"a": 1, "a": 2}', b"NaN", b"1e999", b"\xff", b'"\\ud800"', b"\xef\xbb\xbf{}"]
    )
    intact = by_us.map(envelope)
    damaged = intact.flatmap(mangled)

    def check(data: bytes) -> None:
        path.write_bytes(data)
        assert isinstance(files.read_record(path, "record", kind), kind)

    told = fuzz(count, (by_others | deep | odd).map(envelope) | intact | damaged | st.binary(), check)
    measured(f"{kind.__name__}: {told}")


def test_ten_thousand_examples_in_the_full_form() -> None:
    assert FULL * (len(REGISTRIES) + 1 + 1 + 2 + len(RECORDS)) >= 10_000
