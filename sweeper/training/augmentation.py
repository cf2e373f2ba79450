"""Images changed a little each time that they are trained on (CS231n, "Training ConvNets": more data for nothing).

A whole batch is flipped, turned, scaled, cropped and moved by one affine map per image, then noise is added. Every
number comes from the generator that is given, on the CPU: the same on every device, and again after a resume.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional

from sweeper.training.choices import fill
from sweeper.words.errors import ConfigError

Augment = Callable[[Tensor, Generator], Tensor]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """`augmentation(inputs, generator)`: changed copies of images (B, C, H, W), or of their flat form (B, C * H * W).

    Attributes:
        flip: the probability of a mirror image, left for right.
        shift: the largest move, as a share of the side, in each direction.
        rotate: the largest turn, in degrees, either way.
        scale: the largest change of size: 0.1 is from 0.9 to 1.1 times.
        crop: the least share of each side that a random window keeps, which is then shown whole; 1: no crop.
        noise: the spread of normal noise, in units of the scaled inputs; alone it fits inputs of any shape.
        image: (C, H, W) where the data's inputs are flat; None: they have this shape themselves.
    """

    flip: float = 0.0
    shift: float = 0.0
    rotate: float = 0.0
    scale: float = 0.0
    crop: float = 1.0
    noise: float = 0.0
    image: Sequence[int] | None = None

    def __post_init__(self) -> None:
        shares = {"flip": (self.flip, 1), "shift": (self.shift, 1), "scale": (self.scale, 0.99)}
        wrong = [f"0 <= {key} <= {high}" for key, (value, high) in shares.items() if not 0 <= value <= high]
        wrong += ["0 <= rotate <= 180"] * (not 0 <= self.rotate <= 180) + ["0 < crop <= 1"] * (not 0 < self.crop <= 1)
        wrong += ["0 <= noise"] * (not self.noise >= 0)
        if wrong:
            raise ConfigError(f"`{' and '.join(wrong)}` must hold for augmentation, but got {self}.")

    def __bool__(self) -> bool:
        """Whether it changes anything."""
        return self._moves or self.noise > 0

    def __call__(self, inputs: Tensor, generator: Generator) -> Tensor:
        changed = inputs
        if self._moves:
            images = self._images(inputs)
            grid = functional.affine_grid(self._maps(images, generator), list(images.shape), align_corners=False)
            # the edge goes on outside of the image: 0 would be the mean after scaling, not the background
            images = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
            changed = images.reshape(inputs.shape)
        if self.noise > 0:
            changed = changed + self.noise * torch.randn(inputs.shape, generator=generator).to(inputs.device)
        return changed

    @property
    def _moves(self) -> bool:
        return any((self.flip, self.shift, self.rotate, self.scale)) or self.crop < 1

    def _images(self, inputs: Tensor) -> Tensor:
        shape = tuple(inputs.shape[1:]) if self.image is None else tuple(self.image)
        if len(shape) != 3 or math.prod(shape) != math.prod(inputs.shape[1:]):
            raise ConfigError(
                f"Augmentation needs images (N, C, H, W), or flat inputs and augmentation.image=[C,H,W] of as many "
                f"values, but got inputs {tuple(inputs.shape)} and augmentation.image={self.image}."
            )
        return inputs.reshape(-1, *shape)

    def _maps(self, images: Tensor, generator: Generator) -> Tensor:
        """(B, 2, 3): from a place in the new image to that in the old one, both sides from -1 to 1."""
        count, _, height, width = images.shape
        mirror, turn, size, window, left, down, across, along = torch.rand(8, count, generator=generator)
        angle = (2 * turn - 1) * math.radians(self.rotate)
        keeps = 1 - window * (1 - self.crop)
        zoom = keeps / (1 + (2 * size - 1) * self.scale)
        sign = 1 - 2 * (mirror < self.flip).float()
        cosine, sine = angle.cos() * zoom, angle.sin() * zoom
        # a turn is one in pixels, which are not square in these coordinates where the image is not
        rows = [sign * cosine, -sine * height / width, self._move(across, left, keeps)]
        rows += [sign * sine * width / height, cosine, self._move(along, down, keeps)]
        return torch.stack(rows, dim=1).reshape(count, 2, 3).to(images)

    def _move(self, moved: Tensor, window: Tensor, keeps: Tensor) -> Tensor:
        """A random move of up to `shift` of the side, and the place of the window inside the image."""
        return (2 * moved - 1) * 2 * self.shift + (2 * window - 1) * (1 - keeps)


def build(settings: Mapping[str, Any]) -> Augment | None:
    """The augmentation of an `augmentation` config; None where it changes nothing."""
    return fill("augmentation", Augmentation, settings) or None
