import pytest
import torch
from torch import nn

from vfc.core.split import SplitAt, cut_points, middle_layer, shape_after
from vfc.core.turns import Pace, Turn, train_by_turns
from vfc.errors import UserError
from vfc.models import build_model


def zoo(name, side=16):
    generator = torch.Generator().manual_seed(0)
    model = build_model(
        name, channels=1, side=side, num_classes=10, width=0.25, mean=[0.3], std=[0.3], generator=generator
    )
    # Statistics and weights as after training, so that a dropped normalization would show.
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.running_mean.uniform_(-1, 1, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    return model.eval()


def images(channels=1, side=16):
    return torch.rand(3, channels, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["cnn", "mlp", "vgg11", "resnet20", "resnet18", "densenet121", "mobilenetv2"])
def test_head_of_encoder_is_the_network(name):
    model, x = zoo(name), images()
    points = cut_points(model)
    assert len(points) > 5
    for layer in {points[0], points[len(points) // 3], middle_layer(model), points[-1]}:
        parts = SplitAt(model, layer).eval()
        assert torch.equal(parts(x), model(x)), layer
        before, after = ({id(each) for each in part.parameters()} for part in (parts.encoder, parts.head))
        assert not before & after
        assert before | after == {id(each) for each in model.parameters()}


def test_any_network_splits_at_a_named_layer():
    from torchvision.models import resnet18

    torch.manual_seed(0)
    model, x, seen = resnet18(num_classes=10).eval(), images(3, 32), []
    model.layer2.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    logits = model(x)
    parts = SplitAt(model, "layer2").eval()
    assert torch.equal(parts.encoder(x), seen[0])
    assert torch.equal(parts.head(seen[0]), logits)
    assert shape_after(parts.encoder, (3, 32, 32)) == tuple(seen[0].shape[1:])


def test_the_default_is_the_middle_with_its_pooling():
    assert middle_layer(zoo("cnn")) == "body.7"
    with pytest.raises(UserError, match="can be cut"):
        middle_layer(nn.Linear(3, 3))


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.last = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.layer(self.layer(x)))


class Branching(Twice):
    def forward(self, x):
        return self.last(self.layer(x)) if x.sum() > 0 else self.layer(x)


@pytest.mark.parametrize(
    ("model", "layer", "words"),
    [
        (Twice(), "layer", "2 times"),
        (Twice(), "lager", "layers where it can be cut"),
        (Branching(), "layer", "cannot look into Branching"),
    ],
)
def test_what_cannot_be_cut_is_said(model, layer, words):
    with pytest.raises(UserError, match=words):
        SplitAt(model, layer)


def test_what_goes_round_a_layer_is_said():
    from torchvision.models import resnet18

    model = resnet18(num_classes=10)
    with pytest.raises(UserError, match="goes round"):
        SplitAt(model, "layer2.0.conv1")
    assert "layer2.0" in cut_points(model)
    assert not any(".conv" in name for name in cut_points(model))


def learner(value):
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, value)
    return module


def play(turns, lr=0.1, epochs=100):
    x, y = torch.ones(8, 1, 1, 1), torch.zeros(8, dtype=torch.long)
    train_by_turns(turns, x, y, None, Pace(epochs=epochs, batch=4, lr=lr), torch.Generator().manual_seed(0))


def test_players_by_turns_reach_the_saddle_point():
    # min over a, max over b of a^2 / 2 + a b - b^2 / 2 - a: the gradients vanish at a = b = 1/2.
    a, b = learner(3.0), learner(-2.0)

    def game():
        p, q = a.weight.sum(), b.weight.sum()
        return p * p / 2 + p * q - q * q / 2 - p

    play([Turn(name="b", learns=[b], loss=lambda _: -game()), Turn(name="a", learns=[a], loss=lambda _: game())])
    assert float(a.weight.detach()) == pytest.approx(0.5, abs=0.01)
    assert float(b.weight.detach()) == pytest.approx(0.5, abs=0.01)


def test_a_loss_that_diverges_and_a_player_without_weights_are_named():
    a = learner(1.0)
    with pytest.raises(UserError, match=r"loss of the reader .* nan"):
        play([Turn(name="reader", learns=[a], loss=lambda _: (a.weight - 5).sum().log())])
    with pytest.raises(UserError, match="encoder can train"):
        play([Turn(name="encoder", learns=[nn.Flatten()], loss=lambda _: a.weight.sum())])
