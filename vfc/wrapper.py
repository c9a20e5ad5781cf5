"""Third-party code as a defense: any torch module, run so that it can neither disturb us nor hide its mistakes."""

from __future__ import annotations

import contextlib
import copy
import os
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from vfc.core.secret import Secret, parse_secret
from vfc.defense import Defense, FitData
from vfc.errors import NotApplicableError, UserError
from vfc.release import Release
from vfc.seeding import seeded

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ModuleDefense(Defense):
    """Any torch module x -> r as a defense.

    The intended use is its `predict(r) -> logits` or its attribute `target` (a module r -> logits); without either
    there is no target. Optional attributes: `stochastic`, `mask` (units,) or (n, units), `encoder`, `decoder`, and
    `fit(images, labels)`, which may change the module and is handed a copy of it.

    The module runs in eval mode, without gradients unless x requires one. Its own randomness comes from torch's global
    state, which is set from the generator for every call and restored afterwards.

    Args:
        module: the user's module.
        origin: how errors name it; no setting, because the same module elsewhere is the same defense.
        code: digest of the code that made it; empty if nobody knows.
    """

    module: nn.Module
    origin: str = "the module"
    code: str = ""

    def __post_init__(self) -> None:
        target = getattr(self.module, "target", None)
        if target is not None and not isinstance(target, nn.Module):
            raise UserError(
                f"expected `target` of {self.origin} to be a torch.nn.Module, got {type(target).__name__}",
                "give a module from release to logits, or a method predict(r)",
            )
        if (own := getattr(self.module, "predict", None)) is not None and not callable(own):
            raise UserError(
                f"expected `predict` of {self.origin} to be a method, got {type(own).__name__}",
                "give a method predict(r) -> logits",
            )
        # A frozen dataclass; both are facts about the module and not settings.
        object.__setattr__(self, "target", target)
        object.__setattr__(self, "stochastic", bool(getattr(self.module, "stochastic", False)))

    @property
    def encoder(self) -> nn.Module | None:
        """The module's encoder, if it shows one."""
        return _module_or_none(self.module, "encoder")

    @property
    def decoder(self) -> nn.Module | None:
        """The module's decoder, if it shows one."""
        return _module_or_none(self.module, "decoder")

    def declared_secret(self) -> Secret:
        """The module's attribute `secret`, if it declares one."""
        return parse_secret(user_call(self.origin, lambda: getattr(self.module, "secret", None)), self.origin)

    def fit(self, data: FitData, generator: torch.Generator) -> ModuleDefense:
        """Fit a copy of the module on the defender's images; `data.target` is not used. Without `fit`: nothing."""
        if not callable(getattr(self.module, "fit", None)):
            return self

        def run() -> nn.Module:
            module: Any = copy.deepcopy(self.module)
            # Copies: what a third party changes in place must not reach anyone else's data.
            module.fit(data.images.clone(), data.labels.clone())
            fitted: nn.Module = module
            return fitted

        with torch.enable_grad():
            return self._replace(module=self._seeded(run, generator, data.images.device))

    def publish(self, x: Float[Tensor, "n c h w"], generator: torch.Generator) -> Release:
        """Run the module on images.

        Raises:
            UserError: it raises, or returns anything but one tensor row per image.
        """
        self.module.eval()
        with torch.set_grad_enabled(x.requires_grad):
            values = self._seeded(lambda: self.module(x.clone().to(self._device(x))), generator, x.device)
        values = check_values(values, len(x), self.origin)
        values = values if x.requires_grad else values.detach()
        mask = getattr(self.module, "mask", None)
        if mask is None:
            return Release(values=values.to(x.device))
        if not isinstance(mask, Tensor) or mask.ndim not in (1, 2) or (mask.ndim == 2 and len(mask) != len(x)):
            raise UserError(
                f"expected the mask of {self.origin} to be (units,) or (n, units), got {_words(mask)}",
                "give the mask one of those shapes",
            )
        return Release(values=values.to(x.device), mask=mask.detach().clone().to(x.device))

    def predict(self, values: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n classes"] | None:
        """Logits from the module's `predict` or `target`; None without either."""
        own = getattr(self.module, "predict", None)
        use = own if callable(own) else self.target
        if use is None:
            return None
        if self.target is not None:
            self.target.eval()
        self.module.eval()
        # Nobody hands `predict` a generator, so a random one is made to repeat itself.
        generator = torch.Generator().manual_seed(0)
        with torch.set_grad_enabled(values.requires_grad):
            logits = self._seeded(lambda: use(values.clone().to(self._device(values))), generator, values.device)
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(values):
            shape = f"({len(values)}, classes)"
            raise UserError(
                f"expected logits of shape {shape} from {self.origin}, got {_words(logits)}",
                "return one row per release, one column per class",
            )
        return logits.float().to(values.device)

    def state(self) -> dict[str, Tensor]:
        """The module's own state dict."""
        return dict(self.module.state_dict())

    def with_state(self, state: Mapping[str, Tensor], target: nn.Module) -> ModuleDefense:  # noqa: ARG002
        """A copy with that state dict; the module's own target stays."""
        module = copy.deepcopy(self.module)
        try:
            module.load_state_dict(dict(state))
        except RuntimeError as error:
            raise UserError(
                f"expected weights of {self.origin}, got others: {str(error)[:300]}", "fit it again"
            ) from error
        return self._replace(module=module)

    def settings(self) -> dict[str, Any]:
        """What the module is, and by which code."""
        return {"module": type(self.module).__qualname__, "code": self.code}

    def _device(self, x: Tensor) -> torch.device:
        return next((parameter.device for parameter in self.module.parameters()), x.device)

    def _seeded(self, run: Callable[[], T], generator: torch.Generator, device: torch.device) -> T:
        used = {self._device(torch.empty(0, device=device)), device}
        with torch.random.fork_rng(devices=[each for each in used if each.type == "cuda"]):
            return user_call(self.origin, lambda: seeded(run, generator))


def check_values(values: Any, rows: int, origin: str) -> Shaped[Tensor, "n ..."]:
    """What a defense published, if it is one real tensor row per image; shorter floats become float32, losslessly.

    Raises:
        UserError: it is not.
    """
    if not isinstance(values, Tensor):
        raise UserError(f"expected {origin} to publish a tensor, got {_words(values)}", "return one tensor")
    if values.ndim == 0 or len(values) != rows:
        raise UserError(
            f"expected {origin} to publish {rows} rows, one per image, got {_words(values)}", "return one row per image"
        )
    if values.is_complex() or values.layout != torch.strided:
        raise UserError(
            f"expected {origin} to publish dense real numbers, got {_words(values)}", "return a dense real tensor"
        )
    if values.numel() == 0 or values.device.type == "meta":
        raise UserError(
            f"expected {origin} to publish numbers, got {_words(values)} without any",
            "return at least one number per image",
        )
    if values.dtype in (torch.uint16, torch.uint32, torch.uint64):
        # torch computes with few of its unsigned types; the numbers stay what they are.
        wide = values.to(torch.int64)
        if bool((wide < 0).any()):
            raise UserError(
                f"expected integers below 2^63 from {origin}, got larger ones", "publish them as int64 words"
            )
        return wide
    return values.float() if values.is_floating_point() and values.itemsize < 4 else values


class EndedError(BaseException):
    """The user's code asked for the end of the process. Its own `except Exception` misses this."""


def user_call(origin: str, call: Callable[[], T]) -> T:
    """Run the user's code; what it raises becomes one line with its type, message and place."""
    try:
        with _no_exit():
            return call()
    except (UserError, NotApplicableError, KeyboardInterrupt):
        raise
    except BaseException as error:
        _blame(origin, error)


@contextlib.contextmanager
def _no_exit() -> Iterator[None]:
    """Inside, `os._exit` raises, or it would end the run with any exit code, 0 too; in a forked child it exits."""
    exit_process, here = os._exit, os.getpid()

    def refuse(status: int) -> NoReturn:
        if os.getpid() != here:
            exit_process(status)
        raise EndedError(f"it called os._exit({status})")

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = exit_process


def _blame(origin: str, error: BaseException) -> NoReturn:
    """Raise a `UserError` that names the last line of the user's code on the way to the error."""
    installed = ("<", sysconfig.get_path("stdlib"), str(Path(__file__).parent))
    place = ""
    if isinstance(error, SyntaxError) and error.filename:
        place, message = f" at {error.filename}:{error.lineno}", error.msg
    else:
        message = " ".join(str(error).split())[:300]
        for frame in traceback.extract_tb(error.__traceback__):
            if "site-packages" not in frame.filename and not frame.filename.startswith(installed):
                place = f" at {frame.filename}:{frame.lineno}"
    raise UserError(f"{origin} raised {type(error).__name__}: {message}{place}", "correct it there") from error


def _module_or_none(module: nn.Module, name: str) -> nn.Module | None:
    found = getattr(module, name, None)
    return found if isinstance(found, nn.Module) else None


def _words(value: Any) -> str:
    return f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
