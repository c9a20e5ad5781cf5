"""What repurposing a release for the target's own task costs an attacker who adapts."""

from __future__ import annotations

from protocols.evaluation.context import Context
from protocols.evaluation.protocol import PROTOCOLS, Findings, Protocol
from protocols.task_label.candidates import ladder
from protocols.task_label.study import conduct_task


@PROTOCOLS.register("adaptive-probe")
def adaptive_probe() -> Protocol:
    """The ladder L0 to L2 on the task label: accuracy against labelled releases per class.

    Frozen models, unlabelled adaptation (batch statistics, entropy minimization, moment and histogram matching), and
    everything that K labelled releases per class can train: linear, nearest-neighbor, MLP and CNN probes, fine-tuning
    of each unintended model, an input adapter in front of it, and probes on derived features. The strongest is chosen
    on the attacker's validation part and graded once on the targets.
    """
    return Protocol(name="adaptive-probe", threat="L2", candidates=ladder, conduct=_conduct)


def _conduct(context: Context) -> Findings:
    return conduct_task(context, "adaptive-probe", ladder(*context.models), adaptive=True)
