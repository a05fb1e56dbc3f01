"""The article's training in PyTorch with fused Adam: eager, compiled with torch.compile, and as one CUDA graph."""

import itertools
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn.functional import softplus

from bench import BATCH, LATENTS, Steps, repeat

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def torch_steps(images: np.ndarray, *, compiled: bool = False) -> Steps:
    """Return a function that trains like the article: the same networks, losses, updates and order."""
    return repeat(_make_step(images, compiled=compiled))


def torch_graph_steps(images: np.ndarray) -> Steps:
    """Return a function that trains like the article, each step a recorded CUDA graph."""
    return repeat_on_device(_make_step(images))


def repeat_on_device(step: Callable[[], None]) -> Steps:
    """Return a function that repeats a step; on a GPU the step is a CUDA graph."""
    if DEVICE == "cpu":
        return repeat(step)
    replay = repeat(graphed(step))

    def run(num: int) -> None:
        replay(num)
        torch.cuda.synchronize()

    return run


def graphed(step: Callable[[], None]) -> Callable[[], None]:
    """Record a step as a CUDA graph, after five steps that reserve its memory; return what replays it."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(5):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    replay: Callable[[], None] = graph.replay
    return replay


def _make_step(images: np.ndarray, *, compiled: bool = False) -> Callable[[], None]:
    torch.manual_seed(0)
    torch.set_default_device(DEVICE)
    real = torch.from_numpy(images.reshape(len(images), -1)).to(DEVICE)
    widths = (LATENTS, 256, 512, 1024)
    blocks: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        blocks += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.2), nn.BatchNorm1d(outputs, eps=1e-3, momentum=0.2)]
    generator = nn.Sequential(*blocks, nn.Linear(1024, 784), nn.Tanh())
    discriminator = nn.Sequential(
        nn.Linear(784, 512), nn.LeakyReLU(0.2), nn.Linear(512, 256), nn.LeakyReLU(0.2), nn.Linear(256, 1)
    )
    d_weights, g_weights = list(discriminator.parameters()), list(generator.parameters())
    settings = {"lr": 2e-4, "betas": (0.5, 0.999), "eps": 1e-7, "fused": True, "capturable": DEVICE == "cuda"}
    d_adam, g_adam = torch.optim.Adam(d_weights, **settings), torch.optim.Adam(g_weights, **settings)
    evaluation, training = (lambda z: generator(z)), (lambda z: discriminator(generator(z)))
    logits_of = discriminator
    if compiled:
        evaluation, training, logits_of = torch.compile(evaluation), torch.compile(training), torch.compile(logits_of)

    def step() -> None:
        batch = real[torch.randint(len(real), (BATCH,))]
        generator.eval()
        with torch.no_grad():
            fakes = evaluation(torch.randn(BATCH, LATENTS))
        for pictures, sign in ((batch, -1), (fakes, 1)):
            loss = softplus(sign * logits_of(pictures)).mean()
            d_adam.zero_grad(set_to_none=True)
            loss.backward()
            d_adam.step()
        generator.train()
        for weight in d_weights:
            weight.requires_grad_(False)
        loss = softplus(-training(torch.randn(BATCH, LATENTS))).mean()
        g_adam.zero_grad(set_to_none=True)
        loss.backward()
        g_adam.step()
        for weight in d_weights:
            weight.requires_grad_(True)

    return step
