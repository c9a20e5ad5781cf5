"""Attackers who know a mask, on defenses whose latent and mask are known in closed form.

Axes: n images of 1 x 8 x 8, d = 12 latent units, 6 of them kept.
"""

import itertools

import pytest
import torch
from scipy.stats import hypergeom
from torch import nn

from adversaries.adversary import ADVERSARIES
from adversaries.attacks.label.probes.linear import Linear
from adversaries.attacks.mask.inference import MaskInference, cut, inferred, jaccard, random_jaccard, recovery
from adversaries.attacks.mask.latent import MaskLatent
from adversaries.attacks.mask.opened_latent import open_latent, spread_mask
from adversaries.attacks.mask.readings import permuted, read_world
from adversaries.attacks.mask.replay import MaskReplay
from adversaries.evaluation_data import EvaluationData, Part
from adversaries.goals.assess import assess
from adversaries.goals.label import TaskLabel
from adversaries.knowledge import Knowledge
from adversaries.threat import ThreatModel
from vfc.defenses.nulls.identity import Identity
from vfc.errors import KnowledgeError, NotApplicableError
from vfc.wrapper import ModuleDefense

GOAL = TaskLabel(label="y")
KEPT = torch.tensor([1, 1, 0, 1, 0, 0, 1, 0, 1, 0, 0, 1]).bool()
SIZES = (300, 60, 200)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class Linearly(nn.Module):
    """x -> W x -> mask -> tanh(V z), image-shaped; `per_image` keeps the six largest units of every image."""

    def __init__(self, *, per_image=False, shown=True):
        super().__init__()
        encoder, decoder = nn.Linear(64, 12, bias=False), nn.Linear(12, 64, bias=False)
        with torch.no_grad():
            encoder.weight.copy_(torch.linalg.qr(torch.randn(64, 12, generator=generator(1))).Q.T * 4)
            decoder.weight.copy_(torch.randn(64, 12, generator=generator(2)) / 4)
        parts = nn.Sequential(nn.Flatten(), encoder), nn.Sequential(decoder, nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))
        if shown:
            self.encoder, self.decoder = parts
        else:
            self.hidden = nn.ModuleList(parts)
        self.parts, self.per_image, self.mask = lambda: parts, per_image, KEPT

    def forward(self, x):
        encoder, decoder = self.parts()
        z = encoder(x)
        if self.per_image:
            best = z.abs().topk(6).indices
            self.mask = torch.zeros_like(z, dtype=torch.bool).scatter(1, best, True)
        return decoder(z * self.mask)


def make(module=None, *, leak=True):
    """Classes are told apart by a kept unit of the latent, or not at all."""
    module = module or Linearly()
    defense = ModuleDefense(module=module.eval().requires_grad_(False))
    n = sum(SIZES)
    y = torch.arange(n) % 3
    x = 0.5 + 0.1 * torch.randn(n, 1, 8, 8, generator=generator(3))
    if leak:
        direction = module.parts()[0][1].weight[3].reshape(1, 8, 8) / 4
        x = x + 0.3 * (y - 1)[:, None, None, None] * direction
    x = x.clamp(0, 1)
    release = defense.publish(x, generator()).values
    parts = [
        Part(images=a, release=b, labels={"y": c})
        for a, b, c in zip(x.split(SIZES), release.split(SIZES), y.split(SIZES), strict=True)
    ]
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 3))
    world = EvaluationData(train=parts[0], validation=parts[1], targets=parts[2], classes={"y": 3}, models={"m": model})
    return world, defense


def grade(adversary, world, defense, arm="attack", level="L4"):
    threat = ThreatModel(level=level, labels_per_class="all")
    return assess(adversary, world, GOAL, threat, arm=arm, seed=1, fit_seed=2, defense=defense)


def view_of(world, defense, level="L4"):
    return Knowledge(world, ThreatModel(level=level, labels_per_class="all"), "y", defense=defense)


QUICK = {"steps": 200, "copies": 2}


@pytest.mark.parametrize("per_image", [False, True])
def test_the_masked_latent_is_read_off_the_release(per_image):
    world, defense = make(Linearly(per_image=per_image))
    latent = open_latent(defense, world.targets.images)
    _, kept = latent.published(world.targets.images, generator())
    truth = world.targets.images.flatten(1) @ defense.module.parts()[0][1].weight.T * kept
    errors = {}
    for way in ("learned", "optimized"):
        inverse = MaskLatent(recovery=way, **QUICK).inverse(view_of(world, defense), generator())
        errors[way] = float((inverse(world.targets.release) - truth).square().sum())
    spread = float((truth - truth.mean(0)).square().sum())
    assert errors["learned"] < 0.1 * spread
    assert errors["optimized"] < errors["learned"]
    # Orthonormal rows times 4: the encoder is known in closed form, and so is the latent.
    assert torch.allclose(latent.encode(world.targets.images) * kept, truth, atol=1e-5)


@pytest.mark.parametrize(
    "adversary",
    [
        MaskLatent(probe="linear", **QUICK),
        MaskLatent(probe="mlp", recovery="optimized", iterations=5, **QUICK),
        MaskReplay(model="m", steps=60),
    ],
    ids=["linear", "mlp", "replay"],
)
def test_what_leaks_through_the_mask_is_found_and_what_does_not_is_not(adversary):
    found = grade(adversary, *make())
    assert float(found.targets.double().mean()) > 0.6
    assert float(grade(adversary, *make(leak=False)).targets.double().mean()) < 0.45
    assert float(grade(adversary, *make(), arm="shuffled").targets.double().mean()) < 0.45


def test_the_same_seed_gives_the_same_bits_and_rows_stand_alone():
    world, defense = make()
    for adversary in (MaskLatent(recovery="optimized", iterations=5, **QUICK), MaskReplay(model="m", steps=20)):
        first, second = (adversary.fit(view_of(world, defense), generator(4)) for _ in range(2))
        release = world.targets.release
        assert torch.equal(first.guess(release), second.guess(release))
        torch.testing.assert_close(first.guess(release[:3]), first.guess(release)[:3], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["mask-latent", "mask-replay"])
def test_below_white_box_nobody_is_told_the_mask(name):
    settings = {"model": "m"} if name == "mask-replay" else {}
    world, defense = make()
    with pytest.raises(KnowledgeError):
        ADVERSARIES.get(name)(**settings).fit(view_of(world, defense, level="L3"), generator())


def test_inference_finds_a_common_mask_from_releases_and_the_decoder_alone():
    world, defense = make()
    latent = open_latent(defense, world.train.images)
    inverse = MaskInference(latents=2048, steps=400).fit(latent.decode, latent.units, generator())
    found = recovery(inverse(world.targets.release), KEPT.expand(len(world.targets), -1), per_image=False)
    assert float(found["jaccard"].mean()) > 0.95
    assert float(found["random"].mean()) < 0.5


def test_inference_without_a_mask_to_find_is_no_better_than_a_random_mask():
    """Releases of dense latents: whatever is inferred cannot depend on a mask that was never applied."""
    world, defense = make()
    latent = open_latent(defense, world.train.images)
    inverse = MaskInference(latents=2048, steps=400).fit(latent.decode, latent.units, generator())
    z = torch.randn(400, 12, generator=generator(5))
    surplus = []
    for seed in range(40):
        rows = z[torch.randperm(400, generator=generator(seed))[:100]]
        truth = torch.rand(1, 12, generator=generator(seed)).argsort(1) < 6
        found = inferred(inverse(latent.decode(rows)), groups=1)
        surplus.append((jaccard(found, truth) - random_jaccard(found, truth)).item())
    assert abs(sum(surplus) / 40) < 0.1


def test_the_widest_gap_is_cut():
    assert cut(torch.tensor([2.0, 0.01, 1.0, 0.02])).tolist() == [True, False, True, False]
    assert cut(torch.zeros(4)).sum() in range(1, 4)


def test_random_masks_score_their_hypergeometric_mean():
    found = torch.tensor([[True] * 3 + [False] * 5])
    truth = torch.tensor([[False] * 2 + [True] * 4 + [False] * 2])
    law = hypergeom(8, 4, 3)
    assert random_jaccard(found, truth).item() == pytest.approx(sum(law.pmf(k) * k / (7 - k) for k in range(4)))
    every = [
        jaccard(torch.tensor([[i in c for i in range(8)]]), truth).item() for c in itertools.combinations(range(8), 3)
    ]
    assert random_jaccard(found, truth).item() == pytest.approx(sum(every) / len(every))


def test_readings_replace_releases_by_latents_and_bits():
    world, defense = make(Linearly(per_image=True))
    latent = open_latent(defense, world.train.images)
    masks = {
        name: latent.published(getattr(world, name).images, generator())[1]
        for name in ("train", "validation", "targets")
    }
    whole, masked, other = (
        read_world(world, latent, masks, reading).targets.release
        for reading in ("unmasked latent", "masked latent", "random mask")
    )
    assert torch.equal(masked, whole * masks["targets"])
    assert torch.equal((other != 0).sum(1), masks["targets"].sum(1))
    assert not torch.equal(other, masked)
    assert torch.equal(read_world(world, latent, masks, "mask bits").train.release, masks["train"].float())
    common = permuted(KEPT.expand(5, -1), 1, per_image=False, name="targets")
    assert bool((common == common[0]).all())
    assert common.sum(1).tolist() == [6] * 5


def test_what_the_mask_hides_shows_between_the_latents():
    """The label sits in a unit that the mask drops: the unmasked latent tells it, the masked one does not."""
    module = Linearly()
    module.mask = KEPT.clone()
    module.mask[3], module.mask[0] = False, True
    world, defense = make(module)
    latent = open_latent(defense, world.train.images)
    masks = {name: module.mask.expand(len(getattr(world, name)), -1) for name in ("train", "validation", "targets")}

    def accuracy(reading):
        return float(grade(Linear(), read_world(world, latent, masks, reading), defense).targets.double().mean())

    assert accuracy("unmasked latent") > 0.7
    assert accuracy("masked latent") < 0.45


class Other(Linearly):
    """Publishes something else than its decoder makes of the masked latent."""

    def forward(self, x):
        return super().forward(x) + 0.5


class Everything(Linearly):
    def __init__(self):
        super().__init__()
        self.mask = torch.ones(12, dtype=torch.bool)


@pytest.mark.parametrize(
    ("defense", "words"),
    [
        (Identity(), "no mask"),
        (ModuleDefense(module=Linearly(shown=False)), "does not show"),
        (ModuleDefense(module=Other()), "does not make the release"),
        (ModuleDefense(module=Everything()), "drops nothing"),
    ],
)
def test_what_cannot_be_opened_is_not_applicable_with_its_reason(defense, words):
    with pytest.raises(NotApplicableError, match=words):
        open_latent(defense, torch.rand(8, 1, 8, 8, generator=generator()))


def test_a_mask_over_channels_covers_their_units_and_any_other_size_is_refused():
    bits = spread_mask(torch.tensor([True, False]), 3, (2, 2, 2))
    assert bits.tolist() == [[True] * 4 + [False] * 4] * 3
    with pytest.raises(NotApplicableError, match="5 units does not fit"):
        spread_mask(torch.ones(5), 3, (2, 2, 2))
