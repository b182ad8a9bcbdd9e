"""Pál & Dobos (2024), figure 3: training loss, validation loss and learning rate of each network, epoch by epoch."""

import csv
from collections.abc import Sequence
from pathlib import Path

__all__ = ["loss_curves"]


def loss_curves(logs: Sequence[Path], path: Path) -> None:
    """Draw the logs that `train` wrote beside the weights, those that are there; nothing without any."""
    from matplotlib.figure import Figure

    logs = [log for log in logs if log.is_file()]
    if not logs:
        return
    figure = Figure(figsize=(4.2 * len(logs), 3.6), layout="constrained")
    for axis, log in zip(figure.subplots(1, len(logs), squeeze=False)[0], logs, strict=True):
        with log.open() as file:
            rows = list(csv.DictReader(file))
        epoch = [int(row["number"]) for row in rows]
        lines = []
        for key, colour in (("train", "#0072b2"), ("validation", "#c44601")):
            lines += axis.semilogy(epoch, [float(row[key]) for row in rows], color=colour, label=f"{key} loss")
        rate = axis.twinx()
        lines += rate.step(
            epoch, [float(row["learning_rate"]) for row in rows], color="#117733", ls=":", label="learning rate"
        )
        rate.set_yscale("log")
        rate.tick_params(colors="#117733", which="both")
        axis.set(title=log.stem, xlabel="epoch", ylabel="loss")
        axis.legend(handles=lines, frameon=False, fontsize="small")
    figure.savefig(path, dpi=110)
