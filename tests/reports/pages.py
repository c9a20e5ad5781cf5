"""A page with every section, and reading a page back, for the tests of the HTML report."""

from html.parser import HTMLParser

import numpy as np

from adversaries.evidence import Arms, AttackBudget, Value
from reports.model.report import GateResult, Waiver
from tests.reports.builder import number
from tests.reports.sample import GATE, attack, evidence, full, metrics

VOID = frozenset({"meta", "img", "wbr", "br", "link", "input"})


class Page(HTMLParser):
    """The tags of a page with their attributes, its text, and whether every element was closed."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.texts, self.open, self.headings = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.texts.append(data)
        if self.open[-1:] == ["h2"]:
            self.headings.append(data)

    def every(self, *names):
        return [attrs for tag, attrs in self.tags if tag in names]

    @property
    def text(self):
        """Words of all elements; those that stand side by side have a space between them."""
        return " ".join(" ".join(self.texts).split())


def rows():
    """The sidecar of a report on everything: six images of 8 x 8, the third of them the worst leak."""
    originals = np.linspace(0, 1, 6 * 64).reshape(6, 1, 8, 8)
    grid = np.linspace(0, 1, 50)
    return {
        "gallery/original": originals,
        "gallery/release": originals[:, :, ::-1],
        "gallery/reconstruction": originals**2,
        "gallery/psnr": np.array([9.0, 12.0, 21.5, 8.0, np.nan, 14.0]),
        "gallery/ssim": np.array([0.1, 0.2, 0.75, 0.1, 0.1, 0.3]),
        "gallery/rank": np.array([40, 7, 1, 300, 2, 7]),
        "mask/bits": np.array([[1, 0, 0, 0], [0, 1, 0, 0]], dtype=np.uint8),
        "spectra/encoder.conv1": np.array([1.0, 1e-2, 1e-5]),
        "spectra/release": np.array([4.0, 2.0, 1.0]),
        "roc/lira/fpr": grid,
        "roc/lira/tpr": grid**0.7,
    }


def others():
    """Evidence of the protocols beyond the task."""
    unit = {"attack": number(17.2, 16.9, 17.5, unit="dB"), "floor": number(11.0, 10.8, 11.2, unit="dB")}
    ink = {"protocol": "attribute", "goal": "attribute:ink", "health": ("AT_FLOOR",)}
    decoder = attack("decoder", 0, protocol="inversion", goal="reconstruction", level="L3", chosen=True, size="all")
    budget = AttackBudget(pairs=597, steps=2000)
    return (
        attack("mlp", 0.72, labels="all", chosen=True, **ink),
        decoder.model_copy(
            update={"arms": Arms(**unit), "threat": decoder.threat.model_copy(update={"budget": budget})}
        ),
        attack("replay", 0.97, protocol="mask-aware", level="L4", labels="all", chosen=True),
        attack("lira", 0, protocol="membership", goal="membership", level="L4", status="not_applicable", reason="none"),
        attack("matcher", 0.52, protocol="linkage", goal="match:image", level="L3", chosen=True),
        attack("pgd", 0.41, protocol="evasion", goal="evasion", level="L4", chosen=True, norm="linf", eps=8 / 255),
    )


def everything():
    """A report with every section, three gates and a waiver."""
    more = {
        "inversion.psnr": number(17.2, 16.9, 17.5, unit="dB"),
        "inversion.identification": number(0.31, 0.28, 0.34, unit="rate"),
        "attribute.ink.leakage": number(0.44, 0.35, 0.52, unit="leakage"),
        "mask.gain": number(0.02, -0.01, 0.05, unit="difference"),
        "leakage.jacobian.effective_rank": number(12.3, 11.8, 12.9, unit="dimensions"),
        "membership.tpr@0.01": Value.unknown("too few non-members"),
        "linkage.image.top1": number(0.52, 0.47, 0.56, unit="rate"),
        "evasion.accuracy@8/255": number(0.41, 0.37, 0.45, unit="rate"),
        "mdl.digit.bits": number(1.5, 1.4, 1.6, unit="bits"),
    }
    gates = (
        GateResult(
            expr=GATE,
            outcome="inconclusive",
            observed=number(4.4796, 2.9996, 5.515),
            reason="the 95 % lower bound 2.9996 is under 3, the upper is not",
        ),
        GateResult(
            expr="adaptive.suppression_ratio >= 2",
            outcome="broken",
            observed=number(0.991, 0.952, 1.032),
            reason="even the 95 % upper bound 1.04 is under 2",
        ),
        GateResult(
            expr="inversion.psnr <= 17",
            outcome="broken",
            observed=more["inversion.psnr"],
            reason="over 17",
            level="warn",
            waiver=Waiver(until="2027-01-31", reason="the decoder is being replaced", active=True),
        ),
    )
    return full(evidence=(*evidence(), *others()), metrics={**metrics(), **more}, gates=gates, verdict="broken")
