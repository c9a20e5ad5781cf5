"""A defense: images in, a release out."""

from dataclasses import dataclass

from vfc.defense import DEFENSES, Defense
from vfc.release import Release


@DEFENSES.register("dimmed")
@dataclass(frozen=True, kw_only=True)
class Dimmed(Defense):
    """Publishes a darker image, of which the given share of brightness is left."""

    share: float = 0.5

    def publish(self, x, generator):
        """Darker images."""
        return Release(values=self.share * x)
