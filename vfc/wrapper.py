"""Third-party code as a defense: any torch module, run so that it can neither disturb us nor hide its mistakes."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from vfc.core.secret import Secret, parse_secret
from vfc.defense import Defense, FitData
from vfc.errors import UserError
from vfc.isolation.user_code import user_call
from vfc.release import Release
from vfc.seeding import seeded

T = TypeVar("T")
_ABSENT = object()
_WIDE = (torch.uint16, torch.uint32, torch.uint64)
_INTEGERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, *_WIDE)


@dataclass(frozen=True, kw_only=True)
class ModuleDefense(Defense):
    """Any torch module x -> r as a defense.

    The intended use is its `predict(r) -> logits` or its attribute `target` (a module r -> logits); without either
    there is no target. Optional attributes: `clean_target` (a module or method x -> logits), the same model without a
    defense, for a target that does not read images; `stochastic`, `mask` (units,) or (n, units), `encoder`, `decoder`,
    `inverse` (a module or method r -> images, which attackers of L4 are handed), and `fit(images, labels)`, which may
    change the module and is handed a copy of it.

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
        target = self._shown("target")
        if target is not None and not isinstance(target, nn.Module):
            raise UserError(
                f"expected `target` of {self.origin} to be a torch.nn.Module, got {type(target).__name__}",
                "give a module from release to logits, or a method predict(r)",
            )
        for name, argument in (("predict", "r"), ("clean_target", "x")):
            if (own := self._shown(name)) is not None and not callable(own):
                raise UserError(
                    f"expected `{name}` of {self.origin} to be a method, got {type(own).__name__}",
                    f"give a method {name}({argument}) -> logits",
                )
        # A frozen dataclass; both are facts about the module and not settings.
        object.__setattr__(self, "target", target)
        object.__setattr__(self, "stochastic", user_call(self.origin, lambda: bool(self._shown("stochastic"))))

    @property
    def encoder(self) -> nn.Module | None:
        """The module's encoder, if it shows one."""
        return self._module("encoder")

    @property
    def decoder(self) -> nn.Module | None:
        """The module's decoder, if it shows one."""
        return self._module("decoder")

    def declared_secret(self) -> Secret:
        """The module's attribute `secret`, if it declares one."""
        return user_call(self.origin, lambda: parse_secret(self._shown("secret"), self.origin))

    def fit(self, data: FitData, generator: torch.Generator) -> ModuleDefense:
        """Fit a copy of the module on the defender's images; `data.target` is not used. Without `fit`: nothing."""
        if not callable(self._shown("fit")):
            return self

        def run() -> nn.Module:
            module: Any = copy.deepcopy(self.module)
            # Copies: what a third party changes in place must not reach anyone else's data.
            module.fit(data.images.clone(), data.labels.clone())
            fitted: nn.Module = module
            return fitted

        with torch.enable_grad():
            return self._replace(module=self._seeded(run, generator, data.images.device, limit="fit"))

    def publish(self, x: Float[Tensor, "n c h w"], generator: torch.Generator) -> Release:
        """Run the module on images.

        Raises:
            UserError: it raises, or returns anything but one tensor row per image.
        """

        def run() -> Tensor:
            self.module.eval()
            return check_values(self.module(x.clone().to(self._device(x))), len(x), self.origin)

        with torch.set_grad_enabled(x.requires_grad):
            values = self._seeded(run, generator, x.device)
        values = values if x.requires_grad else values.detach()
        mask = self._shown("mask")
        if mask is None:
            return Release(values=values.to(x.device))
        if not isinstance(mask, Tensor) or mask.ndim not in (1, 2) or (mask.ndim == 2 and len(mask) != len(x)):
            raise UserError(
                f"expected the mask of {self.origin} to be (units,) or (n, units), got {_words(mask)}",
                "give the mask one of those shapes",
            )
        mask = user_call(self.origin, lambda: _dense(mask, f"the mask of {self.origin}").detach().clone())
        return Release(values=values.to(x.device), mask=mask.to(x.device))

    def predict(self, values: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n classes"] | None:
        """Logits from the module's `predict` or `target`; None without either."""
        own = self._shown("predict")
        use = own if callable(own) else self.target
        return None if use is None else self._logits(use, values)

    def clean(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"] | None:
        """Logits from the module's `clean_target` on images, as the model answers without a defense; None without it.

        Raises:
            UserError: it raises, or returns anything but one row of logits per image.
        """
        use = self._shown("clean_target")
        return None if use is None else self._logits(use, x)

    def inverse(self, values: Shaped[Tensor, "n ..."]) -> Shaped[Tensor, "n ..."] | None:
        """Images from the module's `inverse`; None without it.

        Raises:
            UserError: it raises, or returns anything but one row per release.
        """
        use = self._shown("inverse")
        if not callable(use):
            return None
        generator = torch.Generator().manual_seed(0)
        found = self._seeded(lambda: use(values.clone().to(self._device(values))), generator, values.device)
        return check_values(found, len(values), f"the inverse of {self.origin}").to(values.device)

    def _logits(self, use: Callable[[Tensor], Any], values: Tensor) -> Tensor:
        """What a part of the module answers in eval mode, one row of logits for every row of values."""

        def run() -> Any:
            for part in (self.target, self.module, use):
                if isinstance(part, nn.Module):
                    part.eval()
            found = use(values.clone().to(self._device(values)))
            return _dense(found, self.origin).float() if isinstance(found, Tensor) else found

        # Nobody hands `predict` a generator, so a random one is made to repeat itself.
        generator = torch.Generator().manual_seed(0)
        with torch.set_grad_enabled(values.requires_grad):
            logits = self._seeded(run, generator, values.device)
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(values):
            shape = f"({len(values)}, classes)"
            raise UserError(
                f"expected logits of shape {shape} from {self.origin}, got {_words(logits)}",
                "return one row per release, one column per class",
            )
        return logits.to(values.device)

    def state(self) -> dict[str, Tensor]:
        """The module's own state dict."""
        return user_call(self.origin, lambda: dict(self.module.state_dict()))

    def with_state(self, state: Mapping[str, Tensor], target: nn.Module) -> ModuleDefense:  # noqa: ARG002
        """A copy with that state dict; the module's own target stays."""
        module = user_call(self.origin, lambda: copy.deepcopy(self.module))
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

    def _module(self, name: str) -> nn.Module | None:
        found = self._shown(name)
        return found if isinstance(found, nn.Module) else None

    def _shown(self, name: str) -> Any:
        """An optional attribute of the module, None without it. One that is there and cannot be read is an error."""

        def read() -> Any:
            found = getattr(self.module, name, _ABSENT)
            if found is _ABSENT and inspect.getattr_static(self.module, name, _ABSENT) is not _ABSENT:
                raise AttributeError(f"its {name} is there and cannot be read")
            return None if found is _ABSENT else found

        return user_call(self.origin, read)

    def _seeded(
        self,
        run: Callable[[], T],
        generator: torch.Generator,
        device: torch.device,
        limit: Literal["fit", "call"] = "call",
    ) -> T:
        own = user_call(self.origin, lambda: self._device(torch.empty(0, device=device)))
        with torch.random.fork_rng(devices=[each for each in {own, device} if each.type == "cuda"]):
            return user_call(self.origin, lambda: seeded(run, generator), limit=limit)


def check_values(values: Any, rows: int, origin: str) -> Shaped[Tensor, "n ..."]:
    """What a defense published, if it is one real tensor row per image; shorter floats become float32, losslessly.

    Raises:
        UserError: it is not.
    """
    if not isinstance(values, Tensor):
        several = isinstance(values, tuple | list | dict)
        fix = "return the release alone, not what belongs to it" if several else "return one tensor"
        raise UserError(f"expected {origin} to publish a tensor, got {_words(values)}", fix)
    found: Tensor = _dense(values, origin)
    if found.ndim == 0 or len(found) != rows:
        raise UserError(
            f"expected {origin} to publish {rows} rows, one per image, got {_words(found)}", "return one row per image"
        )
    if found.numel() == 0 or found.device.type == "meta":
        raise UserError(
            f"expected {origin} to publish numbers, got {_words(found)} without any",
            "return at least one number per image",
        )
    if found.dtype in _WIDE:
        # torch computes with few of its unsigned types; the numbers stay what they are.
        wide: Tensor = found.to(torch.int64)
        if bool((wide < 0).any()):
            raise UserError(
                f"expected integers below 2^63 from {origin}, got larger ones", "publish them as int64 words"
            )
        return wide
    found = found.float() if found.is_floating_point() and found.itemsize < 4 else found
    # Numbers that share their place take it now, where too many of them are the publisher's own mistake.
    shared = found.untyped_storage().nbytes() < found.numel() * found.itemsize
    return found.contiguous() if shared else found


def _dense(values: Tensor, origin: str) -> Tensor:
    """A plain tensor of real numbers.

    Raises:
        UserError: it is complex, sparse, nested or quantized.
    """
    with torch._C.DisableTorchFunctionSubclass():
        values = values if type(values) is Tensor else values.as_subclass(Tensor)  # a subclass may compute anything
        plain = values.layout == torch.strided and not values.is_nested and not values.is_quantized
    if not plain or type(values) is not Tensor or not (values.is_floating_point() or values.dtype in _INTEGERS):
        raise UserError(
            f"expected dense real numbers from {origin}, got {_words(values)}", "return a dense real tensor"
        )
    return values


def _words(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    kind = "nested " if value.is_nested else "quantized " if value.is_quantized else ""
    return f"{kind}{value.dtype}" if value.is_nested else f"{kind}{value.dtype} of shape {tuple(value.shape)}"
