"""The metric catalog: what every number of a report means, which way is better, and who produces it.

Names hold placeholders: `<a>` an attribute, `<label>` the task or an attribute, `@K` labelled releases per class,
`@EPS` a perturbation budget. Everything here is data about names; nothing is measured.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vfc.errors import UserError, unknown

PROTOCOLS = (
    "transfer",
    "adaptive-probe",
    "inversion",
    "mask-aware",
    "leakage",
    "attribute",
    "membership",
    "linkage",
    "evasion",
)
GRID: tuple[int | str, ...] = (1, 5, 10, 50, "all")
"""Labelled releases per class of the standard budget."""

_PLACEHOLDERS = {
    "<a>": r"(?P<attribute>[\w-]+)",
    "<label>": r"(?P<label>[\w-]+)",
    "@K": r"@(?P<labels>[0-9]+|all)",
    "@EPS": r"@(?P<budget>[0-9]*\.?[0-9]+(?:e-?[0-9]+)?(?:/[0-9]+)?)",
}


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One row of the catalog.

    Args:
        name: the name, possibly with placeholders.
        better: which way is better for the defender; None: no way, and `--baseline` skips it.
        unit: `rate` (in [0, 1]), `difference` (of rates, in [-1, 1]), `ratio`, `leakage`, `count`, `dB`, `bits`, ...
        meaning: one sentence.
        protocols: which protocols produce it.
        over_floor: a ratio over at least the floor, so that labels alone allow 1 / floor at most.
    """

    name: str
    better: Literal["up", "down"] | None
    unit: str
    meaning: str
    protocols: tuple[str, ...]
    over_floor: bool = False

    def maximum(self, floor: float | None = None) -> float | None:
        """The largest value that labels alone allow; None: no limit, or one that needs an unknown floor."""
        if self.over_floor:
            return 1 / floor if floor else None
        return 1.0 if self.unit in ("rate", "difference") else None

    def minimum(self) -> float | None:
        """The smallest possible value; None: no limit."""
        return {"rate": 0.0, "ratio": 0.0, "count": 0.0, "difference": -1.0}.get(self.unit)

    def match(self, name: str) -> dict[str, str] | None:
        """The placeholders' texts if `name` is this metric, else None."""
        found = re.fullmatch(self._pattern, name)
        return None if found is None else found.groupdict()

    @property
    def _pattern(self) -> str:
        pattern = re.escape(self.name)
        for placeholder, expression in _PLACEHOLDERS.items():
            pattern = pattern.replace(re.escape(placeholder), expression)
        return pattern


_TABLE = """
target.accuracy | up | rate | every | the target on the release
target.clean_accuracy | - | rate | every | the target on the images
target.retention | up | ratio | every | the target on the release / the target on the images
target.picture.accuracy | - | rate | transfer, adaptive-probe | the target on the release made a real picture
transfer.accuracy | down | rate | transfer, adaptive-probe | the best frozen unintended model on the release
transfer.suppression_ratio | up | ratio over floor | transfer, adaptive-probe | \
    target / max(best frozen unintended model, floor): the published setting
transfer.leakage | down | leakage | transfer, adaptive-probe | the best frozen unintended model, floor 0 and images 1
transfer.twin.accuracy | - | rate | transfer, adaptive-probe | the near twin on the release
transfer.twin.suppression_ratio | - | ratio over floor | transfer, adaptive-probe | target / max(near twin, floor)
transfer.picture.accuracy | - | rate | transfer, adaptive-probe | \
    transfer.accuracy with the release made a real picture
transfer.picture.suppression_ratio | - | ratio over floor | transfer, adaptive-probe | \
    transfer.suppression_ratio with the release made a real picture
adaptive.accuracy | down | rate | adaptive-probe | the strongest adversary up to --threat at the largest K
adaptive.suppression_ratio | up | ratio over floor | adaptive-probe | \
    target / max(strongest adversary up to --threat, floor) at the largest K
adaptive.leakage | down | leakage | adaptive-probe | the strongest adversary up to --threat, floor 0 and images 1
adaptive.accuracy@K | - | rate | adaptive-probe | \
    the strongest adversary with K labelled releases per class; 0: adaptation without labels
adaptive.suppression_ratio@K | - | ratio over floor | adaptive-probe | \
    target / max(strongest adversary with K labelled releases per class, floor)
adaptive.labels_to_half | up | count | adaptive-probe | \
    labelled releases per class that bring an adversary half of the way from the floor to the target
adaptive.labels_to_90 | up | count | adaptive-probe | \
    labelled releases per class that bring an adversary 90 % of the way from the floor to the target
attribute.<a>.accuracy | down | rate | attribute | the strongest adversary on the attribute
attribute.<a>.leakage | down | leakage | attribute | the strongest adversary, floor 0 and images 1
attribute.<a>.worst_class_leakage | down | leakage | attribute | \
    leakage about the class that leaks most, corrected for the number of classes
attribute.<a>.transfer_accuracy | down | rate | attribute | the best frozen clean attribute model on r
inversion.psnr | down | dB | inversion | peak signal-to-noise ratio of the best reconstruction
inversion.ssim | down | ssim | inversion | structural similarity of the best reconstruction
inversion.identification | down | rate | inversion | \
    how often a reconstruction is nearest to its own original in a gallery
inversion.reader_accuracy | down | rate | inversion | a clean classifier on the reconstructions
mask.gain | down | difference | mask-aware | accuracy gained by knowing the mask
mask.recovery | down | rate | mask-aware | Jaccard index of the mask inferred from releases alone
membership.advantage | down | difference | membership | \
    true minus false positive rate at a threshold fixed on shadow data
membership.tpr@0.01 | down | rate | membership | true positive rate at 1 % false positives
linkage.image.top1 | down | rate | linkage | how often a release finds its image in a gallery
linkage.release.top1 | down | rate | linkage | how often a release finds another one of its image
mdl.<label>.bits | up | bits | adaptive-probe, attribute | online codelength of the label given releases, per target
mdl.<label>.control_bits | - | bits | adaptive-probe, attribute | the same with random labels
leakage.mse_bound | - | mse | leakage | smallest error of any reconstruction under the declared noise
leakage.kl_nats | - | nats | leakage | divergence of the latent from the prior
leakage.intrinsic_dimension | - | dimensions | leakage | intrinsic dimension of releases
leakage.dof.effective | - | dimensions | leakage | exponential of the spectrum's entropy
leakage.dof.participation | - | dimensions | leakage | participation ratio of the spectrum
leakage.dof.ridge | - | dimensions | leakage | ridge degrees of freedom of the spectrum
leakage.dof.pca99 | - | dimensions | leakage | principal components that hold 99 % of variance
leakage.jacobian.rank@1e-3 | - | dimensions | leakage | singular values above 0.001 of the largest, mean
leakage.jacobian.effective_rank | - | dimensions | leakage | exponential of the entropy, mean
leakage.jacobian.stable_rank | - | dimensions | leakage | squared Frobenius / squared spectral norm, mean
release.psnr | - | dB | every | how much the release looks like the image
release.ssim | - | ssim | every | how much the release looks like the image
release.compression | - | ratio | every | size of the image / size of the release
evasion.accuracy@EPS | up | rate | evasion | the target under the strongest evasion of its input within EPS
"""
"""name | better for the defender | unit | protocols | meaning"""


def _read(line: str) -> Metric:
    name, better, unit, protocols, meaning = (cell.strip() for cell in line.split("|"))
    return Metric(
        name=name,
        better="up" if better == "up" else "down" if better == "down" else None,
        unit=unit.removesuffix(" over floor"),
        meaning=meaning,
        protocols=PROTOCOLS if protocols == "every" else tuple(protocols.split(", ")),
        over_floor=unit.endswith(" over floor"),
    )


METRICS: tuple[Metric, ...] = tuple(_read(line) for line in _TABLE.strip().splitlines())


def lookup(name: str) -> Metric:
    """The catalog's row for a metric's full name.

    Raises:
        UserError: no metric has such a name; says which exist and which is nearest.
    """
    for metric in METRICS:
        if metric.match(name) is not None:
            return metric
    raise unknown("metric", name, [metric.name for metric in METRICS])


def expand(protocols: Sequence[str]) -> tuple[str, ...]:
    """Protocol names with `all` written out; raises `UserError` for an unknown one."""
    for protocol in protocols:
        if protocol not in (*PROTOCOLS, "all"):
            raise unknown("protocol", protocol, (*PROTOCOLS, "all"))
    return PROTOCOLS if "all" in protocols else tuple(dict.fromkeys(protocols))


def producible(
    name: str,
    protocols: Sequence[str],
    *,
    task: str | None = None,
    attributes: Sequence[str] | None = None,
    grid: Sequence[int | str] | None = None,
    budgets: Sequence[str] | None = None,
) -> Metric:
    """The catalog's row of a metric, if a run can produce it.

    Args:
        name: full name of the metric.
        protocols: the chosen protocols; `all` is understood.
        task: name of the task label; None leaves it unchecked, as for all that follow.
        attributes: names of the attacked attributes.
        grid: labelled releases per class that the budget tries; empty when the threat level grants none.
        budgets: evasion budgets as the run writes them.

    Raises:
        UserError: unknown, or no chosen protocol produces it; says what would.
    """
    metric, chosen = lookup(name), expand(protocols)
    fields = metric.match(name) or {}
    makers = metric.protocols
    label = fields.get("label")
    if label is not None and task is not None:
        makers = ("adaptive-probe",) if label == task else ("attribute",)
    if not set(makers) & set(chosen):
        raise UserError(
            f"expected a metric that {_list(chosen)} can produce, got {name!r}",
            f"add --protocol {_list(makers, 'or --protocol')}",
        )
    private = fields.get("attribute") or (label if label != task else None)
    if private is not None and attributes is not None and private not in attributes and (task or label is None):
        raise unknown("attribute", private, attributes)
    labels = fields.get("labels")
    if grid is not None and not grid and (labels not in (None, "0") or ".labels_to_" in name):
        raise UserError(f"expected a metric without labelled releases below threat L2, got {name!r}", "--threat L2")
    tried = None if grid is None else [str(step) for step in grid] + (["0"] if ".accuracy@" in name else [])
    if labels is not None and tried is not None and labels not in tried:
        raise UserError(
            f"expected K of {name!r} among {', '.join(tried)}, got {labels}", "choose one of those or another --budget"
        )
    budget = fields.get("budget")
    if budget is not None and budgets is not None and budget not in budgets:
        raise UserError(f"expected EPS of {name!r} among {', '.join(budgets)}, got {budget}", "choose one of those")
    return metric


def check_limit(name: str, number: float, floor: float | None) -> None:
    """Refuse a limit beyond what labels alone allow.

    Args:
        name: full name of the metric.
        number: the limit that a gate sets.
        floor: rate of the task's floor on the targets; None if it is not known yet.

    Raises:
        UserError: above 1 / floor for ratios over the floor, above 1 for rates, or below what is possible.
    """
    metric = lookup(name)
    maximum, minimum = metric.maximum(floor), metric.minimum()
    if maximum is not None and number > maximum * (1 + 1e-9):
        why = f"1 / floor, with a floor of {floor:.4g}" if metric.over_floor else "rates are shares: 0.2 for 20 %"
        shown = math.floor(maximum * 1000) / 1000
        raise UserError(
            f"expected a limit of {name} up to {shown:g}, got {number:g}", f"labels alone allow no more ({why})"
        )
    if minimum is not None and number < minimum:
        raise UserError(f"expected a limit of {name} of at least {minimum:g}, got {number:g}", "raise the limit")


def _list(names: Sequence[str], word: str = "or") -> str:
    return f" {word} ".join(names)
