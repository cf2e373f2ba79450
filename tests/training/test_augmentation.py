import math

import pytest
import torch

from sweeper.training.augmentation import build
from sweeper.words.errors import ConfigError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gradient_images(count: int = 200, height: int = 17, width: int = 17) -> torch.Tensor:
    """(count, 2, H, W): every pixel tells its own place, from the centre, in pixels: x, then y, as two channels."""
    x = torch.arange(width) - (width - 1) / 2
    y = torch.arange(height) - (height - 1) / 2
    image = torch.stack([x.expand(height, width), y.unsqueeze(1).expand(height, width)])
    return image.expand(count, -1, -1, -1).contiguous()


def centre(images: torch.Tensor) -> torch.Tensor:
    """(N, 2): where in the old image the centre of each comes from."""
    return images[:, :, images.shape[2] // 2, images.shape[3] // 2]


def beside(images: torch.Tensor) -> torch.Tensor:
    """(N, 2): the way in the old image from the new one's centre to its right neighbour."""
    return images[:, :, images.shape[2] // 2, images.shape[3] // 2 + 1] - centre(images)


def test_nothing_is_nothing():
    assert build({}) is None
    assert build({"flip": 0.0, "crop": 1.0, "image": [1, 8, 8]}) is None


def test_a_flip_is_a_mirror_image_as_often_as_asked():
    images = torch.rand(400, 3, 6, 5)
    assert torch.allclose(build({"flip": 1.0})(images, generator()), images.flip(3), atol=1e-5)
    changed = build({"flip": 0.25})(images, generator())
    mirrored = [torch.allclose(new, old.flip(2), atol=1e-5) for new, old in zip(changed, images, strict=True)]
    kept = [torch.allclose(new, old, atol=1e-5) for new, old in zip(changed, images, strict=True)]
    assert all(one != other for one, other in zip(mirrored, kept, strict=True))
    assert sum(mirrored) / 400 == pytest.approx(0.25, abs=0.06)


def test_shifts_are_within_their_share_of_the_side():
    moves = centre(build({"shift": 0.25})(gradient_images(), generator()))
    assert moves.abs().max().item() == pytest.approx(0.25 * 17, rel=0.05)
    assert moves.abs().max() <= 0.25 * 17 + 1e-4
    assert moves.mean().abs() < 0.5


@pytest.mark.parametrize("width", [17, 25])
def test_turns_are_within_their_angle_and_keep_lengths_also_in_oblong_images(width):
    way = beside(build({"rotate": 30.0})(gradient_images(width=width), generator()))
    angles = torch.atan2(way[:, 1], way[:, 0])
    assert angles.abs().max().item() == pytest.approx(math.radians(30), rel=0.05)
    assert torch.allclose(way.norm(dim=1), torch.ones(200), atol=1e-4)


def test_sizes_and_windows():
    lengths = 1 / beside(build({"scale": 0.2})(gradient_images(), generator())).norm(dim=1)
    assert (lengths.min().item(), lengths.max().item()) == pytest.approx((0.8, 1.2), rel=0.02)
    cropped = build({"crop": 0.5})(gradient_images(), generator())
    lengths, moves = beside(cropped).norm(dim=1), centre(cropped).abs().amax(dim=1)
    assert (lengths.min().item(), lengths.max().item()) == pytest.approx((0.5, 1.0), rel=0.02)
    assert (moves <= (1 - lengths) * 17 / 2 + 1e-4).all()  # the window lies in the image


def test_what_comes_from_outside_is_the_edge():
    image = torch.full((50, 1, 8, 8), -0.7)
    assert torch.allclose(build({"shift": 0.5, "rotate": 45.0})(image, generator()), image, atol=1e-6)


def test_noise_has_its_spread():
    noise = build({"noise": 0.3})(torch.ones(50, 1, 10, 10), generator()) - 1
    assert noise.std().item() == pytest.approx(0.3, rel=0.03)
    rows = torch.ones(2, 30)
    assert build({"noise": 0.3})(rows, generator()).shape == rows.shape


def test_flat_inputs_are_images_where_their_shape_is_told():
    images = torch.rand(9, 1, 8, 8)
    settings = {"shift": 0.1, "rotate": 10.0, "noise": 0.1}
    flat = build({**settings, "image": [1, 8, 8]})(images.flatten(1), generator())
    assert flat.shape == (9, 64)
    assert flat.equal(build(settings)(images, generator()).flatten(1))


def test_the_generator_fixes_everything_and_the_global_one_is_left_alone():
    augment, images, before = build({"shift": 0.1, "noise": 0.1}), torch.rand(4, 1, 8, 8), torch.get_rng_state()
    first, again, other = (augment(images, generator(seed)) for seed in (1, 1, 2))
    assert first.equal(again)
    assert not first.equal(other)
    assert before.equal(torch.get_rng_state())


def test_impossible_settings_are_told():
    with pytest.raises(ConfigError, match=r"0 <= flip <= 1 and 0 < crop <= 1.*flip=2, .*crop=0"):
        build({"flip": 2, "crop": 0})
    with pytest.raises(ConfigError, match=r"flat inputs and augmentation\.image=.*inputs \(4, 64\).*image=None"):
        build({"flip": 0.5})(torch.rand(4, 64), generator())
    with pytest.raises(ConfigError, match=r"image=\[1, 9, 9\]"):
        build({"flip": 0.5, "image": [1, 9, 9]})(torch.rand(4, 64), generator())
