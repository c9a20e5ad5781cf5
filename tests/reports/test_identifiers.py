"""Ids of OWASP AISVS and MITRE ATLAS: each with its source, each for a metric that exists."""

import re

from reports.model.catalog import metrics
from reports.model.identifiers import all_identifiers, identifiers, labels

FORMS = {"OWASP AISVS": r"\d+\.\d+\.\d+", "MITRE ATLAS": r"AML\.T\d{4}(\.\d{3})?"}
SOURCES = {"OWASP AISVS": "https://github.com/OWASP/AISVS/blob/", "MITRE ATLAS": "https://atlas.mitre.org/techniques/"}


def test_every_mapping_has_a_source_and_a_metric():
    used = {label for metric in metrics() for label in metric.identifiers}
    for entry in all_identifiers():
        assert re.fullmatch(FORMS[entry.framework], entry.id)
        assert entry.source.startswith(SOURCES[entry.framework])
        assert entry.title
        assert entry.why
        assert entry.label in used
    assert used == {entry.label for entry in all_identifiers()}
    assert len(used) == len(all_identifiers())


def test_what_fits():
    assert labels("membership.advantage") == "OWASP AISVS 11.3.3; MITRE ATLAS AML.T0024.000"
    assert [entry.id for entry in identifiers("inversion.psnr")] == ["8.4.1", "AML.T0024.001"]
    assert labels("evasion.accuracy@8/255") == "OWASP AISVS 11.2.5; MITRE ATLAS AML.T0015"
    assert labels("no such metric") == ""
