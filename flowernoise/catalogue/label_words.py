"""What labels are called in everything that people read, by what is known about them."""

from __future__ import annotations

import enum
from typing import Protocol

from flowernoise.catalogue.sources import sources

AS_GIVEN, MAY_BE_WRONG = "as given", "labels that may be wrong"


class Labelled(Protocol):
    """Anything made from labels: their source, and which of them ``prepare --trust`` says were checked."""

    @property
    def source(self) -> str:
        """The source, as recorded."""

    @property
    def trust(self) -> str:
        """``all``, ``test`` or ``none``."""


class Known(enum.IntEnum):
    """What is known about labels, from the most to the least."""

    MADE = 0  # by the program
    CHECKED = 1  # by people
    AS_GIVEN = 2  # nobody checked them here, but they are taken as they came
    DOUBTED = 3  # any of them may be wrong


_BY_TRUST = {
    "all": (Known.AS_GIVEN, Known.AS_GIVEN),
    "test": (Known.DOUBTED, Known.CHECKED),
    "none": (Known.DOUBTED, Known.DOUBTED),
}


class LabelWords:
    """Words for the labels of train and val before noise, and for those of test.

    Labels are clean only if the program made them. All others are "as given", and noise adds to the wrong labels they
    may already have. Where they are doubted, a label that noise changes may even have been wrong before, so it is
    called changed, not wrong.

    Args:
        training: what is known about the labels of train and val before noise.
        test: what is known about those of test.
        things: what is labelled: photos, or rows of features.
    """

    def __init__(self, training: Known, test: Known, things: str = "photos") -> None:
        self.things = things
        self.training, self.test = training, test
        is_made, test_is_right = training is Known.MADE, test <= Known.CHECKED
        self.are_clean = is_made and test is Known.MADE
        self.labels = "clean labels" if is_made else f"labels {AS_GIVEN}"
        self.wrong = {Known.MADE: "wrong", Known.DOUBTED: "changed"}.get(training, "added wrong")
        self.training_class = "true class" if is_made else "class as given"
        self.truth = "true" if is_made else "as given"
        self.test_class = "true class" if test_is_right else "class as given"
        self.against = f" against {MAY_BE_WRONG}" if test is Known.DOUBTED else ""

    @property
    def training_is_doubted(self) -> bool:
        """Whether nobody can say which training labels are wrong, even after noise."""
        return self.training is Known.DOUBTED

    @property
    def test_is_doubted(self) -> bool:
        """Whether every score on test photos is against labels that may be wrong."""
        return self.test is Known.DOUBTED

    @property
    def of_test(self) -> str:
        """Words for the labels of test.

        >>> LabelWords(Known.DOUBTED, Known.CHECKED).of_test
        'checked labels'
        """
        words = {Known.MADE: "clean labels", Known.CHECKED: "checked labels", Known.DOUBTED: MAY_BE_WRONG}
        return words.get(self.test, f"labels {AS_GIVEN}")

    def test_photos(self, count: int) -> str:
        """The number of test photos and the kind of labels they have.

        >>> LabelWords(Known.MADE, Known.MADE).test_photos(1000), LabelWords(*_BY_TRUST["all"]).test_photos(60)
        ('1,000 clean test photos', '60 test photos with labels as given')
        """
        kind = "clean test" if self.are_clean else "test"
        return f"{count:,} {kind} {self.things}" + ("" if self.are_clean else f" with {self.of_test}")

    def share(self, percent: str, *, is_control: bool) -> str:
        """A share of labels that noise made wrong; labels that may be wrong before noise are not 0 % wrong.

        >>> words = LabelWords(*_BY_TRUST["test"])
        >>> words.share("20.0 %", is_control=False), words.share("0.0 %", is_control=True)
        ('20.0 % changed', 'as given')
        """
        return AS_GIVEN if is_control and self.training_is_doubted else f"{percent} {self.wrong}"

    def training_labels(self, percent: str, *, is_control: bool) -> str:
        """The same with what it is a share of.

        >>> LabelWords(Known.MADE, Known.MADE).training_labels("20.0 %", is_control=False)
        '20.0 % wrong training labels'
        """
        share = self.share(percent, is_control=is_control)
        return f"training labels {share}" if share == AS_GIVEN else f"{share} training labels"


def label_words(*labelled: Labelled) -> LabelWords:
    """What to call the labels of these together: no more is said than is known of each.

    Unknown sources count as labels as given.
    """
    things = {things_of(each.source) for each in labelled}
    training, test = (max(known) for known in zip(*map(_known, labelled), strict=True))
    return LabelWords(training, test, things.pop() if len(things) == 1 else "photos")


def things_of(source: str) -> str:
    """What a source holds.

    >>> things_of("features:rows.npz"), things_of("synthetic")
    ('rows', 'photos')
    """
    return "rows" if source.partition(":")[0] == "features" else "photos"


def makes_labels(source: str) -> bool:
    """Whether the program makes the labels of a source itself.

    >>> makes_labels("synthetic:photos=500"), makes_labels("tfds:cifar10")
    (True, False)
    """
    made = {entry.name for entry in sources if entry.properties.get("makes_labels")}
    return source.partition(":")[0] in made


def _known(labelled: Labelled) -> tuple[Known, Known]:
    return (Known.MADE, Known.MADE) if makes_labels(labelled.source) else _BY_TRUST[labelled.trust]
