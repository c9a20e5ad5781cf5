"""Steps through which no derivative passes: found and named in the graph, or counted as the identity on request."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_FLAT = ("round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "heaviside", "floordivide", "histc", "bucketize")
"""Functions whose derivative is zero wherever it exists."""

_ROUNDING = frozenset(
    function
    for name in ("round", "floor", "ceil", "trunc", "fix")
    for function in (getattr(torch, name), getattr(Tensor, name), getattr(Tensor, f"{name}_"))
)


def zero_gradient_steps(values: Tensor) -> tuple[str, ...]:
    """Names of the steps on the way to some values whose derivative is zero almost everywhere, in their order."""
    found: dict[str, None] = {}
    seen, stack = set(), [values.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        name = re.sub(r"Backward\d*$", "", node.name()).lower()
        if name in _FLAT:
            found[name] = None
        stack.extend(parent for parent, _ in node.next_functions)
    return tuple(reversed(found))


def explain_no_gradient(values: Tensor) -> str:
    """Why values that were computed from images do not depend on them differentiably."""
    if not values.is_floating_point():
        kind = str(values.dtype).removeprefix("torch.")
        return f"not differentiable: the result is {kind}, and a cast to it passes no derivative"
    return (
        "not differentiable: no gradient leads from the result to the image (a comparison, argmax, a cast to integers, "
        "detach, no_grad or numpy on the way)"
    )


class StraightThrough(TorchFunctionMode):
    """Inside, rounding steps (round, floor, ceil, trunc) pass derivatives as if they were the identity.

    Source: Bengio, Léonard, Courville, Estimating or propagating gradients through stochastic neurons for conditional
    computation, 2013, arXiv 1308.3432.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a torch function; rounding becomes x + constant."""
        options = dict(kwargs or {})
        x = args[0] if args else options.get("input")
        if func not in _ROUNDING or not isinstance(x, Tensor) or not x.requires_grad:
            return func(*args, **options)
        if getattr(func, "__name__", "").endswith("_"):
            with torch.no_grad():
                step = func(x.detach().clone(), *args[1:], **options) - x
            return x.add_(step)
        with torch.no_grad():
            step = func(*args, **options) - x
        return x + step
