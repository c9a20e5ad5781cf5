"""The latents that VFC works with: sampled in a training step; of the deployed network, and masked, for the mask."""

import copy

import pytest
import torch
from torch import nn

from vfc.core.network import Network
from vfc.core.recipe import Recipe
from vfc.core.trainer import train, update_mask

SHAPE = (1, 8, 8)
LATENT = 6


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def network(**settings):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network(SHAPE, Recipe(latent=LATENT, width=4, **settings))


def first_releases(net, x, y):
    """What the target is shown in the first step, a batch of everything, before any mask was made."""
    recorder = Recorder()
    train(net, recorder, x, y, Recipe(latent=LATENT, batch=len(x), epochs=2, warmup=0.5, mask="none"), generator())
    return recorder.seen[0]


def images(count=48):
    # Brighter than what running statistics start from, so that those of a batch differ from them.
    return 0.5 + 0.5 * torch.rand(count, *SHAPE, generator=generator(1)), torch.arange(count) % 3


def target():
    """A nonlinear classifier, so that its gradient depends on where it is asked."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))


class Recorder(nn.Module):
    """A classifier that keeps the releases it was shown."""

    def __init__(self):
        super().__init__()
        self.inner, self.seen = target(), []

    def forward(self, x):
        self.seen.append(x.detach().clone())
        return self.inner(x)


def test_training_shows_the_target_sampled_latents():
    x, y = images(1)
    shown = first_releases(network(mask="none", decoder="linear"), x.repeat(16, 1, 1, 1), y.repeat(16))
    # Of one image, only the draw of the latent can differ.
    assert float(shown.std(dim=0).mean()) > 0.1


def test_noise_of_training_has_the_size_that_the_encoder_says():
    # A linear decoder without a mask: var(release) = sum over dimensions of weight^2 * sigma^2.
    net = network(mask="none", decoder="linear")
    with torch.no_grad():
        net.encoder.head.weight.zero_()
        net.encoder.head.bias.zero_()
        net.encoder.head.bias[LATENT:] = torch.linspace(-2, 1, LATENT)
    weight, variance = net.decoder.layers[0].weight.detach(), torch.linspace(-2, 1, LATENT).exp()
    expected = weight.square() @ variance
    x, y = images(2000)
    shown = first_releases(net, x, y).flatten(1)
    torch.testing.assert_close(shown.var(dim=0), expected, rtol=0.2, atol=0)


@pytest.mark.parametrize("scope", ["global", "sample"])
def test_a_mask_is_that_of_the_network_at_deployment(scope):
    # In training, batch statistics stand in for running ones: another encoder, and running statistics that move.
    x, y = images()
    training, deployed = network(scope=scope, keep=2).train(), network(scope=scope, keep=2).eval()
    before = {name: value.clone() for name, value in training.state_dict().items()}
    for each in (training, deployed):
        update_mask(each, target(), x, y, generator(), chunk=20)
    assert torch.equal(training.mask.kept, deployed.mask.kept)
    torch.testing.assert_close(training.mask.gradient, deployed.mask.gradient, rtol=0, atol=0)
    changed = {name for name, value in training.state_dict().items() if not torch.equal(value, before[name])}
    assert changed <= {"mask.kept", "mask.gradient", "mask.active"}
    assert all(part.training for part in training.modules())
    assert not any(part.training for part in deployed.modules())


def test_saliency_does_not_depend_on_what_a_dropped_dimension_holds():
    x, y = images()
    net = network(mask="saliency", saliency="grad").eval()
    net.mask.kept[0] = False
    net.mask.active.fill_(True)
    moved = copy.deepcopy(net)
    with torch.no_grad():
        moved.encoder.head.bias[0] += 20
    for each in (net, moved):
        update_mask(each, target(), x, y, generator())
    torch.testing.assert_close(moved.mask.gradient, net.mask.gradient, rtol=0, atol=0)
    # A dimension that is kept does matter, or this would show nothing.
    kept = copy.deepcopy(net)
    kept.mask.kept.fill_(True)
    with torch.no_grad():
        kept.encoder.head.bias[0] += 20
    update_mask(kept, target(), x, y, generator())
    assert not torch.allclose(kept.mask.gradient, net.mask.gradient)


@pytest.mark.parametrize("rule", ["kl", "saliency"])
def test_every_image_is_masked_by_its_own_latent_and_its_own_kl(rule):
    x, y = images()
    net = network(mask=rule, scope="sample", keep=1, saliency="grad-times-latent").eval()
    update_mask(net, target(), x, y, generator())
    with torch.no_grad():
        mu, _ = net.encoder(x)
        _, kl, kept = net(x, generator(), sample=False)
    score = kl if rule == "kl" else mu.abs() * net.mask.gradient
    assert torch.equal(kept.int().argmax(1), score.argmax(1))
    assert kept.sum(1).tolist() == [1] * len(x)
    # The two say something else, or a mix-up would not show.
    assert not torch.equal(kl.argmax(1), (mu.abs() * net.mask.gradient).argmax(1))
