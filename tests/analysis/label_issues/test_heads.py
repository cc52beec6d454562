"""Softmax regression and its out-of-fold probabilities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from flowernoise.analysis.label_issues import heads
from tests.analysis.label_issues.made_up import clusters


def test_a_head_is_that_of_scikit_learn():
    features, labels = clusters(300, 3, 0, spread=0.5)
    features = features.astype(np.float32)
    reference = LogisticRegression(C=1 / (300 * 0.03), tol=1e-8, max_iter=1000).fit(features, labels)
    weights = heads.fit(features, labels, 3, l2=0.03)
    np.testing.assert_allclose(heads.predict(features, weights), reference.predict_proba(features), atol=1e-3)


@pytest.mark.parametrize("shape", [(100, 20), (15, 20)])
def test_principal_components_are_those_of_scikit_learn(shape):
    features = np.random.default_rng(0).normal(size=shape) * np.arange(1, 21)
    found = heads.principal_components(features, 4)
    expected = PCA(4).fit_transform(features)
    expected /= np.sqrt((expected**2).mean())
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-3)


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 10**6))
def test_folds_keep_groups_whole_and_are_of_like_size(n, names, seed):
    rng = np.random.default_rng(seed)
    labels, groups = rng.integers(0, 3, n), rng.integers(0, names, n)
    fold = heads.folds(labels, groups, rng)
    assert all(len(set(fold[groups == each])) == 1 for each in set(groups))
    alone = heads.folds(labels, np.arange(n), rng)
    sizes = np.bincount(alone, minlength=1)
    assert sizes.max() - sizes.min() <= 1
    assert len(sizes) == min(n, heads.FOLDS)


def test_a_photo_is_not_asked_of_heads_that_saw_its_label():
    features, labels = clusters(200, 2, 0)
    features, fold = features.astype(np.float32), np.arange(200) % 5
    before = heads.out_of_fold(features, labels, 2, fold, l2=0.01)
    changed = np.where(fold == 3, 1 - labels, labels)
    after = heads.out_of_fold(features, changed, 2, fold, l2=0.01)
    np.testing.assert_array_equal(before.probabilities[fold == 3], after.probabilities[fold == 3])
    assert np.abs(before.probabilities[fold == 2] - after.probabilities[fold == 2]).max() > 0.1


def test_photos_that_may_not_be_trained_on_teach_nothing():
    features, labels = clusters(200, 2, 0)
    features, fold = features.astype(np.float32), np.arange(200) % 5
    allowed = np.arange(200) < 150
    before = heads.out_of_fold(features, labels, 2, fold, train_on=allowed, l2=0.01)
    after = heads.out_of_fold(features, np.where(allowed, labels, 0), 2, fold, train_on=allowed, l2=0.01)
    np.testing.assert_array_equal(before.probabilities, after.probabilities)


def test_regularisation_is_stronger_where_features_tell_nothing():
    rng = np.random.default_rng(0)
    clear, labels = clusters(400, 2, 0)
    fold = np.arange(400) % 5
    told = heads.out_of_fold(heads.principal_components(clear), labels, 2, fold).l2
    untold = heads.out_of_fold(rng.normal(size=(400, 20)).astype(np.float32), labels, 2, fold).l2
    assert untold == heads.STRENGTHS[0]
    assert told < untold / 100


def test_classes_of_which_no_photo_agrees_are_not_unlearned():
    p = np.array([[0.9, 0.1]] * 10)
    labels = np.array([0] * 8 + [1] * 2)
    assert heads.agreeing(labels, p).all()
    assert (
        heads.agreeing(np.array([0] * 8 + [1] * 2), np.eye(2)[[0] * 5 + [1] * 5]).tolist()
        == [True] * 5 + [False] * 3 + [True] * 2
    )
