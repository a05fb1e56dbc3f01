"""How generated images compare with real ones, as numbers that each stand beside their floor."""

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from gan.features import GREY_LEVELS, PIXELS, pixel_features
from gan.metrics import frechet_distance, total_variation


class Metric(BaseModel):
    """One measured quantity."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="key in metrics.json")
    title: str = Field(description="what a table calls it")
    value: float = Field(description="generated images against test images")
    average: float = Field(description="the same for images of the averaged generator")
    floor: float = Field(description="the same for real training images: what a perfect generator would reach")
    n: int = Field(description="images on each side")
    extractor: str = Field(description="the features that it is computed on")
    reading: str = Field(description="how to read it, in a few words")


def judge(
    train_pixels: np.ndarray, test_pixels: np.ndarray, fake_pixels: np.ndarray, average_pixels: np.ndarray, *, seed: int
) -> tuple[Metric, ...]:
    """Measure generated images against the test split, and as many training images in the same way (the floor).

    Args:
        train_pixels: uint8, shape (n, 28, 28).
        test_pixels: uint8, shape (m, 28, 28), m <= n.
        fake_pixels: uint8, shape (k, 28, 28).
        average_pixels: uint8, shape (k, 28, 28), of the averaged generator.
        seed: Seeds the choice of the real images.

    Returns:
        Metrics, all with n = min(m, k).
    """
    n = min(len(test_pixels), len(fake_pixels))
    rng = np.random.default_rng(seed)
    train = train_pixels[np.sort(rng.choice(len(train_pixels), n, replace=False))]
    test = test_pixels[np.sort(rng.choice(len(test_pixels), n, replace=False))]
    fake, average = fake_pixels[:n], average_pixels[:n]
    test_features = pixel_features(test)
    return (
        Metric(
            name="frechet_distance",
            title="Fréchet distance",
            value=frechet_distance(test_features, pixel_features(fake)),
            average=frechet_distance(test_features, pixel_features(average)),
            floor=frechet_distance(test_features, pixel_features(train)),
            n=n,
            extractor=PIXELS,
            reading="lower is better; compare only equal n",
        ),
        Metric(
            name="total_variation",
            title="Total variation",
            value=total_variation(fake),
            average=total_variation(average),
            floor=total_variation(train),
            n=n,
            extractor=GREY_LEVELS,
            reading="between neighbouring pixels; as real is best, more is noise",
        ),
    )
