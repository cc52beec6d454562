import contextlib
import errno
import gc
import io
import os
import signal
import socket
import stat
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import h5py
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowernoise.errors import DamagedFileError, FlowernoiseError, OtherVersionError
from flowernoise.safe import atomic
from flowernoise.store import files
from flowernoise.store.files import Declared, FileRef, records


class Basket(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    owner: str
    fruits: tuple[str, ...] = ()
    weight: float = 0.0
    next: FileRef | None = None


class Interrupted(BaseException):
    """As KeyboardInterrupt, but nobody else raises it."""


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


def test_a_whole_number_in_a_field_of_floats_is_written_as_it_is_read(tmp_path: Path) -> None:
    """Else the record is condemned: 1 is read as 1.0, which is written otherwise."""
    path = tmp_path / "record.json"
    files.write_record(path, "basket", msgspec.structs.replace(BASKET, weight=1))
    assert files.read_record(path, "basket", Basket) == msgspec.structs.replace(BASKET, weight=1.0)


def test_a_number_that_json_lacks_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(FlowernoiseError, match=r"cannot write .*record\.json: Expected `float`, got `null`"):
        files.write_record(tmp_path / "record.json", "basket", msgspec.structs.replace(BASKET, weight=float("nan")))
    assert contents(tmp_path) == {}


def test_a_record_is_json_that_others_can_read(tmp_path: Path) -> None:
    files.write_record(tmp_path / "a.json", "basket", BASKET)
    plain = msgspec.json.decode((tmp_path / "a.json").read_bytes())
    assert (plain["schema"], plain["kind"], plain["body"]["fruits"]) == (4, "basket", ["fig", "kiwi"])


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
    assert versions == [(intact.index(str(files.SCHEMA).encode()), digit) for digit in "560"]


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
    monkeypatch.setattr(records, "SCHEMA", 7)
    files.write_record(tmp_path / "a.json", "basket", BASKET)
    monkeypatch.undo()
    with pytest.raises(OtherVersionError, match="has schema 7, but this flowernoise reads 4") as caught:
        files.read_record(tmp_path / "a.json", "basket", Basket)
    assert not isinstance(caught.value, DamagedFileError)  # nobody may take it for broken and replace it


@pytest.mark.parametrize(
    "body", [{"owner": 3}, {}, {"owner": "Ada", "extra": 1}, [], None, {"owner": "x", "fruits": "y"}]
)
def test_records_with_other_fields_than_declared_are_refused(tmp_path: Path, body: Any) -> None:
    files.write_record(tmp_path / "a.json", "basket", body)
    with pytest.raises(DamagedFileError, match="does not have the expected form"):
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


def test_a_damaged_record_is_quarantined_under_another_name(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"?")
    files.quarantine(path)
    assert contents(tmp_path) == {"a.json.damaged": b"?"}
    files.quarantine(path)  # nothing there any more
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
        ("group", "x is not a plain array"),
        ("named type", "x is not a plain array"),
        ("strings", "x is not a plain array"),
        ("reference", "x is not a plain array"),
        ("virtual", "x is not a plain array"),
        ("external storage", "x is not a plain array"),
        ("8e14 bytes in pieces", "x is not a plain array: it is compressed, in pieces"),
        ("8e14 bytes", "x claims 800,000,000,000,000 bytes"),
        ("expands a hundredfold", "x is not a plain array: it is compressed"),
        ("sparse", "x claims 800 bytes but holds fewer"),
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


# Only files of their own, never by way of a link


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fails where the block hangs, rather than with it."""

    def expired(*_: object) -> None:
        pytest.fail(f"still waiting after {seconds} s")

    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def make_link(path: Path) -> None:
    """To an intact file of that name elsewhere."""
    elsewhere = path.with_name("elsewhere")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def make_circle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as made, contextlib.chdir(path.parent):  # its name must be short
        made.bind(path.name)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_device(path: Path) -> None:
    """The one that gives zeros for ever, where this user may make one."""
    path.unlink()
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("this user may not make devices")


def make_device_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


REF = FileRef(files.blob_name("blob", files.digest(b"content"), ".bin"), files.digest(b"content"), 7)
ODD = [make_link, make_circle, make_pipe, make_socket, make_folder, make_device, make_device_link]
READERS: dict[str, Callable[[Path], object]] = {
    "read_record": lambda path: files.read_record(path, "basket", Basket),
    "read_fields": lambda path: files.read_fields(path, "basket", Basket),
    "digest_of_record": lambda path: files.digest_of_record(path, "basket"),
    "read_plain": files.read_plain,
    "read_blob": lambda path: files.read_blob(path.parent, REF),
    "check_blob": lambda path: files.check_blob(path.parent, REF),
    "open_blob": lambda path: contextlib.ExitStack().enter_context(files.open_blob(path.parent, REF)),
    "read_arrays": lambda path: files.read_arrays(path.parent, REF, X),
}


@pytest.mark.parametrize("make", ODD)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, make: Callable[[Path], None], reader: str) -> None:
    path = tmp_path / REF.name
    if reader.endswith(("record", "fields")):
        files.write_record(path, "basket", BASKET)
    else:
        path.write_bytes(b"content")
    make(path)
    with at_most(5), pytest.raises(DamagedFileError, match=rf"{path.name} is (a link or a socket|not a regular file)"):
        READERS[reader](path)


@pytest.mark.parametrize("make", ODD)
def test_what_is_no_regular_file_is_not_found(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / REF.name
    path.write_bytes(b"content")
    assert files.find_blob(tmp_path, "blob", ".bin") == REF
    make(path)
    with at_most(5):
        assert files.find_blob(tmp_path, "blob", ".bin") is None


@pytest.mark.parametrize("make", [make_link, make_circle, make_pipe, make_device_link])
def test_writing_replaces_a_link_and_does_not_follow_it(tmp_path: Path, make: Callable[[Path], None]) -> None:
    for name in ("record.json", "sheet.png", REF.name):
        (tmp_path / name).write_bytes(b"content")
        make(tmp_path / name)
        outside = tmp_path / "elsewhere"
        with at_most(5):
            files.write_record(tmp_path / "record.json", "basket", BASKET)
            files.write_plain(tmp_path / "sheet.png", b"new content")
            stored(tmp_path, b"content", ".bin")
        assert (tmp_path / name).lstat().st_mode & stat.S_IFREG == stat.S_IFREG
        if outside.exists():
            assert outside.read_bytes() == b"content"
            outside.unlink()


def test_a_pipe_that_somebody_writes_to_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.write(descriptor, b"{" * 100)
        with at_most(5), pytest.raises(DamagedFileError, match="not a regular file"):
            files.read_record(path, "basket", Basket)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("reader", READERS)
def test_no_descriptor_is_left_open(tmp_path: Path, reader: str) -> None:
    open_files = Path("/proc/self/fd")
    if not open_files.exists():
        pytest.skip("this system does not list open files")
    before = len(list(open_files.iterdir()))
    for make in (Path.touch, make_folder):
        path = tmp_path / REF.name
        path.touch()
        make(path)
        for _ in range(5):
            with contextlib.suppress(FlowernoiseError):
                READERS[reader](path)
        path.rmdir() if path.is_dir() else path.unlink()
    gc.collect()
    assert len(list(open_files.iterdir())) == before


# Huge files


def peak_of(read: Callable[[], object]) -> int:
    """Most bytes that reading takes, of Python's own counting."""
    tracemalloc.start()
    try:
        with contextlib.suppress(FlowernoiseError):
            read()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("size", [files.MAX_RECORD + 1, 2**40])
def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path, reader: str, size: int) -> None:
    """Sparse files take no room on the disk; their length is anything."""
    path = tmp_path / REF.name
    files.write_record(path, "basket", BASKET)
    with path.open("r+b") as stream:
        stream.truncate(size)
    with at_most(5), pytest.raises(DamagedFileError, match=r"larger than|over|holds"):
        READERS[reader](path)
    assert peak_of(lambda: READERS[reader](path)) < 2**20


def test_a_huge_file_of_the_recorded_size_is_not_taken_into_memory(tmp_path: Path) -> None:
    """Its digest is found by streaming; only what is right is read."""
    ref = FileRef("blob-0123456789abcdef.h5", "0" * 64, 300 * 2**20)
    with (tmp_path / ref.name).open("wb") as stream:
        stream.truncate(ref.size)
    with pytest.raises(DamagedFileError, match="SHA-256"):
        files.read_blob(tmp_path, ref)
    assert peak_of(lambda: files.read_arrays(tmp_path, ref, X)) < 2**21


def test_a_record_over_the_limit_is_neither_written_nor_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    files.write_record(path, "basket", BASKET)
    size = path.stat().st_size
    monkeypatch.setattr(records, "MAX_RECORD", size)
    assert files.read_record(path, "basket", Basket) == BASKET
    files.write_record(path, "basket", BASKET)
    before = contents(tmp_path)
    monkeypatch.setattr(records, "MAX_RECORD", size - 1)
    with pytest.raises(DamagedFileError, match=f"{size:,} bytes are over the limit of {size - 1:,}"):
        files.read_record(path, "basket", Basket)
    with pytest.raises(
        FlowernoiseError, match=f"cannot write .*: {size:,} bytes are over the limit of {size - 1:,}; use several"
    ):
        files.write_record(path, "basket", BASKET)
    assert contents(tmp_path) == before


# Records that others have made, with a digest that fits


def with_body(path: Path, body: bytes, kind: str = "basket") -> None:
    """A record of whatever body, in an envelope that is right in all else."""
    head = f'{{"schema": {files.SCHEMA}, "kind": "{kind}", "sha256": "{files.digest(body)}",\n"body": '
    path.write_bytes(head.encode() + body + b"}\n")


CANONICAL = b"""{
 "owner": "Ada",
 "fruits": [
  "fig",
  "kiwi"
 ],
 "weight": 1.25,
 "next": null
}"""


def test_a_record_that_is_written_as_the_program_does_is_read(tmp_path: Path) -> None:
    with_body(tmp_path / "a.json", CANONICAL)
    assert files.read_record(tmp_path / "a.json", "basket", Basket) == BASKET
    files.write_record(tmp_path / "b.json", "basket", BASKET)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


CHANGES = {
    "a key twice": (b'"owner": "Ada"', b'"owner": "Bob",\n "owner": "Ada"'),
    "a key twice, the same": (b'"owner": "Ada"', b'"owner": "Ada",\n "owner": "Ada"'),
    "a key written with an escape": (b'"owner"', b'"\\u006fwner"'),
    "keys in another order": (b' "weight": 1.25,\n "next": null', b' "next": null,\n "weight": 1.25'),
    "a default left out": (b',\n "next": null', b""),
    "a key too many": (b'"next": null', b'"next": null,\n "more": 1'),
    "NaN": (b"1.25", b"NaN"),
    "Infinity": (b"1.25", b"Infinity"),
    "-Infinity": (b"1.25", b"-Infinity"),
    "too large": (b"1.25", b"1e999"),
    "null for a number": (b"1.25", b"null"),
    "a number in a text": (b"1.25", b'"1.25"'),
    "a number written otherwise": (b"1.25", b"1.250"),
    "with an exponent": (b"1.25", b"125e-2"),
    "with a sign": (b"1.25", b"+1.25"),
    "octal": (b"1.25", b"01.25"),
    "more digits than a float holds": (b"1.25", b"1.25000000000000000000001"),
    "a thousand digits": (b"1.25", b"1" * 1000),
    "a text written with an escape": (b"Ada", b"\\u0041da"),
    "a slash with an escape": (b"Ada", b"A\\/da"),
    "a line's end": (b"Ada", b"A\\nda"),
    "a tabulator": (b"Ada", b"A\\tda"),
    "a bell": (b"Ada", b"A\\u0007da"),
    "an escape of a terminal": (b"Ada", b"\\u001b[2JAda"),
    "NUL": (b"Ada", b"A\\u0000da"),
    "after a backslash": (b"Ada", b"A\\\\\\nda"),
    "after a quote": (b"Ada", b'A\\"\\nda'),
    "DEL": (b"Ada", b"A\x7fda"),
    "C1": (b"Ada", "A\x9bda".encode()),
    "from right to left": (b"Ada", "A\u202eda".encode()),
    "no width": (b"Ada", "A\u200bda".encode()),
    "a line separator": (b"Ada", "A\u2028da".encode()),
    "a private character": (b"Ada", "A\ue000da".encode()),
    "half a character": (b"Ada", b"A\\ud800da"),
    "no UTF-8": (b"Ada", b"A\xffda"),
    "too long a UTF-8": (b"Ada", b"A\xc1\x81da"),
    "a surrogate in UTF-8": (b"Ada", b"A\xed\xa0\x80da"),
    "raw line's end": (b"Ada", b"A\nda"),
    "less white space": (b"\n ", b""),
    "more white space": (b'"next": null', b'"next":  null'),
    "a comment": (b'"next": null', b'"next": null /* x */'),
    "a comma too many": (b'"next": null', b'"next": null,'),
    "deep": (b"null", b"[" * 100_000 + b"]" * 100_000),
    "deep objects": (b"null", b'{"name":' * 100_000 + b"}" * 100_000),
    "two bodies": (b'"next": null\n}', b'"next": null\n}{}'),
    "nothing": (CANONICAL, b""),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_record_that_is_not_as_the_program_writes_it_is_refused_though_its_digest_fits(
    tmp_path: Path, kind: str
) -> None:
    old, new = CHANGES[kind]
    assert old in CANONICAL
    path = tmp_path / "a.json"
    with_body(path, CANONICAL.replace(old, new))
    with at_most(10), pytest.raises(DamagedFileError) as caught:
        files.read_record(path, "basket", Basket)
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


ENVELOPES = {
    "schema twice": lambda data: data.replace(b'{"schema": 4,', b'{"schema": 4, "schema": 4,'),
    "schema in another place": lambda data: data.replace(
        b'"schema": 4, "kind": "basket"', b'"kind": "basket", "schema": 4'
    ),
    "schema as a text": lambda data: data.replace(b'"schema": 4', b'"schema": "2"'),
    "a schema of many digits": lambda data: data.replace(b'"schema": 4', b'"schema": ' + b"2" * 5000),
    "digest in capitals": lambda data: data.replace(data[50:110], data[50:110].upper()),
    "a key too many": lambda data: data[:-2] + b', "more": 1}\n',
    "no line's end": lambda data: data[:-1],
    "two line's ends": lambda data: data + b"\n",
    "something before": lambda data: b"\n" + data,
    "a byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "something after": lambda data: data + b"{}",
    "twice": lambda data: data + data,
    "lines of another system": lambda data: data.replace(b"\n", b"\r\n"),
}


@pytest.mark.parametrize("kind", ENVELOPES)
@pytest.mark.parametrize("reader", ["read_record", "read_fields", "digest_of_record"])
def test_envelopes_are_as_the_program_writes_them(tmp_path: Path, kind: str, reader: str) -> None:
    path = tmp_path / "a.json"
    with_body(path, CANONICAL)
    READERS[reader](path)
    data = path.read_bytes()
    path.write_bytes(ENVELOPES[kind](data))
    assert path.read_bytes() != data
    with pytest.raises(DamagedFileError, match="damaged"):
        READERS[reader](path)


class Owner(msgspec.Struct, frozen=True):
    """A part of a basket."""

    owner: str
    next: FileRef | None = None


def test_a_part_of_a_record_is_read_without_the_rest(tmp_path: Path) -> None:
    files.write_record(tmp_path / "a.json", "basket", msgspec.structs.replace(BASKET, next=REF))
    assert files.read_fields(tmp_path / "a.json", "basket", Owner) == Owner("Ada", REF)


def test_the_digest_of_a_record_changes_with_what_it_says(tmp_path: Path) -> None:
    files.write_record(tmp_path / "a.json", "basket", BASKET)
    first = files.digest_of_record(tmp_path / "a.json", "basket")
    files.write_record(tmp_path / "a.json", "basket", Basket("Bob"))
    second = files.digest_of_record(tmp_path / "a.json", "basket")
    files.write_record(tmp_path / "a.json", "basket", BASKET)
    assert files.digest_of_record(tmp_path / "a.json", "basket") == first != second


@pytest.mark.parametrize("text", ["a\nb", "\x1b[2J", "\0", "a\tb", "\x7f", "\u202e", "\u2028", "\\\n", '"\n'])
def test_control_characters_are_not_written(tmp_path: Path, text: str) -> None:
    for body in (Basket(text), Basket("x", (text,)), {"owner": "x", text: 1}):
        with pytest.raises(FlowernoiseError, match="control characters") as caught:
            files.write_record(tmp_path / "a.json", "basket", body)
        assert str(caught.value).isprintable()
    assert list(tmp_path.iterdir()) == []


# Blobs that no record points to, and files that none will


def test_a_blob_without_a_record_is_found_by_its_name_while_that_fits(tmp_path: Path) -> None:
    assert files.find_blob(tmp_path / "nowhere", "blob", ".bin") is None
    ref = stored(tmp_path, b"content", ".bin")
    assert files.find_blob(tmp_path, "blob", ".bin") == ref
    assert files.find_blob(tmp_path, "blo", ".bin") is None
    assert files.find_blob(tmp_path, "blob", ".h5") is None
    (tmp_path / ref.name).write_bytes(b"contend")
    assert files.find_blob(tmp_path, "blob", ".bin") is None
    (tmp_path / ref.name).write_bytes(b"content")
    (tmp_path / "blob-0000000000000000.bin").write_bytes(b"damaged")
    (tmp_path / "blob-ffffffffffffffff.bin").write_bytes(b"damaged")
    assert files.find_blob(tmp_path, "blob", ".bin") == ref


def test_a_plain_file_is_read_up_to_a_size(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    files.write_plain(path, b"content")
    assert files.read_plain(path) == files.read_plain(path, 7) == b"content"
    with pytest.raises(DamagedFileError, match=r"sheet\.png is larger than 6 bytes"):
        files.read_plain(path, 6)
    with pytest.raises(DamagedFileError, match=r"nowhere is missing"):
        files.read_plain(tmp_path / "nowhere")


def end_after(directory: Path, error: type[BaseException], *blobs: bytes, record: bool = False) -> None:
    """Blobs, perhaps their record, and an error."""
    with files.together():
        for data in blobs:
            stored(directory, data)
        if record:
            files.write_record(directory / "a.json", "basket", BASKET)
        raise error


def test_blobs_whose_record_cannot_be_written_are_removed_again(tmp_path: Path) -> None:
    earlier = stored(tmp_path, b"earlier")
    with pytest.raises(FlowernoiseError):
        end_after(tmp_path, FlowernoiseError, b"earlier", b"new", b"another")
    assert contents(tmp_path) == {earlier.name: b"earlier"}


def test_blobs_stay_once_their_record_is_there(tmp_path: Path) -> None:
    with files.together():
        first = stored(tmp_path, b"first")
    with pytest.raises(FlowernoiseError):
        end_after(tmp_path, FlowernoiseError, b"second", record=True)
    assert sorted(contents(tmp_path).values())[:2] == [b"first", b"second"]
    with pytest.raises(FlowernoiseError):
        end_after(tmp_path, FlowernoiseError)
    assert (tmp_path / first.name).exists()


def test_a_blob_whose_name_does_not_reach_the_disk_is_removed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(atomic, "sync_directory", refuse)
    with pytest.raises(FlowernoiseError, match="Disk quota exceeded"), files.together():
        stored(tmp_path, b"renamed already")
    assert contents(tmp_path) == {}


def test_a_signal_leaves_blobs_as_their_record_may_be_there(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        end_after(tmp_path, Interrupted, b"new")
    assert list(contents(tmp_path).values()) == [b"new"]


def test_temporary_files_name_their_process(tmp_path: Path) -> None:
    seen: list[str] = []

    def write(stream: IO[bytes]) -> None:
        stream.write(b"content")
        seen.extend(path.name for path in tmp_path.iterdir())

    files.write_blob(tmp_path, "blob", ".h5", write)
    [name] = seen
    found = atomic.TEMPORARY.fullmatch(name)
    assert found is not None
    assert name.startswith(".blob.h5.")
    assert int(found["process"]) == os.getpid()


# Written whole or not at all


def test_directories_are_made_with_their_parents_and_reach_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    sync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    atomic.ensure_directory(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    assert synced == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]  # each holds the name of the next
    atomic.ensure_directory(tmp_path / "a" / "b" / "c")
    assert len(synced) == 3
    files.write_record(tmp_path / "a" / "d" / "x.json", "basket", BASKET)
    assert synced[3] == tmp_path / "a"


def test_a_directory_may_be_a_link_and_be_made_by_two_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    atomic.ensure_directory(tmp_path / "link" / "a")
    assert (tmp_path / "real" / "a").is_dir()
    make = Path.mkdir

    def made_by_another(path: Path, *rest: Any, **more: Any) -> None:
        make(path)
        make(path, *rest, **more)

    monkeypatch.setattr(Path, "mkdir", made_by_another)
    atomic.ensure_directory(tmp_path / "real" / "b")
    assert (tmp_path / "real" / "b").is_dir()


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
