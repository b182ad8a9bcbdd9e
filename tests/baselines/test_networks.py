"""The networks are those of the papers: widths, numbers of parameters, ranges; and a short training helps."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from baselines.batches import LibraryBatches
from baselines.eut import sinusoids
from baselines.networks import NETWORKS, build_network, recipe_of
from bayesden.errors import InputError, ModelError
from bayesden.model.generator import ConvGenerator
from bayesden.train.library import Library
from bayesden.train.noise import NoiseSamples

SMALL = {
    "conv_dae": {"latent_dim": 8, "channels": (8, 16)},
    "dense_dae": {"bottleneck": 16},
    "unet": {"filters": (8, 16)},
    "eut": {"channels": (8, 16, 32), "last": 8, "blocks": 2, "heads": 4},
}


def count(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def on_paper(kind: str, size: int):
    """A network of the paper's size without memory."""
    with torch.device("meta"):
        return build_network(kind, size, dict(recipe_of(kind, "paper").shape))


def test_dense_dae_has_the_widths_of_its_paper():
    network = on_paper("dense_dae", 4096)
    widths = [layer.in_features for layer in network.layers] + [network.layers[-1].out_features]
    assert widths == [4096, 3136, 2176, 1216, 256, 1216, 2176, 3136, 4096]
    assert count(network) == sum(a * b + b for a, b in pairwise(widths)) == 45_270_016


def test_dense_dae_begins_as_its_paper_says():
    for layer in build_network("dense_dae", 512, {}).layers:
        bound = (6 / (layer.in_features + layer.out_features)) ** 0.5
        for values in (layer.weight, layer.bias):
            assert 0.9 * bound < values.abs().max() <= bound


def test_unet_has_the_levels_of_its_paper():
    network = on_paper("unet", 4096)
    assert [block[3].out_channels for block in network.down] == [32, 64, 128, 256]
    assert network.bottleneck(torch.empty(2, 256, 256, device="meta")).shape == (2, 512, 256)  # 256 numbers a filter
    assert [m.p for m in network.modules() if isinstance(m, torch.nn.Dropout)] == [0.3]
    levels = [(1, 32), (32, 64), (64, 128), (128, 256), (256, 512), (512, 256), (256, 128), (128, 64), (64, 32)]
    convolutions = sum(3 * b * (a + b) + 2 * b + 4 * b for a, b in levels)  # with biases and batch normalisation
    ups = sum(2 * n * 2 * n + n for n in (32, 64, 128, 256))
    assert count(network) == convolutions + ups + 33


def test_eut_has_the_stages_of_its_paper():
    network = on_paper("eut", 2048)
    assert [stage[0].out_channels for stage in network.down] == [96, 192, 384]
    assert [stage[0].kernel_size for stage in network.down] == [(7,)] * 3
    assert [stage[0].out_channels for stage in network.up] == [192, 96, 64]
    blocks = network.transformer.layers
    assert len(blocks) == 8 and {block.self_attn.num_heads for block in blocks} == {12}
    assert network.position.shape == (2048 // 8, 384)
    assert 14e6 < count(network) < 17e6


def test_positions_are_those_of_vaswani():
    found = sinusoids(5, 6)
    assert torch.allclose(found[:, 0], torch.arange(5).sin()) and torch.allclose(found[:, 1], torch.arange(5).cos())
    assert torch.allclose(found[3, 4], torch.tensor(3 / 1e4 ** (4 / 6)).sin())


def test_conv_dae_has_the_layers_of_the_generator():
    generator = ConvGenerator(2048, 3)
    network = build_network("conv_dae", 2048, dict(recipe_of("conv_dae", "paper").shape))
    assert {k: v.shape for k, v in network.autoencoder.state_dict().items()} == {
        k: v.shape for k, v in generator.state_dict().items()
    }


def test_conv_dae_begins_at_the_mean_spectrum():
    """Spectra that all have something more come back with that much more."""
    torch.manual_seed(0)
    network, clean, more = build_network("conv_dae", 128, SMALL["conv_dae"]), torch.rand(20, 128), torch.rand(128)
    network.centre(clean)
    plain = network(clean[:3])
    network.centre(clean + more)
    torch.testing.assert_close(network(clean[:3] + more), plain + more)


@pytest.mark.parametrize("kind", NETWORKS)
def test_as_many_spectra_of_as_many_pixels_come_out(kind):
    torch.manual_seed(0)
    network = build_network(kind, 128, SMALL[kind]).eval()
    flux = 20 * torch.randn(3, 128)
    out = network(flux)
    assert out.shape == flux.shape
    assert network.bounded == bool(((out >= 0) & (out <= 1)).all()) == (kind in ("dense_dae", "unet"))
    torch.testing.assert_close(network(flux[1:2]), out[1:2], rtol=1e-4, atol=1e-5)  # none knows of the others


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_short_training_lowers_the_loss(kind, library: Library, noise: NoiseSamples, tmp_path: Path):
    from baselines.fitting import fit

    torch.manual_seed(0)
    network = build_network(kind, library.grid.size, SMALL[kind])
    recipe = replace(recipe_of(kind, "budget"), epochs=12, batch=16, spectra=None, shape=SMALL[kind])
    if kind == "dense_dae":
        recipe = replace(recipe, learning_rate=3e-3)
    batches = LibraryBatches.of(library, noise, bounded=network.bounded, spectra=64)
    done = fit(network, recipe, batches, tmp_path / "weights.safetensors")
    assert done.history[-1].train < 0.8 * done.history[0].train
    assert done.best.validation < 0.8 * done.history[0].validation
    assert not done.network.training


@pytest.mark.parametrize(("kind", "size"), [("unet", 100), ("eut", 100), ("conv_dae", 100)])
def test_sizes_that_do_not_divide_are_refused(kind, size):
    with pytest.raises(ModelError, match="expected a size divisible by"):
        build_network(kind, size, {})


def test_unknown_names_are_one_clear_line():
    with pytest.raises(InputError, match=r"^network: expected one of conv_dae, dense_dae, unet, eut, got 'vae'"):
        build_network("vae", 64, {})
    with pytest.raises(InputError, match=r"^config: expected one of paper, budget, got 'best'"):
        recipe_of("unet", "best")
