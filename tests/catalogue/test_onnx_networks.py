import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from flowernoise.catalogue import onnx_networks
from flowernoise.catalogue.backbones import backbones
from flowernoise.errors import BadRequestError, FlowernoiseError
from flowernoise.safe import onnx_file
from flowernoise.training import inference
from tests.onnx_bytes import convolution, field, model, node, tensor, value_info

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="needs openvino (the extra `fast`)"
)
KERNEL = np.random.default_rng(0).normal(size=(4, 3, 1, 1)).astype(np.float32)
PHOTOS = np.random.default_rng(1).integers(0, 256, (11, 6, 6, 3), dtype=np.uint8)
ANY = ["n", 3, "height", "width"]


def written(folder: Path, content: bytes) -> Path:
    (folder / "network.onnx").write_bytes(content)
    return folder / "network.onnx"


def extracted(spec: str) -> np.ndarray:
    backbone = backbones.parse(spec)()
    assert backbone.openvino is not None
    network = inference.Network(backbone.openvino(PHOTOS.shape[1], inference.REQUEST), "f32")
    found = network.features([PHOTOS], lambda _: None)
    assert found.shape == (len(PHOTOS), backbone.num_features)
    return found


def expected(scaled: np.ndarray) -> np.ndarray:
    return np.tensordot(scaled.mean(axis=(1, 2)), KERNEL[:, :, 0, 0], axes=([1], [1]))


@pytest.mark.parametrize(
    "content",
    [
        convolution(KERNEL, ANY),
        convolution(KERNEL, ANY, pooled=True),
        convolution(KERNEL, ["n", 3, 6, 6]),
        convolution(KERNEL, [1, 3, 6, 6]),  # made for one photo at a time
        convolution(KERNEL, ANY, in_attribute=True),
    ],
)
def test_features_are_the_mean_of_the_map_after_scaling(content: bytes, tmp_path: Path) -> None:
    path = written(tmp_path, content)
    found = extracted(f"onnx:{path},mean=0.485+0.456+0.406,std=0.229+0.224+0.225")
    scaled = (PHOTOS / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(found, expected(scaled), atol=1e-5)
    np.testing.assert_allclose(extracted(f"onnx:{path},divide=1"), expected(PHOTOS), rtol=1e-5, atol=1e-3)


def test_channels_may_come_last(tmp_path: Path) -> None:
    kernel = np.moveaxis(KERNEL[:, :, 0, 0], 0, 1)  # [3, d]
    graph = field(1, node("MatMul", ["images", "kernel"], "map")) + field(2, "graph")
    graph += field(5, tensor("kernel", kernel)) + field(11, value_info("images", ["n", 6, 6, 3]))
    path = written(tmp_path, model(graph + field(12, value_info("map", ["n", 6, 6, 4]))))
    np.testing.assert_allclose(extracted(f"onnx:{path},layout=nhwc"), expected(PHOTOS / 255), atol=1e-5)
    with pytest.raises(BadRequestError, match=r"does not take three colours in the layout nchw: .*try layout=nhwc"):
        backbones.parse(f"onnx:{path}")()


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    content = convolution(KERNEL, ANY)
    backbone = backbones.parse(f"onnx:{written(tmp_path, content)}")()
    assert backbone.weights_digest == hashlib.sha256(content).hexdigest()
    assert str(backbones.parse(f"onnx:{tmp_path},divide=255,layout=nchw")) == f"onnx:{tmp_path}"
    with pytest.raises(BadRequestError, match="only gives features: it cannot be fine-tuned or exported"):
        backbone.build(6)


@pytest.mark.parametrize(
    "content",
    [
        convolution(KERNEL, ANY, extra=field(13, field(1, "location") + field(2, "/etc/passwd"))),
        convolution(KERNEL, ANY, extra=field(14, 1)),
        convolution(KERNEL, ANY, extra=field(14, 1), in_attribute=True),
    ],
)
def test_a_file_that_refers_to_others_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(BadRequestError, match="keeps tensors in other files; save it with all its data in one file"):
        backbones.parse(f"onnx:{written(tmp_path, content)}")()


@pytest.mark.parametrize("content", [b"", b"not ONNX", b"\xff" * 100, convolution(KERNEL, ANY)[:80]])
def test_what_is_no_onnx_file_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(BadRequestError) as caught:
        backbones.parse(f"onnx:{written(tmp_path, content)}")()
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_nested_without_end_is_refused(tmp_path: Path) -> None:
    graph = b""
    for _ in range(100):
        graph = field(1, field(5, field(6, graph)))
    with pytest.raises(BadRequestError, match="is not an ONNX file, or is damaged"):
        onnx_file.read(written(tmp_path, model(graph)))


def test_files_that_are_missing_or_no_files_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.onnx"):
        with pytest.raises(BadRequestError, match=f"cannot read {path}"):
            backbones.parse(f"onnx:{path}")()


def test_photos_of_another_size_are_refused_with_the_way_out(tmp_path: Path) -> None:
    backbone = backbones.parse(f"onnx:{written(tmp_path, convolution(KERNEL, ['n', 3, 8, 8]))}")()
    assert backbone.native_size == 8
    assert backbone.openvino is not None
    with pytest.raises(BadRequestError, match=r"takes photos of 8 × 8 pixels, not 6; run .* --image-size 8"):
        backbone.openvino(6, 8)


def test_an_output_that_is_no_feature_vector_is_refused(tmp_path: Path) -> None:
    graph = field(
        1,
        node(
            "ReduceMean", ["images"], "tokens", field(1, "axes") + field(20, 7) + field(8, 3) + field(1, "keepdims") * 0
        ),
    ) + field(2, "graph")
    reduced = field(1, node("Squeeze", ["tokens", "axis"], "features")) + field(
        5, field(1, 1) + field(2, 7) + field(8, "axis") + field(7, 3)
    )
    graph += reduced + field(11, value_info("images", ANY)) + field(12, value_info("features", ["n", 3, "h"]))
    with pytest.raises(BadRequestError, match="does not give features: its output has the shape"):
        backbones.parse(f"onnx:{written(tmp_path, model(graph))}")()


@pytest.mark.parametrize("wrong", ["mean=1+2", "mean=a", "std=0", "std=1+0+1", "mean=1e9", "layout=hwc", "divide=0"])
def test_bad_parameters_are_refused(wrong: str, tmp_path: Path) -> None:
    path = written(tmp_path, convolution(KERNEL, ANY))
    with pytest.raises(BadRequestError, match=f"backbone onnx: {wrong.partition('=')[0]}="):
        backbones.parse(f"onnx:{path},{wrong}")()


def test_without_openvino_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ImportError

    monkeypatch.setattr(onnx_networks, "openvino", missing)
    with pytest.raises(FlowernoiseError, match=r"needs OpenVINO.*pip install 'flowernoise\[fast\]'"):
        backbones.parse(f"onnx:{written(tmp_path, convolution(KERNEL, ANY))}")()
