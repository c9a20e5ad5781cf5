"""How VFC is trained: what moves, what comes back, which epoch is kept, and what is refused."""

import copy
import math

import pytest
import torch
from torch import nn

from vfc.core import trainer
from vfc.core.network import Network
from vfc.core.recipe import Recipe
from vfc.core.suitability import require_suitable
from vfc.core.trainer import Examples, train, watch_steps
from vfc.defense import FitData
from vfc.defenses.bottleneck.vfc import VFC
from vfc.errors import UserError
from vfc.seeding import seeded

SHAPE = (1, 8, 8)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def examples(count=48):
    """Three classes of images that differ in which rows are bright."""
    labels = torch.arange(count) % 3
    images = 0.3 * torch.rand(count, *SHAPE, generator=generator(1))
    for row, label in enumerate(labels.tolist()):
        images[row, :, 2 * label : 2 * label + 3] += 0.6
    return images, labels


class Rows(nn.Module):
    """A classifier that is right about `examples`: the class whose rows are brightest. It counts its calls."""

    def __init__(self):
        super().__init__()
        self.scale, self.calls = nn.Parameter(torch.tensor(10.0)), 0

    def forward(self, x):
        self.calls += 1
        rows = x.mean((1, 3))
        return self.scale * torch.stack([rows[:, 2 * label : 2 * label + 3].mean(1) for label in range(3)], dim=1)


def network(recipe):
    return seeded(lambda: Network(SHAPE, recipe), generator())


def recipe(**settings):
    return Recipe(**{"latent": 6, "width": 4, "batch": 16, "epochs": 4, **settings})


def trained(seed=0, validation=None, **settings):
    rule, (images, labels) = recipe(**settings), examples()
    net = network(rule)
    return net, train(net, Rows(), images, labels, rule, generator(seed), validation=validation)


def data(target, **changes):
    images, labels = examples(210)
    fields = {"images": images, "labels": labels, "validation_images": images[:9], "validation_labels": labels[:9]}
    return FitData(**{**fields, "num_classes": 3, "target": target, **changes})


def test_no_average_changes_nothing_and_one_does():
    last, averaged = trained()[0], trained(averaging=0.9)[0]
    assert not torch.equal(last.encoder.head.weight, averaged.encoder.head.weight)
    assert torch.equal(last.encoder.head.weight, trained(averaging=0.0)[0].encoder.head.weight)


def test_dropped_dimensions_keep_what_they_knew_unless_the_kl_holds_them():
    """With the KL of all dimensions in the loss, nothing else acts on a dropped one, and it falls to the prior."""
    settings = {"epochs": 20, "warmup": 0.3, "mask_period": 100, "keep": 2, "beta": 0.02, "batch": 8, "lr": 0.01}
    left = {}
    for over in ("kept", "all"):
        net, _ = trained(kl_over=over, **settings)
        kl = net(examples()[0], generator(), sample=False)[1].mean(0)
        left[over] = kl[~net.mask.kept].mean().item()
    assert left["all"] < 0.5 * left["kept"]


def test_a_course_counts_what_came_back(monkeypatch):
    masks = iter([[1, 1, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0]])
    monkeypatch.setattr(
        trainer, "update_mask", lambda net, *_: net.mask.kept.copy_(torch.tensor(next(masks), dtype=torch.bool))
    )
    _, course = trained(warmup=0.25, mask_period=1)
    assert [epoch.returned for epoch in course.epochs] == [0, 0, 2, 0]


def test_saliency_may_be_taken_at_the_whole_latent():
    gradients = {}
    for point in ("masked", "unmasked"):
        net = network(recipe(saliency_at=point)).eval()
        net.mask.kept[:3] = False
        trainer.update_mask(net, Rows(), *examples(), generator())
        gradients[point] = net.mask.gradient
    assert not torch.allclose(gradients["masked"], gradients["unmasked"])


@pytest.mark.parametrize(("keep_epoch", "kept"), [("best", 4), ("last", 5)])
def test_the_epoch_that_is_kept(monkeypatch, keep_epoch, kept):
    """Epochs without a mask are not even looked at."""
    accuracies = iter([0.7, 0.9, 0.8])
    monkeypatch.setattr(trainer, "served", lambda *_: next(accuracies))
    states = []
    settings = {"epochs": 5, "warmup": 0.4, "keep_epoch": keep_epoch}
    with watch_steps(lambda net, step, _: states.append(copy.deepcopy(net.state_dict())) if step % 3 == 0 else None):
        images, labels = examples()
        net, course = trained(validation=Examples(images=images[:9], labels=labels[:9]), **settings)
    assert course.kept == kept
    assert all(torch.equal(value, states[kept][name]) for name, value in net.state_dict().items())
    expected = [None, None, 0.7, 0.9, 0.8] if keep_epoch == "best" else [None] * 5
    assert [epoch.accuracy for epoch in course.epochs] == expected


def spoiled(monkeypatch, after):
    """From some step on, the loss is not a number."""
    loss, calls = trainer.vfc_loss, []

    def spoil(*arguments):
        calls.append(1)
        return loss(*arguments) * (math.nan if len(calls) > after else 1.0)

    monkeypatch.setattr(trainer, "vfc_loss", spoil)


def test_a_loss_that_diverges_late_keeps_the_last_good_state(monkeypatch):
    spoiled(monkeypatch, after=10)
    with pytest.warns(UserWarning, match="epoch 4: epoch 3 was kept"):
        net, course = trained(epochs=5, warmup=0.2)
    assert (course.kept, len(course.epochs)) == (3, 3)
    assert "finite" in course.ended
    assert all(bool(value.isfinite().all()) for value in net.state_dict().values())
    assert not net.training


def test_a_loss_that_diverges_before_the_mask_is_on_leaves_nothing(monkeypatch):
    spoiled(monkeypatch, after=2)
    with pytest.raises(UserError, match="stay finite"):
        trained(epochs=5, warmup=0.6)


def test_a_head_start_does_not_ask_the_target():
    calls = {}
    for share in (0.0, 0.5):
        rule, (images, labels), target = recipe(head_start=share, mask="none"), examples(), Rows()
        done = {}

        def look(_, step, __, target=target, done=done):
            done[step] = target.calls

        with watch_steps(look):
            train(network(rule), target, images, labels, rule, generator())
        calls[share] = done
    # Four epochs of three steps; the head must know how many classes there are, which takes one call.
    assert calls[0.0][6] - calls[0.0][0] == 6
    assert calls[0.5][6] - calls[0.5][0] == 0
    assert calls[0.5][12] - calls[0.5][6] >= 6


def test_a_head_teaches_the_encoder_and_is_not_deployed():
    without, beside = trained()[0], trained(head_weight=1.0)[0]
    assert set(without.state_dict()) == set(beside.state_dict())
    assert not torch.equal(without.encoder.head.weight, beside.encoder.head.weight)


def test_gradients_are_clipped_to_the_norm_that_was_asked_for():
    norms = {0.0: [], 0.01: []}
    for clip, seen in norms.items():
        rule, (images, labels) = recipe(clip=clip), examples()

        def look(net, step, _, seen=seen):
            if step:
                seen.append(float(torch.stack([each.grad.norm() for each in net.parameters()]).norm()))

        with watch_steps(look):
            train(network(rule), Rows(), images, labels, rule, generator())
    assert max(norms[0.01]) <= 0.01 * 1.001
    assert max(norms[0.0]) > 0.1


def test_the_largest_beta_that_costs_little_is_kept(monkeypatch):
    held, betas = {0.3: 0.5, 0.1: 0.895, 0.01: 0.9}, []
    monkeypatch.setattr(
        "vfc.defenses.bottleneck.vfc.train", lambda _net, _t, _x, _y, rule, *_, **__: betas.append(rule.beta)
    )
    monkeypatch.setattr("vfc.defenses.bottleneck.vfc.served", lambda *_: held[betas[-1]])
    chosen = VFC(latent=4, width=4, betas=(0.01, 0.3, 0.1)).fit(data(Rows()), generator())
    assert betas == [0.3, 0.1, 0.01]
    assert (chosen.beta, chosen.betas) == (0.1, ())
    assert VFC(latent=4, width=4, betas=(0.01, 0.3), slack=0.5).fit(data(Rows()), generator()).beta == 0.3


def test_a_mask_is_computed_on_as_many_images_as_were_asked_for(monkeypatch):
    seen = []
    monkeypatch.setattr(
        trainer, "update_mask", lambda _n, _t, images, labels, _g: seen.append((len(images), len(labels)))
    )
    trained(mask_images=7, warmup=0.5)
    assert seen == [(7, 7)]


class Picky(Rows):
    def forward(self, x):
        if x.shape[2] != 9:
            raise RuntimeError("expected sides of 9")
        return super().forward(x)


class Wrong(Rows):
    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, x):
        return self.change(super().forward(x))


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (Picky(), "sides of 9"),
        (Wrong(lambda logits: logits[:, :2]), "tell 3 classes apart, got 2"),
        (Wrong(lambda logits: logits.sum()), "logits \\(n, 3\\) from the target"),
        (Wrong(lambda logits: logits.roll(1, dims=1)), "better than chance.*normalization"),
        (Wrong(lambda logits: logits * math.nan), "finite logits"),
        (Wrong(lambda logits: {"logits": logits}), "from the target, got dict"),
    ],
)
def test_a_target_that_cannot_be_served_is_named_before_training(target, said):
    target.train()
    with pytest.raises(UserError, match=said):
        VFC(latent=4, width=4).fit(data(target), generator())
    assert target.training


def test_few_images_cannot_tell_chance_from_a_weak_target():
    wrong = Wrong(lambda logits: logits.roll(1, dims=1))
    require_suitable(wrong, *examples(199 - 199 % 3), 3)
    with pytest.raises(UserError, match="chance"):
        require_suitable(wrong, *examples(201), 3)


def test_a_target_in_train_mode_is_served_in_eval_mode_and_given_back():
    target = nn.Sequential(nn.Dropout(0.999), Rows()).train()
    require_suitable(target, *examples(), 3)
    assert target.training
    assert target[0].training
