"""What is followed of a layer over training, by its names in files, drawings and tables. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

HEURISTICS = {"mcr": "MCR", "cv": "CV", "reduction": "reduction"}
"""Summaries of a course by the names of the file, and how tables call them."""


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A number of a layer that is followed over training, by its names.

    Args:
        panel: `dof` or `rank`: together with which others it is drawn.
        line: at the end of its line there.
        column: in tables of the terminal.
        title: in tables of the page.
        subject: in a sentence of the page; empty where it has none.
    """

    panel: str
    line: str
    column: str
    title: str
    subject: str = ""


QUANTITIES = {
    "leakage.dof.effective": Quantity(
        panel="dof", line="effective", column="DoF effective", title="DoF, effective",
        subject="The effective degrees of freedom",
    ),
    "leakage.dof.participation": Quantity(
        panel="dof", line="particip.", column="DoF particip.", title="DoF, particip."
    ),
    "leakage.dof.ridge": Quantity(panel="dof", line="ridge", column="DoF ridge", title="DoF, ridge"),
    "leakage.dof.pca99": Quantity(panel="dof", line="PCA-99", column="DoF PCA-99", title="DoF, PCA-99"),
    "leakage.jacobian.rank@1e-3": Quantity(
        panel="rank", line="rank@1e-3", column="rank@1e-3", title="rank of the Jacobian at 1e-3",
        subject="The Jacobian's rank at 1e-3",
    ),
    "leakage.jacobian.effective_rank": Quantity(
        panel="rank", line="effective", column="effective rank", title="effective rank of the Jacobian",
        subject="Its effective rank",
    ),
}  # fmt: skip
"""What is followed over training, by the names of the file."""
