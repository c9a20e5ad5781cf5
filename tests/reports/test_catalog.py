"""The catalog: every name of the contract, who produces it, and the limits that make sense."""

import html

import pytest

from adversaries.evidence import Value
from reports.formats.html import render_html
from reports.formats.markdown import render_markdown
from reports.model.catalog import check_limit, example_gate, lookup, metrics, producible, protocols
from tests.reports.builder import build, number
from vfc.errors import UserError

BETTER = {
    "up": "target.accuracy target.retention transfer.suppression_ratio adaptive.suppression_ratio "
    "adaptive.labels_to_half adaptive.labels_to_90 mdl.digit.bits evasion.accuracy@8/255",
    "down": "transfer.accuracy transfer.leakage adaptive.accuracy adaptive.leakage attribute.ink.accuracy "
    "attribute.ink.leakage attribute.ink.worst_class_leakage attribute.ink.transfer_accuracy inversion.psnr "
    "inversion.ssim inversion.identification inversion.reader_accuracy mask.gain mask.recovery membership.advantage "
    "membership.tpr@0.01 linkage.image.top1 linkage.release.top1 adaptive.exposed@1 adaptive.exposed@10 "
    "attribute.ink.exposed membership.exposed",
    None: "target.clean_accuracy transfer.twin.accuracy transfer.twin.suppression_ratio transfer.picture.accuracy "
    "transfer.picture.suppression_ratio target.picture.accuracy adaptive.accuracy@10 adaptive.accuracy@0 "
    "adaptive.median_accuracy@0 "
    "adaptive.suppression_ratio@all mdl.digit.control_bits leakage.mse_bound leakage.kl_nats "
    "leakage.intrinsic_dimension leakage.dof.effective leakage.dof.participation leakage.dof.ridge leakage.dof.pca99 "
    "leakage.jacobian.rank@1e-3 leakage.jacobian.effective_rank leakage.jacobian.stable_rank release.psnr "
    "release.ssim release.compression",
}


def test_every_metric_of_the_contract_has_its_direction():
    seen = set()
    for better, names in BETTER.items():
        for name in names.split():
            metric = lookup(name)
            assert metric.better == better, name
            seen.add(metric.name)
    assert seen == {metric.name for metric in metrics()}
    assert all(metric.meaning and set(metric.protocols) <= set(protocols()) for metric in metrics())


def test_no_name_belongs_to_two_rows():
    for names in BETTER.values():
        for name in names.split():
            assert sum(metric.match(name) is not None for metric in metrics()) == 1


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("adaptive.supression_ratio", "adaptive.suppression_ratio"),
        ("attribute.ink.leakge", "attribute.<a>.leakage"),
        ("target.acuracy", "target.accuracy"),
    ],
)
def test_an_unknown_metric_names_the_nearest(wrong, near):
    with pytest.raises(UserError, match="unknown metric") as error:
        lookup(wrong)
    assert f"did you mean {near!r}" in error.value.fix


@pytest.mark.parametrize(
    ("name", "producer"),
    [
        ("target.accuracy", protocols()),
        ("release.psnr", protocols()),
        ("transfer.suppression_ratio", ("transfer", "adaptive-probe")),
        ("adaptive.accuracy", ("adaptive-probe",)),
        ("mdl.digit.bits", ("adaptive-probe",)),
        ("mdl.ink.bits", ("attribute",)),
        ("attribute.ink.leakage", ("attribute",)),
        ("mask.gain", ("mask-aware",)),
        ("leakage.dof.ridge", ("leakage",)),
        ("evasion.accuracy@0.1", ("evasion",)),
        ("linkage.image.top1", ("linkage",)),
    ],
)
def test_each_metric_needs_its_protocol(name, producer):
    for protocol in protocols():
        if protocol in producer:
            assert producible(name, [protocol], task="digit", attributes=["ink", "large"]).match(name) is not None
        else:
            with pytest.raises(UserError, match="can produce") as error:
                producible(name, [protocol], task="digit", attributes=["ink", "large"])
            assert producer[0] in error.value.fix
    producible(name, ["all"], task="digit", attributes=["ink"])


def test_attributes_budgets_and_the_grid_are_checked():
    with pytest.raises(UserError, match="unknown attribute 'age'"):
        producible("attribute.age.leakage", ["attribute"], attributes=["ink"])
    with pytest.raises(UserError, match="unknown attribute 'age'"):
        producible("mdl.age.bits", ["attribute"], task="digit", attributes=["ink"])
    grid = (1, 10, "all")
    producible("adaptive.accuracy@10", ["all"], grid=grid)
    producible("adaptive.accuracy@0", ["all"], grid=grid)
    with pytest.raises(UserError, match="among 1, 10, all, 0, got 7"):
        producible("adaptive.accuracy@7", ["all"], grid=grid)
    with pytest.raises(UserError, match="got 0"):
        producible("adaptive.suppression_ratio@0", ["all"], grid=grid)
    producible("evasion.accuracy@8/255", ["all"], budgets=["8/255"])
    with pytest.raises(UserError, match="EPS"):
        producible("evasion.accuracy@1/255", ["all"], budgets=["8/255"])
    with pytest.raises(UserError, match="expected a metric that adaptive can produce"):
        producible("adaptive.accuracy", ["adaptive"])


@pytest.mark.parametrize(
    ("name", "number", "floor", "allowed"),
    [
        ("adaptive.suppression_ratio", 9.99, 0.1, True),
        ("adaptive.suppression_ratio", 10.0, 0.1, True),
        ("adaptive.suppression_ratio", 10.01, 0.1, False),
        ("adaptive.suppression_ratio@5", 2.01, 0.5, False),
        ("transfer.twin.suppression_ratio", 3.0, 1 / 3, True),
        ("adaptive.suppression_ratio", 500.0, None, True),
        ("adaptive.accuracy", 1.0, 0.1, True),
        ("adaptive.accuracy", 20.0, 0.1, False),
        ("adaptive.accuracy", -0.1, 0.1, False),
        ("membership.advantage", -0.1, 0.1, True),
        ("target.retention", 1.1, 0.1, True),
        ("attribute.ink.leakage", 1.5, 0.5, True),
        ("attribute.ink.leakage", -0.2, 0.5, True),
        ("inversion.psnr", 40.0, 0.1, True),
        ("adaptive.labels_to_90", 50.0, 0.1, True),
    ],
)
def test_limits_beyond_what_labels_allow_are_refused(name, number, floor, allowed):
    if allowed:
        check_limit(name, number, floor)
    else:
        with pytest.raises(UserError, match="expected a limit"):
            check_limit(name, number, floor)


@pytest.mark.parametrize(
    ("known", "example"),
    [
        (("transfer.accuracy", "adaptive.labels_to_90"), "adaptive.labels_to_90 >= 50"),
        (("transfer.accuracy",), "transfer.accuracy <= 0.5"),
        (("attribute.ink.leakage",), "target.accuracy >= 0.9"),
        ((), "target.accuracy >= 0.9"),
    ],
)
def test_the_example_of_a_gate_is_about_what_was_measured(known, example):
    found = {name: number(0.3, 0.2, 0.4) for name in known}
    assert example_gate(found | {"adaptive.labels_to_half": Value.unknown("not run")}) == example
    assert example_gate({"adaptive.labels_to_90": Value.unknown("below L2")}) == "target.accuracy >= 0.9"
    report = build(metrics=found, gates=())
    for shown in (render_markdown(report), render_html(report)):
        assert f"--gate '{example}'" in html.unescape(shown)
