import io
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest

from flowernoise.safe.hdf5 import (
    MAX_OBJECTS,
    longest_text,
    plain_array,
    plain_text_array,
    plain_texts,
    refuse_foreign,
    refuse_unless_plain,
)


def written(fill: Callable[[h5py.File], object], **options: Any) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", **options) as file:
        fill(file)
    return buffer.getvalue()


def refuse(content: bytes) -> None:
    with h5py.File(io.BytesIO(content), "r") as file:
        refuse_foreign(file, len(content))


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "<i8", ">i4", "<f2", "<f4", "<f8"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (7,), (2, 3, 4)])
def test_plain_arrays_pass_and_are_read(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    content = written(lambda file: file.create_dataset("a/b/x", data=array))
    with h5py.File(io.BytesIO(content), "r") as file:
        refuse_foreign(file, len(content))
        found = plain_array(file["a/b/x"], len(content))
    np.testing.assert_array_equal(found, array)
    assert (found.dtype.kind, found.dtype.itemsize) == (array.dtype.kind, array.dtype.itemsize)


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_old_and_new_layouts_of_the_format_pass(libver: str) -> None:
    refuse(written(lambda file: [file.create_dataset(f"{k}/x", data=np.ones(k)) for k in range(1, 50)], libver=libver))


def test_hard_links_in_a_circle_end() -> None:
    def fill(file: h5py.File) -> None:
        file["a/b/c"] = file["/"]
        file["a/d"] = file["a"]

    refuse(written(fill))


def external(file: h5py.File) -> None:
    file.create_dataset("x", (4,), "f4", external=[("/etc/hostname", 0, 16)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "w", (4,))
    file.create_virtual_dataset("x", layout)


def unwritten(file: h5py.File) -> None:
    """An array of which not a byte is stored; HDF5 would fill it in."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)
    h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_FLOAT, h5py.h5s.create_simple((100,)), plan)


FOREIGN: dict[str, tuple[Callable[[h5py.File], object], str]] = {
    "soft link": (lambda file: file.update(x=h5py.SoftLink("/y")), "/ holds a link, 'x'"),
    "soft link to itself": (lambda file: file.update(x=h5py.SoftLink("/x")), "/ holds a link, 'x'"),
    "external link": (lambda file: file.update(x=h5py.ExternalLink("/etc/passwd", "/")), "/ holds a link, 'x'"),
    "deep link": (lambda file: file.create_group("a/b").update(x=h5py.SoftLink("/y")), "/a/b holds a link, 'x'"),
    "external storage": (external, "/x is not a plain array: it is"),
    "virtual": (virtual, "/x is not a plain array: it is"),
    "chunked": (lambda file: file.create_dataset("x", (9,), "f4", chunks=(3,)), "/x is not a plain array: it is"),
    "gzip": (
        lambda file: file.create_dataset("x", data=np.zeros(9), compression="gzip"),
        "/x is not a plain array: it",
    ),
    "plug-in": (
        lambda file: file.create_dataset("x", data=np.zeros(9), compression="lzf"),
        "/x is not a plain array: it",
    ),
    "texts": (lambda file: file.create_dataset("x", data=["a", "b"]), "/x is not a plain array of numbers"),
    "fixed texts": (lambda file: file.create_dataset("x", data=np.array([b"a"])), "/x is not a plain array of numbers"),
    "references": (lambda file: file.create_dataset("x", (1,), h5py.ref_dtype), "/x is not a plain array of numbers"),
    "ragged": (
        lambda file: file.create_dataset("x", (1,), h5py.vlen_dtype("i4")),
        "/x is not a plain array of numbers",
    ),
    "compound": (lambda file: file.create_dataset("x", (1,), "i4,f4"), "/x is not a plain array of numbers"),
    "opaque": (lambda file: file.create_dataset("x", data=np.void(b"abc")), "/x is not a plain array of numbers"),
    "complex": (lambda file: file.create_dataset("x", (1,), "c8"), "/x is not a plain array of numbers"),
    "no shape": (lambda file: file.create_dataset("x", data=h5py.Empty("f4")), "/x is not a plain array of numbers"),
    "a type": (lambda file: file.update(x=np.dtype("f4")), "/x is not a plain array of numbers"),
    "32 GiB": (
        lambda file: file.create_dataset("x", (1 << 33,), "f4", chunks=(1024,)),
        "/x is not a plain array: it is",
    ),
    "unwritten": (unwritten, "/x claims 400 bytes but holds fewer"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_more_than_plain_arrays_is_refused(kind: str) -> None:
    fill, reason = FOREIGN[kind]
    with pytest.raises(ValueError, match=reason) as caught:
        refuse(written(fill))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("check", [refuse_unless_plain, plain_array])
def test_an_array_larger_than_allowed_is_refused_before_it_is_read(check: Callable[[Any, int], object]) -> None:
    content = written(lambda file: file.create_dataset("x", data=np.zeros(1000, np.float32)))
    with h5py.File(io.BytesIO(content), "r") as file:
        check(file["x"], 4000)
        with pytest.raises(ValueError, match="/x claims 4,000 bytes, more than the whole file holds"):
            check(file["x"], 3999)


@pytest.mark.parametrize("nested", [False, True])
def test_too_many_objects_are_refused(nested: bool) -> None:
    names = [f"g{k % 7}/{k}" if nested else str(k) for k in range(MAX_OBJECTS)]
    content = written(lambda file: [file.create_group(name) for name in names])
    with pytest.raises(ValueError, match="it holds over 10,000 objects"):
        refuse(content)


def test_groups_that_lie_too_deep_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="its groups are nested over 50 deep"):
        refuse(written(lambda file: file.create_group("/".join("a" * 2000))))
    refuse(written(lambda file: file.create_group("/".join("a" * 50))))


def texts(value: object, *, most: int = 10) -> list[str]:
    content = written(lambda file: file.attrs.update(names=value))
    with h5py.File(io.BytesIO(content), "r") as file:
        return plain_texts(file, "names", most=most, longest=longest_text(content))


def test_texts_of_all_kinds_are_read() -> None:
    assert texts(["conv", "bn ü"]) == ["conv", "bn ü"]
    assert texts([b"conv", b"bn"]) == ["conv", "bn"]
    assert texts(np.array([b"conv", b"bn"])) == ["conv", "bn"]
    assert texts("conv") == ["conv"]
    assert texts(np.bytes_(b"conv")) == ["conv"]
    assert texts(np.array([], dtype="S3")) == []


@pytest.mark.parametrize("value", [3, [1.0], h5py.Empty("f4"), ["a"] * 11, np.array([b"a"] * 11)])
def test_what_is_no_list_of_few_texts_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="/ has the attribute names, which is not a short list of short texts"):
        texts(value)


def test_many_texts_that_share_the_bytes_of_one_are_refused() -> None:
    content = written(lambda file: file.attrs.update(names=["x" * 1_000_000, *"abcdefghijklmnopqrstuvwxyz" * 3]))
    assert 1_000_000 < longest_text(content) < 1_100_000
    with (
        h5py.File(io.BytesIO(content), "r") as file,
        pytest.raises(ValueError, match="not a short list of short texts"),
    ):
        plain_texts(file, "names", most=1000, longest=longest_text(content))


@pytest.mark.parametrize("texts", [["a", "ü" * 40], [b"a", b"b"]])
def test_rows_of_texts_are_read_within_their_limits(texts: list[str] | list[bytes]) -> None:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        item = file.create_dataset("path", data=texts)
        file["number"] = [1, 2]
        longest = longest_text(content.getvalue()) or 4096
        expected = [text if isinstance(text, str) else text.decode() for text in texts]
        assert plain_text_array(item, 1000, longest, (2,)) == expected
        for what, limits in (
            (item, (1, longest, (2,))),
            (item, (1000, longest, (3,))),
            (item, (1000, 1 << 30, (2,))),
            (file["number"], (1000, longest, (2,))),
            (file["/"], (1000, longest, (2,))),
        ):
            with pytest.raises(ValueError, match=r"is not one row of|holds over 1 char|may hold a text of"):
                plain_text_array(what, *limits)
