import os
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from vfc.defense import FitData
from vfc.errors import NotApplicableError, UserError
from vfc.wrapper import ModuleDefense, check_values


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


X = torch.rand(6, 1, 4, 4, generator=generator())


def data(target=None):
    labels = torch.arange(6) % 3
    return FitData(
        images=X.clone(),
        labels=labels,
        validation_images=X,
        validation_labels=labels,
        num_classes=3,
        target=target or nn.Flatten(),
    )


class Noisy(nn.Module):
    stochastic = True

    def forward(self, x):
        return x + torch.randn_like(x)


class Fitted(nn.Module):
    def __init__(self):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(()))
        self.dropout = nn.Dropout()

    def fit(self, images, labels):
        self.mean.data = images.mean() + torch.rand(())
        images.zero_()

    def forward(self, x):
        return self.dropout(x) - self.mean


class Returning(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return self.value(x) if callable(self.value) else self.value


def test_module_randomness_comes_from_the_generator():
    defense = ModuleDefense(module=Noisy())
    state = torch.get_rng_state()
    one, two = defense.publish(X, generator(1)), defense.publish(X, generator(1))
    assert torch.equal(torch.get_rng_state(), state)
    assert one.digest == two.digest
    assert one.digest != defense.publish(X, generator(2)).digest
    assert defense.stochastic
    assert not ModuleDefense(module=nn.Identity()).stochastic


def test_modules_run_in_eval_mode_without_gradients():
    module = nn.Sequential(nn.Dropout(), nn.BatchNorm2d(1))
    defense = ModuleDefense(module=module)
    statistics = module[1].running_mean.clone()
    values = defense.publish(X, generator()).values
    assert not values.requires_grad
    assert torch.equal(module[1].running_mean, statistics)
    torch.testing.assert_close(values, X, rtol=1e-4, atol=1e-5)
    leaf = X.clone().requires_grad_()
    defense.publish(leaf, generator()).values.sum().backward()
    assert leaf.grad.any()


def test_a_module_cannot_change_our_images():
    original = X.clone()
    values = ModuleDefense(module=Returning(lambda x: x.zero_())).publish(X, generator()).values
    assert torch.equal(X, original)
    assert not values.any()


def test_fit_works_on_copies_and_is_seeded():
    module, given = Fitted(), data()
    defense = ModuleDefense(module=module)
    one, two = defense.fit(given, generator(1)), defense.fit(given, generator(1))
    assert module.mean.item() == 0
    assert torch.equal(given.images, X)
    assert torch.equal(one.module.mean, two.module.mean)
    assert one.module.mean.item() > float(X.mean())
    again = defense.with_state(one.state(), nn.Identity())
    assert again.publish(X, generator()).digest == one.publish(X, generator()).digest
    with pytest.raises(UserError, match="expected weights"):
        defense.with_state({"other": X}, nn.Identity())


def test_intended_use_is_predict_then_target_then_none():
    bare, targeted, predicting = nn.Identity(), nn.Identity(), Noisy()
    targeted.target = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    predicting.target = targeted.target
    predicting.predict = lambda r: torch.ones(len(r), 5) + torch.rand(len(r), 5)
    assert ModuleDefense(module=bare).fit(data(), generator()).predict(X) is None
    defense = ModuleDefense(module=targeted).fit(data(), generator())
    assert defense.target is targeted.target
    torch.testing.assert_close(defense.predict(X), targeted.target(X).detach())
    defense = ModuleDefense(module=predicting)
    assert defense.predict(X).shape == (6, 5)
    assert torch.equal(defense.predict(X), defense.predict(X))


def test_mask_encoder_and_decoder_are_shown():
    module = nn.Identity()
    module.mask, module.encoder, module.decoder = torch.tensor([True, False]), nn.Flatten(), 3
    defense = ModuleDefense(module=module)
    assert torch.equal(defense.publish(X, generator()).mask, module.mask)
    assert defense.encoder is module.encoder
    assert defense.decoder is None
    module.mask = torch.ones(5, 2)
    with pytest.raises(UserError, match="mask"):
        defense.publish(X, generator())


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([1, 2], "publish a tensor, got list"),
        (lambda x: (x, x), "publish a tensor, got tuple"),
        (lambda x: x[:5], "6 rows, one per image, got torch.float32 of shape \\(5, 1, 4, 4\\)"),
        (lambda x: x.sum(), "6 rows"),
        (lambda x: x.to(torch.complex64), "real numbers"),
        (lambda x: x.to_sparse(), "real numbers"),
        (lambda x: x @ torch.ones(3, 3), r"mine:build raised RuntimeError: .* at .*test_wrapper\.py:\d+"),
    ],
)
def test_wrong_releases_are_user_errors(value, words):
    with pytest.raises(UserError, match=words) as error:
        ModuleDefense(module=Returning(value), origin="mine:build").publish(X, generator())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("logits", [3, torch.ones(6), torch.ones(5, 3)])
def test_wrong_logits_are_user_errors(logits):
    module = nn.Identity()
    module.predict = lambda _: logits
    with pytest.raises(UserError, match="logits of shape"):
        ModuleDefense(module=module).predict(X)


def test_what_a_module_says_of_itself_passes_through():
    def refuse(x):
        raise NotApplicableError("only faces")

    with pytest.raises(NotApplicableError, match="only faces"):
        ModuleDefense(module=Returning(refuse)).publish(X, generator())


def test_short_floats_become_float32_losslessly():
    values = torch.tensor([1.0, 0.1, 3e38]).to(torch.bfloat16)
    assert check_values(values, 3, "x").dtype == torch.float32
    assert torch.equal(check_values(values, 3, "x").to(torch.bfloat16), values)
    assert check_values(torch.arange(3), 3, "x").dtype == torch.int64


def nested(x):
    return torch.nested.nested_tensor(list(x), layout=torch.jagged)


def fake(x):
    with FakeTensorMode():
        return torch.zeros(len(x), 3)


class Odd(torch.Tensor):
    """A tensor that refuses everything."""

    @classmethod
    def __torch_function__(cls, *_args, **_options):
        raise RuntimeError("odd")


@pytest.mark.parametrize(
    "publish",
    [
        lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.quint8),
        nested,
        fake,
        lambda x: x.flatten(1).to_sparse(),
        lambda x: torch.zeros(len(x), 4, dtype=torch.uint8).view(torch.bits8),
        lambda x: torch.zeros(len(x), 1).expand(len(x), 10**13),
        lambda x: x.to("meta"),
    ],
    ids=["quantized", "nested", "fake", "sparse", "bits", "more than memory", "meta"],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_nothing_can_compute_with_are_user_errors(publish):
    with pytest.raises(UserError, match="the module"):
        ModuleDefense(module=Returning(publish)).publish(X, generator())


def test_a_tensor_of_a_class_of_its_own_is_read_as_a_tensor():
    values = ModuleDefense(module=Returning(lambda x: x.as_subclass(Odd))).publish(X, generator()).values
    assert type(values) is torch.Tensor
    assert torch.equal(values, X)


def showing(name, error):
    def read(_self):
        raise error

    return type("Showing", (nn.Identity,), {name: property(read)})()


USES = {
    "target": lambda defense: defense,
    "predict": lambda defense: defense.predict(X),
    "stochastic": lambda defense: defense,
    "fit": lambda defense: defense.fit(data(), generator()),
    "mask": lambda defense: defense.publish(X, generator()),
    "encoder": lambda defense: defense.encoder,
    "decoder": lambda defense: defense.decoder,
    "secret": lambda defense: defense.declared_secret(),
}


@pytest.mark.parametrize("error", [ValueError("mine"), AttributeError("mine"), SystemExit(0)])
@pytest.mark.parametrize("name", USES)
def test_a_property_that_raises_is_a_user_error_and_not_an_absent_one(name, error):
    with pytest.raises(UserError, match="the module raised"):
        USES[name](ModuleDefense(module=showing(name, error)))
    USES[name](ModuleDefense(module=nn.Identity()))


def test_an_error_that_cannot_say_what_it_is_is_still_an_error():
    class MuteError(Exception):
        def __str__(self):
            raise RuntimeError

    def fail(_):
        raise MuteError

    with pytest.raises(UserError, match="raised MuteError: without words"):
        ModuleDefense(module=Returning(fail)).publish(X, generator())


KEY = {"kind": "symmetric", "what": "the key", "bits": 128}


@pytest.mark.parametrize(
    "declared",
    [
        5, "symmetric", {"kind": "symetric"}, {"kind": ["none"]}, {"kind": "symmetric"}, {**KEY, "bits": 0},
        {**KEY, "bits": float("nan")}, {**KEY, "bits": 10**400}, {**KEY, "bits": True}, {**KEY, "what": 3},
        {**KEY, "what": "x" * 201}, {**KEY, "lifetime": "ever"}, {**KEY, "lifetime": torch.zeros(3)}, {**KEY, "key": 1},
    ],
)  # fmt: skip
def test_a_malformed_secret_is_a_user_error(declared):
    module = nn.Identity()
    module.secret = declared
    with pytest.raises(UserError):
        ModuleDefense(module=module).declared_secret()
    module.secret = KEY
    assert ModuleDefense(module=module).declared_secret().bits == 128


def test_what_a_module_changes_around_itself_is_put_back(tmp_path, monkeypatch):
    def meddle(x):
        os.chdir("/")
        sys.setrecursionlimit(200)
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(3)
        return x

    monkeypatch.chdir(tmp_path)
    before = (Path.cwd(), sys.getrecursionlimit(), torch.get_default_dtype(), torch.get_num_threads())
    ModuleDefense(module=Returning(meddle)).publish(X, generator())
    assert (Path.cwd(), sys.getrecursionlimit(), torch.get_default_dtype(), torch.get_num_threads()) == before
