"""The JSON Schema of report.json, made from the report's own classes."""

from __future__ import annotations

import json

from reports.model.report import SCHEMA, Report

IDENTIFIER = f"urn:vfc:report:schema:{SCHEMA}"
"""Names the schema; nothing is fetched from there."""


def render_schema() -> str:
    """JSON Schema (draft 2020-12) of report.json, as text.

    No other keys are allowed; keys with a default may be missing in reports of an older version.
    """
    schema = Report.model_json_schema(by_alias=True, mode="serialization")
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": IDENTIFIER,
        "title": f"vfc report, schema {SCHEMA}",
    }
    return json.dumps({**schema, **head}, indent=2, sort_keys=True, allow_nan=False) + "\n"
