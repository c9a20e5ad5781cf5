"""What VFC's network and its training are made of, each by itself."""

import math

import pytest
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock

from vfc.core.augmentation import augmented
from vfc.core.decoder import Decoder
from vfc.core.encoder import Encoder
from vfc.core.folding import folded
from vfc.core.history import Average, schedule_of
from vfc.core.mask import MaskRule
from vfc.core.recipe import Recipe
from vfc.core.residual import ResidualBlock
from vfc.core.suitability import collapse

SHAPE = (1, 8, 8)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", ["shift", "mirror-shift"])
def test_every_image_is_moved_by_an_offset_of_its_own(kind):
    images = torch.rand(60, 2, 16, 8, generator=generator())
    moved = augmented(images, kind, generator(1))
    padded = nn.functional.pad(images, (1, 1, 2, 2))
    found = []
    for image, before in zip(moved, padded, strict=True):
        places = [
            (top, left, mirror)
            for top in range(5)
            for left in range(3)
            for mirror, one in enumerate((before[:, top : top + 16, left : left + 8],) * 2)
            if torch.equal(image, one.flip(-1) if mirror else one)
        ]
        assert len(places) == 1
        found += places
    assert len({place[:2] for place in found}) == 15
    mirrored = sum(place[2] for place in found)
    assert mirrored == 0 if kind == "shift" else 15 < mirrored < 45


def test_without_augmentation_nothing_is_drawn():
    images, stream = torch.rand(3, *SHAPE), generator()
    assert augmented(images, "none", stream) is images
    assert torch.equal(stream.get_state(), generator().get_state())


def test_a_folded_target_computes_the_same_without_batchnorm():
    stem = (nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    target = nn.Sequential(*stem, BasicBlock(4, 4), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 4))
    for part in target.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.uniform_(-0.2, 0.2, generator=generator())
            part.running_var.uniform_(0.5, 2, generator=generator())
    target.eval()
    before = {name: value.clone() for name, value in target.state_dict().items()}
    images = torch.rand(5, 3, 32, 32, generator=generator())
    fast = folded(target, images)
    assert fast is not target
    assert not any(isinstance(part, nn.BatchNorm2d) for part in fast.modules())
    gradients = []
    for model in (target, fast):
        leaf = images.clone().requires_grad_()
        logits = model(leaf)
        (gradient,) = torch.autograd.grad(logits[:, 1].sum(), leaf)
        gradients += [logits.detach(), gradient]
    torch.testing.assert_close(gradients[2], gradients[0], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(gradients[3], gradients[1], rtol=1e-3, atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())


class Branching(nn.Module):
    """Cannot be traced: what it does depends on what it is given."""

    def forward(self, x):
        return x.flatten(1)[:, :3] if float(x.sum()) > 0 else x.flatten(1)[:, 3:6]


class Baked(nn.Module):
    """Traced, it would add the number of its calls so far, for ever."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        return x.flatten(1)[:, :3] + self.calls


@pytest.mark.parametrize("kind", [Branching, Baked])
def test_what_cannot_be_folded_stays_as_it_is(kind):
    target = kind().eval()
    assert folded(target, torch.rand(4, *SHAPE)) is target


def test_a_residual_block_without_a_branch_is_the_identity():
    block = ResidualBlock(3).eval()
    nn.init.zeros_(block.branch[-1].weight)
    x = torch.rand(2, 3, 5, 4)
    assert torch.equal(block(x), x)
    nn.init.ones_(block.branch[-1].weight)
    assert not torch.equal(block(x), x)


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 32, 32), (3, 20, 13), (1, 3, 5)])
@pytest.mark.parametrize("stages", [None, 1])
def test_blocks_fit_any_image_shape(shape, stages):
    encoder = Encoder(shape, 6, 4, stages=stages, blocks=2).eval()
    decoder = Decoder(shape, 6, width=4, stages=stages, blocks=1).eval()
    assert any(isinstance(part, ResidualBlock) for part in encoder.modules())
    mu, log_variance = encoder(torch.rand(2, *shape))
    assert mu.shape == log_variance.shape == (2, 6)
    assert decoder(mu).shape == (2, *shape)
    convolutions = [part for part in encoder.modules() if isinstance(part, nn.Conv2d) and part.stride == (2, 2)]
    assert stages is None or len(convolutions) == stages


def test_log_variance_and_steepness_are_what_was_asked_for():
    encoder = Encoder(SHAPE, 6, 4, limit=0.25).eval()
    nn.init.constant_(encoder.head.bias, 9.0)
    assert encoder(torch.rand(2, *SHAPE))[1].eq(0.25).all()
    plain, steep = (Decoder(SHAPE, 6, "linear", output, steepness=3.0) for output in ("unbounded", "steep-sigmoid"))
    steep.load_state_dict(plain.state_dict())
    z = torch.randn(4, 6, generator=generator())
    torch.testing.assert_close(steep(z), torch.sigmoid(3.0 * plain(z)))


def rates(kind, steps):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.8)
    schedule, seen = schedule_of(kind, optimizer, 0.8, steps), []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_schedules_by_their_formulas():
    assert rates("constant", 5) == pytest.approx([0.8] * 5)
    assert rates("cosine", 4) == pytest.approx([0.4 * (1 + math.cos(math.pi * step / 4)) for step in range(4)])
    cycle = rates("one-cycle", 100)
    assert max(cycle) == pytest.approx(0.8, rel=1e-2)
    assert cycle.index(max(cycle)) == pytest.approx(9, abs=2)
    assert cycle[-1] < 0.01


def test_an_average_of_weights_by_hand():
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    average = Average(net, 0.2)
    expected = 0.0
    for step, value in enumerate((1.0, 3.0, 2.0), start=1):
        nn.init.constant_(net.weight, value)
        average.step(net)
        decay = min(0.2, step / (step + 10))
        expected = decay * expected + (1 - decay) * value
    average.swap(net)
    assert net.weight.item() == pytest.approx(expected)
    average.swap(net)
    assert net.weight.item() == 2.0


def test_revived_dimensions_get_a_share_of_the_mean_score():
    rule = MaskRule(mask="kl", keep=2, revive=0.5)
    kl, dropped = torch.tensor([1.0, 0.5, 0.4, 0.1]), torch.tensor([False, False, True, True])
    # Kept ones score 0.75 on average: dropped ones get 0.375, and 0.775 passes 0.5 where 0.4 does not.
    assert rule.choose(kl, kl, generator(), dropped=dropped).tolist() == [True, False, True, False]
    assert MaskRule(mask="kl", keep=2).choose(kl, kl, generator(), dropped=dropped).tolist() == [
        True,
        True,
        False,
        False,
    ]


def test_collapse_is_one_answer_to_several_classes():
    labels = torch.tensor([0, 1, 2, 0])
    assert "all 4 images class 2" in collapse(torch.full((4,), 2), labels)
    assert collapse(torch.tensor([2, 2, 2, 1]), labels) is None
    assert collapse(torch.zeros(4, dtype=torch.long), torch.zeros(4, dtype=torch.long)) is None


def test_what_is_left_open_follows_the_image():
    small, gray, color = (1, 16, 16), (1, 28, 28), (3, 32, 32)
    open_recipe = Recipe()
    assert [open_recipe.blocks_for(shape) for shape in (small, color)] == [0, 1]
    assert [open_recipe.widths_for(shape) for shape in (small, color)] == [(32, 32), (24, 32)]
    assert Recipe(width=8).widths_for(color) == (8, 8)
    assert Recipe(width=8, decoder_width=5).widths_for(small) == (8, 5)
    assert [open_recipe.augment_for(shape) for shape in (small, gray, color)] == ["none", "shift", "mirror-shift"]
    assert [open_recipe.keep_epoch_for(shape) for shape in (small, color)] == ["last", "best"]
    assert [open_recipe.fast_for(shape) for shape in (small, color)] == [False, True]
    assert [open_recipe.head_weight_for(shape) for shape in (small, color)] == [0.0, 1.0]
    # Said out loud, zero and no are answers, and not left open.
    assert Recipe(blocks=0, fast=False, head_weight=0.0).blocks_for(color) == 0
    assert Recipe(fast=False).fast_for(color) is False
    assert Recipe(head_weight=0.0).head_weight_for(color) == 0.0
