"""What the target's first layer hears least is left out (obfuscation by singular vectors)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from vfc.defense import DEFENSES, Defense, FitData
from vfc.defenses.noise.first_layer import FirstLayer
from vfc.defenses.noise.projection import FORMS, Subspace, count_of, require_keep
from vfc.defenses.support import require_choice, require_fitted
from vfc.release import Release

RANKINGS = ("energy", "gain")


@DEFENSES.register("svd", sweep={"keep": (0.05, 0.2, 0.5)})
@dataclass(frozen=True, kw_only=True)
class SingularDirections(Defense):
    """Publishes an image's part along the top right singular vectors of the target's first layer; the rest is dropped.

    What lies in the layer's null space goes without any loss; then the faintest directions go. Training is not needed
    and no label is used. Images are taken relative to the mean of the defender's images.

    Threat model (the paper's): attributes that the task does not need, against attackers who see what is published.
    Known breaks: what is kept is kept undisturbed, so probes read from it whatever the directions carry, and a linear
    decoder rebuilds the rest as far as it correlates; nothing adapts to any attribute.
    Cost: one eigendecomposition of a matrix as large as an image has values; one matrix product per image.

    Args:
        keep: how many directions: a share of an image's values in (0, 1], or a count (an integer).
        ranking: `gain` (singular value) or `energy` (singular value times the deviation of images along the vector,
            so that dropping changes the layer's outputs least on average). Ours.
        form: `image` (projected back; unbounded) or `vector` (the coefficients, which is what the paper sends).

    Source: Samragh, Hosseini, Triastcyn, Azarian, Soriaga, Koushanfar, "Unsupervised information obfuscation for split
    inference of neural networks", 2021, arXiv 2104.11413; there at any layer, here at the image.
    """

    keep: float | int = 0.5
    ranking: str = "energy"
    form: str = "image"
    fitted: Subspace | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_keep(self.keep)
        require_choice("ranking", self.ranking, RANKINGS)
        require_choice("form", self.form, FORMS)

    def fit(self, data: FitData, generator: torch.Generator) -> SingularDirections:  # noqa: ARG002
        """Decompose the first layer; no randomness.

        Raises:
            NotApplicableError: the target has no first layer behind an affine map.
        """
        shape = tuple(data.images.shape[1:])
        layer = FirstLayer.of(data.target, shape)
        flat = data.images.flatten(1).double()
        mean, worth = flat.mean(0), layer.gains
        if self.ranking == "energy":
            worth = worth * ((flat - mean) @ layer.directions.to(flat).T).square().mean(0).sqrt().to(worth)
        kept = worth.argsort(descending=True, stable=True)[: count_of(self.keep, len(worth))]
        basis = layer.directions[kept].float().cpu()
        return self._replace(target=data.target, fitted=Subspace(mean=mean.float().cpu(), basis=basis, shape=shape))

    def publish(self, x: Float[Tensor, "n c h w"], generator: torch.Generator) -> Release:  # noqa: ARG002
        """Coefficients, or the images that have no others."""
        return Release(values=require_fitted(self.fitted, "svd").published(x, self.form))

    def predict(self, values: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n classes"] | None:
        """The target's logits on the projected images."""
        return super().predict(require_fitted(self.fitted, "svd").read(values, self.form))

    def state(self) -> dict[str, Tensor]:
        """Mean and directions."""
        return require_fitted(self.fitted, "svd").state()

    def with_state(self, state: Mapping[str, Tensor], target: nn.Module) -> SingularDirections:
        """The same directions again."""
        return self._replace(target=target, fitted=Subspace.from_state(state))
