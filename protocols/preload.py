"""What the fork server imports once, so that its workers start quickly and share the memory of it."""

import atexit
import gc

import torch._dynamo  # the first optimizer imports it: 2 s and 150 MB that would be every worker's own

from adversaries.registries import ADVERSARIES
from protocols.engine import training_jobs
from protocols.memory import keep_freed

keep_freed()
for _name in ADVERSARIES.cards:
    ADVERSARIES.get(_name)

# What is never collected is never written to, and so stays shared.
gc.collect()
gc.freeze()
atexit.register(gc.unfreeze)

__all__ = ["torch", "training_jobs"]
