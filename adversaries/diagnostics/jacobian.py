"""Jacobians of any differentiable map of images, whole or as products with vectors.

Axes: n images, k copies of an image, q vectors, d inputs (values of an image), m outputs. J is (m, d), one per image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from adversaries.diagnostics.steps import explain_no_gradient, zero_gradient_steps
from vfc.errors import NotApplicableError

Function = Callable[[Tensor], Tensor]
"""A batch of images (n, c, h, w) to one row of floats per image (n, ...); no row may depend on another image."""

MEMORY = 2**30
"""Bytes that graphs and Jacobians may take, unless said otherwise."""

MOST_COPIES = 64
"""More copies of an image in one backward pass save no time on a processor (see benchmarks/spectra.py)."""

_PRODUCTS_PER_COPY = 8

_OVERHEAD = 3
"""A backward pass holds about this many times what its graph saved."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How whole Jacobians are computed.

    Args:
        side: `outputs`: a vector-Jacobian product for every output; `inputs`: a Jacobian-vector product per input.
        strategy: `copies`: one backward pass through a batch of copies of the image serves as many rows; `rows`: one
            row of several images at once, for maps of few outputs and for those that draw random numbers; `vmap`: the
            same, several rows at once.
        width: copies, or images at once.
    """

    side: str
    strategy: str
    width: int

    @property
    def words(self) -> str:
        """As a report says it."""
        product = "vjp" if self.side == "outputs" else "jvp"
        held = "images" if self.strategy != "copies" else "copies"
        return (
            f"{product} over {self.side}, {self.strategy}, {self.width} {held} at once" if self.width > 1 else product
        )


class Linearization:
    """A function at some images, with its graph kept, so that products with its Jacobians cost one pass each.

    Args:
        function: the map.
        images: where, shape (n, ...).
        copies: how often every image is repeated in the batch: that many vectors are multiplied in one pass.
        batched: multiply several vectors in one pass by `vmap` instead.

    Raises:
        NotApplicableError: the map has no derivative, mixes the images of a batch, or publishes no finite floats.
    """

    def __init__(
        self, function: Function, images: Float[Tensor, "n ..."], *, copies: int = 1, batched: bool = False
    ) -> None:
        self.count, self.copies, self.batched = len(images), copies, batched
        images = images.detach()
        self._leaf = (images.repeat_interleave(copies, 0) if copies > 1 else images.clone()).requires_grad_()
        with torch.enable_grad():
            # A clone, because a map may change its input in place, which a leaf does not allow.
            values = function(self._leaf.clone())
        if not values.is_floating_point() or not values.requires_grad:
            raise NotApplicableError(explain_no_gradient(values))
        if len(values) != len(self._leaf):
            raise NotApplicableError(f"{len(self._leaf)} images became {len(values)} rows, so rows are not images")
        steps = zero_gradient_steps(values)
        if steps:
            raise NotApplicableError(
                f"not differentiable: {', '.join(steps)} (its derivative is zero almost everywhere, which is not "
                "what the step lets through; straight-through counts it as the identity)"
            )
        self._values = values.flatten(1)
        if not bool(torch.isfinite(self._values).all()):
            raise NotApplicableError("the map gives NaN or infinite numbers")
        self.inputs, self.outputs, self.dtype = self._leaf[0].numel(), self._values.shape[1], values.dtype
        self._dual: tuple[Tensor, Tensor] | None = None

    def pull(self, vectors: Float[Tensor, "n q m"]) -> Float[Tensor, "n q d"]:
        """J'u for q vectors u of every image."""
        return self._spread(vectors, lambda v: self._grad(self._values, self._leaf, v), self.inputs)

    def rows(self, start: int, stop: int) -> Float[Tensor, "n q d"]:
        """Rows `start` to `stop` of every image's Jacobian, one pass each, without copies; faster than `pull`."""
        units = torch.zeros(stop - start, 1, self.outputs, dtype=self.dtype, device=self._leaf.device)
        units[:, 0, start:stop].fill_diagonal_(1)
        passes = (_gradient(self._values, self._leaf, unit.expand_as(self._values)) for unit in units)
        return torch.stack([found.flatten(1) for found in passes], 1)

    def push(self, vectors: Float[Tensor, "n q d"]) -> Float[Tensor, "n q m"]:
        """Jv for q vectors v of every image: J'u is linear in u, and its derivative is J.

        Raises:
            NotApplicableError: some step has no second derivative.
        """
        if self._dual is None:
            zero = torch.zeros_like(self._values, requires_grad=True)
            pulled = _gradient(self._values, self._leaf, zero, create_graph=True)
            if not pulled.requires_grad:
                raise NotApplicableError("the backward pass of some step has no derivative of its own")
            self._dual = (pulled.flatten(1), zero)
        pulled, zero = self._dual
        return self._spread(vectors, lambda v: self._grad(pulled, zero, v), self.outputs)

    def _spread(
        self, vectors: Float[Tensor, "n q a"], product: Callable[[Tensor], Tensor], size: int
    ) -> Float[Tensor, "n q b"]:
        """Feed q vectors per image in portions that the graph can take; the last portion is filled with zeros."""
        count, q, _ = vectors.shape
        if self.batched:
            return product(vectors.transpose(0, 1)).reshape(q, count, size).transpose(0, 1)
        pieces = []
        for portion in torch.split(vectors, self.copies, dim=1):
            held = portion.shape[1]
            if held < self.copies:
                portion = torch.cat([portion, portion.new_zeros(count, self.copies - held, portion.shape[2])], 1)
            result = product(portion.reshape(count * self.copies, -1))
            pieces.append(result.reshape(count, self.copies, size)[:, :held])
        return torch.cat(pieces, 1)

    def _grad(self, outputs: Tensor, inputs: Tensor, vectors: Tensor) -> Tensor:
        return _gradient(outputs, inputs, vectors.to(outputs.dtype), is_grads_batched=self.batched)


def _gradient(outputs: Tensor, inputs: Tensor, vectors: Tensor, **options: bool) -> Tensor:
    """`torch.autograd.grad` of what may not depend on its inputs; what autograd cannot do is not applicable."""
    try:
        (result,) = torch.autograd.grad(
            outputs, inputs, vectors, retain_graph=True, allow_unused=True, materialize_grads=True, **options
        )
    except (RuntimeError, NotImplementedError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        message = " ".join(str(error).split())
        reason = "an in-place operation overwrote what the derivative needs" if "inplace" in message else message
        raise NotApplicableError(f"the map cannot be differentiated: {reason[:200]}") from error
    return result


def check_rows(function: Function, images: Float[Tensor, "n ..."]) -> None:
    """Raise `NotApplicableError` if an image's row depends on the images beside it (BatchNorm in train mode does)."""
    if len(images) < 2:
        return
    leaf = images[:2].detach().clone().requires_grad_()
    with torch.enable_grad():
        first = function(leaf.clone())[0].flatten()
    if first.requires_grad:
        gradient = _gradient(first, leaf, torch.linspace(1, 2, len(first)).to(first))
        if bool(gradient[1].count_nonzero()):
            raise NotApplicableError("the row of an image depends on the images beside it: there is no Jacobian of one")


def graph_bytes(function: Function, image: Float[Tensor, "1 ..."]) -> int:
    """Bytes that every further image adds to a graph; weights are there once and do not count."""

    def saved(images: Tensor) -> int:
        storages: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            values = function(images.detach().clone().requires_grad_().clone())
        return sum(storages.values()) + values.numel() * values.element_size()

    return max(image.numel() * image.element_size(), saved(torch.cat([image, image])) - saved(image))


def images_that_fit(function: Function, image: Float[Tensor, "1 ..."], memory: int) -> int:
    """How many images can be in one graph that takes half of the memory, at least one."""
    return max(1, memory // 2 // (graph_bytes(function, image) * _OVERHEAD))


def plan(
    function: Function, images: Float[Tensor, "n ..."], outputs: int, *, memory: int = MEMORY, repeatable: bool = True
) -> Plan:
    """Choose how to compute whole Jacobians, by shape and device; the same choice every time.

    Args:
        function, images: the map and where.
        outputs: its number m of outputs.
        memory: bytes that may be used.
        repeatable: whether the map does the same to every copy of an image; not so for one that draws random numbers.
    """
    inputs = images[0].numel()
    # A product with J takes about twice the time of one with J'.
    side = "outputs" if outputs <= 2 * inputs else "inputs"
    products = outputs if side == "outputs" else inputs
    if repeatable:
        most = MOST_COPIES if images.device.type == "cpu" else 8 * MOST_COPIES
        # Every copy costs a forward pass of its own, which must be little beside the products.
        width = min(most, products // _PRODUCTS_PER_COPY)
        if width > 1:
            fits = images_that_fit(function, images[:1], memory)
            return Plan(side=side, strategy="copies", width=min(width, fits))
        if len(images) == 1:
            return Plan(side=side, strategy="rows", width=1)
    fits = images_that_fit(function, images[:1], memory)
    held = outputs * inputs * images.element_size()
    strategy = "rows" if repeatable or images.device.type == "cpu" else "vmap"
    return Plan(side=side, strategy=strategy, width=max(1, min(fits, memory // 2 // held, len(images), MOST_COPIES)))


def jacobians(function: Function, images: Float[Tensor, "n ..."], how: Plan) -> Iterator[Float[Tensor, "m d"]]:
    """The Jacobian of every image, one after the other.

    Raises:
        NotApplicableError: the map has no derivative.
    """
    copies, group = (how.width, 1) if how.strategy == "copies" else (1, how.width)
    for some in torch.split(images, group):
        line = Linearization(function, some, copies=copies, batched=how.strategy == "vmap")
        size, across = (line.outputs, line.inputs) if how.side == "outputs" else (line.inputs, line.outputs)
        by_rows = how.side == "outputs" and copies == 1 and not line.batched
        if by_rows and size <= MOST_COPIES:
            yield from line.rows(0, size)
            continue
        whole = torch.empty(len(some), size, across, dtype=line.dtype, device=some.device)
        step = copies if how.strategy == "copies" else (MOST_COPIES if line.batched or by_rows else 1)
        for start in range(0, size, step):
            stop = min(size, start + step)
            if by_rows:
                whole[:, start:stop] = line.rows(start, stop)
                continue
            units = torch.zeros(len(some), stop - start, size, dtype=line.dtype, device=some.device)
            units[:, torch.arange(stop - start), torch.arange(start, stop)] = 1
            whole[:, start:stop] = line.pull(units) if how.side == "outputs" else line.push(units)
        yield from whole if how.side == "outputs" else whole.mT
