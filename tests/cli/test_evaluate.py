"""`bayesden evaluate`: card, figure, the model file that keeps the card, and what cannot be used."""

import json

import pytest

from bayesden.model.checkpoint import load_model, read_header


def test_a_card_a_figure_and_a_model_that_keeps_it(bayesden, model_file, star, tmp_path):
    out, kept = tmp_path / "out", tmp_path / "kept.safetensors"
    words = ("--model", model_file, "--method", "laplace", "-n", 24, "--snr", "10,30", "--samples", 50, "--out", out)
    ran = bayesden("evaluate", star(), tmp_path / "none.fits", *words, "--exposures", 2, "--store", kept)
    assert ran.status == 1 and "none.fits" in ran.err and len(ran.err.splitlines()) == 1
    assert "within 90 %" in ran.out and "S/N 30" in ran.out and "laplace: " in ran.out
    card = json.loads((out / "calibration.json").read_text())
    assert card["simulations"] == 24 and card["exposures"] == 2 and set(card["engines"]) == {"laplace"}
    assert card["sha256"] == read_header(model_file)["sha256"]
    assert (out / "calibration.png").read_bytes().startswith(b"\x89PNG")
    header = read_header(kept)
    assert header["card"]["calibration"] == card and not {"name", "sha256"} & set(header["card"])
    assert load_model(kept).card["calibration"]["seed"] == 0
    ran = bayesden("inspect", kept)
    assert ran.status == 0 and "calibration, on 24 stars" in ran.out and "  laplace: " in ran.out
    assert "## Calibration" in kept.with_suffix(".md").read_text()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--snr", "ten"), "expected numbers such as 5,10,20"),
        (("--snr", "-1"), "snr: expected positive numbers"),
        (("--method", "map"), "laplace"),
        (("--simulations", "0"), "simulations"),
        (("--samples", "2"), "expected at least one for each of the 4 chains"),
        (("--store", "model.fits"), "--store: expected a name that ends in .safetensors"),
        (("--model", "nowhere"), "nowhere: expected a model file"),
        (("none.fits",), "expected at least one file that can be used"),
    ],
)
def test_what_cannot_be_used_is_status_2(bayesden, monkeypatch, tmp_path, words, expected):
    monkeypatch.chdir(tmp_path)
    ran = bayesden("evaluate", *words)
    assert (ran.status, ran.out) == (2, "") and expected in ran.err, ran
