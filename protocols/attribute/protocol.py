"""What a release tells about labels that it was not made for."""

from __future__ import annotations

from collections.abc import Sequence

from protocols.attribute.study import conduct_attributes
from protocols.evaluation.context import Context
from protocols.evaluation.findings import Findings
from protocols.evaluation.protocol import PROTOCOLS, Candidate, Protocol
from protocols.task_label.adaptive_probe import ladder

SLOW = ("entropy", "adapter", "fine-tune")
"""Adversaries that retrain a model: at `smoke` only one model of each."""


def attribute_ladder(models: Sequence[str], twin: str | None) -> tuple[Candidate, ...]:
    """Every adversary of L0 to L3 for one attribute; the near twin has no part in it."""
    others = [model for model in models if model != twin]
    probes = [each for each in ladder(others, None) if each.adversary != "majority"]
    informed = [Candidate(adversary="with-prediction", settings={"probe": probe}) for probe in ("linear", "mlp")]
    mapped = [Candidate(adversary="decensor", settings={"model": model}) for model in others]
    # The floor's guesser comes last, so that it is chosen only when nobody does better.
    return (*probes, *informed, *mapped, Candidate(adversary="table"))


@PROTOCOLS.register("attribute")
def attribute() -> Protocol:
    """The ladder L0 to L2 on every private attribute: accuracy, leakage, and leakage about the worst class.

    Unintended models are trained on clean images of the attacker pool for the attribute. Everybody, the floor included,
    knows what the target predicts on the release; `with-prediction` learns from both. Skewed attributes are graded by
    balanced accuracy. From L3 on releases are also mapped to the features of an uncensored network (de-censoring).
    """
    return Protocol(name="attribute", threat="L2", candidates=attribute_ladder, conduct=_conduct)


def _conduct(context: Context) -> Findings:
    models, twin = context.models
    candidates = attribute_ladder(models, twin)
    if context.budget.name == "smoke":
        first = {each.adversary: each.settings.get("model") for each in reversed(candidates)}
        candidates = tuple(
            each for each in candidates if each.adversary not in SLOW or each.settings["model"] == first[each.adversary]
        )
    return conduct_attributes(context, "attribute", candidates)
