"""Speed, accuracy and memory of Jacobian spectra, as ratios of one run.

    python benchmarks/spectra.py [--device cpu|cuda] [--threads 1] [--repeats 3] [--only exact|sketch|memory]

exact    whole Jacobians against one `torch.autograd.grad` per output row, for several shapes; the smaller the better.
sketch   sketched spectra against exact ones: error of the effective rank, and how much less time they take.
memory   peak memory of a layer with 150,528 inputs and more outputs (ResNet-18 on 224x224 pixels).

Times are the best of the repeats; processor seconds are shown too, because other programs cannot slow those down.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from adversaries.diagnostics.jacobian import jacobians, plan
from adversaries.diagnostics.layers import Tap
from adversaries.diagnostics.spectra import Effort, spectra
from vfc.seeding import seeded

ROWS = 64
"""Rows of the row loop that are timed; the rest takes as long in proportion."""


def resnet() -> nn.Module:
    """torchvision's ResNet-18 with fresh weights, ready to be differentiated."""
    import torchvision

    model = seeded(torchvision.models.resnet18, torch.Generator().manual_seed(0))
    return model.eval().requires_grad_(False)


def timed(call: Callable[[], object], device: str, repeats: int) -> tuple[float, float]:
    """Best wall and processor seconds."""
    best = [float("inf"), float("inf")]
    for _ in range(repeats):
        if device == "cuda":
            torch.cuda.synchronize()
        started, worked = time.perf_counter(), time.process_time()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        best = [min(best[0], time.perf_counter() - started), min(best[1], time.process_time() - worked)]
    return best[0], best[1]


def row_loop(function: Callable[[Tensor], Tensor], x: Tensor, rows: int) -> Tensor:
    """One backward pass per output row of every image."""
    found = []
    for image in x.split(1):
        leaf = image.clone().requires_grad_()
        values = function(leaf).flatten()
        found += [torch.autograd.grad(values[i], leaf, retain_graph=True)[0].flatten() for i in range(rows)]
    return torch.stack(found)


def small_maps() -> dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...]]]:
    """Maps of other shapes than a ResNet's stages: few outputs, few inputs, one matrix."""

    def build() -> dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...]]]:
        few = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 1024, 10))
        wide = nn.Sequential(nn.Conv2d(1, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1))
        matrix = nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512))
        for module in (few, wide, matrix):
            module.eval().requires_grad_(False)
        return {
            "10 logits, 8 images": (few, (8, 3, 32, 32)),
            "256 inputs, 16,384 outputs": (wide, (1, 1, 16, 16)),
            "mlp, 784 inputs, 512 outputs": (matrix, (1, 1, 28, 28)),
        }

    return seeded(build, torch.Generator().manual_seed(0))


def exact(device: str, repeats: int) -> None:
    print("\nexact: whole Jacobian / one torch.autograd.grad per output row")
    print(f"{'map':34} {'m x d':>14} {'rows s':>8} {'ours s':>8} {'faster':>7} {'cpu s faster':>12}  how")
    model = resnet().to(device)
    cases = {
        f"ResNet-18 {name}": (Tap(model, name), (1, 3, 32, 32)) for name in ("layer1", "layer2", "layer3", "layer4")
    }
    cases.update(small_maps())
    for name, (function, shape) in cases.items():
        if isinstance(function, nn.Module):
            function.to(device)
        x = torch.rand(shape, generator=torch.Generator().manual_seed(1)).to(device)
        with torch.no_grad():
            outputs = function(x[:1]).numel()
        rows = min(ROWS, outputs)
        how = plan(function, x, outputs)
        loop = timed(lambda: row_loop(function, x, rows), device, repeats)  # noqa: B023
        ours = timed(lambda: list(jacobians(function, x, plan(function, x, outputs))), device, repeats)  # noqa: B023
        factor = outputs / rows
        print(
            f"{name:34} {f'{outputs} x {x[0].numel()}':>14} {loop[0] * factor:8.2f} {ours[0]:8.2f} "
            f"{loop[0] * factor / ours[0]:6.1f}x {loop[1] * factor / ours[1]:11.1f}x  {how.words}"
        )


def sketched(device: str, repeats: int) -> None:
    print("\nsketch: against exact spectra, 4 images")
    print(f"{'layer':8} {'m x d':>14} {'exact s':>8} {'sketch s':>8} {'less':>6} {'cpu less':>8} "
          f"{'effective rank':>15} {'mean error':>10} {'worst':>6} {'stated':>7}")  # fmt: skip
    model = resnet().to(device)
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1)).to(device)
    for name in ("layer3", "layer2", "layer1"):
        tap = Tap(model, name)
        found = {}

        def run(method: str, found: dict[str, object] = found, tap: Tap = tap) -> None:
            found[method] = spectra(tap, x, generator=torch.Generator().manual_seed(2), effort=Effort(method=method))

        whole = timed(lambda: run("exact"), device, 1)
        short = timed(lambda: run("sketch"), device, repeats)
        pairs = list(zip(found["exact"].each, found["sketch"].each, strict=True))
        errors = [b.effective_rank / a.effective_rank - 1 for a, b in pairs]
        stated = sum(b.error(lambda s: s.effective_rank) / b.effective_rank for _, b in pairs) / len(pairs)
        truth = sum(a.effective_rank for a, _ in pairs) / len(pairs)
        average = sum(b.effective_rank for _, b in pairs) / len(pairs) / truth - 1
        m, d = found["exact"].shape
        print(
            f"{name:8} {f'{m} x {d}':>14} {whole[0]:8.2f} {short[0]:8.2f} {whole[0] / short[0]:5.1f}x "
            f"{whole[1] / short[1]:7.1f}x {truth:15.1f} {average:+10.1%} {max(map(abs, errors)):6.1%} {stated:7.1%}"
        )


def large(device: str) -> None:
    """Runs in a process of its own, so that the peak is its own."""
    model = resnet().to(device)
    x = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(1)).to(device)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    found = spectra(Tap(model, "layer1"), x, generator=torch.Generator().manual_seed(2))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else after / 2**20
    m, d = found.shape
    error = found.each[0].error(lambda s: s.effective_rank)
    print(f"\nmemory: ResNet-18 layer1, {m} x {d}, 2 images: peak {peak:.2f} GiB "
          f"({(after - before) / 2**20:.2f} above the start), {time.perf_counter() - started:.0f} s, "
          f"effective rank {found.each[0].effective_rank:.0f} +- {error:.0f}, "
          f"of E[J'J] {found.mean.effective_rank:.0f}")  # fmt: skip
    print(found.method)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=["exact", "sketch", "memory", "memory-here"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.device}, {options.threads} threads")
    if options.only in (None, "exact"):
        exact(options.device, options.repeats)
    if options.only in (None, "sketch"):
        sketched(options.device, options.repeats)
    if options.only in (None, "memory"):
        command = [sys.executable, __file__, "--only", "memory-here", "--device", options.device,
                   "--threads", str(options.threads)]  # fmt: skip
        subprocess.run(command, check=True)
    if options.only == "memory-here":
        large(options.device)


if __name__ == "__main__":
    main()
