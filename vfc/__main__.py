"""The commands `vfc`, `vfc-attack` and `python -m vfc`. Nothing is imported before one of them runs."""

# Structure: calibration does not count it.

from __future__ import annotations


def main() -> None:
    """Run `vfc` and exit with the code of its verdict."""
    _require_own_packages("vfc")
    from protocols import cli

    cli.main()


def main_attack() -> None:
    """Run `vfc-attack`, which is `vfc attack`, and exit with the code of its verdict."""
    _require_own_packages("vfc-attack")
    from protocols import cli

    cli.main_attack()


def _require_own_packages(called: str) -> None:
    """Exit with a sentence if the user's own packages have the names of ours."""
    import sys

    from vfc.errors import UserError
    from vfc.own_packages import require_own_packages

    try:
        require_own_packages()
    except UserError as error:
        sys.stderr.write(f"{called}: error: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
