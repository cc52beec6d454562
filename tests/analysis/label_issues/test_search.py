"""The whole audit, as notebooks call it: the truth where it can be known, and what is refused."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import flowernoise
from flowernoise.api import LabelIssues
from flowernoise.errors import BadRequestError
from tests.analysis.label_issues.made_up import clusters, noisy, pairflip, symmetric


@pytest.mark.parametrize("T", [symmetric(4, 0.3), pairflip(4, 0.25)], ids=["symmetric", "pairflip"])
def test_with_perfectly_clustered_features_the_bracket_is_narrow_and_all_estimators_are_right(T):
    features, classes = clusters(20000, 4, 0, spread=0.001)
    labels = noisy(classes, T, 0)
    truth = (labels != classes).mean()
    found = flowernoise.estimate_noise(labels, features=features)
    assert set(found.estimates) == {"confident_off_diagonal", "confident_calibrated", "anchor", "higher_order"}
    for name, estimate in found.estimates.items():
        assert abs(estimate.rate - truth) <= 0.01, name
    assert found.rate_high - found.rate_low <= 0.02
    np.testing.assert_allclose(found.transition_matrix, T, atol=0.03)


@pytest.fixture(scope="module")
def mixed() -> dict[str, np.ndarray]:
    """Three classes that overlap a little; a quarter of the labels of one is wrong."""
    features, classes = clusters(600, 3, 0, spread=0.3)
    labels = np.where((classes == 0) & (np.random.default_rng(0).random(600) < 0.25), 1, classes)
    return {"features": features, "classes": classes, "labels": labels}


@pytest.fixture(scope="module")
def issues(mixed) -> LabelIssues:
    return flowernoise.find_label_issues(mixed["labels"], features=mixed["features"])


def test_wrong_labels_are_found_and_the_right_class_is_suggested(mixed, issues):
    wrong = mixed["labels"] != mixed["classes"]
    assert roc_auc_score(wrong, issues.score) > 0.95
    found = wrong & issues.is_label_issue
    assert found.sum() > 0.7 * wrong.sum()
    assert (issues.predicted_label[found] == 0).mean() > 0.95
    assert (issues.kind[found] == "wrong").mean() > 0.8
    assert issues.noise.transition_matrix[0, 1] == issues.noise.transition_matrix[~np.eye(3, dtype=bool)].max()


def test_scores_flags_and_ranks_say_the_same(mixed, issues):
    ranked = issues.ranked()
    assert sorted(ranked) == list(range(600))
    assert (np.diff(issues.score[ranked]) <= 0).all()
    assert (np.diff(issues.label_score[ranked]) >= 0).all()
    np.testing.assert_array_equal(issues.is_label_issue, issues.label_score < 0.5)
    np.testing.assert_array_equal(issues.kind != "", issues.is_label_issue)
    np.testing.assert_array_equal(issues.given_label, mixed["labels"])
    assert 1 - issues.label_score.mean() == pytest.approx(issues.noise.rate, abs=1e-3)


def test_the_same_arguments_give_the_same_answer_and_another_seed_another(mixed, issues):
    again = flowernoise.find_label_issues(mixed["labels"], features=mixed["features"])
    np.testing.assert_array_equal(issues.score, again.score)
    other = flowernoise.find_label_issues(mixed["labels"], features=mixed["features"], detector="margin", seed=1)
    first = flowernoise.find_label_issues(mixed["labels"], features=mixed["features"], detector="margin")
    assert (other.score != first.score).any()


def test_labels_may_be_names(mixed):
    names = np.array(["tulip", "daisy", "rose"])
    by_number = flowernoise.find_label_issues(mixed["labels"], features=mixed["features"], detector="margin")
    by_name = flowernoise.find_label_issues(
        list(names[mixed["labels"]]), features=mixed["features"], detector="margin", class_names=list(names)
    )
    np.testing.assert_allclose(by_name.score, by_number.score)
    assert by_name.predicted_label.tolist() == names[by_number.predicted_label].tolist()
    assert by_name.noise.classes == tuple(names)
    alphabetical = flowernoise.find_label_issues(names[mixed["labels"]], features=mixed["features"], detector="margin")
    assert alphabetical.noise.classes == ("daisy", "rose", "tulip")


def test_probabilities_alone_will_do(mixed):
    p = 0.1 + 0.7 * np.eye(3)[mixed["classes"]]
    found = flowernoise.find_label_issues(mixed["labels"], p)
    assert found.detector == "mean_rank:of=self_confidence+margin"
    assert roc_auc_score(mixed["labels"] != mixed["classes"], found.score) == 1
    assert "higher_order" not in found.noise.estimates


def test_given_probabilities_are_used_beside_features(mixed):
    p = 0.1 + 0.7 * np.eye(3)[mixed["classes"]]
    found = flowernoise.find_label_issues(mixed["labels"], p, mixed["features"], detector="self_confidence")
    np.testing.assert_allclose(found.score, -np.log(p[np.arange(600), mixed["labels"]]))
    both = flowernoise.find_label_issues(mixed["labels"], p, mixed["features"])
    assert both.detector == "mean_rank:of=self_confidence+margin+neighbours+second_round"
    assert "higher_order" in both.noise.estimates


def test_copies_do_not_speak_for_their_own_label(mixed):
    features = np.concatenate([mixed["features"]] * 2)
    labels = np.concatenate([mixed["labels"]] * 2)
    wrong = labels != np.concatenate([mixed["classes"]] * 2)
    slightly = features + 1e-6 * np.random.default_rng(1).normal(size=features.shape)
    grouped = {"features": slightly, "groups": np.tile(np.arange(600), 2)}
    truth = wrong.mean()
    of_equal = flowernoise.estimate_noise(labels, features=features).estimates["higher_order"].rate
    of_groups = flowernoise.estimate_noise(labels, **grouped).estimates["higher_order"].rate
    alone = flowernoise.estimate_noise(labels, features=slightly).estimates["higher_order"].rate
    assert of_equal == pytest.approx(of_groups, abs=0.02)
    assert abs(of_groups - truth) < abs(alone - truth)
    assert alone < of_groups


@pytest.mark.parametrize("rare", [1, 2, 3])
def test_classes_with_very_few_photos_do_no_harm(mixed, rare):
    labels = np.concatenate([mixed["labels"], [3] * rare])
    features = np.concatenate([mixed["features"], np.full((rare, 3), 2.0) + np.arange(rare)[:, None]])
    found = flowernoise.find_label_issues(labels, features=features)
    assert np.isfinite(found.score).all()
    assert np.isfinite(found.noise.transition_matrix).all()
    assert 0 <= found.noise.rate_low <= found.noise.rate_high <= 1
    assert roc_auc_score(mixed["labels"] != mixed["classes"], found.score[:600]) > 0.9


@pytest.mark.parametrize("n", [2, 3, 7])
def test_a_handful_of_labels_gets_an_answer(n):
    labels = np.arange(n) % 2
    features = np.random.default_rng(0).normal(size=(n, 3))
    found = flowernoise.find_label_issues(labels, features=features)
    assert found.score.shape == (n,)
    assert np.isfinite(found.label_score).all()


def test_a_class_that_is_never_given_may_be_suggested():
    p = np.full((40, 3), 0.05) + 0.85 * np.eye(3)[np.arange(40) % 2]
    p[7] = (0.05, 0.05, 0.9)
    found = flowernoise.find_label_issues(np.arange(40) % 2, p)
    assert found.predicted_label[7] == 2
    assert found.ranked()[0] == 7
    assert np.isfinite(found.noise.transition_matrix).all()


FEATURES = np.random.default_rng(0).normal(size=(4, 2))
P = np.full((4, 2), 0.5)


@pytest.mark.parametrize(
    ("labels", "given", "problem"),
    [
        ([0, 1, 0, 1], {}, "labels alone tell nothing; give features"),
        ([1, 1, 1, 1], {"features": FEATURES}, "all labels are 1; with a single class"),
        (["a"] * 4, {"features": FEATURES}, "all labels are a; with a single class"),
        ([0, 1, 0], {"features": FEATURES}, r"features must be of shape \[3, any\], one row per label"),
        ([0, 1, 0, 1], {"features": np.full((4, 2), np.nan)}, "features are not all finite"),
        ([0, 1, 0, 1], {"features": np.ones((4, 2))}, "features are the same for all labels"),
        ([0, 1, 0, 1], {"features": FEATURES[:, 0]}, "features must be of shape"),
        ([0, 1, 0, 1], {"features": [["a", "b"]] * 4}, "features are not numbers"),
        ([0, 1, 0, 1], {"probabilities": np.full((4, 2), np.nan)}, "probabilities are not all finite"),
        ([0, 1, 0, 1], {"probabilities": P * 9}, "of logits take the softmax first"),
        ([0, 1, 0, 1], {"probabilities": P / 2}, "probabilities: row 1 does not sum to 1"),
        ([0, 1, 0, 2], {"probabilities": P}, "labels go from 0 to 2; 2 classes are numbered from 0 to 1"),
        ([0, -1, 0, 1], {"features": FEATURES}, "labels go from -1 to 1"),
        ([0.5, 1, 0, 1], {"features": FEATURES}, "labels must be a non-empty, one-dimensional array of whole numbers"),
        ([[0, 1], [0, 1]], {"features": FEATURES}, r"of shape \(2, 2\)"),
        ([], {"features": FEATURES[:0]}, "labels must be a non-empty, one-dimensional array of whole numbers"),
        (["a", "b", "a", "b"], {"probabilities": np.full((4, 3), 1 / 3)}, "3 columns, but there are 2 classes"),
        ([0, 1, 0, 1], {"features": FEATURES, "class_names": ["a", "b"]}, "class_names are for labels that are names"),
        ([0, 1, 0, 1], {"features": FEATURES, "groups": [0, 1]}, r"groups must be numbers or names of shape \[4\]"),
        ([0, 1, 0, 1], {"features": FEATURES, "groups": [0, 0, 0, 0]}, "or all in one group"),
    ],
)
def test_bad_arguments_are_named(labels, given, problem):
    for function in (flowernoise.find_label_issues, flowernoise.estimate_noise):
        with pytest.raises(BadRequestError, match=problem) as raised:
            function(labels, **given)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("detector", "problem"),
    [
        ("margn", r"unknown detector 'margn' \(did you mean margin\?\)"),
        ("neighbours:k=0", "k=0 must be at least 1"),
        ("second_round", "detector second_round needs features=…, .* for second_round"),
        ("mean_rank", "needs features=…, .* for neighbours and second_round"),
    ],
)
def test_detectors_that_cannot_be_had_are_named(detector, problem):
    with pytest.raises(BadRequestError, match=problem):
        flowernoise.find_label_issues([0, 1, 0, 1], P, detector=detector)


def test_an_audit_loads_neither_tensorflow_nor_keras():
    program = (
        "import sys, flowernoise, numpy as np;"
        "flowernoise.find_label_issues([0, 1] * 10, features=np.random.default_rng(0).normal(size=(20, 2)));"
        "assert not {'tensorflow', 'keras', 'h5py', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
