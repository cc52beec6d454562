"""Methods: every loss is one, and first stages are described once for whoever trains."""

import numpy as np
import pytest

from flowernoise.catalogue import methods
from flowernoise.catalogue.losses import losses
from flowernoise.catalogue.methods import Method, first_stage, method_of


@pytest.mark.parametrize("name", losses.names())
def test_every_loss_is_a_method_under_its_own_name(name: str) -> None:
    spec = losses.parse(name)
    method = method_of(spec)
    assert (method.loss, str(method)) == (spec, str(spec))
    assert method.needs == spec.entry.properties.get("needs", ())


@pytest.mark.parametrize("name", ["forward", "backward"])
def test_only_an_estimated_matrix_needs_a_first_stage(name: str) -> None:
    [stage] = method_of(losses.parse(name)).stages
    assert (stage.name, str(stage.loss)) == ("estimated_matrix", "ce")
    assert method_of(losses.parse(f"{name}:T=true")).stages == ()
    answers = np.repeat([[0.9, 0.1], [0.3, 0.7]], 50, axis=0)
    T, known = stage.hand_on(np.repeat([0, 1, 0, 1], [45, 5, 15, 35]), answers)
    np.testing.assert_allclose(T, [[0.9, 0.1], [0.3, 0.7]], atol=0.01)
    assert known.all()


def test_a_stage_that_is_registered_comes_before_the_runs_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "_stages", [])

    @first_stage(loss="gce", wanted=lambda loss: loss.name == "mae")
    def cleaned(labels, answers):
        return np.eye(answers.shape[1]), labels >= 0

    assert [(stage.name, str(stage.loss)) for stage in method_of(losses.parse("mae")).stages] == [("cleaned", "gce")]
    assert method_of(losses.parse("ce")) == Method(losses.parse("ce"))
