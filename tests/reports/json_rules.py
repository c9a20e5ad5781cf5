"""A small validator for the parts of JSON Schema that the published schemas use."""

from typing import Any

_TYPES = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
    "null": type(None),
}  # fmt: skip
_KNOWN = {
    "$schema", "$id", "$defs", "$ref", "title", "description", "default", "type", "enum", "const", "anyOf",
    "properties", "additionalProperties", "required", "items", "prefixItems", "minItems", "maxItems", "uniqueItems",
    "minimum",
}  # fmt: skip


def problems(data: Any, rule: Any, root: dict[str, Any], at: str = "$") -> list[str]:
    """Where some JSON breaks a schema; empty if it does not."""
    if isinstance(rule, bool):
        return [] if rule else [f"{at}: not allowed"]
    unknown = set(rule) - _KNOWN
    assert not unknown, f"this validator does not know {unknown}"
    if "$ref" in rule:
        target: Any = root
        for step in rule["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return problems(data, target, root, at)
    found = []
    if "anyOf" in rule and all(problems(data, option, root, at) for option in rule["anyOf"]):
        found.append(f"{at}: none of anyOf")
    if "type" in rule:
        kind = _TYPES[rule["type"]]
        if not isinstance(data, kind) or (isinstance(data, bool) and rule["type"] in ("integer", "number")):
            return [*found, f"{at}: expected {rule['type']}, got {data!r}"]
    if "enum" in rule and data not in rule["enum"]:
        found.append(f"{at}: {data!r} is none of {rule['enum']}")
    if "const" in rule and data != rule["const"]:
        found.append(f"{at}: {data!r} is not {rule['const']!r}")
    if "minimum" in rule and data < rule["minimum"]:
        found.append(f"{at}: {data!r} is under {rule['minimum']}")
    if isinstance(data, dict):
        properties = rule.get("properties", {})
        found += [f"{at}: {name} is missing" for name in rule.get("required", []) if name not in data]
        for name, item in data.items():
            found += problems(item, properties.get(name, rule.get("additionalProperties", True)), root, f"{at}.{name}")
    if isinstance(data, list):
        if not rule.get("minItems", 0) <= len(data) <= rule.get("maxItems", len(data)):
            found.append(f"{at}: {len(data)} items")
        if rule.get("uniqueItems") and any(data.count(item) > 1 for item in data):
            found.append(f"{at}: items repeat")
        first = rule.get("prefixItems", [])
        for place, item in enumerate(data):
            part = first[place] if place < len(first) else rule.get("items", True)
            found += problems(item, part, root, f"{at}[{place}]")
    return found
