"""What repurposing a release for the target's own task costs an attacker who adapts."""

from __future__ import annotations

from collections.abc import Sequence

from protocols.evaluation.context import Context
from protocols.evaluation.findings import Findings
from protocols.evaluation.protocol import PROTOCOLS, Candidate, Protocol
from protocols.task_label.study import conduct_task
from protocols.task_label.transfer import frozen


def ladder(models: Sequence[str], twin: str | None) -> tuple[Candidate, ...]:
    """Every adversary of L0 to L2 for one label."""
    others = [model for model in models if model != twin]
    unlabelled = [
        Candidate(adversary=adversary, settings={"model": model, **options})
        for model in others
        for adversary, options in (
            ("batchnorm", {}),
            ("entropy", {}),
            ("moments", {"match": "moments"}),
            ("moments", {"match": "histogram"}),
        )
    ]
    learned = [
        Candidate(adversary=name)
        for name in (
            "linear",
            "knn",
            "mlp",
            "cnn",
            "bit-planes",
            "integer-codes",
            "norms",
            "signs",
            "second-order",
        )
    ]
    tuned = [
        Candidate(adversary=adversary, settings={"model": model, **options})
        for model in others
        for adversary, options in (("fine-tune", {"scope": "head"}), ("fine-tune", {"scope": "all"}), ("adapter", {}))
    ]
    apart = [
        Candidate(adversary=adversary, settings={"model": twin, **options}, headline=False)
        for adversary, options in (("batchnorm", {}), ("fine-tune", {"scope": "all"}))
        if twin is not None
    ]
    # The floor's guesser comes last, so that it is chosen only when nobody does better.
    return (*frozen(models, twin), *unlabelled, *learned, *tuned, *apart, Candidate(adversary="majority"))


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
