import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch import nn

from vfc.core.objective import frozen, kl_per_dimension, latent_gradient, sample_latent, vfc_loss


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_kl_agrees_with_torch_distributions():
    mu = torch.randn(50, 7, generator=generator(), dtype=torch.float64) * 3
    log_variance = torch.randn(50, 7, generator=generator(1), dtype=torch.float64) * 2
    normal = torch.distributions.Normal(mu, torch.exp(log_variance / 2))
    expected = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(
        kl_per_dimension(mu.float(), log_variance.float()), expected.float(), rtol=1e-4, atol=1e-5
    )


def test_kl_is_zero_at_the_prior_and_quadratic_near_it():
    zero = torch.zeros(1, 1)
    assert float(kl_per_dimension(zero, zero)) == 0.0
    # KL(N(0, e^t) || N(0, 1)) = t^2 / 4 + O(t^3): a naive sigma^2 - 1 would be rounding noise here.
    assert float(kl_per_dimension(zero, zero + 1e-3)) == pytest.approx(2.5e-7, rel=1e-2)


def test_loss_is_sklearns_cross_entropy_plus_weighted_kl():
    logits = torch.randn(20, 4, generator=generator())
    labels = torch.randint(4, (20,), generator=generator(1))
    kl = torch.rand(20, 3, generator=generator(2))
    cross_entropy = log_loss(labels, torch.softmax(logits.double(), 1), labels=range(4))
    expected = cross_entropy + 0.25 * float(kl.sum()) / 20
    assert float(vfc_loss(logits, labels, kl, 0.25)) == pytest.approx(expected, rel=1e-5)


def test_samples_have_the_moments_of_the_posterior():
    mu, log_variance = torch.full((200_000, 1), 1.5), torch.full((200_000, 1), np.log(0.25).item())
    z = sample_latent(mu, log_variance, generator())
    assert float(z.mean()) == pytest.approx(1.5, abs=5 * 0.5 / 200_000**0.5)
    assert float(z.var()) == pytest.approx(0.25, rel=0.02)
    torch.testing.assert_close(sample_latent(mu, log_variance, generator()), z, rtol=0, atol=0)


def test_latent_gradient_of_linear_maps_is_the_closed_form():
    decoder, target = nn.Linear(5, 6, bias=False), nn.Linear(6, 3)
    z, labels = torch.randn(8, 5, generator=generator()), torch.arange(8) % 3
    # dCE/dlogits = softmax - one-hot, row by row and not averaged.
    residual = torch.softmax(target(decoder(z)), 1) - nn.functional.one_hot(labels, 3)
    expected = residual @ target.weight @ decoder.weight
    torch.testing.assert_close(latent_gradient(decoder, target, z, labels), expected.detach())
    assert decoder.weight.grad is None


def test_frozen_restores_modes_and_flags_even_after_an_error():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout())
    model.train()
    model[2].eval()
    model[0].bias.requires_grad_(False)

    def fail():
        with frozen(model):
            assert not any(part.training for part in model.modules())
            assert not any(parameter.requires_grad for parameter in model.parameters())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert model.training
    assert model[1].training
    assert not model[2].training
    assert model[0].weight.requires_grad
    assert not model[0].bias.requires_grad
