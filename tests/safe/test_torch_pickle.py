import hashlib
import io
import os
import pickle
import sys
import types
from collections import OrderedDict
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flowernoise.catalogue.lite0 import SHA256, weight_file
from flowernoise.errors import DamagedFileError, FlowernoiseError
from flowernoise.safe.torch_pickle import DTYPES, MAGIC, PROTOCOL, read_state

MACHINE = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


# A writer of the format, which pickles stand-ins for PyTorch's classes under their names.

torch = types.ModuleType("torch")
torch_utils = types.ModuleType("torch._utils")
for storage_name in (*DTYPES, "BFloat16Storage"):
    setattr(torch, storage_name, type(storage_name, (), {"__module__": "torch"}))


def _rebuild_tensor_v2(*_):
    raise AssertionError("only its name is pickled")


_rebuild_tensor_v2.__module__ = "torch._utils"
torch_utils._rebuild_tensor_v2 = _rebuild_tensor_v2


class Storage:
    def __init__(self, key, array, kind=None, length=None):
        self.key, self.array = key, array
        names = {np.dtype(text): name for name, text in DTYPES.items()}
        self.kind = kind or names[array.dtype]
        self.length = array.size if length is None else length


class Tensor:
    def __init__(self, storage, offset, shape, strides):
        self.arguments = (storage, offset, shape, strides, False, OrderedDict())

    def __reduce__(self):
        return _rebuild_tensor_v2, self.arguments


class Pickler(pickle.Pickler):
    def persistent_id(self, thing):
        if isinstance(thing, Storage):
            return ("storage", getattr(torch, thing.kind), thing.key, "cpu", thing.length, None)
        return None


def pickled(thing):
    buffer = io.BytesIO()
    with mock.patch.dict(sys.modules, {"torch": torch, "torch._utils": torch_utils}):
        Pickler(buffer, protocol=2).dump(thing)
    return buffer.getvalue()


def legacy(state, storages=(), *, keys=None, machine=MACHINE, magic=MAGIC):
    parts = [pickled(magic), pickled(PROTOCOL), pickled(machine), pickled(state)]
    parts.append(pickled([storage.key for storage in storages] if keys is None else keys))
    for storage in storages:
        parts += [storage.array.size.to_bytes(8, "little"), storage.array.tobytes()]
    return b"".join(parts)


def one_tensor(offset=0, shape=(2, 3), strides=(3, 1), **storage_settings):
    storage = Storage("1", np.arange(6, dtype="<f4"), **storage_settings)
    return {"weight": Tensor(storage, offset, shape, strides)}, [storage]


def read(folder, content):
    path = Path(folder) / "state.pth"
    path.write_bytes(content)
    return read_state(path, hashlib.sha256(content).hexdigest())


@st.composite
def states(draw):
    """Arrays, and tensors that show them transposed and at an offset in storages of their own or in one shared."""
    arrays, tensors, storages = {}, OrderedDict(), []
    for index in range(draw(st.integers(0, 4))):
        dtype = np.dtype(draw(st.sampled_from(sorted(DTYPES.values()))))
        array = draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)))
        before = draw(st.integers(0, 3))
        flat = np.concatenate([np.zeros(before, dtype), array.ravel()])
        storage = Storage(str(100 + index), flat)
        strides = tuple(stride // dtype.itemsize for stride in np.ascontiguousarray(array).reshape(array.shape).strides)
        storages.append(storage)
        arrays[f"{index}"], tensors[f"{index}"] = array, Tensor(storage, before, array.shape, strides)
        arrays[f"{index}.T"], tensors[f"{index}.T"] = array.T, Tensor(storage, before, array.shape[::-1], strides[::-1])
    return arrays, legacy(tensors, storages)


@given(states())
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read(tmp_path_factory, state):
    arrays, content = state
    found = read(tmp_path_factory.getbasetemp(), content)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def test_arrays_are_writable_and_own_their_numbers(tmp_path):
    weight = read(tmp_path, legacy(*one_tensor()))["weight"]
    assert weight.flags.writeable
    assert weight.flags.owndata
    assert weight.flags.c_contiguous


def test_the_real_file():
    try:
        path = weight_file()
    except FlowernoiseError as error:
        pytest.skip(str(error))
    state = read_state(path, SHA256)
    assert state["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert state["_fc.weight"].shape == (1000, 1280)
    assert state["_bn0.num_batches_tracked"].shape == ()
    assert state["_bn0.num_batches_tracked"].dtype == np.int64
    assert all(np.isfinite(array).all() for array in state.values())
    assert sum(array.size for name, array in state.items() if name.endswith((".weight", ".bias"))) == 4_652_008


def test_another_digest_is_refused_before_anything_is_read(tmp_path):
    path = tmp_path / "state.pth"
    path.write_bytes(legacy(*one_tensor()))
    with (
        mock.patch("flowernoise.safe.torch_pickle._parse", side_effect=AssertionError("read")),
        pytest.raises(DamagedFileError, match=r"state\.pth: damaged or another version .* reinstall the package"),
    ):
        read_state(path, "0" * 64)


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("place", ["state", "value", "machine", "keys", "magic"])
def test_a_hostile_pickle_runs_nothing(tmp_path, place):
    state, storages = one_tensor()
    hostile = Hostile(tmp_path / "ran")
    content = {
        "state": lambda: legacy(hostile),
        "value": lambda: legacy({**state, "bias": hostile}, storages),
        "machine": lambda: legacy(state, storages, machine=hostile),
        "keys": lambda: legacy(state, storages, keys=hostile),
        "magic": lambda: legacy(state, storages, magic=hostile),
    }[place]()
    with pytest.raises(DamagedFileError, match=r"asks for (posix|nt)\.system"):
        read(tmp_path, content)
    assert not (tmp_path / "ran").exists()


def test_builtins_are_refused(tmp_path):
    with pytest.raises(DamagedFileError, match=r"asks for .*\.getattr"):
        read(tmp_path, legacy({"weight": getattr}))


def test_every_cut_is_noticed(tmp_path):
    content = legacy(*one_tensor())
    for end in range(len(content)):
        with pytest.raises(DamagedFileError):
            read(tmp_path, content[:end])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (legacy(*one_tensor(offset=1)), "beyond its storage"),
        (legacy(*one_tensor(shape=(3, 3))), "beyond its storage"),
        (legacy(*one_tensor(shape=(10**12,), strides=(0,))), "beyond its storage"),
        (legacy(*one_tensor(shape=(7,), strides=(0,))), "beyond its storage"),
        (legacy(*one_tensor(offset=-1)), "unknown kind"),
        (legacy(*one_tensor(strides=(3, -1))), "unknown kind"),
        (legacy(*one_tensor(strides=(3.0, 1))), "unknown kind"),
        (legacy(*one_tensor(strides=(1,))), "not a readable pickle"),
        (legacy(*one_tensor(kind="BFloat16Storage")), r"asks for torch\.BFloat16Storage"),
        (legacy(*one_tensor(length=5), keys=["1"]), "beyond its storage"),
        (legacy(*one_tensor(length=7)), "two sizes"),
        (legacy(*one_tensor(length=10**15)), "two sizes"),
        (legacy(*one_tensor(), keys=["1", "1"]), "not those of its tensors"),
        (legacy(*one_tensor(), keys=["2"]), "not those of its tensors"),
        (legacy(*one_tensor(), keys=[]), "not those of its tensors"),
        (legacy(*one_tensor()) + b"x", "after its end"),
        (legacy(*one_tensor(), machine={**MACHINE, "little_endian": False}), "little-endian"),
        (legacy(*one_tensor(), magic=1), "not a legacy PyTorch file"),
        (legacy([1, 2]), "not a dictionary"),
        (legacy({1: 2}), "not a dictionary"),
        (legacy({"weight": 3}), "'weight' is not a tensor"),
        (b"PK\x03\x04 a zip file", "not a readable pickle"),
        (b"", "not a readable pickle"),
    ],
)
def test_what_does_not_hold_together_is_refused(tmp_path, content, reason):
    with pytest.raises(DamagedFileError, match=reason) as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)


def test_a_storage_longer_than_the_file_is_refused_without_asking_for_memory(tmp_path):
    state, storages = one_tensor(length=10**15)
    content = legacy(state, storages).replace((6).to_bytes(8, "little"), (10**15).to_bytes(8, "little"))
    with pytest.raises(DamagedFileError, match="cut off"):
        read(tmp_path, content)
