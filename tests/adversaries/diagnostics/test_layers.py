"""Taps on layers of any module."""

import pytest
import torch
from torch import nn

from adversaries.diagnostics.layers import LayerSettings, Tap, gray_as_color, layer_names, measure_layers
from vfc.errors import NotApplicableError, UserError


class Shared(nn.Module):
    """One in-place ReLU after two layers, a layer that returns a tuple, one that nobody calls."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(12, 10)
        self.relu = nn.ReLU(inplace=True)
        self.second = nn.Linear(10, 8)
        self.pair = Pair()
        self.unused = nn.Linear(3, 3)

    def forward(self, x):
        hidden = self.relu(self.first(x.flatten(1)))
        return self.pair(self.relu(self.second(hidden)))[1]


class Pair(nn.Module):
    def forward(self, x):
        return {"one": x + 1, "two": x * 2}["one"], x * 2


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Shared().eval()


@pytest.fixture
def images():
    return torch.rand(40, 1, 3, 4, generator=torch.Generator().manual_seed(0))


def test_an_output_is_taken_before_an_in_place_step_changes_it(model, images):
    with torch.no_grad():
        expected = model.first(images.flatten(1))
        assert float(expected.min()) < 0
        assert torch.equal(Tap(model, "first")(images), expected)


def test_a_layer_that_is_called_twice_gives_its_last_output(model, images):
    tap = Tap(model, "relu")
    with torch.no_grad():
        hidden = torch.relu(model.first(images.flatten(1)))
        assert torch.equal(tap(images), torch.relu(model.second(hidden)))
        assert torch.equal(Tap(model, "relu", call=1)(images), hidden)
    assert tap.call == 2


def test_ranks_of_layers_are_those_of_their_weights(model, images):
    before = images.clone()
    flags = [parameter.requires_grad for parameter in model.parameters()]
    model.train()
    found = measure_layers(
        model, images, ("first", "second", "pair", "unused"), torch.Generator().manual_seed(0),
        settings=LayerSettings(samples=3),
    )  # fmt: skip
    assert model.training
    assert flags == [parameter.requires_grad for parameter in model.parameters()]
    assert torch.equal(before, images)
    first, second, pair, unused = found
    singular = torch.linalg.svdvals(model.first.weight.detach().double())
    shares = singular**2 / (singular**2).sum()
    rank = first.values["leakage.jacobian.effective_rank"]
    assert rank.value == pytest.approx(float(torch.exp(-(shares * shares.log()).sum())), rel=1e-4)
    assert first.shape == (10,)
    assert first.values["leakage.dof.pca99"].value <= 10
    assert second.values["leakage.jacobian.rank@1e-3"].value <= 8
    assert any("several tensors" in note for note in pair.notes)
    assert "not called" in unused.values["leakage.jacobian.effective_rank"].reason


def test_a_layer_behind_rounding_names_it_unless_told_to_pass(images):
    class Rounds(nn.Module):
        def __init__(self):
            super().__init__()
            self.before, self.after = nn.Flatten(), nn.Identity()

        def forward(self, x):
            return self.after(self.before(x).round())

    found = measure_layers(Rounds(), images, ("before", "after"), torch.Generator())
    assert found[0].values["leakage.jacobian.effective_rank"].value == pytest.approx(12)
    assert "round" in found[1].values["leakage.jacobian.effective_rank"].reason
    passed = measure_layers(
        Rounds(), images, ("after",), torch.Generator(), settings=LayerSettings(straight_through=True)
    )
    assert passed[0].values["leakage.jacobian.effective_rank"].value == pytest.approx(12)


def test_patterns_stay_on_their_level(model):
    nested = nn.ModuleDict({"layer1": nn.Sequential(nn.Linear(1, 1), nn.ReLU()), "layer2": nn.ReLU(), "head": model})
    assert layer_names(nested, ["layer*"]) == ("layer1", "layer2")
    assert layer_names(nested, ["layer1.*", "head"]) == ("layer1.0", "layer1.1", "head")
    with pytest.raises(UserError, match="did you mean 'layer2'"):
        layer_names(nested, ["layr2"])
    with pytest.raises(UserError, match="without any"):
        layer_names(nn.ReLU(), ["*"])


def test_a_layer_without_a_tensor_has_no_output(images):
    class Nothing(nn.Module):
        def forward(self, x):
            return None

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.nothing = Nothing()

        def forward(self, x):
            self.nothing(x)
            return x

    with pytest.raises(NotApplicableError, match="no tensor"):
        Tap(Model(), "nothing")(images)


def test_gray_images_are_repeated_for_color_models_alone(images):
    assert gray_as_color(nn.Conv2d(3, 4, 3), images).shape == (40, 3, 3, 4)
    assert gray_as_color(nn.Conv2d(1, 4, 3), images) is None
    assert gray_as_color(nn.Linear(3, 4), images) is None


def test_torchvisions_resnet_is_tapped_where_its_own_code_says():
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    model = torchvision.models.resnet18().eval()
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    names = layer_names(model, ["layer*"])
    assert names == ("layer1", "layer2", "layer3", "layer4")
    with torch.no_grad():
        expected = model.layer1(model.maxpool(torch.relu(model.bn1(model.conv1(x)))))
        assert torch.equal(Tap(model, "layer1")(x), expected)
        raw = model.bn1(model.conv1(x))
        assert torch.equal(Tap(model, "bn1")(x), raw)
    found = measure_layers(model, x, ("layer4",), torch.Generator().manual_seed(0), settings=LayerSettings(samples=2))
    value = found[0].values["leakage.jacobian.rank@1e-3"]
    assert 1 <= value.value <= 512
