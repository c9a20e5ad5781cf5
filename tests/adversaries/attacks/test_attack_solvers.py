"""The solvers against scikit-learn, numpy, torchvision and closed forms.

Axes: n rows, d columns, k classes.
"""

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import KernelCenterer, StandardScaler
from torch import nn
from torchvision.transforms.v2.functional import gaussian_blur, rgb_to_grayscale

from adversaries.attacks.label.adapted.moments import QuantileMap
from adversaries.attacks.label.derived.integer_codes import find_grid
from adversaries.attacks.label.derived.norms import statistics
from adversaries.attacks.label.probes.input_transform import InputTransform
from adversaries.attacks.label.probes.knn import NearestNeighbors
from adversaries.attacks.label.probes.linear import fit_logistic
from adversaries.evaluation_data import EvaluationData, Part
from adversaries.knowledge import Knowledge
from adversaries.learning import kernels
from adversaries.learning.networks import ChannelMatch, fit_head, head_inputs, reestimate, steps_for
from adversaries.threat import ThreatModel
from vfc.errors import NotApplicableError


def data(n=60, d=8, k=3, seed=0):
    source = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % k
    means = torch.randn(k, d, generator=source)
    return (means[y] + torch.randn(n, d, generator=source)).double(), y


def onehot(y, k=3):
    return nn.functional.one_hot(y, k).double().numpy()


@pytest.mark.parametrize("d", [8, 90])
def test_linear_ridge_is_scikit_learns_and_leave_one_out_needs_no_refit(d):
    x, y = data(d=d)
    ridge = kernels.Ridge.fit(kernels.Basis.fit(x), y, 3)
    # The kernel divides by the columns in the dual form only.
    alpha = ridge.ridge * (d if d > len(x) else 1)
    expected = SklearnRidge(alpha=alpha).fit(x.numpy(), onehot(y))
    new, _ = data(seed=1, d=d)
    np.testing.assert_allclose(ridge.scores(new).numpy(), expected.predict(new.numpy()), atol=1e-5)
    hits, errors = 0, []
    for row in range(len(x)):
        keep = np.arange(len(x)) != row
        # The intercept of a refit is the mean of the kept rows; so are the centered scores'.
        left = SklearnRidge(alpha=alpha).fit(x.numpy()[keep], onehot(y)[keep]).predict(x.numpy()[[row]])[0]
        hits += int(left.argmax() == int(y[row]))
        errors.append((left - onehot(y)[row]) ** 2)
    assert ridge.left_out == pytest.approx(hits / len(x), abs=1e-12)
    assert ridge.error == pytest.approx(float(np.mean(errors)), rel=1e-6)


def test_gaussian_kernel_ridge_is_scikit_learns_on_a_centered_kernel():
    x, y = data()
    ridge = kernels.Ridge.fit(kernels.Basis.fit(x, "rbf", 2.0), y, 3)
    new, _ = data(seed=1)
    gamma = 1 / (2 * 2.0**2)
    centerer = KernelCenterer()
    train = centerer.fit_transform(rbf_kernel(x, x, gamma=gamma))
    model = KernelRidge(alpha=ridge.ridge, kernel="precomputed").fit(train, onehot(y) - onehot(y).mean(0))
    expected = model.predict(centerer.transform(rbf_kernel(new, x, gamma=gamma))) + onehot(y).mean(0)
    np.testing.assert_allclose(ridge.scores(new).numpy(), expected, atol=1e-5)


def test_landmarks_are_exact_when_they_span_the_data(monkeypatch):
    x, y = data(n=120, d=200)
    x = x[:, :5] @ torch.randn(5, 200, generator=torch.Generator().manual_seed(2)).double()
    exact = kernels.Ridge.fit(kernels.Basis.fit(x), y, 3)
    monkeypatch.setattr(kernels, "_LANDMARKS", 20)
    fast = kernels.Ridge.fit(kernels.Basis.fit(x), y, 3)
    assert len(fast.basis.eigenvalues) <= 20
    torch.testing.assert_close(fast.scores(x), exact.scores(x), atol=1e-4, rtol=1e-4)


def test_quadratic_kernel_is_the_product_of_all_pairs():
    x, _ = data(n=10, d=4)
    pairs = torch.einsum("ni,nj->nij", x, x).flatten(1) / 4
    torch.testing.assert_close(kernels.gram("quadratic", 1.0, x, x), pairs @ pairs.T)


def test_columns_are_scikit_learns_and_constant_ones_vanish():
    x, _ = data()
    x[:, 3] = 7.0
    got = kernels.Columns.fit(x.float())(x.float())
    np.testing.assert_allclose(got.numpy(), StandardScaler().fit_transform(x.float().double().numpy()), atol=1e-5)
    assert not got[:, 3].any()


def test_logistic_regression_is_scikit_learns():
    x, y = data(n=90)
    fitted = fit_logistic(x, y, 3, iterations=400)
    oracle = LogisticRegression(C=1 / (fitted.penalty * len(y)), tol=1e-8, max_iter=5000).fit(x.numpy(), y.numpy())
    new, _ = data(seed=1)
    ours = fitted.logits(new).softmax(1)
    np.testing.assert_allclose(ours.numpy(), oracle.predict_proba(new.numpy()), atol=2e-4)


def test_more_columns_than_rows_give_the_same_logistic_regression():
    x, y = data(n=30, d=80)
    fitted = fit_logistic(x, y, 3, iterations=400)
    oracle = LogisticRegression(C=1 / (fitted.penalty * len(y)), tol=1e-8, max_iter=5000).fit(x.numpy(), y.numpy())
    np.testing.assert_allclose(fitted.logits(x).softmax(1).numpy(), oracle.predict_proba(x.numpy()), atol=2e-4)


def test_a_prior_is_kept_when_it_knows_the_answer_and_dropped_when_it_is_noise():
    source = torch.Generator().manual_seed(3)
    x, y = torch.randn(60, 4, generator=source), torch.arange(60) % 3
    right = nn.functional.one_hot(y, 3).float() * 6
    assert fit_logistic(x, y, 3, prior=right).share > 0
    informative = right[:, :2]
    assert fit_logistic(informative, y, 3, prior=20 * torch.randn(60, 3, generator=source)).share == 0
    few = torch.tensor([0, 1, 2])
    assert fit_logistic(x[few], y[few], 3, prior=right[few]).share > 0
    assert fit_logistic(x[few], y[few], 3, prior=-right[few]).share == 0


def test_nearest_neighbor_is_scikit_learns(bench, plain):
    attack = bench.fit("knn", plain, labels=1)
    release, y = bench.view(plain, labels=1).labelled
    oracle = KNeighborsClassifier(1).fit(release.flatten(1).numpy(), y.numpy())
    targets = plain.targets.release
    np.testing.assert_array_equal(attack.guess(targets).argmax(1).numpy(), oracle.predict(targets.flatten(1).numpy()))


def test_so_many_neighbors_vote_as_are_right_about_left_out_rows():
    # A quarter of the labels is wrong. A row is always right about itself; about another, many are more right than one.
    source = torch.Generator().manual_seed(0)
    y = torch.arange(120) % 2
    x = 0.5 + 0.1 * (2 * y - 1)[:, None] + 0.05 * torch.randn(120, 4, generator=source)
    noisy = torch.where(torch.rand(120, generator=source) < 0.25, 1 - y, y)
    part = Part(images=x.reshape(-1, 1, 2, 2), release=x, labels={"y": noisy})
    world = EvaluationData(train=part, validation=part, targets=part, classes={"y": 2})
    view = Knowledge(world, ThreatModel(level="L2", labels_per_class="all"), "y")
    attack = NearestNeighbors().fit(view, torch.Generator())
    right = {}
    for count in (1, 3, 5, 9, 17):
        # Asked about no new rows, it answers for its own, each without itself.
        near = KNeighborsClassifier(count).fit(x.numpy(), noisy.numpy()).kneighbors(return_distance=False)
        right[count] = float(((noisy.numpy()[near].mean(1) > 0.5) == noisy.numpy()).mean())
    assert right[attack.neighbors] == max(right.values()) > right[1]
    assert float((attack.guess(x).argmax(1) == y).double().mean()) > 0.95


def test_quantile_map_gives_the_aimed_distribution_and_keeps_order():
    source = torch.Generator().manual_seed(4)
    releases = torch.randn(50, 2, 6, 6, generator=source) * 5 - 3
    images = torch.rand(40, 2, 6, 6, generator=source) ** 2
    mapped = QuantileMap.fit(releases, images, 512)(releases)
    for channel in range(2):
        x, got, aim = (t[:, channel].flatten().numpy() for t in (releases, mapped, images))
        shares = np.linspace(0.02, 0.98, 20)
        np.testing.assert_allclose(np.quantile(got, shares), np.quantile(aim, shares), atol=0.01)
        assert (np.diff(got[np.argsort(x)]) >= 0).all()


def test_channel_match_has_the_aimed_moments():
    source = torch.Generator().manual_seed(5)
    releases = torch.randn(50, 2, 6, 6, generator=source) * 5 - 3
    images = torch.rand(40, 2, 6, 6, generator=source)
    got = ChannelMatch.between(releases, images)(releases).numpy()
    np.testing.assert_allclose(got.mean((0, 2, 3)), images.numpy().mean((0, 2, 3)), atol=1e-5)
    np.testing.assert_allclose(got.std((0, 2, 3)), images.numpy().std((0, 2, 3)), atol=1e-5)


def test_reestimated_statistics_are_those_of_the_pool():
    net = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(0.9), nn.Flatten(), nn.Linear(2 * 16, 3))
    x = torch.randn(40, 2, 4, 4, generator=torch.Generator().manual_seed(6)) * 3 + 1
    reestimate(net, x, torch.Generator().manual_seed(0), batch=64)
    np.testing.assert_allclose(net[0].running_mean.numpy(), x.numpy().mean((0, 2, 3)), atol=1e-5)
    np.testing.assert_allclose(net[0].running_var.numpy(), x.numpy().var((0, 2, 3), ddof=1), rtol=1e-5)
    assert not net.training
    assert net[0].momentum == 0.1


def test_head_inputs_and_replacing_a_head():
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 5), nn.ReLU(), nn.Sequential(nn.Linear(5, 4)))
    x = torch.randn(7, 1, 3, 3, generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(head_inputs(net, x, chunk=3), torch.relu(net[1](x.flatten(1))))
    assert not fit_head(net, 4, lambda old: nn.Linear(old.in_features, 4))
    assert fit_head(net, 2, lambda old: nn.Linear(old.in_features, 2))
    assert net(x).shape == (7, 2)


@pytest.mark.parametrize(
    ("values", "step"),
    [
        (torch.arange(256) / 255, 1 / 255),
        (torch.arange(17) / 16, 1 / 16),
        (torch.arange(-9, 9) * 0.37, 0.37),
        (torch.arange(4.0), 1.0),
        (torch.arange(8) / 7, 1 / 7),
    ],
)
def test_grids_are_found(values, step):
    grid = find_grid(values.float()[:, None])
    assert grid.step == pytest.approx(step, rel=1e-5)
    codes = grid.codes(values.float()[:, None])[:, 0]
    assert codes.tolist() == list(range(len(values)))


def test_no_grid_in_real_numbers():
    with pytest.raises(NotApplicableError):
        find_grid(torch.randn(500, 3, generator=torch.Generator().manual_seed(8)))


def test_statistics_hold_numpys_norms_and_moments():
    x = torch.randn(5, 2, 3, 4, generator=torch.Generator().manual_seed(9))
    rows = x.flatten(1).double().numpy()
    got = statistics(x).double().numpy()
    for column in (rows.mean(1), np.abs(rows).mean(1), np.sqrt((rows**2).mean(1)), rows.std(1), np.abs(rows).max(1)):
        assert np.isclose(got, column[:, None], atol=1e-6).all(0).any()


def test_transforms_are_torchvisions(bench):
    world = bench.world(channels=3)
    x = world.targets.release
    view = bench.view(world)
    gray = InputTransform(transform="gray")._function(view)(x)
    torch.testing.assert_close(gray[:, :1], rgb_to_grayscale(x), atol=1e-3, rtol=0)
    blurred = InputTransform(transform="blur")._function(view)(x)
    expected = gaussian_blur(x, [5, 5], [1.0, 1.0])
    torch.testing.assert_close(blurred[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], atol=1e-5, rtol=1e-5)
    assert torch.equal(InputTransform(transform="flip")._function(view)(x), x.flip(-1))


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_jpeg_keeps_range_and_flat_pictures(bench, channels):
    world = bench.world(lambda x: x * 31 - 18, channels=channels)
    apply = InputTransform(transform="jpeg")._function(bench.view(world))
    low, high = bench.view(world).release_range
    got = apply(world.targets.release)
    assert got.shape == world.targets.release.shape
    assert low - 1e-4 <= float(got.min()) <= float(got.max()) <= high + 1e-4
    flat = torch.full((2, channels, 8, 8), low + (high - low) * 128 / 255)
    torch.testing.assert_close(apply(flat), flat, atol=1e-4, rtol=0)


def test_default_steps_follow_the_labels():
    assert steps_for(10) == steps_for(600) == 200
    assert steps_for(20_000) * 64 >= 8 * 20_000
