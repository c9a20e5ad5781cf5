"""Asking a fitted defense for releases and predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float, Int, Int64, Shaped
from torch import Tensor

from adversaries.attacks.label.frozen.picture import Picture
from protocols.engine.publishing.calls import ROWS, Mixture
from protocols.engine.publishing.hosts import Tensors, Work, in_host, in_hosts
from protocols.engine.settings import CALL_LIMIT
from vfc.defense import Defense
from vfc.errors import UserError
from vfc.isolation.user_code import defender_call
from vfc.release import Release
from vfc.seeding import derive_seed
from vfc.wrapper import ModuleDefense, check_values

Images = Float[Tensor, "n c h w"]
Calls = Callable[[], Iterator[tuple[Images, torch.Generator]]]


@dataclass(frozen=True, kw_only=True)
class Published:
    """Releases of several parts that were published together.

    Args:
        values: releases by part.
        call: which call each row was published in, by part.
    """

    values: Mapping[str, Shaped[Tensor, "n ..."]]
    call: Mapping[str, Int64[Tensor, " n"]]


@dataclass(frozen=True, kw_only=True)
class Publisher:
    """A fitted defense with its randomness fixed.

    Args:
        defense: what publishes.
        classes: number of task classes, which the intended use must tell apart.
        seed: the run's seed; every stream of releases has randomness of its own.
        device: where to compute.
        isolated: every question is asked in a process of its own, so that no answer can remember another.
        limit: seconds that it may take for one call, if isolated.
        at_once: how many such processes may run side by side.
    """

    defense: Defense
    classes: int
    seed: int
    device: str
    isolated: bool = False
    limit: float = CALL_LIMIT
    at_once: int = 1

    def publish(self, images: Images, stream: str) -> Shaped[Tensor, "n ..."]:
        """Releases of some images by themselves, on the CPU.

        Raises:
            UserError: the defense published something else than one row per image, or its process did not come to
                its end.
        """
        generator = self.generator("publish", stream)
        return torch.cat(self.releases(lambda: ((call, generator) for call in torch.split(images, ROWS))))

    def together(self, images_of: Mapping[str, Images], stream: str) -> Published:
        """Releases of several parts, on the CPU: mixed in calls of `ROWS`, and put back into their places.

        Raises:
            UserError: as for `publish`.
        """
        mixture, generator = self.mixed(images_of, stream)
        pieces = self.releases(lambda: ((call, generator) for call in mixture.calls(images_of)))
        return Published(values=mixture.apart(pieces), call=mixture.numbers)

    def mixed(self, images_of: Mapping[str, Images], stream: str) -> tuple[Mixture, torch.Generator]:
        """How a stream of `together` mixes parts, and the randomness of its releases, for who does it once more."""
        mixture = Mixture.drawn({name: len(images) for name, images in images_of.items()}, stream, self.seed)
        return mixture, self.generator("publish", stream)

    def predicted(self, release: Shaped[Tensor, "n ..."]) -> Int[Tensor, " n"] | None:
        """Classes that the intended use predicts on stored releases; None without one."""
        return self._classes(release, self.defense.predict)

    def clean(self, images: Images) -> Int[Tensor, " n"] | None:
        """Classes that a module's own clean model predicts on images; None where it shows none."""
        return self._classes(images, self.defense.clean) if isinstance(self.defense, ModuleDefense) else None

    def _classes(
        self, rows: Shaped[Tensor, "n ..."], use: Callable[[Tensor], Tensor | None]
    ) -> Int[Tensor, " n"] | None:
        """Classes that a model of the defense's predicts on some rows; None if it has none."""

        @torch.no_grad()
        def work() -> Iterator[Tensors]:
            for chunk in torch.split(rows, ROWS):
                logits = defender_call(self.defense, partial(use, chunk.to(self.device)))
                if logits is not None and not isinstance(logits, Tensor):
                    raise UserError(
                        f"expected a tensor from predict, got {type(logits).__name__}",
                        "return logits, one row per release",
                    )
                # Before it is handed over: a few numbers may stand for more than any memory holds.
                if logits is not None and logits.shape != (len(chunk), self.classes):
                    raise UserError(
                        f"expected the target's logits in shape {(len(chunk), self.classes)}, got "
                        f"{tuple(logits.shape)}",
                        "let predict or target return one column per class",
                    )
                yield {} if logits is None else {"logits": logits}

        pieces = []
        for chunk, answer in zip(torch.split(rows, ROWS), self._asked(work, "predict"), strict=True):
            if "logits" not in answer:
                return None
            logits = answer["logits"]
            unusable = ~torch.isfinite(logits).all(1)
            if bool(unusable.any()) and bool(torch.isfinite(chunk.double()).all()):
                raise UserError("expected finite logits from the target, got NaN or infinity", "correct the target")
            # On a release that is not finite itself the target may fail: then it is wrong, and nothing else.
            pieces.append(logits.nan_to_num().argmax(1).cpu())
        return torch.cat(pieces)

    def declared_bounds(self, images: Images) -> tuple[float, float] | None:
        """The range that the defense promises for the releases of some images."""

        @torch.no_grad()
        def work() -> Iterator[Tensors]:
            bounds = self._release(images, torch.Generator().manual_seed(0)).bounds
            yield {} if bounds is None else {"bounds": torch.tensor(bounds, dtype=torch.float64)}

        (found,) = self._asked(work, "publish")
        return (float(found["bounds"][0]), float(found["bounds"][1])) if "bounds" in found else None

    def releases(self, calls: Calls) -> list[Shaped[Tensor, "rows ..."]]:
        """What comes back from calls that one process makes, on the CPU and all of one shape."""
        return self.series([calls])[0]

    def series(self, several: Sequence[Calls]) -> list[list[Shaped[Tensor, "rows ..."]]]:
        """What comes back from several series of calls, each made by a process of its own, some side by side.

        Args:
            several: what is handed over in each call of each, and its randomness.
        """

        def work_of(calls: Calls) -> Work:
            @torch.no_grad()
            def work() -> Iterator[Tensors]:
                for images, generator in calls():
                    yield {"values": self._release(images, generator).values.cpu()}

            return work

        works = [work_of(calls) for calls in several]
        answers: Sequence[Sequence[Tensors]]
        if self.isolated and len(works) > 1:
            answers = in_hosts(works, origin=self._origin, doing="publish", limit=self.limit, at_once=self.at_once)
        else:
            answers = [list(self._asked(work, "publish")) for work in works]
        found = [[answer["values"] for answer in each] for each in answers]
        if any(len({(piece.shape[1:], piece.dtype) for piece in pieces}) > 1 for pieces in found):
            raise UserError("expected releases of one shape and type, got different ones", "publish equal shapes")
        return found

    def _release(self, images: Images, generator: torch.Generator) -> Release:
        release = defender_call(self.defense, lambda: self.defense.publish(images.to(self.device), generator))
        if not isinstance(release, Release):
            raise UserError(f"expected a vfc Release from publish, got {type(release).__name__}", "return one")
        values = defender_call(self.defense, lambda: check_values(release.values, len(images), "the defense"))
        return replace(release, values=values)

    def generator(self, *what: object) -> torch.Generator:
        """Randomness for one purpose, which depends on the run's seed."""
        return torch.Generator().manual_seed(derive_seed(*what, self.seed))

    def _asked(self, work: Work, doing: str) -> Iterator[Tensors]:
        """The answers, from a process of its own if there is to be one."""
        if not self.isolated:
            return work()
        return in_host(work, origin=self._origin, doing=doing, limit=self.limit)

    @property
    def _origin(self) -> str:
        """Whose code is asked."""
        return str(getattr(self.defense, "origin", type(self.defense).__name__))


def picture_of(
    release: Float[Tensor, "n c h w"], form: str, pool: Float[Tensor, "m c h w"]
) -> Float[Tensor, "n c h w"]:
    """Releases made real pictures: clipped, or rescaled by the range of the pool's releases; 8 bit."""
    picture = Picture(low=0.0, high=1.0) if form == "clip" else Picture.rescaling(pool)
    return picture(release)
