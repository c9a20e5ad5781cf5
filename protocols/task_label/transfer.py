"""The published setting."""

from __future__ import annotations

from protocols.evaluation.context import Context
from protocols.evaluation.protocol import PROTOCOLS, Findings, Protocol
from protocols.task_label.candidates import frozen
from protocols.task_label.study import conduct_task


@PROTOCOLS.register("transfer")
def transfer() -> Protocol:
    """Frozen unintended models read the release (L0): what papers report.

    Models of other architectures, trained on clean images of the attacker pool, are applied to the release as they are
    and to the release made a real picture. The near twin (the target's architecture, another seed) is reported apart.
    """
    return Protocol(name="transfer", threat="L0", candidates=frozen, conduct=_conduct)


def _conduct(context: Context) -> Findings:
    return conduct_task(context, "transfer", frozen(*context.models), adaptive=False)
