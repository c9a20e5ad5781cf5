"""Principal components of the defender's images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from vfc.defense import DEFENSES, Defense, FitData
from vfc.defenses.noise.projection import FORMS, Subspace, count_of, require_keep
from vfc.defenses.support import require_choice, require_fitted
from vfc.release import Release


@DEFENSES.register("pca", sweep={"keep": (8, 16, 64)})
@dataclass(frozen=True, kw_only=True)
class PrincipalComponents(Defense):
    """Publishes the leading principal components of an image, as a vector or projected back to an image.

    It drops what varies least over the defender's images, which is little of what anybody would recognize: of all
    encodings with k numbers it is the one from which images are rebuilt best (in squared error, linearly).

    Threat model: none is claimed; a baseline. Known breaks: projecting back is the reconstruction; probes read the
    components as well as the target does. Cost: one singular value decomposition; one matrix product per image.

    Args:
        keep: how many components: a share of an image's values in (0, 1], or a count (an integer).
        form: `image` (projected back; not clipped, so unbounded) or `vector` (the components).

    Source: Pearson, 1901; Hotelling, 1933; as a privacy baseline a folklore.
    """

    keep: float | int = 16
    form: str = "image"
    fitted: Subspace | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_keep(self.keep)
        require_choice("form", self.form, FORMS)

    def fit(self, data: FitData, generator: torch.Generator) -> PrincipalComponents:  # noqa: ARG002
        """Decompose; no randomness. No more components than images are kept."""
        flat = data.images.flatten(1).double()
        mean = flat.mean(0)
        _, _, directions = torch.linalg.svd(flat - mean, full_matrices=False)
        kept = directions[: count_of(self.keep, flat.shape[1])]
        shape = tuple(data.images.shape[1:])
        space = Subspace(mean=mean.float().cpu(), basis=kept.float().cpu(), shape=shape)
        return self._replace(target=data.target, fitted=space)

    def publish(self, x: Float[Tensor, "n c h w"], generator: torch.Generator) -> Release:  # noqa: ARG002
        """Components, or the images that have no others."""
        return Release(values=require_fitted(self.fitted, "pca").published(x, self.form))

    def predict(self, values: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n classes"] | None:
        """The target's logits on the projected images."""
        return super().predict(require_fitted(self.fitted, "pca").read(values, self.form))

    def state(self) -> dict[str, Tensor]:
        """Mean and components."""
        return require_fitted(self.fitted, "pca").state()

    def with_state(self, state: Mapping[str, Tensor], target: nn.Module) -> PrincipalComponents:
        """The same components again."""
        return self._replace(target=target, fitted=Subspace.from_state(state))
