from itertools import pairwise

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from vfc.core import trainer
from vfc.core.decoder import DECODERS, OUTPUTS, Decoder
from vfc.core.encoder import Encoder
from vfc.core.mask import LatentMask
from vfc.core.objective import latent_gradient
from vfc.core.trainer import watch_steps
from vfc.defense import FitData
from vfc.defenses.bottleneck.vfc import CHOICES, VFC
from vfc.errors import UserError
from vfc.release import tensor_digest
from vfc.seeding import seeded
from vfc.training import TrainSettings, accuracy, train_classifier


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def small_cnn():
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.1), nn.Linear(512, 10)),
    )


@pytest.fixture(scope="module")
def digits():
    torch.set_num_threads(1)
    bunch = load_digits()
    images = torch.tensor(bunch.images / 16, dtype=torch.float32)[:, None]
    images = images.repeat_interleave(2, 2).repeat_interleave(2, 3)
    order = torch.randperm(len(images), generator=generator())
    images, labels = images[order], torch.tensor(bunch.target)[order]
    target = seeded(small_cnn, generator())
    train_classifier(target, images[:480], labels[:480], TrainSettings(steps=200), generator(1))
    target.zero_grad(set_to_none=True)
    return FitData(
        images=images[:480],
        labels=labels[:480],
        validation_images=images[480:1100],
        validation_labels=labels[480:1100],
        num_classes=10,
        target=target,
    )


@pytest.fixture(scope="module")
def fitted(digits):
    return VFC().fit(digits, generator(2))


def quick(digits, **settings):
    return VFC(**{"width": 4, "epochs": 3, "latent": 8, "batch": 64, **settings}).fit(digits, generator(3))


def test_default_keeps_the_target_close_to_its_clean_accuracy(digits, fitted):
    clean = accuracy(digits.target, digits.validation_images, digits.validation_labels)
    release = fitted.publish(digits.validation_images, generator())
    published = accuracy(digits.target, release.values, digits.validation_labels)
    assert clean > 0.95
    assert published > clean - 0.04
    assert release.mask is not None
    assert int(release.mask.sum()) == 16
    assert release.bounds is None


def test_fitting_leaves_the_target_bit_identical(digits):
    digits.target.train()
    digits.target[1].eval()
    try:
        before = tensor_digest(*digits.target.state_dict().values())
        modes = [part.training for part in digits.target.modules()]
        quick(digits, scope="sample", deployment="sample")
        assert tensor_digest(*digits.target.state_dict().values()) == before
        assert [part.training for part in digits.target.modules()] == modes
        assert all(parameter.grad is None and parameter.requires_grad for parameter in digits.target.parameters())
    finally:
        digits.target.eval()


def test_same_seed_same_bits_and_the_global_state_is_untouched(digits):
    state = torch.get_rng_state()
    first, second = quick(digits), quick(digits)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, second.state()[name]) for name, value in first.state().items())
    other = VFC(width=4, epochs=3, latent=8, batch=64).fit(digits, generator(4))
    assert not torch.equal(other.state()["encoder.head.weight"], first.state()["encoder.head.weight"])


@pytest.mark.parametrize("scope", ["global", "sample"])
def test_state_round_trip_is_exact(digits, scope):
    defense = quick(digits, scope=scope, output="sigmoid", deployment="sample")
    again = VFC(**defense.settings()).with_state(defense.state(), digits.target)
    x = digits.validation_images[:40]
    one, two = defense.publish(x, generator(5)), again.publish(x, generator(5))
    assert one.digest == two.digest
    assert torch.equal(one.mask, two.mask)
    assert torch.equal(defense.predict(one.values), again.predict(two.values))


def test_fit_returns_a_new_object(digits):
    blank = VFC(width=4, epochs=1, latent=8)
    blank.fit(digits, generator())
    assert blank.fitted is None
    assert blank.target is None


def test_release_rows_do_not_depend_on_their_batch(digits, fitted):
    x = digits.validation_images[:33]
    whole = fitted.publish(x, generator()).values
    torch.testing.assert_close(fitted.publish(x[7:8], generator()).values, whole[7:8], rtol=1e-5, atol=1e-5)


def test_the_released_mask_is_the_one_that_was_used(digits, fitted):
    x = digits.validation_images[:5]
    release = fitted.publish(x, generator())
    mu, _ = fitted.fitted.encoder(x)
    torch.testing.assert_close(fitted.fitted.decoder(mu * release.mask), release.values)
    dropped = mu.clone()
    dropped[:, ~release.mask] += 100
    torch.testing.assert_close(fitted.fitted.decoder(dropped * release.mask), release.values)


def test_publish_needs_no_gradient_and_offers_one_on_request(digits, fitted):
    x = digits.validation_images[:3]
    assert not fitted.publish(x, generator()).values.requires_grad
    leaf = x.clone().requires_grad_()
    fitted.predict(fitted.publish(leaf, generator()).values).sum().backward()
    assert leaf.grad.any()
    digits.target.zero_grad(set_to_none=True)


@pytest.mark.parametrize(("deployment", "stochastic"), [("mean", False), ("sample", True)])
def test_stochastic_is_declared_and_true(digits, deployment, stochastic):
    defense = quick(digits, deployment=deployment)
    x = digits.validation_images[:4]
    assert defense.stochastic is stochastic
    same = torch.equal(defense.publish(x, generator(1)).values, defense.publish(x, generator(2)).values)
    assert same is not stochastic
    assert VFC(mask="random", scope="sample").stochastic


def test_undefended_is_the_same_network_without_kl_and_mask():
    settings = VFC(output="sigmoid", width=8).undefended().settings()
    assert settings == {**VFC(output="sigmoid", width=8).settings(), "beta": 0.0, "mask": "none"}


def test_no_mask_publishes_none(digits):
    assert quick(digits, mask="none", beta=0.0).publish(digits.images[:2], generator()).mask is None


def test_a_sample_mask_has_one_row_per_image(digits):
    mask = quick(digits, scope="sample").publish(digits.images[:600], generator()).mask
    assert mask.shape == (480, 8)
    assert mask.sum(1).tolist() == [4] * 480


def test_beta_compresses(digits):
    def nats(beta):
        network = VFC(width=4, epochs=10, latent=8, beta=beta).fit(digits, generator()).fitted
        return float(network(digits.images, generator(), sample=False)[1].sum(1).mean())

    assert nats(1.0) < 0.1 * nats(0.0)


@pytest.mark.parametrize(
    ("settings", "epochs"),
    [
        ({"epochs": 6, "warmup": 1 / 3, "mask_period": 2}, [2, 4]),
        ({"epochs": 4, "warmup": 0.0, "mask_period": 1}, [0, 1, 2, 3]),
        ({"epochs": 3, "warmup": 1.0, "mask_period": 5}, [2]),
    ],
)
def test_the_mask_starts_after_the_warm_up_and_is_renewed(digits, monkeypatch, settings, epochs):
    done, seen, kept = [], [], []
    update = trainer.update_mask

    def record(network, *rest):
        seen.append(done[-1])
        kept.append(bool(network.mask.kept.all()))
        update(network, *rest)

    monkeypatch.setattr(trainer, "update_mask", record)
    with watch_steps(lambda _, step, of: done.append(step * settings["epochs"] / of)):
        VFC(width=4, latent=8, **settings).fit(digits, generator())
    assert seen == epochs
    assert kept[0] is True
    assert done[-1] == settings["epochs"]


def test_saliency_is_not_zero_for_dropped_dimensions(digits, fitted):
    network, x = fitted.fitted, digits.images[:50]
    mu, _ = network.encoder(x)
    gradient = latent_gradient(network.decoder, digits.target, mu * network.mask.kept, digits.labels[:50])
    assert gradient[:, ~network.mask.kept].abs().mean(0).gt(0).all()


def test_linear_beta_schedule_ends_where_the_constant_one_is(digits, monkeypatch):
    betas = []
    loss = trainer.vfc_loss

    def record(logits, labels, kl, beta):
        betas.append(beta)
        return loss(logits, labels, kl, beta)

    monkeypatch.setattr(trainer, "vfc_loss", record)
    quick(digits, beta_schedule="linear", beta=0.5)
    # 480 images are 7 batches of 64; one of three epochs is warm-up.
    assert betas == pytest.approx([0.5 * step / 7 for step in range(1, 8)] + [0.5] * 14)


@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (1, 16, 16), (1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 20, 13), (1, 3, 5)]
)
@pytest.mark.parametrize("kind", DECODERS)
def test_any_image_shape_goes_in_and_comes_out(shape, kind):
    encoder, decoder = Encoder(shape, 6, width=4).eval(), Decoder(shape, 6, kind, width=4).eval()
    mu, log_variance = encoder(torch.rand(2, *shape))
    assert mu.shape == log_variance.shape == (2, 6)
    assert decoder(mu).shape == (2, *shape)


@pytest.mark.parametrize("output", OUTPUTS)
def test_outputs_keep_what_they_promise(digits, output):
    decoder = Decoder((1, 8, 8), 4, "linear", output).eval()
    values = decoder(1e3 * torch.randn(50, 4, generator=generator()))
    inside = bool(((values >= 0) & (values <= 1)).all())
    assert inside is (output != "unbounded")
    bounds = quick(digits, output=output).publish(digits.images[:2], generator()).bounds
    assert bounds == (None if output == "unbounded" else (0.0, 1.0))


def test_defaults_follow_the_side_of_the_image():
    recipe = VFC()
    small, large = (1, 16, 16), (3, 32, 32)
    assert (recipe.latent_for(small), recipe.epochs_for(small), recipe.batch_for(small)) == (32, 20, 32)
    assert (recipe.latent_for(large), recipe.epochs_for(large), recipe.batch_for(large)) == (128, 14, 128)
    assert VFC(latent=5, epochs=6, batch=7).batch_for(small) == 7


@pytest.mark.parametrize("option", sorted(CHOICES))
def test_every_choice_is_checked(option):
    for value in CHOICES[option]:
        VFC(**{option: value})
    with pytest.raises(UserError, match="known:"):
        VFC(**{option: "nonsense"})


@pytest.mark.parametrize(
    "settings",
    [
        *({"latent": 0}, {"epochs": 0}, {"keep": 0.0}, {"keep": 1.5}, {"keep": 0}, {"beta": -1.0}, {"lr": 0.0}),
        *({"cutoff": 2.0}, {"warmup": -0.1}, {"mask_period": 0}, {"batch": 0}, {"beta": float("nan")}),
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(UserError, match=next(iter(settings))):
        VFC(**settings)


def test_mistakes_are_user_errors(digits, fitted):
    with pytest.raises(UserError, match="never fitted"):
        VFC().publish(digits.images, generator())
    with pytest.raises(UserError, match="expected images of shape"):
        fitted.publish(torch.rand(2, 1, 8, 8), generator())
    with pytest.raises(UserError, match="other"):
        VFC(latent=5).with_state(fitted.state(), digits.target)
    with pytest.raises(UserError, match="shape"):
        VFC().with_state({}, digits.target)
    with pytest.raises(UserError, match="stay finite"):
        quick(digits, lr=1e30)


def test_a_global_mask_update_uses_every_image(digits, fitted, monkeypatch):
    rows = []
    monkeypatch.setattr(LatentMask, "update", lambda _, *columns: rows.append([len(each) for each in columns[:3]]))
    trainer.update_mask(fitted.fitted, digits.target, digits.images, digits.labels, generator(), chunk=100)
    assert rows == [[480, 480, 480]]


@pytest.mark.parametrize("kind", ["transposed", "upsample"])
def test_what_batch_normalization_follows_has_no_bias(kind):
    for network in (Encoder((1, 16, 16), 8, 4), Decoder(shape=(1, 16, 16), latent=8, kind=kind, width=4)):
        before = [layer for layer, after in pairwise(network.modules()) if isinstance(after, nn.BatchNorm2d)]
        maps = [layer for layer in before if not isinstance(layer, nn.Unflatten)]
        assert maps
        assert all(layer.bias is None for layer in maps)
