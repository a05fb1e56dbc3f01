"""Train the feature extractor for Fashion-MNIST again, on the command line.

python -m gan.classifier --out features.keras
"""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from gan.command import check_output, new_app, output_file, run_command, terminal
from gan.config import SEED_LIMIT
from gan.data.catalog import FASHION_MNIST
from gan.data.pixels import normalize_images
from gan.data.sources import fetch_splits
from gan.storage.files import sha256_of

app = new_app("gan.classifier")


@app.default
def main(
    *,
    out: Path,
    seed: Annotated[int, Parameter(validator=Number(gte=0, lt=SEED_LIMIT))] = 0,
    data_dir: Path | None = None,
) -> None:
    """Train the feature extractor for Fashion-MNIST again, and print its test accuracy.

    Args:
        out: Output file, .keras.
        seed: Seed of the weights, the order of the images, and their flips and shifts.
        data_dir: Folder with the four files of Fashion-MNIST; by default an earlier download, the mirrors, or Debian's
            package is used.
    """
    check_output(out, ".keras")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from gan.judging.classifier import accuracy, fit_classifier  # --help must not wait for TensorFlow
    from gan.models.networks import save_model

    (train_pixels, train_labels), (test_pixels, test_labels) = fetch_splits(FASHION_MNIST, data_dir=data_dir)
    test_images = normalize_images(test_pixels)
    classifier = fit_classifier(normalize_images(train_pixels), train_labels, len(FASHION_MNIST.class_names), seed=seed)
    with output_file(out) as partial, TemporaryDirectory(dir=out.parent, prefix=".classifier.") as folder:
        model = Path(folder) / "classifier.keras"  # Keras demands its suffix, which `partial` does not have
        save_model(classifier, model)
        model.replace(partial)
    console = terminal()
    share = accuracy(classifier, test_images, test_labels)
    console.print(f"Accuracy   {share:.2%} of {len(test_images):,} test images")
    console.print(f"File       {out}, {out.stat().st_size:,} bytes, SHA-256 {sha256_of(out)}")


if __name__ == "__main__":
    run_command(app)
