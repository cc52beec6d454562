import dataclasses

import pytest

from flowernoise.catalogue.label_words import label_words


@dataclasses.dataclass(frozen=True)
class Labels:
    source: str = "folder:photos"
    trust: str = "all"


MADE, ALL, TEST, NONE = Labels("synthetic"), Labels(), Labels(trust="test"), Labels(trust="none")


@pytest.mark.parametrize(
    ("together", "wrong", "of_test", "against"),
    [
        ((MADE,), "wrong", "clean labels", ""),
        ((ALL,), "added wrong", "labels as given", ""),
        ((TEST,), "changed", "checked labels", ""),
        ((NONE,), "changed", "labels that may be wrong", " against labels that may be wrong"),
        ((MADE, TEST), "changed", "checked labels", ""),
        ((ALL, TEST), "changed", "labels as given", ""),
        ((MADE, ALL, NONE), "changed", "labels that may be wrong", " against labels that may be wrong"),
    ],
)
def test_no_more_is_said_of_labels_together_than_is_known_of_each(together, wrong, of_test, against):
    words = label_words(*together)
    assert (words.wrong, words.of_test, words.against) == (wrong, of_test, against)
    assert words.are_clean == (set(together) == {MADE})
