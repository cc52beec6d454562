"""Where everything is in an artifacts directory; no other module knows the paths."""

from __future__ import annotations

import dataclasses
from pathlib import Path

INPUTS = "Inputs"  # text in a contact sheet's PNG: digest of the source of its labels


@dataclasses.dataclass(frozen=True)
class Layout:
    """The paths of one artifacts directory.

    Records are JSON files. They point to files beside them, which hold arrays or photos. A file without a record that
    points to it is litter.
    """

    root: Path

    @property
    def folders(self) -> tuple[Path, ...]:
        """Every folder that the program makes in it."""
        return (*self.recorded, self.preview, self.plots, self.root / "report")

    @property
    def recorded(self) -> tuple[Path, ...]:
        """The folders of records, and of what these name; the others hold what people look at."""
        return (
            self.photos,
            self.features,
            self.own_features,
            self.draws,
            self.first_stages,
            self.runs,
            self.comparisons,
            self.locks,
        )

    @property
    def dataset(self) -> Path:
        """Record of ``prepare``: classes, splits, and where the photos are."""
        return self.root / "dataset.json"

    @property
    def photos(self) -> Path:
        """Folder of the photos (a TAR archive) and of their index (CSV)."""
        return self.root / "photos"

    @property
    def features(self) -> Path:
        """Folder of cached features, with one record and several HDF5 shards per key."""
        return self.root / "features"

    @property
    def own_features(self) -> Path:
        """Folder of imported features, with one record and several HDF5 shards per name."""
        return self.root / "own_features"

    @property
    def draws(self) -> Path:
        """Folder of draws, in batches."""
        return self.root / "draws"

    @property
    def first_stages(self) -> Path:
        """Folder of what first stages pass on to runs."""
        return self.root / "first_stages"

    @property
    def runs(self) -> Path:
        """Folder of trained runs, in blocks."""
        return self.root / "runs"

    @property
    def evaluation(self) -> Path:
        """Record of ``evaluate``: every run's metrics."""
        return self.root / "evaluation.json"

    @property
    def comparisons(self) -> Path:
        """Folder of the results of ``compare``, one record per way to compare."""
        return self.root / "comparisons"

    @property
    def preset(self) -> Path:
        """Record of the preset with which ``run`` made this directory, if any."""
        return self.root / "preset.json"

    @property
    def preview(self) -> Path:
        """Folder of contact sheets."""
        return self.root / "preview"

    @property
    def locks(self) -> Path:
        """Folder of the directory's lock, and of one claim per process at work in it."""
        return self.root / "locks"

    @property
    def plots(self) -> Path:
        """Folder of plots."""
        return self.root / "plots"
