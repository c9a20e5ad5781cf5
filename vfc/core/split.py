"""A network cut in two at a named layer: the part that runs before the release, and the part that reads it.

Axes: n images, c channels, h and w pixels, k classes.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from functools import reduce
from typing import Any

import torch
from torch import Tensor, fx, nn

from vfc.errors import UserError
from vfc.models import Classifier

_CONTAINERS = ("body", "body.features", "features")
"""Parts of classifiers that are looked into when a layer is to be found, beside every sequence of layers."""


class SplitAt(nn.Module):
    """Any network as encoder and head: `head(encoder(x))` is what the network computes, in eval mode bit for bit.

    Both parts share the network's own modules and parameters; split a copy to change them. Only the modules that
    contain the layer are traced, and the others are called as they are.

    Example:
        ```python
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.Linear(16, 10)).eval()
        parts = SplitAt(network, "1")
        logits = parts.head(parts.encoder(torch.rand(2, 1, 8, 8)))
        ```

    Args:
        model: the network; one tensor to one tensor.
        layer: dotted name of the layer whose output passes from encoder to head, such as `layer2` or `body.7`.

    Raises:
        UserError: there is no such layer, it runs never or twice, something passes it by, or the way to it depends on
            values and cannot be traced.
    """

    def __init__(self, model: nn.Module, layer: str) -> None:
        super().__init__()
        self.layer = layer
        chain = _chain(model)
        graph = _traced(chain, _To(layer))
        found = [node for node in graph.nodes if node.op == "call_module" and node.target == layer]
        if layer not in dict(chain.named_modules()) or not layer:
            names = ", ".join(cut_points(model)) or "none"
            raise UserError(f"expected a layer of the network, got {layer!r}", f"layers where it can be cut: {names}")
        if len(found) != 1:
            raise UserError(f"expected {layer} to run once in a network, got {len(found)} times", "name another layer")
        passing = _passing(graph, found[0])
        if passing:
            raise UserError(
                f"expected everything to pass through {layer}, got {passing[0]} that goes round it",
                "name a layer outside of residual blocks",
            )
        self.encoder, self.head = _halves(chain, graph, found[0])

    def forward(self, x: Tensor) -> Tensor:
        """Both parts, one after the other."""
        values: Tensor = self.head(self.encoder(x))
        return values


def cut_points(model: nn.Module) -> tuple[str, ...]:
    """Names of the layers of a network that everything passes through, in the order in which they run.

    Only sequences and the bodies of classifiers are looked into; the last layer with weights, and what follows it, is
    no such point, since it leaves nothing to the head.
    """
    chain = _chain(model)
    graph, modules = _traced(chain, _Containers()), dict(chain.named_modules())
    calls = [node for node in graph.nodes if node.op == "call_module"]
    once = [node for node in calls if sum(other.target == node.target for other in calls) == 1]
    weighted = [position for position, node in enumerate(once) if _has_matrix(modules[str(node.target)])]
    last = weighted[-1] if weighted else 0
    return tuple(str(node.target) for node in once[:last] if not _passing(graph, node))


def middle_layer(model: nn.Module) -> str:
    """The cut point in the middle of a network, after the normalization, activation and pooling that belong to it.

    Raises:
        UserError: the network can be cut nowhere.
    """
    points, modules = cut_points(model), dict(_chain(model).named_modules())
    if not points:
        raise UserError(f"expected a network that can be cut, got {type(model).__name__}", "name a layer")
    position = (len(points) + 1) // 2
    while position + 1 < len(points) and not _has_matrix(modules[points[position + 1]]):
        position += 1
    return points[min(position, len(points) - 1)]


class _To(fx.Tracer):
    """Sees the modules on the way to one layer from inside, and the others as single calls."""

    def __init__(self, layer: str) -> None:
        super().__init__()
        self.layer = layer

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002  (fx's signature)
        return not self.layer.startswith(f"{module_qualified_name}.")


class _Containers(fx.Tracer):
    """Sees sequences and bodies from inside."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not isinstance(m, nn.Sequential) and module_qualified_name not in _CONTAINERS


def _chain(model: nn.Module) -> nn.Module:
    """The same network in a form that can be traced: a classifier of ours is a sequence of three."""
    if not isinstance(model, Classifier):
        return model
    chain = nn.Sequential()
    for name in ("normalize", "body", "head"):
        chain.add_module(name, model.get_submodule(name))
    return chain


def _traced(model: nn.Module, tracer: fx.Tracer) -> fx.Graph:
    try:
        return tracer.trace(model)
    except Exception as error:  # whatever the network's own code raises when it meets a proxy
        raise UserError(
            f"cannot look into {type(model).__name__}: {type(error).__name__}: {str(error)[:200]}",
            "name a layer further outside, or write the network as a sequence",
        ) from error


def _before(node: fx.Node) -> set[fx.Node]:
    """All that a node depends on."""
    seen: set[fx.Node] = set()
    waiting = list(node.all_input_nodes)
    while waiting:
        each = waiting.pop()
        if each not in seen:
            seen.add(each)
            waiting += each.all_input_nodes
    return seen


def _passing(graph: fx.Graph, cut: fx.Node) -> list[str]:
    """What reaches the end without going through `cut`, constants aside."""
    early = {node for node in _before(cut) if node.op != "get_attr"}
    return [each.name for node in _after(graph, cut) for each in node.all_input_nodes if each in early]


def _after(graph: fx.Graph, cut: fx.Node) -> Iterator[fx.Node]:
    """What the network's output needs and is computed after `cut`."""
    output = next(node for node in reversed(graph.nodes) if node.op == "output")
    needed, early = _before(output) | {output}, _before(cut) | {cut}
    return (node for node in graph.nodes if node in needed and node not in early)


def _halves(chain: nn.Module, graph: fx.Graph, cut: fx.Node) -> tuple[fx.GraphModule, fx.GraphModule]:
    first, early = fx.Graph(), _before(cut) | {cut}
    places: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node in early:
            places[node] = first.node_copy(node, lambda other: places[other])
    first.output(places[cut])
    second = fx.Graph()
    copies: dict[fx.Node, Any] = {cut: second.placeholder("values")}
    for node in graph.nodes:
        if node.op == "get_attr" and node in early:
            copies[node] = second.node_copy(node)
    for node in _after(graph, cut):
        copies[node] = second.node_copy(node, lambda other: copies[other])
    return fx.GraphModule(chain, first), fx.GraphModule(chain, second)


def _has_matrix(module: nn.Module) -> bool:
    return any(parameter.ndim > 1 for parameter in module.parameters())


def values_in(shape: tuple[int, ...]) -> int:
    """How many values something of a shape has."""
    return reduce(operator.mul, shape, 1)


@torch.no_grad()
def shape_after(encoder: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of one encoded image, for images of shape (c, h, w); the encoder is left in eval mode.

    Raises:
        UserError: it returns no tensor with one row per image.
    """
    device = next((parameter.device for parameter in encoder.parameters()), torch.device("cpu"))
    values = encoder.eval()(torch.zeros(2, *shape, device=device))
    if not isinstance(values, Tensor) or values.ndim < 2 or len(values) != 2:
        raise UserError("expected a layer that returns one tensor row per image, got something else", "name another")
    return tuple(values.shape[1:])
