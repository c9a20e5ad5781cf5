"""The section of evasion."""

from __future__ import annotations

from reports.model.metric import Metric
from reports.model.section import SECTIONS, Section


@SECTIONS.register("evasion")
def evasion() -> Section:
    """The target model when its input is perturbed on purpose."""
    return Section(
        protocol="evasion",
        title="Evasion",
        about="The target model when its input is perturbed on purpose.",
        order=90,
        metrics=(
            Metric(
                name="evasion.accuracy@EPS",
                better="up",
                unit="rate",
                meaning="the target model under the strongest evasion of its input within EPS",
            ),
        ),
        headlines=("evasion.accuracy@EPS",),
        identifiers=("OWASP AISVS 11.2.5", "MITRE ATLAS AML.T0015"),
    )
