import pytest
import torch
from torch import nn

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
