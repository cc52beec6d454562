"""``--where``: how it is read, what it picks, and what is shown without it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowernoise.analysis import where
from flowernoise.analysis.comparison import question
from flowernoise.errors import BadRequestError
from flowernoise.store.records import Identity
from tests.fabricated import a_setup

SHORT, LONG, TUNED = a_setup(epochs=3), a_setup(epochs=30, learning_rates=(0.0003, 0.001)), a_setup(mode="finetune")
RUNS = [
    Identity(noise, rate, method, setup)
    for noise, rate in (("none", 0.0), ("symmetric", 0.2), ("instance:backbone=efficientnet_lite0", 0.4))
    for method, setup in (("ce", SHORT), ("ce", LONG), ("sce:alpha=0.5,beta=2", SHORT), ("gce:q=0.5", LONG))
]


def picked(*texts: str) -> set[Identity]:
    return where.matching(texts, RUNS)


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("loss=ce", lambda run: run.method == "ce"),
        ("loss=sce", lambda run: run.method.startswith("sce")),
        ("loss=sce:beta=2,alpha=0.5", lambda run: run.method.startswith("sce")),
        ("loss=sce:alpha=0.5,beta=2,rate=0.20", lambda run: run.method.startswith("sce") and run.rate == 0.2),
        ("noise=control", lambda run: run.noise == "none"),
        ("noise=none,epochs=3", lambda run: run.noise == "none" and run.setup == SHORT),
        ("noise=instance", lambda run: run.noise.startswith("instance")),
        ("noise=instance:backbone=efficientnet_lite0,loss=ce", lambda r: r.noise[:3] == "ins" and r.method == "ce"),
        ("learning_rate=0.001+0.0003", lambda run: run.setup == LONG),
        ("learning_rate=1e-3", lambda run: run.setup == SHORT),
        ("l2=0,batch_size=32,image_size=32,optimizer=adam,extractor=keras,precision=float32", lambda run: True),
        (" epochs = 30 , loss = ce ", lambda run: run.setup == LONG and run.method == "ce"),
        ("mode=features,backbone=resnet50", lambda run: True),
    ],
)
def test_pairs_must_all_hold(text, fits):
    assert picked(text) == set(filter(fits, RUNS))


def test_what_any_option_picks_is_taken():
    assert picked("loss=gce", "epochs=3") == picked("loss=gce") | picked("epochs=3")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch=3", "unknown key 'epoch' (did you mean epochs?); the keys are: noise, rate, loss"),
        ("loss=ce,alpha=0.5", "unknown key 'alpha'"),
        ("loss=gce:q=0.5,epoch=3", "loss gce has no parameter 'epoch'"),
        ("epochs", "'epochs' is not of the form key=value"),
        ("epochs=", "'epochs=' is not of the form key=value"),
        ("", "'' is not of the form key=value"),
        ("epochs=3,epochs=30", "epochs is given twice; repeat --where to take either"),
        ("epochs=three", "'three' is not a whole number"),
        ("rate=nan", "'nan' is not a finite number"),
        ("learning_rate=0.1+x", "'x' is not a number, or several with + between them"),
        ("loss=maee", "unknown loss 'maee' (did you mean mae?)"),
        ("noise=symetric", "unknown noise model 'symetric' (did you mean symmetric?)"),
        ("backbone=resnet", "unknown backbone 'resnet'"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_can(text, message):
    with pytest.raises(BadRequestError) as caught:
        where.parse(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs=7", "no run has epochs=7; there are: 3, 30"),
        ("loss=mae", "no run has loss=mae; there are: ce, gce:q=0.5, sce:alpha=0.5,beta=2"),
        ("loss=gce,epochs=3", "each of these occurs, but no run has all of them together"),
    ],
)
def test_no_match_is_refused_with_what_there_is(text, message):
    with pytest.raises(BadRequestError) as caught:
        picked("epochs=3", text)
    assert str(caught.value) == f"--where {text}: {message}"


def test_a_name_means_every_spec_of_that_name_unless_it_is_one_itself():
    runs = [Identity("none", 0.0, method, SHORT) for method in ("gce", "gce:q=0.5")]
    assert where.matching(["loss=gce"], runs) == {runs[0]}
    assert where.matching(["loss=gce:q=0.7"], runs) == {runs[0]}, "its default"


def test_noise_from_a_file_is_picked_by_the_name_that_tables_call_it():
    human, worst = "observed:b.csv,name=human,sha256=2e", "matrix:/home/ada/worst.csv,sha256=1f"
    runs = [Identity(noise, 0.2, "ce", SHORT) for noise in ("symmetric", human, worst)]
    assert where.matching(["noise=human"], runs) == {runs[1]}
    assert where.matching(["noise=worst,loss=ce"], runs) == {runs[2]}
    assert where.shown(["noise=observed"], [dict.fromkeys(runs, 1)]) == [{runs[1]}]
    with pytest.raises(BadRequestError, match=r"no run has noise=humans \(did you mean human\?\); there are"):
        where.matching(["noise=humans"], runs)
    rows = question.choose_rows("human,control", ["none", human, worst], [0.0, 0.2])
    assert (rows.admits(human, "0.2"), rows.admits(worst, "0.2"), rows.admits("none", "0")) == (True, False, True)


def test_without_the_option_the_settings_trained_last_are_shown_for_each_method_backbone_and_mode():
    trained = {run: {3: 1, 30: 2, 5: 3}[run.setup.epochs] for run in RUNS}
    trained[Identity("none", 0.0, "ce", TUNED)] = 3
    [shown] = where.shown((), [trained])
    kinds = {(run.method, run.setup) for run in shown}
    assert kinds == {("ce", LONG), ("sce:alpha=0.5,beta=2", SHORT), ("gce:q=0.5", LONG), ("ce", TUNED)}


def test_an_option_without_settings_picks_among_those_trained_last_and_one_with_settings_among_all():
    trained = {run: 1 if run.setup == SHORT else 2 for run in RUNS}
    [latest] = where.shown(["loss=ce"], [trained])
    assert {run.setup for run in latest} == {LONG}
    [old] = where.shown(["loss=ce,epochs=3"], [trained])
    assert {run.setup for run in old} == {SHORT}
    [both] = where.shown(["epochs=3", "epochs=30"], [trained])
    assert both == set(RUNS)


def test_each_directory_has_settings_trained_last_of_its_own():
    one = {Identity("none", 0.0, "ce", SHORT): 1, Identity("none", 0.0, "ce", LONG): 2}
    two = {Identity("none", 0.0, "ce", SHORT): 7}
    assert where.shown((), [one, two]) == [{Identity("none", 0.0, "ce", LONG)}, set(two)]
    assert where.shown(["epochs=30"], [one, two]) == [{Identity("none", 0.0, "ce", LONG)}, set()]


@given(
    st.builds(
        a_setup,
        epochs=st.integers(1, 99),
        batch_size=st.integers(1, 99),
        learning_rates=st.sets(st.floats(1e-30, 1e30), min_size=1, max_size=3).map(sorted).map(tuple),
        l2=st.sets(st.floats(0, 1e30), min_size=1, max_size=3).map(sorted).map(tuple),
        backbone=st.sampled_from(["resnet50", "resnet50:weights=none", "efficientnet_lite0"]),
        mode=st.sampled_from(["features", "finetune"]),
    )
)
def test_every_setup_can_be_picked_by_what_is_written_of_it(setup):
    run = Identity("none", 0.0, "ce", setup)
    assert where.matching([where.of_setup(setup)], [run, Identity("none", 0.0, "mae", a_setup(epochs=100))]) == {run}


def test_numbers_are_compared_as_numbers_and_rates_as_tables_show_them():
    runs = [Identity("observed:labels.csv", rate, "ce", SHORT) for rate in (0.178, 0.4109999999)]
    assert where.matching(["rate=0.411"], runs) == {runs[1]}
    assert math.isclose(next(iter(where.matching(["rate=1.78e-1"], runs))).rate, 0.178)


def test_what_the_settings_trained_last_lack_is_taken_from_those_before_them():
    """As after an interrupted retraining; else a run that is there would be said not to be."""
    before = {run: 1 for run in RUNS if run.setup == SHORT}
    begun = {Identity("none", 0.0, "ce", LONG): 2}
    [picked] = where.shown(["loss=ce,noise=symmetric"], [before | begun])
    assert picked == {Identity("symmetric", 0.2, "ce", SHORT)}
    [picked] = where.shown(["loss=ce,noise=none"], [before | begun])
    assert picked == set(begun)
