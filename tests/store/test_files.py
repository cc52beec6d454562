import errno
import io
import os
import stat
from pathlib import Path
from typing import IO, Any

import h5py
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowernoise.errors import DamagedFileError, FlowernoiseError, OtherVersionError
from flowernoise.store import files
from flowernoise.store.files import Declared, FileRef


class Basket(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    owner: str
    fruits: tuple[str, ...] = ()
    weight: float = 0.0
    next: FileRef | None = None


BASKET = Basket("Ada", ("fig", "kiwi"), 1.25)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def hdf5(fill: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, array in fill.items():
            file[name] = array
    return buffer.getvalue()


def stored(directory: Path, data: bytes, suffix: str = ".h5") -> FileRef:
    return files.write_blob(directory, "blob", suffix, lambda stream: stream.write(data))


# Records

# One line of text that a terminal can show, quotes and backslashes among it; and anything at all.
PRINTABLE = st.text(st.characters(exclude_categories=("C", "Z")) | st.sampled_from(' "\\/<u0')).filter(str.isprintable)
ANYTHING = st.text(st.characters(exclude_categories=("Cs",)))


def baskets(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Basket]:
    return st.builds(
        Basket,
        texts,
        st.lists(texts, max_size=3).map(tuple),
        st.floats(allow_nan=False, allow_infinity=False),
        st.none() | st.builds(FileRef, texts, texts, st.integers(0, 2**62)),
    )


@given(baskets(PRINTABLE))
def test_records_read_back_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, basket: Basket) -> None:
    path = tmp_path_factory.getbasetemp() / "round-trip.json"
    files.write_record(path, "basket", basket)
    assert files.read_record(path, "basket", Basket) == basket


@given(baskets(ANYTHING))
def test_a_text_is_kept_whole_or_refused_before_anything_is_written(
    tmp_path_factory: pytest.TempPathFactory, basket: Basket
) -> None:
    path = tmp_path_factory.getbasetemp() / "any-text.json"
    path.unlink(missing_ok=True)
    texts = [basket.owner, *basket.fruits, *((basket.next.name, basket.next.sha256) if basket.next else ())]
    if all(text.isprintable() for text in texts):
        files.write_record(path, "basket", basket)
        assert files.read_record(path, "basket", Basket) == basket
    else:
        with pytest.raises(FlowernoiseError, match="control characters"):
            files.write_record(path, "basket", basket)
        assert not path.exists()


def test_a_record_is_json_that_others_can_read(tmp_path: Path) -> None:
    files.write_record(tmp_path / "a.json", "basket", BASKET)
    plain = msgspec.json.decode((tmp_path / "a.json").read_bytes())
    assert (plain["schema"], plain["kind"], plain["body"]["fruits"]) == (2, "basket", ["fig", "kiwi"])


def test_every_flipped_byte_of_a_record_is_noticed(tmp_path: Path) -> None:
    """None is harmless; a digit of the schema that becomes another one is another version."""
    path = tmp_path / "a.json"
    files.write_record(path, "basket", BASKET)
    intact = path.read_bytes()
    versions = []
    for position in range(len(intact)):
        for mask in (1, 2, 4, 8, 16, 32, 64, 128, 0xFF):
            damaged = bytearray(intact)
            damaged[position] ^= mask
            path.write_bytes(damaged)
            with pytest.raises((DamagedFileError, OtherVersionError)) as caught:
                files.read_record(path, "basket", Basket)
            assert str(path) in str(caught.value)
            if caught.type is OtherVersionError:
                versions.append((position, chr(damaged[position])))
    assert versions == [(intact.index(b"2"), digit) for digit in "306"]


@pytest.mark.parametrize("read", [files.read_fields, lambda path, kind, _: files.digest_of_record(path, kind)])
def test_who_reads_a_part_of_a_record_notices_every_flipped_byte(tmp_path: Path, read: Any) -> None:
    path = tmp_path / "a.json"
    files.write_record(path, "basket", BASKET)
    intact = path.read_bytes()
    for position in range(len(intact)):
        path.write_bytes(intact[:position] + bytes([intact[position] ^ 0x01]) + intact[position + 1 :])
        with pytest.raises((DamagedFileError, OtherVersionError)):
            read(path, "basket", Basket)


def test_every_truncation_of_a_record_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_record(path, "basket", BASKET)
    intact = path.read_bytes()
    for length in range(len(intact)):
        path.write_bytes(intact[:length])
        with pytest.raises(DamagedFileError):
            files.read_record(path, "basket", Basket)


def test_records_of_another_kind_are_refused(tmp_path: Path) -> None:
    files.write_record(tmp_path / "a.json", "basket", BASKET)
    with pytest.raises(DamagedFileError, match="a record of kind 'basket', not 'crate'"):
        files.read_record(tmp_path / "a.json", "crate", Basket)


def test_records_of_another_schema_name_both_schemas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "SCHEMA", 7)
    files.write_record(tmp_path / "a.json", "basket", BASKET)
    monkeypatch.undo()
    with pytest.raises(OtherVersionError, match="has schema 7, this flowernoise reads 2") as caught:
        files.read_record(tmp_path / "a.json", "basket", Basket)
    assert not isinstance(caught.value, DamagedFileError)  # nobody may take it for broken and replace it


@pytest.mark.parametrize(
    "body", [{"owner": 3}, {}, {"owner": "Ada", "extra": 1}, [], None, {"owner": "x", "fruits": "y"}]
)
def test_records_with_other_fields_than_declared_are_refused(tmp_path: Path, body: Any) -> None:
    files.write_record(tmp_path / "a.json", "basket", body)
    with pytest.raises(DamagedFileError, match="not as declared"):
        files.read_record(tmp_path / "a.json", "basket", Basket)


@pytest.mark.parametrize(
    "data", [b"", b"null", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"schema": 1}', b"\0" * 300]
)
def test_files_that_are_no_records_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(DamagedFileError, match="damaged"):
        files.read_record(tmp_path / "a.json", "basket", Basket)


def test_a_missing_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(DamagedFileError, match=r"a\.json is missing"):
        files.read_record(tmp_path / "a.json", "basket", Basket)


def test_a_record_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(FlowernoiseError, match=r"cannot read .*: File name too long"):
        files.read_record(tmp_path / ("x" * 300), "basket", Basket)


def test_a_damaged_record_is_set_aside_under_another_name(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"?")
    files.set_aside(path)
    assert contents(tmp_path) == {"a.json.damaged": b"?"}
    files.set_aside(path)  # nothing there any more
    assert contents(tmp_path) == {"a.json.damaged": b"?"}


# Blobs


def test_blobs_are_named_by_their_content_and_read_back(tmp_path: Path) -> None:
    ref = stored(tmp_path / "new" / "folders", b"content", ".bin")
    assert ref == FileRef(f"blob-{ref.sha256[:16]}.bin", files.digest(b"content"), 7)
    assert files.read_blob(tmp_path / "new" / "folders", ref) == b"content"
    assert files.check_blob(tmp_path / "new" / "folders", ref).name == ref.name
    assert stored(tmp_path / "new" / "folders", b"content", ".bin") == ref
    assert len(contents(tmp_path / "new" / "folders")) == 1


@pytest.mark.parametrize("read", [files.read_blob, files.check_blob])
@pytest.mark.parametrize("change", [lambda d: d[:-1], lambda d: d + b"x", lambda d: b"X" + d[1:], lambda _: b""])
def test_blobs_that_changed_are_refused(tmp_path: Path, read: Any, change: Any) -> None:
    ref = stored(tmp_path, b"content")
    (tmp_path / ref.name).write_bytes(change(b"content"))
    with pytest.raises(DamagedFileError, match=f"{ref.name} is damaged"):
        read(tmp_path, ref)


@pytest.mark.parametrize("read", [files.read_blob, files.check_blob])
def test_missing_blobs_are_named(tmp_path: Path, read: Any) -> None:
    ref = stored(tmp_path, b"content")
    (tmp_path / ref.name).unlink()
    with pytest.raises(DamagedFileError, match=f"{ref.name} is missing"):
        read(tmp_path, ref)


def test_a_size_that_is_not_the_recorded_one_is_refused(tmp_path: Path) -> None:
    ref = stored(tmp_path, b"content")
    with pytest.raises(DamagedFileError, match="damaged"):
        files.read_blob(tmp_path, msgspec.structs.replace(ref, size=6))


@pytest.mark.parametrize("read", [files.read_blob, files.check_blob])
@pytest.mark.parametrize(
    "name", ["../x", "/etc/hostname", "a/b", "a/", "./a", "..", ".", "", "a\0b", "x/../../y", "folder/../x"]
)
def test_names_that_lead_elsewhere_are_refused_unopened(tmp_path: Path, name: str, read: Any) -> None:
    (tmp_path / "x").write_bytes(b"outside")
    directory = tmp_path / "inside"
    (directory / "folder").mkdir(parents=True)
    with pytest.raises(DamagedFileError, match="not a file name"):
        read(directory, FileRef(name, files.digest(b"outside"), 7))


def test_a_name_too_long_for_the_system_is_an_error_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(FlowernoiseError, match="File name too long"):
        files.read_blob(tmp_path, FileRef("x" * 300, "0" * 64, 1))


def test_digests_of_plain_data_do_not_depend_on_the_order_of_keys() -> None:
    assert files.digest_of({"a": 1, "b": [2]}) == files.digest_of({"b": [2], "a": 1})
    assert files.digest_of({"a": 1}) != files.digest_of({"a": 2})
    assert files.digest_of([1, 2]) != files.digest_of([2, 1])


# Arrays

ARRAYS = {
    "labels": np.arange(6, dtype=np.uint8).reshape(2, 3),
    "flipped": np.array([True, False]),
    "empty": np.zeros((2, 0), dtype=np.float32),
    "rates": np.array([np.nan, -np.inf, 1e-300]),
    "scalar": np.array(3),
}


def as_it_is(array: np.ndarray) -> Declared:
    return Declared(array.dtype.kind, array.shape)


X = {"x": Declared("biuf", (None,))}


def test_arrays_read_back_with_their_shapes_and_types(tmp_path: Path) -> None:
    ref = files.write_arrays(tmp_path, "arrays", ARRAYS)
    read = files.read_arrays(tmp_path, ref, {name: as_it_is(array) for name, array in ARRAYS.items()})
    assert read.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (read[name].dtype, read[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(read[name], array)


def test_the_same_arrays_give_the_same_file(tmp_path: Path) -> None:
    assert files.write_arrays(tmp_path, "arrays", ARRAYS) == files.write_arrays(tmp_path, "arrays", ARRAYS)


def test_every_flipped_byte_of_arrays_is_noticed(tmp_path: Path) -> None:
    ref = files.write_arrays(tmp_path, "arrays", {"labels": ARRAYS["labels"]})
    intact = (tmp_path / ref.name).read_bytes()
    for position in range(len(intact)):
        damaged = bytearray(intact)
        damaged[position] ^= 0xFF
        (tmp_path / ref.name).write_bytes(damaged)
        with pytest.raises(DamagedFileError, match="SHA-256"):
            files.read_arrays(tmp_path, ref, {"labels": as_it_is(ARRAYS["labels"])})


@pytest.mark.parametrize("names", [("labels",), ("labels", "other"), ("labels", "flipped", "more"), ()])
def test_files_with_other_arrays_than_declared_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    ref = files.write_arrays(tmp_path, "arrays", {name: ARRAYS[name] for name in ("labels", "flipped")})
    with pytest.raises(DamagedFileError, match=f"{ref.name} holds"):
        files.read_arrays(tmp_path, ref, {name: as_it_is(ARRAYS.get(name, ARRAYS["labels"])) for name in names})


@pytest.mark.parametrize(
    "declared",
    [
        Declared("f", (2, 3)),  # other kinds
        Declared("i", (2, 3)),
        Declared("b", (2, 3)),
        Declared("", (2, 3)),
        Declared("u", (3, 2)),  # other shapes
        Declared("u", (2, 4)),
        Declared("u", (2,)),
        Declared("u", (6,)),
        Declared("u", ()),
        Declared("u", (2, 3, 1)),
        Declared("u", (None, 4)),
        Declared("u", (None,)),
    ],
)
def test_arrays_of_another_kind_or_shape_than_declared_are_refused(tmp_path: Path, declared: Declared) -> None:
    ref = files.write_arrays(tmp_path, "arrays", {"labels": ARRAYS["labels"]})
    with pytest.raises(DamagedFileError, match=rf"{ref.name}: labels is uint8 \[2, 3\], which is not what its record"):
        files.read_arrays(tmp_path, ref, {"labels": declared})


@pytest.mark.parametrize(
    "declared",
    [Declared("iu", (2, 3)), Declared("u", (None, 3)), Declared("u", (2, None)), Declared("u", (None, None))],
)
def test_kinds_and_lengths_may_be_left_open(tmp_path: Path, declared: Declared) -> None:
    ref = files.write_arrays(tmp_path, "arrays", {"labels": ARRAYS["labels"]})
    np.testing.assert_array_equal(files.read_arrays(tmp_path, ref, {"labels": declared})["labels"], ARRAYS["labels"])


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A foreign HDF5 file with an array `x`, and its bytes once more without any format."""
    (tmp_path / "secret.h5").write_bytes(hdf5({"x": np.arange(4)}))
    (tmp_path / "secret.bin").write_bytes(np.arange(4).tobytes())
    return tmp_path / "secret.h5"


@pytest.fixture
def crafted(secret: Path) -> dict[str, bytes]:
    """HDF5 files whose `x` is not a plain array."""

    def make(fill: Any) -> bytes:
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            fill(file)
        return buffer.getvalue()

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((4,), "i8")
        layout[:] = h5py.VirtualSource(str(secret), "x", (4,))
        file.create_virtual_dataset("x", layout)

    def external(file: h5py.File) -> None:
        file.create_dataset("x", (4,), "i8", external=[(str(secret.with_suffix(".bin")), 0, 32)])

    def compressed(file: h5py.File) -> None:
        file.create_dataset("x", data=np.zeros(10**6), compression="gzip")

    return {
        "soft link": make(lambda file: file.__setitem__("x", h5py.SoftLink("/y"))),
        "external link": make(lambda file: file.__setitem__("x", h5py.ExternalLink(str(secret), "/x"))),
        "group": make(lambda file: file.create_group("x")),
        "named type": make(lambda file: file.__setitem__("x", np.dtype("f8"))),
        "strings": make(lambda file: file.create_dataset("x", data=["a", "b"], dtype=h5py.string_dtype())),
        "reference": make(lambda file: file.create_dataset("x", data=file.ref, dtype=h5py.ref_dtype)),
        "virtual": make(virtual),
        "external storage": make(external),
        "8e14 bytes in pieces": make(lambda file: file.create_dataset("x", (10**7, 10**7), "f8", chunks=(100, 100))),
        "8e14 bytes": make(lambda file: file.create_dataset("x", (10**7, 10**7), "f8")),
        "sparse": make(lambda file: file.create_dataset("x", (100,), "f8")),
        "expands a hundredfold": make(compressed),
    }


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("soft link", "x is a link"),
        ("external link", "x is a link"),
        ("group", "x is no plain array"),
        ("named type", "x is no plain array"),
        ("strings", "x is no plain array"),
        ("reference", "x is no plain array"),
        ("virtual", "x is no plain array"),
        ("external storage", "x is no plain array"),
        ("8e14 bytes in pieces", "x is no plain array: it is compressed, in pieces"),
        ("8e14 bytes", "x claims 800,000,000,000,000 bytes"),
        ("expands a hundredfold", "x is no plain array: it is compressed"),
        ("sparse", "x claims 800 bytes and holds fewer"),
    ],
)
def test_files_with_anything_but_plain_arrays_are_refused_despite_a_fitting_digest(
    tmp_path: Path, crafted: dict[str, bytes], kind: str, problem: str
) -> None:
    ref = stored(tmp_path, crafted[kind])
    with pytest.raises(DamagedFileError, match=problem):
        files.read_arrays(tmp_path, ref, X)


@pytest.mark.parametrize(
    "data", [b"", b"no HDF5", hdf5({"x": np.arange(100)})[:-300], b"\x89HDF\r\n\x1a\n" + b"\0" * 90]
)
def test_files_that_are_no_hdf5_are_refused_despite_a_fitting_digest(tmp_path: Path, data: bytes) -> None:
    ref = stored(tmp_path, data)
    with pytest.raises(DamagedFileError, match="cannot be read as HDF5"):
        files.read_arrays(tmp_path, ref, X)


# Written whole or not at all


class Interrupted(BaseException):
    """As KeyboardInterrupt, but nobody else raises it."""


@pytest.mark.parametrize("error", [ValueError, Interrupted, OSError])
def test_an_exception_while_writing_leaves_nothing_behind(tmp_path: Path, error: type[BaseException]) -> None:
    earlier = stored(tmp_path, b"content")

    def write(stream: IO[bytes]) -> None:
        stream.write(b"half")
        raise error("no more")

    with pytest.raises(FlowernoiseError if error is OSError else error, match="no more"):
        files.write_blob(tmp_path, "blob", ".h5", write)
    assert contents(tmp_path) == {earlier.name: b"content"}


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def refuse(*_: object) -> None:
    raise FULL


def fill_disk(monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """From now on the disk turns out to be full at one of three moments of each write."""
    plain = Path.open

    class Full(io.FileIO):
        def write(self, _: Any, /) -> int:
            raise FULL

    def full(self: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        return io.BufferedWriter(Full(self, mode)) if mode == "xb" else plain(self, mode, *rest, **more)

    if moment == "writing":
        monkeypatch.setattr(Path, "open", full)
    elif moment == "syncing":
        monkeypatch.setattr(os, "fsync", refuse)
    else:
        monkeypatch.setattr(Path, "replace", refuse)


MOMENTS = pytest.mark.parametrize("moment", ["writing", "syncing", "renaming"])


@MOMENTS
def test_a_full_disk_is_one_error_with_path_and_reason_and_leaves_the_old_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    path = tmp_path / "a.json"
    files.write_record(path, "basket", BASKET)
    before = contents(tmp_path)
    fill_disk(monkeypatch, moment)
    with pytest.raises(FlowernoiseError) as caught:
        files.write_record(path, "basket", Basket("Bob"))
    monkeypatch.undo()
    assert str(caught.value) == f"cannot write {path}: No space left on device; earlier files are unchanged"
    assert contents(tmp_path) == before


@MOMENTS
def test_a_full_disk_leaves_no_part_of_a_blob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    fill_disk(monkeypatch, moment)
    with pytest.raises(FlowernoiseError, match=r"cannot write .*arrays\.h5: No space left on device"):
        files.write_arrays(tmp_path, "arrays", ARRAYS)
    assert list(tmp_path.iterdir()) == []


def test_what_is_being_written_is_not_seen_under_its_name(tmp_path: Path) -> None:
    seen = []

    def write(stream: IO[bytes]) -> None:
        stream.write(b"content")
        seen.extend(path.name for path in tmp_path.glob("*.h5"))

    files.write_blob(tmp_path, "blob", ".h5", write)
    assert seen == []
    assert len(list(tmp_path.glob("*.h5"))) == 1


def test_file_and_directory_reach_the_disk_before_a_write_counts_as_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = []
    sync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        events.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        events.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    files.write_record(tmp_path / "a.json", "basket", BASKET)
    assert events == ["file", "rename", "directory"]


def test_a_directory_that_cannot_be_made_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FlowernoiseError, match=f"cannot make the directory {tmp_path}/file: File exists"):
        files.write_record(tmp_path / "file" / "x" / "a.json", "basket", BASKET)


def test_a_read_only_directory_is_named_with_the_reason(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        if os.access(tmp_path, os.W_OK):
            pytest.skip("this user (root) may write to read-only directories")
        with pytest.raises(FlowernoiseError, match=r"a\.json: Permission denied"):
            files.write_record(tmp_path / "a.json", "basket", BASKET)
    finally:
        tmp_path.chmod(0o755)


def test_a_plain_file_is_written_once_and_left_alone_while_it_holds_the_same(tmp_path: Path) -> None:
    path = tmp_path / "new" / "sheet.png"
    assert files.write_plain(path, b"first")
    before = path.stat().st_mtime_ns, path.stat().st_ino
    assert not files.write_plain(path, b"first")
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    assert files.write_plain(path, b"other")  # of the same size
    assert contents(path.parent) == {"sheet.png": b"other"}


@MOMENTS
def test_a_full_disk_leaves_the_plain_file_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    path = tmp_path / "sheet.png"
    files.write_plain(path, b"before")
    fill_disk(monkeypatch, moment)
    with pytest.raises(FlowernoiseError, match=r"cannot write .*sheet\.png: No space left on device"):
        files.write_plain(path, b"after")
    monkeypatch.undo()
    assert contents(tmp_path) == {"sheet.png": b"before"}
