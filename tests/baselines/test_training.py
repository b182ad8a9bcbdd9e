"""Laws of the training: batches belong to epochs, resuming changes nothing, early stop, the log, one line for what is wrong."""

import csv
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from baselines import train
from baselines.batches import LibraryBatches, SimulatedBatches
from baselines.fitting import fit
from baselines.networks import build_network
from baselines.recipe import Recipe
from baselines.weights import load_weights
from bayesden.errors import InputError, OutputError
from bayesden.simulation.simulator import Simulation
from bayesden.train.library import Library
from bayesden.train.noise import NoiseSamples

SHAPE = {"bottleneck": 16}
RECIPE = Recipe(epochs=5, batch=32, learning_rate=1e-2, shape=SHAPE)


def network(size: int = 128):
    torch.manual_seed(0)
    return build_network("dense_dae", size, SHAPE)


def run(batches, out: Path, recipe: Recipe = RECIPE, **options):
    return fit(network(), recipe, batches, out, seed=3, **options)


@pytest.fixture(scope="module")
def batches(library: Library, noise: NoiseSamples) -> LibraryBatches:
    return LibraryBatches.of(library, noise, bounded=True)


def test_an_epoch_shows_every_spectrum_once_with_noise_of_its_own(batches):
    first, second, again = ([t for _, t in batches.epoch(n, 50)] for n in (1, 2, 1))
    for one, other in zip(first, again, strict=True):
        torch.testing.assert_close(one, other)
    assert sum(map(len, first)) == len(batches.train)
    assert not torch.equal(first[0], second[0])
    held = [torch.cat(x) for x in zip(*batches.validation(50), strict=True)]
    same = [torch.cat(x) for x in zip(*batches.validation(7), strict=True)]
    for one, other in zip(held, same, strict=True):
        torch.testing.assert_close(one, other)


def test_the_noise_has_the_size_that_is_asked_for(library, noise):
    for samples in (noise, None):
        made = LibraryBatches.of(library, samples)
        shown, target = (torch.cat(x) for x in zip(*made.epoch(1, 64), strict=True))
        ratio = target.median(1).values / (shown - target).std(1)
        assert ratio.quantile(0.02) > 3 and ratio.quantile(0.98) < 110  # S/N 4 to 40, of one exposure or four
        assert shown.isfinite().all()


def test_missing_flux_is_zero_in_an_interval_up_to_half_of_the_pixels(library, noise):
    made = LibraryBatches.of(library, noise, missing=True)
    shown, target = (torch.cat(x) for x in zip(*made.epoch(1, 64), strict=True))
    share = (shown == 0).float().mean(1)
    assert 0.4 < share.max() < 0.6 and share.median() > 0.15
    assert (target != 0).all()
    for end in (shown[:, 0], shown[:, -1]):  # a gap in use may well be there
        assert 0.1 < (end == 0).float().mean() < 0.4


def test_simulated_batches_are_augmented_anew():
    rng = np.random.default_rng(0)
    clean = torch.tensor(0.5 + 0.05 * rng.normal(size=(20, 128)))
    table = np.zeros(20, [("index", int)])
    rest = {"flux": clean[:, None], "ivar": clean[:, None], "mask": clean[:, None] > 9, "sigma": 0.1 * clean[:, None]}
    made = Simulation(torch.linspace(7100, 8850, 128).double(), clean, parameters=table, **rest)
    pairs = SimulatedBatches.of(made, made, spectra=10)
    one, other = (next(pairs.epoch(n, 10)) for n in (1, 2))
    assert one[0].shape == (10, 128) and not torch.equal(one[0], other[0])
    assert (one[0] - one[1]).std() == pytest.approx(0.05, rel=0.1)
    with pytest.raises(InputError, match="expected the pixels of the training set"):
        SimulatedBatches.of(made, replace(made, wavelength=made.wavelength + 1))


def test_a_training_that_is_resumed_is_the_one_that_was_not_interrupted(batches, tmp_path, monkeypatch):
    monkeypatch.setattr("baselines.fitting.CHECKPOINT_S", -1.0)
    whole = run(batches, tmp_path / "whole.safetensors")

    def interrupt(epoch):
        if epoch.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(batches, tmp_path / "part.safetensors", progress=interrupt)
    rest = run(batches, tmp_path / "part.safetensors", resume=True)
    assert [e.validation for e in rest.history] == [e.validation for e in whole.history]
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(rest.network.state_dict()[name], value, rtol=0, atol=0)
    with pytest.raises(InputError, match="expected a checkpoint of the same recipe, got another"):
        run(batches, tmp_path / "part.safetensors", replace(RECIPE, epochs=9), resume=True)
    with pytest.raises(InputError, match="found an unfinished training"):
        load_weights(tmp_path / "part.safetensors")
    (tmp_path / "part.ckpt").write_bytes(b"no archive")
    with pytest.raises(InputError, match="expected a checkpoint of this network, got another or none"):
        run(batches, tmp_path / "part.safetensors", resume=True)
    with pytest.raises(InputError, match="expected the checkpoint of an unfinished training, found none"):
        run(batches, tmp_path / "none.safetensors", resume=True)


def test_the_log_has_a_row_for_each_epoch_and_the_best_weights_are_kept(batches, tmp_path):
    done = run(batches, tmp_path / "w.safetensors", replace(RECIPE, learning_rate=0.1, optimiser="sgd", loss="rmse"))
    with (tmp_path / "w.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(r["number"]) for r in rows] == [1, 2, 3, 4, 5]
    assert done.best.validation == min(float(r["validation"]) for r in rows)
    pairs = batches.validation(32)
    losses = [((done.network(x) - t).square().mean(1).sqrt().sum().item(), len(x)) for x, t in pairs]
    assert sum(a for a, _ in losses) / sum(n for _, n in losses) == pytest.approx(done.best.validation, rel=1e-5)


def test_a_training_ends_early_where_nothing_improves_or_time_is_up(batches, tmp_path):
    still = replace(RECIPE, learning_rate=0.0, epochs=50, stop_after=3)
    done = run(batches, tmp_path / "w.safetensors", still)
    assert (len(done.history), done.ended) == (4, "no improvement in 3 epochs")
    done = run(batches, tmp_path / "w.safetensors", replace(RECIPE, epochs=50), seconds=0.0)
    assert (len(done.history), done.ended) == (1, "time limit")


def test_schedules_are_those_of_the_papers(batches, tmp_path):
    tenth = replace(RECIPE, schedule="tenth", wait=2, optimiser="sgd", learning_rate=0.1)
    rates = [e.learning_rate for e in run(batches, tmp_path / "w.safetensors", tenth).history]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.01])
    warm = replace(RECIPE, wait=2)
    found = [warm.make_schedule(warm.make_optimiser(network())).lr_lambdas[0](epoch) for epoch in range(6)]
    assert found == pytest.approx([1 / 3, 2 / 3, 1.0, 0.7525, 0.2575, 0.01])  # up a line, down half a cosine
    halve = replace(RECIPE, schedule="halve", wait=1, optimiser="sgd", learning_rate=0.0, epochs=3)
    state = halve.make_optimiser(network())
    state.param_groups[0]["lr"] = 100.0
    schedule = halve.make_schedule(state)
    rates = []
    for loss in (1.0, 1.0, 1.0, 1.0):
        schedule.step(loss)
        rates.append(state.param_groups[0]["lr"])
    assert rates == [100.0, 100.0, 50.0, 50.0]


def test_a_loss_that_explodes_is_one_clear_line(batches, tmp_path):
    wild = replace(RECIPE, learning_rate=float("nan"), optimiser="sgd")
    with pytest.raises(InputError, match="expected a finite loss, got"):
        run(batches, tmp_path / "w.safetensors", wild)


def arguments(made: Library, folder: Path, **changes) -> SimpleNamespace:
    made.save(folder / "library.npz")
    given = {
        "network": "dense_dae",
        "config": "budget",
        "library": str(folder / "library.npz"),
        "noise": None,
        "missing": False,
        "simulation": None,
        "out": str(folder / "w.safetensors"),
        "device": "cpu",
        "precision": "32-true",
        "minutes": None,
        "resume": False,
        "overwrite": False,
        "seed": 0,
    }
    return SimpleNamespace(**given | changes)


def test_the_command_writes_weights_that_say_how_they_were_made(library, tmp_path):
    given = arguments(library, tmp_path, minutes=1e-9)
    train.run(given)
    weights = load_weights(tmp_path / "w.safetensors", kind="dense_dae", instrument="sdss")
    facts = weights.training
    assert (facts["epochs"], facts["of"], facts["ended"]) == (1, 40, "time limit")
    assert weights.name == "dense_dae budget" and weights.grid == library.grid
    assert not (tmp_path / "w.ckpt").exists()
    with pytest.raises(OutputError, match="expected a new name, but the file exists"):
        train.run(given)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"simulation": ["a", "b"]}, "expected --library or --simulation, got both"),
        ({"library": None, "noise": ["spec.fits"]}, "expected --missing and --noise with --library only"),
        ({"config": "best"}, "config: expected one of paper, paper2025, budget, got 'best'"),
    ],
)
def test_options_that_do_not_fit_are_one_clear_line(changes, message, library, tmp_path):
    with pytest.raises(InputError, match=message):
        train.run(arguments(library, tmp_path, **changes))
