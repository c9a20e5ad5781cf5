"""What third-party attack libraries do to you, and the guard against each of it."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from adversaries.attacks.evasion import foolbox_adapter, torchattacks_adapter
from adversaries.attacks.evasion.ball import Ball
from adversaries.attacks.evasion.guard import contained, guarded
from adversaries.attacks.evasion.pipeline import Bare, Pipeline
from adversaries.registries import ADVERSARIES
from vfc.errors import NotApplicableError
from vfc.seeding import seeded

torchattacks = pytest.importorskip("torchattacks")
pytest.importorskip("foolbox")

LINF = Ball(norm="linf", budget="0.1")


class Net(nn.Module):
    """A small classifier with BatchNorm."""

    def __init__(self, classes=3, dtype=torch.float32):
        super().__init__()
        self.dtype = dtype
        self.norm = nn.BatchNorm2d(1)
        self.head = nn.Linear(64, classes)
        self.to(dtype)

    def forward(self, x):
        return self.head(self.norm(x.to(self.dtype)).flatten(1))


def net(classes=3, dtype=torch.float32):
    return seeded(lambda: Net(classes, dtype), torch.Generator().manual_seed(0)).eval()


def pipeline(model, **options):
    return Pipeline(Bare(target=model), seed=0, **options)


def images(n=6, seed=1):
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def generator():
    return torch.Generator().manual_seed(5)


def run(attack, x, y, model):
    return guarded(attack, x, y, [model], generator())


def attack_by(name, model, ball=LINF, **settings):
    adversary = ADVERSARIES.get(name)(**settings)
    return lambda x, y: adversary.perturb(pipeline(model, pool=images(40, 2)), x, y, ball, 3)


def test_a_latent_is_refused_because_the_library_would_clamp_it():
    model, latent = net(), torch.randn(4, 1, 8, 8, generator=generator())
    y = model(latent).argmax(1)
    moved = torchattacks.PGD(model, eps=1e-6, steps=2)(latent, y)
    assert float((moved - latent).abs().max()) > 1
    with pytest.raises(NotApplicableError, match=r"clamp to \[0, 1\]"):
        run(attack_by("pgd", model), latent, y, model)


def test_out_of_range_input_dies_with_words():
    import foolbox

    model, x = net(), images() + 0.5
    with pytest.raises(AssertionError) as bare:
        foolbox.attacks.LinfPGD()(foolbox.PyTorchModel(model, (0, 1)), x, torch.zeros(6).long(), epsilons=0.1)
    assert not str(bare.value)
    with pytest.raises(NotApplicableError, match="not all inside"):
        run(attack_by("pgd", model, library="foolbox"), x, torch.zeros(6).long(), model)


def test_vectors_and_integers_are_refused():
    model, y = net(), torch.zeros(6).long()
    with pytest.raises((IndexError, RuntimeError)):
        torchattacks.PGDL2(nn.Linear(64, 3), eps=1.0)(images().flatten(1), y)
    with pytest.raises(NotApplicableError, match=r"\(6, 64\)"):
        run(attack_by("pgd", model), images().flatten(1), y, model)
    with pytest.raises(NotApplicableError, match="floats"):
        run(attack_by("pgd", model), images().long(), y, model)


@pytest.mark.parametrize(("name", "settings"), [("apgd", {"steps": 3}), ("square", {"queries": 3}), ("pgd", {})])
def test_global_randomness_is_what_it_was(name, settings):
    model, x = net(), images()
    y = model(x).argmax(1)
    states = []
    for seed in (5, 6):
        torch.manual_seed(11)
        np.random.seed(11)
        random.seed(11)
        before = torch.get_rng_state(), np.random.get_state()[1].copy()
        guarded(attack_by(name, model, **settings), x, y, [model], torch.Generator().manual_seed(seed))
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.array_equal(np.random.get_state()[1], before[1])
        states.append(random.getstate())
    # Type checks during tests draw from `random` themselves, the same in both turns.
    assert states[0] == states[1]


def test_the_library_does_set_global_randomness():
    model, x = net(), images()
    y = model(x).argmax(1)
    left = []
    for seed in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            torchattacks.APGD(model, steps=2, seed=0)(x, y)
            left.append(torch.rand(1))
    assert torch.equal(*left)


@pytest.mark.parametrize("name", ["pgd", "apgd", "square", "deepfool", "boundary", "hop-skip-jump", "carlini-wagner"])
def test_same_generator_same_bits_whatever_the_global_state(name):
    model, x = net(), images()
    y = model(x).argmax(1)
    adversary = ADVERSARIES.get(name)
    ball = Ball(norm=adversary.norms[-1], budget="0.5")
    short = {"steps": 5} if name != "square" else {"queries": 5}
    found = []
    for seed in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            found.append(run(attack_by(name, model, ball, **short), x, y, model).images)
    assert torch.equal(*found)
    assert not found[0].requires_grad


def test_no_gradient_stays_on_a_parameter_and_an_old_one_survives():
    model, x = net(), images()
    y = model(x).argmax(1)
    torchattacks.CW(model, steps=2)(x, y)
    assert model.head.weight.grad is not None
    old = torch.full_like(model.head.weight, 7.0)
    model.zero_grad(set_to_none=True)
    model.head.weight.grad = old.clone()

    def careless(x, y):
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        leaf = x.clone().requires_grad_()
        model(leaf).sum().backward()
        return leaf

    result = run(careless, x, y, model)
    assert torch.equal(model.head.weight.grad, old)
    assert model.head.bias.grad is None
    assert not result.images.requires_grad


def test_mode_buffers_flags_and_recording_of_gradients_are_what_they_were():
    model, x = net(), images()
    model.norm.train()
    model.head.bias.requires_grad_(False)
    statistics = model.norm.running_mean.clone()

    def careless(x, y):
        model.train()
        model.requires_grad_(True)
        return model.norm(x).detach().clamp(0, 1)

    with torch.no_grad():
        run(careless, x, torch.zeros(6).long(), model)
        assert not torch.is_grad_enabled()
    assert model.norm.training
    assert not model.head.training
    assert torch.equal(model.norm.running_mean, statistics)
    assert (model.head.weight.requires_grad, model.head.bias.requires_grad) == (True, False)


def test_nothing_is_printed_and_no_warning_gets_out(capsys):
    import warnings

    with contained([net()], generator()):
        print("noise")  # noqa: T201
        warnings.warn("noise", stacklevel=1)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("objective", "classes"), [("dlr", 2), ("targeted", 3)])
def test_too_few_classes_for_a_loss_are_no_crash(objective, classes):
    model, x = net(classes), images()
    y = model(x).argmax(1)
    with pytest.raises(IndexError):
        torchattacks.APGD(net(2), loss="dlr", steps=2)(x, net(2)(x).argmax(1))
    with pytest.raises(NotApplicableError, match=f"there are {classes}"):
        run(attack_by("apgd", model, steps=2, objective=objective), x, y, model)
    assert not run(attack_by("apgd", model, steps=2), x, y, model).error


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", ["pgd", "apgd", "square", "deepfool", "boundary", "carlini-wagner"])
def test_other_precisions_are_attacked_in_float32(name, dtype):
    model = net(dtype=dtype)
    x = images()
    y = model(x).argmax(1)
    ball = Ball(norm="l2", budget="2")
    short = {"steps": 3} if name != "square" else {"queries": 3}
    result = run(attack_by(name, model, ball, **short), x.to(torch.float64), y, model)
    assert result.images.dtype == torch.float32
    assert not result.error


class Threshold(nn.Module):
    """Class 1 where the mean exceeds one half."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(100.0))

    def forward(self, x):
        above = (x.flatten(1).mean(1) - 0.5) * self.scale
        return torch.stack([-above, above], 1)


def test_few_steps_of_foolbox_reach_the_edge_of_the_ball():
    import foolbox

    model, ball = Threshold(), Ball(norm="linf", budget="0.1")
    x = torch.full((4, 1, 8, 8), 0.42)
    y = torch.zeros(4).long()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        wrapped = foolbox.PyTorchModel(model.eval(), (0, 1), device="cpu")
        _, _, success = foolbox.attacks.LinfPGD(steps=5)(wrapped, x, y, epsilons=0.1)
    assert not bool(success.any())
    moved = run(lambda x, y: foolbox_adapter.pgd(pipeline(model), x, y, ball, steps=5), x, y, model).images
    assert bool((model(moved).argmax(1) == 1).all())
    assert torchattacks_adapter.step_size(0.1, 5) == pytest.approx(0.05)


def test_one_row_without_a_starting_point_does_not_kill_the_batch():
    import foolbox

    model = Threshold().eval()
    x = torch.stack([torch.full((1, 8, 8), level) for level in (0.45, 0.55, 0.44)])
    y = torch.tensor([0, 1, 0])
    bright = torch.full((5, 1, 8, 8), 0.9)
    with pytest.raises(ValueError, match="starting_points are not adversarial"):
        foolbox.attacks.BoundaryAttack(steps=2)(
            foolbox.PyTorchModel(model, (0, 1), device="cpu"), x, y, starting_points=bright[:3], epsilons=None
        )
    attacked = pipeline(model, pool=bright)
    result = run(lambda x, y: foolbox_adapter.boundary(attacked, x, y, steps=30), x, y, model)
    assert not result.error
    assert torch.equal(result.images[1], x[1])
    assert bool((model(result.images[[0, 2]]).argmax(1) == 1).all())
    with pytest.raises(NotApplicableError, match="there are none"):
        run(lambda x, y: foolbox_adapter.boundary(pipeline(model), x, y, steps=3), x, y, model)


def test_a_crash_costs_its_row_and_many_crashes_cost_the_attack():
    model, x = net(), images(20)

    def brittle(x, y):
        if bool((y == 1).any()):
            raise ValueError("no such class")
        return 1 - x

    y = torch.zeros(20).long()
    y[7] = 1
    result = run(brittle, x, y, model)
    assert result.crashed.nonzero().flatten().tolist() == [7]
    assert result.error == "ValueError: no such class"
    assert torch.equal(result.images[7], x[7])
    assert torch.equal(result.images[8], 1 - x[8])
    y[:3] = 1
    with pytest.raises(RuntimeError, match="ValueError: no such class"):
        run(brittle, x, y, model)


def test_a_result_of_another_shape_is_a_crash():
    model, x = net(), images(2)
    with pytest.raises(RuntimeError, match=r"expected perturbed images of shape \(2, 1, 8, 8\)"):
        run(lambda x, _: x.flatten(1), x, torch.zeros(2).long(), model)
