"""The registry of protocols, apart from what a protocol is, so that listing names imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vfc.registry import Registry

if TYPE_CHECKING:
    from protocols.evaluation.protocol import Protocol

PROTOCOLS: Registry[Callable[[], Protocol]] = Registry("protocol", "protocols", "PROTOCOLS", "vfc.protocols")
