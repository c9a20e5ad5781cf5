"""CSV: golden text, exact numbers, and no formulas."""

import csv
import io

import pytest

from reports.formats.csv_table import COLUMNS, render_csv, safe
from tests.reports.builder import build, number
from tests.reports.hostile import gate, hostile

GOLDEN = """\
kind,protocol,name,goal,level,labels_per_class,seed,arm,status,chosen,value,low,high,confidence,n,unit,method,censored,\
flags,reason,identifiers
metric,,membership.advantage,,,,,,measured,,-0.25,-0.5,0.125,0.9,450,difference,,false,CRASHED,,\
OWASP AISVS 11.3.3; MITRE ATLAS AML.T0024.000
evidence,adaptive-probe,linear,task:digit,L2,,0,attack,measured,false,0.5,0.4,0.6,0.9,450,rate,,false,,,
gate,,"membership.advantage <= 0,1",,error,,,,broken,,2.0,1.8,2.2,0.9,450,ratio,,false,,\
"membership.advantage <= 0,1 is broken: why",OWASP AISVS 11.3.3; MITRE ATLAS AML.T0024.000
"""


def table(report):
    return list(csv.DictReader(io.StringIO(render_csv(report))))


def test_golden():
    value = number(-0.25, -0.5, 0.125, unit="difference", flags=("CRASHED",))
    report = build(metrics={"membership.advantage": value}, gates=(gate("membership.advantage <= 0,1", "broken"),))
    assert render_csv(report) == GOLDEN
    assert render_csv(report) == render_csv(report.model_copy())


def test_numbers_are_exact():
    report = build(metrics={"adaptive.accuracy": number(1 / 3, 1e-17, 0.1 + 0.2)})
    (metric,) = [line for line in table(report) if line["kind"] == "metric"]
    assert (float(metric["value"]), float(metric["low"]), float(metric["high"])) == (1 / 3, 1e-17, 0.1 + 0.2)


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", " =1", "\t=1", "\uff1d1", "|x"])
def test_formulas_become_text(text):
    assert safe(text)[0] in "'\\"
    assert safe("plain = text") == "plain = text"


def check_hostile(text):
    lines = table(hostile(text))
    assert len(lines) == 10
    for line in lines:
        assert set(line) == set(COLUMNS)
        for name, cell in line.items():
            assert cell.isprintable()
            if name not in ("value", "low", "high"):
                assert not cell.lstrip().startswith(("=", "+", "-", "@"))
