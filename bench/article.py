"""The tutorial's models and loop body, unchanged, on Keras 2: the reference for correctness and speed."""

import warnings
from typing import Any

import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tf_keras as k2

layers = k2.layers


class Article:
    """Generator, discriminator and combined model, compiled as in the tutorial."""

    def __init__(self) -> None:
        """Build and compile the models."""
        self.generator = k2.Sequential(
            [
                layers.Dense(256, input_dim=100),
                layers.LeakyReLU(alpha=0.2),
                layers.BatchNormalization(momentum=0.8),
                layers.Dense(512),
                layers.LeakyReLU(alpha=0.2),
                layers.BatchNormalization(momentum=0.8),
                layers.Dense(1024),
                layers.LeakyReLU(alpha=0.2),
                layers.BatchNormalization(momentum=0.8),
                layers.Dense(784, activation="tanh"),
                layers.Reshape((28, 28, 1)),
            ]
        )
        self.discriminator = k2.Sequential(
            [
                layers.Flatten(input_shape=(28, 28, 1)),
                layers.Dense(512),
                layers.LeakyReLU(alpha=0.2),
                layers.Dense(256),
                layers.LeakyReLU(alpha=0.2),
                layers.Dense(1, activation="sigmoid"),
            ]
        )
        self.discriminator.compile(loss="binary_crossentropy", optimizer=_adam(), metrics=["accuracy"])
        self.discriminator.trainable = False
        latents = k2.Input(shape=(100,))
        self.combined = k2.Model(latents, self.discriminator(self.generator(latents)))
        self.combined.compile(loss="binary_crossentropy", optimizer=_adam())

    def iterate(self, real_images: np.ndarray, latents: np.ndarray, fresh_latents: np.ndarray) -> np.ndarray:
        """Run one iteration, and return d_loss, d_accuracy and g_loss."""
        ones, zeros = np.ones((len(real_images), 1)), np.zeros((len(real_images), 1))
        fake_images = self.generator.predict(latents, verbose=0)
        real = self.discriminator.train_on_batch(real_images, ones)
        fake = self.discriminator.train_on_batch(fake_images, zeros)
        d_loss, d_accuracy = np.add(real, fake) / 2
        return np.array([d_loss, d_accuracy, self.combined.train_on_batch(fresh_latents, ones)])


def _adam() -> Any:
    return k2.optimizers.Adam(learning_rate=0.0002, beta_1=0.5)
