"""Values and gradients as the authors' published code gives them; numbers only, at the repository and commit named.

They were computed in float64 from the expressions there, gradients by automatic differentiation.
"""

import numpy as np
import pytest

from tests.catalogue.on_keras import gradient, value

LABELS = np.array([0, 3, 2])
LOGITS = np.array([[1.2, -0.7, 0.3, 0.0], [0.5, 2.0, -1.5, 0.8], [-0.2, 0.1, 0.9, -2.0]])
ONE_HOT = np.eye(4)[LABELS]

# weijiaheng/Multi-class-Peer-Loss-functions, Fashion_MNIST/runner.py, commit 0e641f1cd67622fa53ee72afeefa228c7b33531a:
# photo and label of each example's peer; the weight of the peer term in some of the 300 epochs, numbered from 0
PEER_PHOTOS, PEER_LABELS = [1, 2, 0], [2, 0, 1]
PEER_WEIGHTS = {0: 0.0, 60: 0.0, 119: 0.0, 150: 0.1675977654, 209: 0.4972067039, 260: 0.782122905, 299: 1.0}

T = np.array([[0.7, 0.2, 0.1, 0.0], [0.05, 0.8, 0.1, 0.05], [0.0, 0.3, 0.6, 0.1], [0.1, 0.1, 0.2, 0.6]])

# giorgiop/loss-correction, loss.py, commit acfb9ab04696563ac2f5a64a1b1fd1824596344d
LOSS_CORRECTION = {
    "bootstrap_soft": (
        [0.6463719288, 1.6069578431, 0.6323457337],
        [
            [-0.4531749084, 0.0819596719, 0.2118444982, 0.1593707383],
            [0.1434228305, 0.5945301821, 0.0213527207, -0.7593057333],
            [0.1777227889, 0.2362321279, -0.4460277171, 0.0320728002],
        ],
    ),
    "forward": (
        [0.9234978323, 1.8947298154, 0.9804433489],
        [
            [-0.4106200632, 0.0703898259, 0.2188997725, 0.1213304648],
            [0.1435362094, 0.4293683482, 0.0065060877, -0.5794106453],
            [0.132885161, 0.179376205, -0.3262437848, 0.0139824188],
        ],
    ),
    "backward": (
        [-0.0478078389, 0.2369306574, -0.5745130233],
        [
            [-0.9022714046, 0.3686643192, 0.4307641793, 0.1028429061],
            [0.3977734975, 0.5924372031, 0.5702729712, -1.5604836717],
            [0.096435855, 0.9281854216, -1.3059828259, 0.2813615493],
        ],
    ),
}
# xingjunm/dimensionality-driven-learning, loss.py, commit 0935aab3f4281086d5d636dad881dfc60edcbd04, gives the same for
# bootstrap_soft, as does vfdev-5/BootstrappingLoss, bootstrapping_loss/loss.py, commit
# f1cd46e2a6c6ef4edc4491a29b361dd2fc82e696, with as_pseudo_label=False; its default, True, has the gradient of 0.95 · ce

# the same expression with β = 0.5
BOOTSTRAP_OF_ONE_HALF = (
    [0.891447465, 1.2990669212, 0.8491592929],
    [
        [-0.3774081378, 0.0948381852, 0.1483470293, 0.1342229233],
        [0.1424024203, 0.1557398753, 0.0386975854, -0.3368398811],
        [0.1465933304, 0.1611948578, -0.3589741106, 0.0511859225],
    ],
)

# hitcszx/ALFs, lnl/losses.py, commit 1c795f9ffe2ea60c439aba2128400c2e8486101e, with the parameters for CIFAR-10 in
# config.py, commit 898961f18e3e8fc53f1601a03fb3ddea8f81b9fc
ASYMMETRIC = {
    "agce": (
        [0.4081653911, 0.7586601759, 0.4025758525],
        [
            [-0.2359668606, 0.0411663362, 0.1119017035, 0.0828988209],
            [0.0305026101, 0.1367032143, 0.0041280794, -0.1713339038],
            [0.0934407441, 0.1261318115, -0.2350182067, 0.0154456511],
        ],
    ),
    "nce_agce": (
        [4.8992029136, 8.4879435508, 4.8274110529],
        [
            [-2.6302430763, 0.4659024964, 1.2410916363, 0.9232489435],
            [0.3058913806, 1.2808344408, 0.0637678458, -1.6504936672],
            [1.0373719149, 1.3962380067, -2.6147909411, 0.1811810195],
        ],
    ),
}

# the peer loss in the last epoch (weight 1) and in the first (weight 0)
PEER = {
    1.0: (
        [-3.3215305506, -0.0670838116, -1.9107801759],
        [
            [-0.9999245762, 0.9998843392, 2.31138e-05, 1.71231e-05],
            [6.64447e-05, 0.0002977847, 0.9994944703, -0.9998586997],
            [0.9999514806, 9.0046e-06, -0.9999615879, 1.1027e-06],
        ],
    ),
    0.0: (
        [0.6191227405, 1.641116335, 0.6082369662],
        [
            [-0.4615848653, 0.0805272303, 0.2188957069, 0.1621619281],
            [0.1435288016, 0.6432514612, 0.019424511, -0.8062047738],
            [0.181178289, 0.2445651092, -0.4556919679, 0.0299485697],
        ],
    ),
}

CASES = [
    *((name, (), expected) for name, expected in ASYMMETRIC.items()),
    ("bootstrap_soft", (), LOSS_CORRECTION["bootstrap_soft"]),
    ("bootstrap_soft:beta=0.5", (), BOOTSTRAP_OF_ONE_HALF),
    ("forward", (T,), LOSS_CORRECTION["forward"]),
    ("backward", (np.linalg.inv(T),), LOSS_CORRECTION["backward"]),
]


@pytest.mark.parametrize(("text", "extras", "expected"), CASES, ids=[text for text, _, _ in CASES])
def test_values_and_gradients_are_those_of_the_published_code(text, extras, expected):
    values, gradients = expected
    np.testing.assert_allclose(value(text, ONE_HOT, LOGITS, *extras), values, rtol=1e-8)
    np.testing.assert_allclose(gradient(text, ONE_HOT, LOGITS, *extras), gradients, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("progress", PEER)
def test_the_peer_loss_is_that_of_the_published_code(progress):
    """Its gradient goes to the logits of the peers, too, which are other rows of the same logits."""
    values, gradients = PEER[progress]
    peers = np.eye(4)[PEER_LABELS], LOGITS[PEER_PHOTOS]
    np.testing.assert_allclose(value("peer", ONE_HOT, LOGITS, peers, progress), values, rtol=1e-8)
    to_own = gradient("peer", ONE_HOT, LOGITS, peers, progress)
    constant = np.zeros_like(LOGITS)
    to_peers = -progress * gradient("peer", peers[0], peers[1], (ONE_HOT, constant), 0.0)
    to_all = to_own.copy()
    to_all[PEER_PHOTOS] += to_peers
    np.testing.assert_allclose(to_all, gradients, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("epoch", PEER_WEIGHTS)
def test_the_weight_of_the_peer_term_rises_as_in_the_published_code(epoch):
    peers = np.eye(4)[PEER_LABELS], LOGITS[PEER_PHOTOS]
    own, last, now = (value("peer", ONE_HOT, LOGITS, peers, progress) for progress in (0.0, 1.0, epoch / 299))
    np.testing.assert_allclose((own - now) / (own - last), PEER_WEIGHTS[epoch], atol=0.003)  # half an epoch's step
