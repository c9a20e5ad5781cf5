"""The commands `vfc`, `vfc-attack` and `python -m vfc`. Nothing is imported before one of them runs.

The packages that they start have common names: where one of the user's own comes first, a sentence says so.
"""

# Structure: calibration does not count it.

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NoReturn

PACKAGES = ("adversaries", "protocols", "reports")
"""What is installed beside `vfc`."""


def main() -> None:
    """Run `vfc` and exit with the code of its verdict."""
    _start("vfc", "main")


def main_attack() -> None:
    """Run `vfc-attack`, which is `vfc attack`, and exit with the code of its verdict."""
    _start("vfc-attack", "main_attack")


def require_own_packages() -> None:
    """Look up, without importing, what `import protocols` and its like would find.

    Raises:
        UserError: something else of that name comes first on the module search path.
    """
    from importlib.util import find_spec
    from os.path import realpath
    from pathlib import Path

    from vfc.errors import UserError

    ours = Path(__file__).resolve().parents[1]
    for name in PACKAGES:
        spec = find_spec(name)
        found = "nothing"
        if spec is not None:
            # The folder of a package, or the file of a module.
            found = realpath([*(spec.submodule_search_locations or ()), str(spec.origin)][0])
        if found != str(ours / name):
            raise UserError(
                f"expected the package {name!r} that comes with vfc, got {found}",
                f"vfc cannot run while another {name!r} comes first on the module search path: rename it, "
                "or start vfc from another folder",
            )


def _start(called: str, entry: str) -> None:
    """Import the command line and call it. What cannot be imported is no verdict, and Python's own code 1 would be."""
    import sys

    from vfc.errors import UserError

    try:
        require_own_packages()
        from protocols import cli
        from protocols.commands.output import open_standard_streams
        from vfc.isolation.guard import refuse_exits
        from vfc.isolation.guardian import can_guard, guarded
    except UserError as error:
        _end(f"{called}: error: {error}\n", 2)
    except ImportError as error:
        _end(f"{called}: error: cannot import {error.name}: {error}; install vfc-attack again\n", 2)
    except KeyboardInterrupt:
        _end("", 130)
    except BaseException:
        import traceback

        _end(f"{traceback.format_exc()}{called}: this is a bug in {called}\n", 4)
    else:

        def work() -> None:
            # To the very end: threads and exit handlers of the defender's code would still choose the exit code.
            refuse_exits()
            getattr(cli, entry)()

        # A pipe must not take the number of a stream that is closed.
        open_standard_streams()
        if can_guard():
            sys.exit(guarded(work, called))
        work()
    sys.exit(4)  # the command line exits by itself


def _end(text: str, code: int) -> NoReturn:
    import contextlib
    import sys

    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()
    sys.exit(code)


if __name__ == "__main__":
    main()
