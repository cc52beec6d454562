"""Runs the command with downloads redirected to a test's server; argv[1] has URLs and digests as JSON.

``flowers`` is the URL of tf_flowers' archive with its SHA-256 and size, ``resnet50`` that of the weights' folder with
their MD5; ``stall`` is the number of seconds without a byte after which a download is given up.
"""

import json
import sys
from typing import Any


def point_to(settings: dict[str, Any]) -> None:
    """Changes the constants."""
    from flowernoise.catalogue import backbones, sources
    from flowernoise.safe import downloads

    downloads.STALL = settings.get("stall", downloads.STALL)
    if flowers := settings.get("flowers"):
        sources.TF_FLOWERS_URL = flowers["url"]
        import tensorflow_datasets
        from tensorflow_datasets.datasets.tf_flowers import tf_flowers_dataset_builder as builder

        info = tensorflow_datasets.core.download.checksums.UrlInfo(
            size=tensorflow_datasets.core.utils.Size(flowers["size"]),
            checksum=flowers["sha256"],
            filename="flower_photos.tgz",
        )
        builder._URL = flowers["url"]
        builder.Builder.url_infos = {flowers["url"]: info}
    if weights := settings.get("resnet50"):
        backbones.RESNET50_FOLDER = weights["folder"]
        backbones.RESNET50_MD5 = weights["md5"]


if __name__ == "__main__":
    point_to(json.loads(sys.argv.pop(1)))
    from flowernoise.__main__ import main

    main()
