"""What two revisions are compared on: the commands of every case, and the files that they read."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

SHORT = {
    "PREDICT": "SMOKE --protocol leakage --protocol inversion --release",
    "SMOKE": "attack SETS MLP HERE --budget smoke",
    "STANDARD": "attack SETS MLP HERE --budget standard",
    "FOLLOW": "leakage --over-training --samples 2 --images 60 --quiet --members 100 --shadows 2",
    "SETS": "--set train.steps=80 --set vfc.epochs=6 --set cnn.steps=30 --set mlp.steps=30 --set fine-tune.steps=20 "
    "--set adapter.steps=20 --set entropy.steps=10 --set decoder.steps=30 --set gradient-inversion.steps=6 "
    "--set deep-prior.steps=10 --set mask-latent.steps=60 --set mask-replay.steps=20 --set mean-image.steps=20 "
    "--set deepfool.steps=4 --set square.queries=20 --set boundary.steps=20 --set carlini-wagner.steps=8 "
    "--set hop-skip-jump.steps=1 --set decensor.iterations=20 --set pgd.steps=5 --set apgd.steps=5",
    "MLP": "--unintended mlp",
    "HERE": "--executor local --quiet",
}
"""Words of the commands below that stand for others."""

COMMANDS = """
digits-transfer: SMOKE --protocol transfer --unintended vgg11 --unintended resnet20 --executor processes --workers 2
  --gate "transfer.suppression_ratio >= 2" --gate "target.accuracy >= 0.5" --out a
digits-transfer: gate a --gate "transfer.accuracy <= 0.9" --gate "transfer.suppression_ratio >= 1.5"
digits-transfer: gate a --baseline a
digits-adaptive-probe-defaults: attack MLP HERE --budget smoke --gate "adaptive.suppression_ratio >= 1.2"
  --gate "adaptive.accuracy@10 <= 0.99" --gate "adaptive.labels_to_90 >= 20" --out a
digits-adaptive-probe-standard: STANDARD --unintended resnet20 --out a
digits-adaptive-probe-seeds: SMOKE --seeds 2 --seed 3 --out a
digits-all-L4: SMOKE --protocol all --threat L4 --gates strict --out a
digits-attribute-standard: STANDARD --protocol attribute --attribute ink --out a
digits-attribute-label-release: SMOKE --protocol attribute --release label-release --label small=digit:0,1 --out a
  --attribute ink --attribute small --gate "attribute.ink.leakage <= 0.3" --gate "attribute.small.accuracy <= 0.5"
digits-membership-standard: STANDARD --protocol membership --out a
digits-inversion-standard: STANDARD --protocol inversion --out a
digits-noise: SMOKE --protocol inversion --protocol linkage --protocol leakage --release gaussian-noise --out a
digits-linkage-standard: STANDARD --protocol linkage --release pixel-permutation --out a
digits-mask-sampled: STANDARD --protocol mask-aware --protocol leakage --attribute ink --set vfc.deployment=sample
  --set vfc.scope=sample --out a
digits-evasion-standard: STANDARD --protocol evasion --release quantization --out a
digits-factory: SMOKE --protocol adaptive-probe --protocol evasion --protocol linkage --release inputs/blurred.py:build
  --out a
gaussian-adaptive-probe: SMOKE --dataset gaussian --release identity --out a
gaussian-attribute: SMOKE --dataset gaussian --protocol attribute --protocol leakage --threat L3 --out a
arrays-all: SMOKE --protocol all --release inputs/arrays.npz --out a
arrays-adaptive-probe: STANDARD --protocol adaptive-probe --release inputs/bare.npz --out a
digits-train: train SETS MLP HERE --checkpoints 4 --out run
digits-train: attack HERE --budget smoke --protocol transfer --release run --out a
digits-train: FOLLOW --release run --part encoder --layers encoder.head --out b
digits-ablation: train SETS MLP HERE --set vfc.epochs=2 --ablate mask --out a
digits-leakage-verb: leakage --model inputs/net.py:build --samples 3 --images 100 --quiet --out a
digits-overtraining: FOLLOW --target mlp --width 0.1 --set train.steps=40 --checkpoints 4 --out a
digits-overtraining: leakage --over-training --model inputs/net.py:build --checkpoints inputs/s*.safetensors --out b
digits-calibrate: calibrate SETS HERE --budget smoke --dataset digits --out a
digits-predict: PREDICT gaussian-noise --set gaussian-noise.sigma=0.1 --threat L4 --out a
digits-predict: PREDICT gaussian-noise --set gaussian-noise.sigma=0.5 --threat L3 --out b
digits-predict: PREDICT quantization --set quantization.bits=1 --threat L3 --out c
digits-predict: PREDICT pixel-permutation --threat L3 --out d
digits-predict: predict a b c d --json prediction.json
"""
NET = """from torch import nn


def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(256, 12), nn.Tanh(), nn.Linear(12, 10))
"""


def cases() -> dict[str, list[list[str]]]:
    """The commands of every case, as words."""
    found: dict[str, list[list[str]]] = {}
    for line in COMMANDS.strip().replace("\n  ", " ").splitlines():
        name, _, command = line.partition(": ")
        for short, words in SHORT.items():
            command = command.replace(short, words)
        found.setdefault(name, []).append(shlex.split(command))
    return found


def make_inputs(folder: Path, tree: Path) -> None:
    """What cases read: saved arrays with images and without, a module, its states, and the example of a factory."""
    rng = np.random.default_rng(20240601)
    label, other = rng.integers(0, 4, 700), rng.integers(0, 2, 700)
    image = rng.integers(0, 120, (700, 1, 8, 8)).astype(np.float32)
    image[:, 0] += 70 * (np.arange(8)[None, None] // 2 == label[:, None, None])
    image[:, 0] += 60 * (np.arange(8)[None, :, None] // 4 == other[:, None, None])
    image /= 255
    release = np.tanh(image.reshape(700, 64)[:, ::2] - 0.5) + rng.normal(size=(700, 32)).astype(np.float32) / 20
    guess = np.where(rng.random(700) < 0.1, (label + 1) % 4, label)
    folder.mkdir(parents=True)
    np.savez(folder / "arrays.npz", release=release, label=label, image=image, prediction=guess, attr_x=other)
    np.savez(folder / "bare.npz", release=np.round(release * 32).astype(np.int16), label=label, attr_x=other)
    for step, scale in ((0, 0.1), (20, 1.0), (100, 3.0)):
        shapes = {"1.weight": (12, 256), "1.bias": (12,), "3.weight": (10, 12), "3.bias": (10,)}
        state = {name: (scale * rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}
        save_file(state, folder / f"s{step}.safetensors")
    (folder / "net.py").write_text(NET, encoding="utf-8")
    shutil.copy(tree / "examples" / "blurred.py", folder)
