"""Training on a published dataset: its folders or a packed bank in, batches and held-out pairs out.

Everything follows from a recipe's ``layout``: which folders, which tasks, how often an image counts
(:mod:`cpl_edge.data.layouts`). Images are packed once (:mod:`cpl_edge.data.packing`), so that no
step decodes a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from cpl_edge.data.bank import PIXELS, Bank
from cpl_edge.data.degradations import uniform
from cpl_edge.data.layouts import Layout, find_layout
from cpl_edge.data.packing import list_training_images, pack
from cpl_edge.data.pairing import Item, training_items
from cpl_edge.data.pairs import PairBank, synthesise
from cpl_edge.errors import UserError
from cpl_edge.train.processes import Processes
from cpl_edge.train.recipe import Recipe
from cpl_edge.train.validation import Validation, as_batch

HELD_OUT_PAIRS = 8
"""Pairs of each task that a validation restores: enough to see a curve, few enough to be quick."""


def open_dataset(data: Path, layout: Layout, folder: Path, processes: Processes) -> Bank:
    """The bank of a dataset.

    Args:
        data: a packed bank, or the folders of the layout, which are then packed.
        layout: what lies where.
        folder: of runs; the bank is made in it, and the next run finds it there.
        processes: only the first of them packs.

    Raises:
        UserError: no such folder, a task without images, or a file that cannot be read.
        CplEdgeError: the bank is damaged, or the disk is full.
    """
    if (data / PIXELS).exists():
        return Bank(data)
    place = folder / f"bank-{layout.name}"
    if processes.rank == 0:
        pack(data, list_training_images(data, layout), place)
    processes.wait()
    return Bank(place)


def split(items: Sequence[Item], every: int) -> tuple[list[Item], list[Item]]:
    """Items to train on, and held-out ones.

    A clean photo is held out with everything that was made of it, or not at all.

    Args:
        items: of a layout.
        every: one of so many clean photos is held out.

    Returns:
        Training items, and at most :data:`HELD_OUT_PAIRS` of each task.

    Raises:
        UserError: a task would have nothing to train on.
    """
    held_out = set(sorted({item.clean for item in items})[::every])
    training = [item for item in items if item.clean not in held_out]
    tasks = dict.fromkeys(item.task for item in items)
    for task in tasks:
        if not any(item.task == task for item in training):
            raise UserError(f"no image is left to train {task} on: raise 'holdout' or add images")
    kept: list[Item] = []
    for task in tasks:
        mine = [item for item in items if item.clean in held_out and item.task == task]
        # Apart: 35 hazy images of one scene stand side by side.
        kept += mine[:: max(1, len(mine) // HELD_OUT_PAIRS)][:HELD_OUT_PAIRS]
    return training, kept


def open_pairs(
    recipe: Recipe,
    data: Path,
    folder: Path,
    degradations: Sequence[str],
    validation: type[Validation],
    device: torch.device,
    processes: Processes,
) -> tuple[PairBank, Validation]:
    """Batches and validation of a recipe with a layout.

    Args:
        recipe: with ``layout``.
        data: see :func:`open_dataset`.
        folder: where to pack.
        degradations: that the network knows.
        validation: what to validate with.
        device: of the training.
        processes: that train together.

    Raises:
        UserError: the network does not know a task, or see :func:`open_dataset`.
    """
    assert recipe.layout is not None
    layout = find_layout(recipe.layout)
    if missing := [task for task in layout.tasks if task not in degradations]:
        raise UserError(
            f"the network knows no {missing[0]!r} of layout {layout.name}, "
            f"only {', '.join(degradations)}"
        )
    bank = open_dataset(data, layout, folder, processes)
    training, held_out = split(training_items(layout, bank.names), recipe.holdout)
    pairs = PairBank(bank, training, device, recipe.mix, resident=fits(bank, device))
    curve = validation([], layout.tasks, device)
    for task, degraded, clean in read_pairs(bank, held_out, curve.side):
        curve.add(task, degraded.to(device), clean.to(device))
    return pairs, curve


def fits(bank: Bank, device: torch.device) -> bool:
    """Whether the pixels should lie on the device; on a CPU they stay mapped from the disk."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return bank.pixels.nbytes < free / 2


def read_pairs(
    bank: Bank, items: Sequence[Item], side: int
) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """Task, degraded and clean image of each item; syntheses are made with a fixed seed."""
    for seed, item in enumerate(items):
        clean = as_batch(bank.image(bank.place(item.clean)), side)
        if item.degraded:
            yield item.task, as_batch(bank.image(bank.place(item.degraded)), side), clean
        else:
            generator = torch.Generator().manual_seed(seed)
            extent = float(uniform(1, 0.5, 1.0, generator))
            yield item.task, synthesise(clean, item.synthesis, generator, extent), clean
