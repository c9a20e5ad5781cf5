"""Defenses that would like to be called safe although somebody who is told how reads the label from every release.

Each class is a factory for `vfc attack --release benchmarks/hostile_defenses.py:NAME`; `benchmarks/hostile.py` says
what each of them claims. None is a defense.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor, nn


class Reader(nn.Module):
    """Knows the label of an image from the nearest image that it was fitted on."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.classes, self.bits = num_classes, max(1, math.ceil(math.log2(num_classes)))
        self.images, self.labels = torch.zeros(1, 1), torch.zeros(1).long()

    def fit(self, images: Tensor, labels: Tensor) -> None:
        """Remember everything."""
        self.images, self.labels = images.flatten(1), labels

    def label(self, x: Tensor) -> Tensor:
        """The label of the nearest neighbor."""
        return self.labels[torch.cdist(x.flatten(1), self.images).argmin(1)]

    def binary(self, labels: Tensor) -> Tensor:
        """Labels in bits, (n, bits), 0 or 1."""
        return (labels[:, None] >> torch.arange(self.bits)) & 1

    def decimal(self, bits: Tensor) -> Tensor:
        """Bits back to labels."""
        return (bits.long() << torch.arange(self.bits)).sum(1)

    def logits(self, labels: Tensor) -> Tensor:
        """One-hot answers of the intended use."""
        return nn.functional.one_hot(labels.long() % self.classes, self.classes).float()


class ThreeSigns(Reader):
    """Every bit is the product of the signs of three among forty numbers."""

    stochastic = True

    def places(self) -> Tensor:
        return torch.randperm(40, generator=torch.Generator().manual_seed(9))[: 3 * self.bits].reshape(-1, 3)

    def forward(self, x: Tensor) -> Tensor:
        r, places = torch.randn(len(x), 40), self.places()
        wanted = 2.0 * self.binary(self.label(x)) - 1
        r[:, places[:, 2]] = r[:, places[:, 2]].abs() * wanted * r[:, places[:, :2]].sign().prod(2)
        return r

    def predict(self, r: Tensor) -> Tensor:
        return self.logits(self.decimal(r[:, self.places()].prod(2) > 0))


class Residue(Reader):
    """What a large number leaves when it is divided by the number of classes."""

    stochastic = True

    def forward(self, x: Tensor) -> Tensor:
        r = torch.randint(0, 5000, (len(x), 12))
        r[:, 4] = r[:, 4] * self.classes + self.label(x)
        return r.float()

    def predict(self, r: Tensor) -> Tensor:
        return self.logits(r[:, 4].round().long() % self.classes)


class Zeros(Reader):
    """How many of sixty numbers are zero, modulo the number of classes."""

    stochastic = True

    def forward(self, x: Tensor) -> Tensor:
        r, labels = torch.randint(1, 9, (len(x), 60)), self.label(x)
        turns = torch.randint(0, max(1, 40 // self.classes), labels.shape)
        places = torch.rand(len(x), 60).argsort(1)
        for row, count in enumerate((labels + self.classes * turns).tolist()):
            r[row, places[row, :count]] = 0
        return r

    def predict(self, r: Tensor) -> Tensor:
        return self.logits((r == 0).sum(1))


class Mantissa(Reader):
    """Every bit is the exclusive or of two bits of the mantissa of one number."""

    stochastic = True
    first, second = 4, 13

    def forward(self, x: Tensor) -> Tensor:
        words = torch.randint(0, 2**23, (len(x), 10), dtype=torch.int32)
        places = torch.arange(self.bits)
        one = (words[:, 3, None] >> (self.first + places)) & 1
        other = one ^ self.binary(self.label(x)).int()
        cleared = words[:, 3] & ~(((1 << self.bits) - 1) << self.second)
        words[:, 3] = cleared | (other << (self.second + places)).sum(1).int()
        return (words | (127 << 23)).view(torch.float32)

    def predict(self, r: Tensor) -> Tensor:
        word, places = r[:, 3].contiguous().view(torch.int32)[:, None], torch.arange(self.bits)
        return self.logits(self.decimal(((word >> (self.first + places)) ^ (word >> (self.second + places))) & 1))


class Xored(Reader):
    """Six bytes whose exclusive or is the label; any five of them are random."""

    stochastic = True

    def forward(self, x: Tensor) -> Tensor:
        shares = torch.randint(0, 256, (len(x), 6), dtype=torch.uint8)
        shares[:, 5] = self.label(x).to(torch.uint8)
        for place in range(5):
            shares[:, 5] ^= shares[:, place]
        return shares

    def predict(self, r: Tensor) -> Tensor:
        total = r[:, 0].clone()
        for place in range(1, 6):
            total ^= r[:, place]
        return self.logits(total.long())


class Negative(Reader):
    """A bit in the middle of every integer, and one column that is negative."""

    stochastic = True

    def forward(self, x: Tensor) -> Tensor:
        r = torch.randint(0, 2**16, (len(x), self.classes + 1), dtype=torch.int32)
        r[:, -1] = -1 - r[:, -1]
        told = nn.functional.one_hot(self.label(x), self.classes).int()
        r[:, :-1] = (r[:, :-1] & ~(1 << 8)) | (told << 8)
        return r

    def predict(self, r: Tensor) -> Tensor:
        return ((r[:, :-1] >> 8) & 1).float()


class CallOffset(Reader):
    """A one-hot code under an offset that each call draws; a number that is published too tells it to whoever knows."""

    stochastic = True

    def offsets(self, nonces: Tensor) -> Tensor:
        drawn = [torch.randn(self.classes, generator=torch.Generator().manual_seed(int(each))) for each in nonces]
        return 40 * torch.stack(drawn)

    def forward(self, x: Tensor) -> Tensor:
        nonce = torch.randint(0, 2**20, (1,)).expand(len(x))
        code = nn.functional.one_hot(self.label(x), self.classes) + 0.1 * torch.randn(len(x), self.classes)
        return torch.cat([nonce[:, None].float(), code + self.offsets(nonce[:1])], 1)

    def predict(self, r: Tensor) -> Tensor:
        return self.logits((r[:, 1:] - self.offsets(r[:, 0].round().long())).argmax(1))


class NeighborPad(Reader):
    """The label plus a random number that stands in the next row of the call."""

    stochastic = True

    def forward(self, x: Tensor) -> Tensor:
        pads = torch.randint(0, self.classes, (len(x),))
        return torch.stack([pads, (self.label(x) + pads.roll(-1)) % self.classes], 1).float()

    def predict(self, r: Tensor) -> Tensor:
        return self.logits((r[:, 1] - r[:, 0].roll(-1)).round() % self.classes)


def digest(values: Tensor) -> int:
    """A number from the SHA-256 of some numbers."""
    return int.from_bytes(hashlib.sha256(values.contiguous().numpy().tobytes()).digest()[:6], "big")


class Nonce(Reader):
    """The label plus the hash of a number that is published beside it."""

    stochastic = True

    def hashed(self, nonces: Tensor) -> Tensor:
        return torch.tensor([digest(row.to(torch.int64)) % self.classes for row in nonces])

    def forward(self, x: Tensor) -> Tensor:
        nonces = torch.randint(0, 256, (len(x), 4))
        code = (self.label(x) + self.hashed(nonces)) % self.classes
        return torch.cat([nonces, code[:, None]], 1).float()

    def predict(self, r: Tensor) -> Tensor:
        whole = r.round().long()
        return self.logits((whole[:, 4] - self.hashed(whole[:, :4])) % self.classes)


class Permuted(Reader):
    """The pixels of the image in an order that a published number tells."""

    stochastic = True

    def orders(self, nonces: Tensor, width: int) -> Tensor:
        drawn = [torch.randperm(width, generator=torch.Generator().manual_seed(int(each))) for each in nonces]
        return torch.stack(drawn)

    def forward(self, x: Tensor) -> Tensor:
        flat, nonces = x.flatten(1), torch.randint(0, 2**20, (len(x),))
        return torch.cat([nonces[:, None].float(), flat.gather(1, self.orders(nonces, flat.shape[1]))], 1)

    def predict(self, r: Tensor) -> Tensor:
        orders = self.orders(r[:, 0].round().long(), r.shape[1] - 1)
        return self.logits(self.label(torch.zeros(orders.shape).scatter(1, orders, r[:, 1:])))


class ByHash(Reader):
    """A one-hot code for the half of the images whose hash says so, random digits for the others."""

    stochastic = True

    def forward(self, x: Tensor) -> Tensor:
        told = torch.tensor([digest(row) % 2 == 0 for row in x])
        shown = torch.where(told, self.label(x), torch.randint(0, self.classes, (len(x),)))
        return self.logits(shown)

    def predict(self, r: Tensor) -> Tensor:
        return r


class Remembers(Reader):
    """Noise, and an intended use that looks up whose noise it was."""

    stochastic = True

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.seen: dict[bytes, int] = {}

    def forward(self, x: Tensor) -> Tensor:
        r = torch.randn(len(x), 24)
        self.seen.update({row.numpy().tobytes(): label for row, label in zip(r, self.label(x).tolist(), strict=True)})
        return r

    def predict(self, r: Tensor) -> Tensor:
        return self.logits(torch.tensor([self.seen.get(row.numpy().tobytes(), 0) for row in r]))


class NextPicture(Reader):
    """An image of the next class, as it was fitted."""

    def forward(self, x: Tensor) -> Tensor:
        following = (self.label(x) + 1) % self.classes
        first = torch.stack([(self.labels == each).nonzero()[0, 0] for each in range(self.classes)])
        return self.images[first[following]].reshape(x.shape)

    def predict(self, r: Tensor) -> Tensor:
        return self.logits((self.label(r) - 1) % self.classes)


class NoisyNextPicture(NextPicture):
    """An image of the next class under so much noise that one clean model reads it at chance and others below that."""

    stochastic = True
    spread = 0.6

    def forward(self, x: Tensor) -> Tensor:
        shown = super().forward(x)
        return shown + self.spread * torch.randn(shown.shape)


class OpenForFew(Reader):
    """The label in the open for one image in sixteen, noise for the others."""

    stochastic = True

    def forward(self, x: Tensor) -> Tensor:
        told = torch.tensor([digest(row) % 16 == 0 for row in x])
        return torch.randn(len(x), self.classes) + 20 * told[:, None] * self.logits(self.label(x))

    def predict(self, r: Tensor) -> Tensor:
        return r


class RowScale(Reader):
    """The image, every row of numbers times a factor of its own over thirty decades."""

    stochastic = True

    def forward(self, x: Tensor) -> Tensor:
        factors = 10 ** (30 * torch.rand(len(x), 1).double() - 15)
        return (x.flatten(1).double() * factors).float()

    def predict(self, r: Tensor) -> Tensor:
        size = r.double().amax(1, keepdim=True)
        return self.logits(self.label((r.double() / size.clamp_min(1e-30)).float()))


class Pairs(Reader):
    """Places and values of the pixels, in random order."""

    stochastic = True

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        order = torch.rand(flat.shape).argsort(1)
        return torch.stack([order.float(), flat.gather(1, order)], 2)

    def predict(self, r: Tensor) -> Tensor:
        places = r[:, :, 0].round().long()
        return self.logits(self.label(torch.zeros(places.shape).scatter(1, places, r[:, :, 1])))


class Infinite(Reader):
    """One number that tells the label, among many that are infinite."""

    def forward(self, x: Tensor) -> Tensor:
        r = torch.full((len(x), 8), math.inf)
        r[:, 5] = self.label(x).float()
        return r

    def predict(self, r: Tensor) -> Tensor:
        return self.logits(r[:, 5].long())
