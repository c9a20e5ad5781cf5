"""A protocol: from everything that was prepared to evidence and metrics."""

from adversaries.evidence import Evidence, Threat
from adversaries.statistics import estimates
from protocols.evaluation.protocol import PROTOCOLS, Findings, Protocol


@PROTOCOLS.register("contrast")
def contrast():
    """How much of an image's contrast its release keeps."""
    return Protocol(name="contrast", threat="L0", conduct=conduct)


def conduct(context):
    """Compare standard deviations, target by target."""
    targets = context.prepared.world.targets
    kept = targets.release.flatten(1).std(1) / targets.images.flatten(1).std(1)
    context.rows["contrast"] = kept.double().numpy()
    value = estimates.mean(context.rows["contrast"], "ratio", rows="contrast")
    row = Evidence(
        protocol="contrast", adversary="contrast", goal="release", threat=Threat(level="L0", knows=()), seed=0,
        status="measured", metrics={"contrast.kept": value},
    )  # fmt: skip
    return Findings(evidence=[row], metrics={"contrast.kept": value})
