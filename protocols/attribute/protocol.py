"""What a release tells about labels that it was not made for."""

from __future__ import annotations

from protocols.attribute.study import attribute_ladder, conduct_attributes
from protocols.evaluation.context import Context
from protocols.evaluation.protocol import PROTOCOLS, Findings, Protocol


@PROTOCOLS.register("attribute")
def attribute() -> Protocol:
    """The ladder L0 to L2 on every private attribute: accuracy, leakage, and leakage about the worst class.

    Unintended models are trained on clean images of the attacker pool for the attribute. Everybody, the floor included,
    knows what the target predicts on the release; `with-prediction` learns from both. Skewed attributes are graded by
    balanced accuracy. From L3 on releases are also mapped to the features of an uncensored network (de-censoring).
    """
    return Protocol(name="attribute", threat="L2", candidates=attribute_ladder, per_attribute=True, conduct=_conduct)


def _conduct(context: Context) -> Findings:
    return conduct_attributes(context, "attribute", attribute_ladder(*context.models, context.budget.name))
