"""The section of what nobody attacked for: properties of the release.

The sidecar may hold `spectra/<layer>`, of shape (k,): mean singular values of a layer's Jacobian, at least 0.
"""

from __future__ import annotations

from typing import Literal

from reports.model.attempt_index import AttemptIndex
from reports.model.metric import Metric
from reports.model.pictures import Spectra, finite_numbers
from reports.model.section import SECTIONS, Arrays, Section


def _diagnostic(name: str, unit: str, meaning: str, diagnostic: Literal[1, -1] = 1, refuted: str = "") -> Metric:
    """A number that has no better way, and that `vfc predict` correlates with what attacks measured."""
    return Metric(
        name=f"leakage.{name}", better=None, unit=unit, meaning=meaning, diagnostic=diagnostic, refuted=refuted
    )


_METRICS = (
    _diagnostic("mse_bound", "mse", "smallest error of any reconstruction under the declared noise", -1, "bound.void"),
    _diagnostic("kl_nats", "nats", "divergence of the latent from the prior"),
    _diagnostic("intrinsic_dimension", "dimensions", "intrinsic dimension of releases"),
    _diagnostic("dof.effective", "dimensions", "exponential of the spectrum's entropy"),
    _diagnostic("dof.participation", "dimensions", "participation ratio of the spectrum"),
    _diagnostic("dof.ridge", "dimensions", "ridge degrees of freedom of the spectrum"),
    _diagnostic("dof.pca99", "dimensions", "principal components that hold 99 % of variance"),
    _diagnostic("jacobian.rank@1e-3", "dimensions", "singular values above 0.001 of the largest, mean"),
    _diagnostic("jacobian.effective_rank", "dimensions", "exponential of the entropy, mean"),
    _diagnostic("jacobian.stable_rank", "dimensions", "squared Frobenius / squared spectral norm, mean"),
)


@SECTIONS.register("leakage")
def leakage() -> Section:
    """Properties of the release; they inform and prove nothing."""
    return Section(
        protocol="leakage",
        title="Leakage without an attack",
        about="Properties of the release; they inform and prove nothing.",
        order=80,
        metrics=_METRICS,
        headlines=("leakage.mse_bound", "leakage.jacobian.effective_rank", "leakage.dof.effective"),
        attacked=False,
        pictures=_pictures,
    )


def _pictures(index: AttemptIndex, rows: Arrays) -> list[Spectra]:  # noqa: ARG001  (a section's shape)
    layers = spectra(rows)
    return [Spectra(layers=layers)] if layers else []


def spectra(rows: Arrays) -> dict[str, list[float]]:
    """Singular values by layer."""
    return {
        key.removeprefix("spectra/"): finite_numbers(rows[key]) for key in sorted(rows) if key.startswith("spectra/")
    }
