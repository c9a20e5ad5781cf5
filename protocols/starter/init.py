"""`vfc init`: the files of a first gate, ready to run. Imports no torch."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

from reports.model.files import write_all
from vfc.errors import UserError

COMMON = {"vfc.toml": "config", "privacy_defense.py": "defense", "test_privacy.py": "check"}
"""What is written for everybody: file by name of its text."""

SERVICES = {
    "github": {".github/workflows/privacy.yml": "github"},
    "gitlab": {".gitlab-ci.yml": "gitlab"},
    "shell": {"privacy.sh": "shell"},
    "none": {},
}
"""What is written for each service that runs jobs."""


VARIABLE = "VFC_PACKAGE"
"""What the jobs install. Without a default: whoever owns a name on a package index decides what it is."""

_WHERE = {
    "github": "the repository (Settings, Secrets and variables, Actions, Variables)",
    "gitlab": "the project (Settings, CI/CD, Variables)",
}


def run_init(folder: str, service: str) -> int:
    """Write a config file, a factory, a test and a job, all or none, and say what to type next.

    Args:
        folder: where to.
        service: a key of SERVICES.

    Raises:
        UserError: one of the files is there already, or the folder cannot be written.
    """
    root = Path(folder)
    texts = {root / name: text for name, text in (COMMON | SERVICES[service]).items()}
    there = [str(path) for path in texts if path.exists()]
    if there:
        raise UserError(
            f"expected no file {' and no file '.join(there)}, got one", "move it away, or name a new folder"
        )
    write_all({path: content(text).encode() for path, text in texts.items()})
    for path in texts:
        sys.stdout.write(f"wrote {path}\n")
    if service in _WHERE:
        sys.stdout.write(
            f"set the variable {VARIABLE} of {_WHERE[service]} to what pip installs, a path in the repository or an "
            "address such as git+https://example.org/you/vfc: the job installs nothing else\n"
        )
    entered = "" if root.resolve() == Path.cwd() else f"cd {folder} && "
    sys.stdout.write(f"next: {entered}vfc attack\n")
    return 0


def content(text: str) -> str:
    """The content of one of the files."""
    return (files("protocols.starter") / f"{text}.txt").read_text(encoding="utf-8")
