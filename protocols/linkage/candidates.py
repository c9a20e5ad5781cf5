"""The adversaries that match releases."""

from __future__ import annotations

from protocols.evaluation.candidate import Candidate, collect

RELEASES_ONLY = ("matcher", "raw")
"""The matcher that compares releases as they are, and so cannot compare one with an image."""


def matchers(kind: str = "release") -> tuple[Candidate, ...]:
    """Every adversary that matches releases with images, or with releases."""
    if kind == "release":
        return collect("match:release")
    found = collect("match:image")
    return tuple(each for each in found if (each.adversary, each.settings.get("form")) != RELEASES_ONLY)


def all_matchers() -> tuple[Candidate, ...]:
    """Adversaries of both kinds, each once."""
    releases = matchers("release")
    return (*releases, *(each for each in matchers("image") if each not in releases))
