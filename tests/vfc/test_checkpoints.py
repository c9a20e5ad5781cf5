"""Which steps are kept, that keeping changes nothing, and what damaged folders say."""

import itertools

import pytest
import torch
from torch import nn

from vfc.artifact import save_json
from vfc.checkpoints import Keeper, copy_checkpoints, kept, schedule
from vfc.core.trainer import watch_steps
from vfc.defense import DEFENSES, FitData
from vfc.errors import UserError
from vfc.models import build_model
from vfc.training import TrainSettings, train_classifier


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 200, 1110])
@pytest.mark.parametrize("count", [2, 3, 12, 40])
def test_steps_rise_from_the_fresh_network_to_the_last(steps, count):
    found = schedule(steps, count)
    assert len(found) == min(count, steps + 1)
    assert (found[0], found[-1]) == (0, steps)
    assert all(a < b for a, b in itertools.pairwise(found))


def test_far_from_the_beginning_steps_grow_by_one_factor():
    found = schedule(10_000, 9)
    assert found == (0, *(round(10 ** (4 * i / 7)) for i in range(7)), 10_000)
    with pytest.raises(UserError, match="2 or more"):
        schedule(10, 1)


def small(generator):
    return build_model("mlp", channels=1, side=8, num_classes=3, width=0.1, mean=[0.5], std=[0.3], generator=generator)


def trained(on_step):
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(40, 1, 8, 8, generator=generator)
    labels = torch.randint(3, (40,), generator=generator)
    model = small(generator)
    hook = on_step(model) if on_step is not None else None
    train_classifier(model, images, labels, TrainSettings(steps=20, batch=16), generator, on_step=hook)
    return model


def test_keeping_changes_no_bit_and_the_last_state_is_the_model(tmp_path):
    keeper = Keeper(5)

    def watching(model):
        keeper.keep(model, 0, 20)
        return lambda step, _loss: keeper.keep(model, step + 1, 20)

    alone, watched = trained(None), trained(watching)
    for name, value in alone.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name])
    keeper.save(tmp_path, "target", {"members": ["aa"]}, extra={"shape": torch.tensor([1, 8, 8])})
    found = kept(tmp_path, "target")
    assert found.steps == (0, 1, 3, 7, 20)
    assert found.about["members"] == ["aa"]
    last = found.state(20)
    assert last.pop("shape").tolist() == [1, 8, 8]
    assert all(torch.equal(value, watched.state_dict()[name]) for name, value in last.items())
    fresh = small(torch.Generator().manual_seed(9))
    assert not torch.equal(found.state(0)["head.weight"], last["head.weight"])
    assert found.state(0).keys() - {"shape"} == fresh.state_dict().keys()
    copy_checkpoints(tmp_path, tmp_path / "copy")
    assert kept(tmp_path / "copy", "target").digests == found.digests


def test_a_training_of_vfc_can_be_watched_and_is_the_same():
    generator = torch.Generator().manual_seed(0)
    data = FitData(
        images=torch.rand(32, 1, 8, 8, generator=generator),
        labels=torch.randint(3, (32,), generator=generator),
        validation_images=torch.rand(4, 1, 8, 8, generator=generator),
        validation_labels=torch.zeros(4, dtype=torch.long),
        num_classes=3,
        target=small(generator).eval().requires_grad_(False),
    )
    defense = DEFENSES.get("vfc")(latent=4, epochs=3, batch=16, width=8)
    seen, keeper = [], Keeper(4)

    def watch(network, done, steps):
        seen.append((done, steps))
        keeper.keep(network, done, steps)

    with watch_steps(watch):
        watched = defense.fit(data, torch.Generator().manual_seed(1))
    alone = defense.fit(data, torch.Generator().manual_seed(1))
    assert seen == [(step, 6) for step in range(7)]
    assert all(torch.equal(value, watched.state()[name]) for name, value in alone.state().items())
    assert all(torch.equal(value, watched.fitted.state_dict()[name]) for name, value in keeper.states[6].items())
    assert len(seen) == 7, "outside nobody watches"


def test_folders_that_hold_too_little_say_so(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        kept(tmp_path / "nothing", "target")
    keeper = Keeper(3)
    for step in (0, 1, 4):
        keeper.keep(nn.Linear(2, 2), step, 4)
    assert sorted(keeper.states) == list(schedule(4, 3)) == [0, 1, 4]
    keeper.save(tmp_path, "target", {}, extra={})
    with pytest.raises(UserError, match="got those of target"):
        kept(tmp_path, "encoder")
    save_json({"steps": [0, 1], "part": "encoder"}, tmp_path / "encoder.json")
    with pytest.raises(UserError, match="3 or more checkpoints"):
        kept(tmp_path, "encoder")
    save_json({"steps": [0, 1, 9], "part": "target"}, tmp_path / "target.json")
    with pytest.raises(UserError, match="target-00000009"):
        kept(tmp_path, "target")
