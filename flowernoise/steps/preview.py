"""``preview``: photos for a person to check: their labels, the labels of draws, and what runs get wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from flowernoise.analysis import where
from flowernoise.analysis.results.written import ListedPhoto, PreviewResult, SheetFile
from flowernoise.analysis.views.arrays import Pixels
from flowernoise.analysis.views.sheets import (
    ContactSheet,
    SheetKind,
    SheetPhoto,
    most_confident,
    sample,
)
from flowernoise.catalogue.losses import losses
from flowernoise.catalogue.noise import noise_models, shown_names, specs_called
from flowernoise.catalogue.sources import without_path
from flowernoise.errors import BadRequestError, DamagedFileError
from flowernoise.progress import Progress
from flowernoise.registry import Registry
from flowernoise.safe import images
from flowernoise.show import contact_sheet, summaries, writers
from flowernoise.steps.backbone import refuse_without_photos
from flowernoise.steps.outputs import Inputs
from flowernoise.steps.settings import CompareSettings, PreviewSettings
from flowernoise.store import datasets, files
from flowernoise.store.artifacts import Artifacts
from flowernoise.store.handles import DrawHandle, RunHandle
from flowernoise.store.layout import Layout
from flowernoise.store.photos import Archive, IndexedPhoto
from flowernoise.store.records import CONTROL, SPLITS, DrawKey, Identity, RunKey
from flowernoise.store.setups import differing, named

BASELINE = CompareSettings.baseline
SIDE = 160  # pixels per side of a photo on a sheet


def preview(artifacts_directory: Path, settings: PreviewSettings, progress: Progress) -> PreviewResult:
    """Draws contact sheets and writes the new and changed ones, with a list of the photos on them.

    Raises:
        BadRequestError: nothing is prepared, or no draws or runs match the settings.
        DamagedFileError: photos, draws or runs are damaged.
        FlowernoiseError: a sheet cannot be written.
    """
    held = Artifacts(artifacts_directory)
    work = _Work(held, settings, progress)
    directory = settings.output or held.layout.preview
    inputs = Inputs([artifacts_directory])
    inputs.refuse(directory / summaries.PHOTO_LIST)
    drawn = []
    with progress.task("drawing contact sheets", work.count, "sheets") as advance:
        for sheet in work.sheets():
            file = directory / f"{sheet.name}.png"
            inputs.refuse(file)
            drawn.append(_on_disk(sheet, file, files.write_plain(file, contact_sheet.png(sheet))))
            advance(1)
    listed = writers.named("csv").write(summaries.photos_on(drawn)).encode()
    is_list_new = files.write_plain(directory / summaries.PHOTO_LIST, listed)
    request = work.dataset.request
    return PreviewResult(directory, request.source, work.dataset.classes, tuple(drawn), is_list_new, request.trust)


def sheets(artifacts_directory: Path, settings: PreviewSettings, progress: Progress) -> Iterator[ContactSheet]:
    """The sheets as plain data, one after another.

    Raises:
        BadRequestError: nothing is prepared, or no draws or runs match the settings.
        DamagedFileError: photos, draws or runs are damaged.
    """
    return _Work(Artifacts(artifacts_directory), settings, progress).sheets()


class _Work:
    """What to show, found before anything is drawn."""

    def __init__(self, held: Artifacts, settings: PreviewSettings, progress: Progress) -> None:
        settings.check()
        refuse_without_photos(held.dataset, "preview")
        self.dataset, self._settings = held.dataset, settings
        self._splits = datasets.splits(held.layout, self.dataset)
        self._archive = Archive(held.layout.photos, self.dataset.archive)
        self._shown: dict[int, dict[int, SheetPhoto]] = {}
        drawn = {draw.key: draw for draw in held.draws()}
        self._names = shown_names({key.noise for key in drawn})
        self._controls, self._draws = _picked(drawn, settings, held.layout)
        if not drawn:
            progress.note(
                "nothing was drawn yet, so only labels without noise are shown; `flowernoise corrupt` draws noisy ones"
            )
        self._runs = _Runs(held, [*self._controls, *self._draws], settings, progress)

    @property
    def count(self) -> int:
        """How many sheets there are to draw."""
        return 1 + len(self._draws) + len(self._runs.picked)

    def sheets(self) -> Iterator[ContactSheet]:
        """The sheets: clean labels, then one per draw, then one per run with its mistakes."""
        yield self._sheet("clean", "train", tuple(self._clean(0).values()), self.dataset.id)
        for draw in self._draws.values():
            given = draw.train_labels
            clean = self._clean(self._splits.number(draw.seed))
            shown = tuple(dataclasses.replace(photo, given=int(given[row])) for row, photo in clean.items())
            yield self._of_draw(self._sheet("draw", "train", shown, draw.draw.labels), draw)
        for run in self._runs.picked:
            yield self._mistakes(run)

    def _of(self, seed: int, split: str) -> list[IndexedPhoto]:
        return [photo for photo in self._splits.of(seed) if photo.split == split]

    def _clean(self, number: int) -> dict[int, SheetPhoto]:
        """The training photos of a split that are shown, with their true labels, by position among them."""
        if number not in self._shown:
            train = self._of(number, "train")
            rows = {photo.id: row for row, photo in enumerate(train)}
            chosen = sample(train, self._settings.photos, self._settings.seed)
            self._shown[number] = {
                rows[photo.id]: SheetPhoto(photo.id, pixels, photo.label, photo.label, path=photo.path)
                for photo, pixels in zip(chosen, self._decoded(chosen), strict=True)
            }
        return self._shown[number]

    def _mistakes(self, run: RunHandle) -> ContactSheet:
        probabilities, test = run.probabilities("test"), self._of(run.seed, "test")
        true = np.array([photo.label for photo in test])
        rows = most_confident(probabilities, true, self._settings.photos)
        chosen = [test[row] for row in rows]
        shown = tuple(
            SheetPhoto(
                photo.id, pixels, photo.label, photo.label, int(answer.argmax()), float(answer.max()), photo.path
            )
            for photo, pixels, answer in zip(chosen, self._decoded(chosen), probabilities[rows], strict=True)
        )
        sheet = self._sheet("mistakes", "test", shown, run.block.arrays.sha256)
        key = run.key
        return dataclasses.replace(
            self._of_draw(sheet, (self._controls | self._draws)[key.draw]),
            loss=key.method,
            backbone=key.setup.backbone,
            mode=key.setup.mode,
            settings=tuple(named(name, key.setup) for name in self._runs.differing),
            selection=run.usual,
            mistakes=int((probabilities.argmax(axis=1) != true).sum()),
        )

    def _of_draw(self, sheet: ContactSheet, draw: DrawHandle) -> ContactSheet:
        """The sheet, naming the draw of its labels or of the run's training labels."""
        name, share = self._names[draw.noise], draw.realised_rate
        return dataclasses.replace(
            sheet, noise=draw.noise, noise_name=name, rate=draw.rate, seed=draw.seed, realised_rate=share
        )

    def _sheet(self, kind: SheetKind, split: str, shown: tuple[SheetPhoto, ...], inputs: str) -> ContactSheet:
        population = self.dataset.sizes[SPLITS.index(split)]
        source, trust = without_path(self.dataset.request.source), self.dataset.request.trust
        return ContactSheet(kind, source, split, population, self.dataset.classes, shown, inputs, trust=trust)

    def _decoded(self, chosen: Sequence[IndexedPhoto]) -> Iterator[Pixels]:
        for photo, encoded in zip(chosen, self._archive.read(chosen), strict=True):
            try:
                yield images.decode(encoded, SIDE)
            except images.UnreadablePhotoError as error:
                raise DamagedFileError(f"photo {photo.path} can no longer be decoded: {error}") from error


class _Runs:
    """The runs whose mistakes are shown."""

    def __init__(self, held: Artifacts, keys: Sequence[DrawKey], settings: PreviewSettings, progress: Progress) -> None:
        live = _shown(held.runs(), settings.where)
        loss_order = {loss: place for place, loss in enumerate(_losses(live, settings, held.layout))}
        draw_order = {key: place for place, key in enumerate(keys)}
        there = [run for run in live if run.run.draw in draw_order and run.loss in loss_order]
        there.sort(key=lambda run: (draw_order[run.run.draw], loss_order[run.loss]))
        self.differing = differing({run.block.setup for run in there})
        self.picked: list[RunHandle] = []
        passed_over: dict[str, list[RunKey]] = {}
        for run in there:
            if reason := _why_not(run):
                passed_over.setdefault(reason, []).append(run.key)
            else:
                self.picked.append(run)
        for reason, members in passed_over.items():
            which = f"{len(members)} {'run' if len(members) == 1 else 'runs'}"
            progress.note(
                f"mistakes of {which} are left out, such as {members[0].method} on {members[0].draw}: {reason}"
            )
        if not live:
            progress.note("nothing was trained yet, so mistakes are left out; `flowernoise train` comes first")


def _why_not(run: RunHandle) -> str:
    """Why a run's mistakes cannot be shown; empty if they can."""
    return "training failed" if run.failure else ""


def _picked(
    drawn: Mapping[DrawKey, DrawHandle], settings: PreviewSettings, layout: Layout
) -> tuple[dict[DrawKey, DrawHandle], dict[DrawKey, DrawHandle]]:
    """The controls and the requested noisy draws: the first seeds of each noise and rate.

    Raises:
        BadRequestError: a noise or rate that was never drawn.
    """
    by_condition: dict[tuple[str, float], list[DrawKey]] = {}
    wanted: set[str] = set()
    for key in drawn:
        by_condition.setdefault((key.noise, key.rate), []).append(key)
    noisy = [condition for condition in by_condition if condition[0] != CONTROL]
    there = "; there are: " + ", ".join(f"{noise} {rate:g}" for noise, rate in noisy) if noisy else ""
    models = {noise for noise, _ in noisy}
    for text in settings.noise:
        if not (found := _matching(text, models, noise_models)):
            raise BadRequestError(f"--noise {text}: {layout.root} has no such draw{there}")
        wanted |= found
    asked = [condition for condition in noisy if not settings.noise or condition[0] in wanted]
    for rate in settings.rates:
        if not any(rate == has for _, has in asked):
            raise BadRequestError(f"--rates {rate:g}: {layout.root} has no such draw{there}")
    asked = [condition for condition in asked if not settings.rates or condition[1] in settings.rates]
    controls = by_condition.get((CONTROL, 0.0), [])[: settings.seeds]
    keys = [key for condition in asked for key in by_condition[condition][: settings.seeds]]
    return {key: drawn[key] for key in controls}, {key: drawn[key] for key in keys}


def _matching(text: str, there: Collection[str], registry: Registry) -> set[str]:
    """Which of these specs a text means; a name alone means all specs of that name, unless one is just the name.

    >>> sorted(_matching("instance", {"instance:backbone=efficientnet_lite0", "symmetric"}, noise_models))
    ['instance:backbone=efficientnet_lite0']
    >>> sorted(_matching("symmetric:count=exact", {"symmetric:count=bernoulli", "symmetric"}, noise_models))
    ['symmetric']
    """
    if text in there:
        return {text}
    if registry is noise_models and (called := specs_called(text, there)):
        return called
    if text in registry.names():
        return {spec for spec in there if spec.partition(":")[0] == text}
    if registry is noise_models and ":" not in text:  # a name that tables might show
        return set()
    return {str(registry.parse(text))}.intersection(there)


def _shown(live: Sequence[RunHandle], texts: Sequence[str]) -> list[RunHandle]:
    """The runs that ``compare`` shows.

    Raises:
        BadRequestError: a ``--where`` picks nothing.
    """
    recency: dict[Identity, int] = {}
    for run in live:
        recency[run.key.identity] = max(run.block.recency, recency.get(run.key.identity, 0))
    [picked] = where.shown(texts, [recency])
    shown = where.with_baseline(picked, recency, BASELINE)
    return [run for run in live if run.key.identity in shown]


def _losses(live: Sequence[RunHandle], settings: PreviewSettings, layout: Layout) -> list[str]:
    """Losses whose runs are shown.

    Raises:
        BadRequestError: a requested loss has no runs.
    """
    there = sorted({run.loss for run in live}, key=lambda loss: (loss != BASELINE, loss))
    asked: list[str] = []
    for text in settings.losses:
        if not (found := _matching(text, there, losses)):
            known = f"; there are: {', '.join(there)}" if there else ""
            raise BadRequestError(f"--loss {text}: {layout.root} has no such run{known}")
        asked += sorted(found)
    return list(dict.fromkeys(asked)) or there[:1]


def _on_disk(sheet: ContactSheet, file: Path, written: bool) -> SheetFile:
    return SheetFile(
        file=file,
        written=written,
        kind=sheet.kind,
        photos=len(sheet.photos),
        wrong=sheet.wrong,
        population=sheet.population,
        mistakes=sheet.mistakes,
        noise=sheet.noise,
        rate=sheet.rate,
        seed=sheet.seed,
        realised_rate=sheet.realised_rate,
        loss=sheet.loss,
        backbone=sheet.backbone,
        mode=sheet.mode,
        settings=sheet.settings,
        selection=sheet.selection,
        listed=tuple(_listed(photo, sheet) for photo in sheet.photos),
    )


def _listed(photo: SheetPhoto, sheet: ContactSheet) -> ListedPhoto:
    predicted = None if photo.predicted is None else sheet.classes[photo.predicted]
    label, given = sheet.classes[photo.true], sheet.classes[photo.given]
    return ListedPhoto(photo.path, photo.id, sheet.split, label, given, predicted, photo.probability)
