"""The card of a model, as a page, with whatever scores it is given."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bayesden.errors import InputError
from bayesden.model.checkpoint import save_model
from bayesden.train.card import read_scores, write_card

TABLE = {"L8, flow": {"S/N 20": 1.5, "S/N 50": 2.25}, "L4, kde": {"S/N 20": 1.25}}


def test_tables_of_scores_are_tables_of_the_page(toy_model: Callable, tmp_path: Path) -> None:
    scores = {
        "held_out_nats_per_pixel": TABLE,
        "noise_nats_per_pixel": -1.5,
        "noise_scale_over_pipeline": {"blue": 0.75},
    }
    path = tmp_path / "toy.safetensors"
    save_model(toy_model(card={"scores": scores | {"reconstruction": {"all": 1e-5}}}), path)
    page = write_card(path).read_text()
    assert (
        "Held out nats per pixel:\n\n|  | S/N 20 | S/N 50 |\n|---|---|---|\n| L8, flow | 1.5 | 2.25 |\n| L4, kde | 1.25 |  |"
        in page
    )
    assert "| noise_nats_per_pixel | -1.5 |" in page and "| noise_scale_over_pipeline.blue | 0.75 |" in page
    assert "held_out_nats_per_pixel." not in page and "| 1.00e-05 |" in page


def test_scores_are_read_from_json(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text(json.dumps({"held_out": TABLE, "one": 2}))
    assert read_scores(path) == {"held_out": TABLE, "one": 2}
    for text, message in {
        "[1, 2]": "numbers or tables of them, got something else",
        '{"a": {"b": "high"}}': "numbers or tables of them, got something else",
        "{": "as JSON, got a file that cannot be read",
    }.items():
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_scores(path)
    with pytest.raises(InputError, match="as JSON, got a file that cannot be read"):
        read_scores(tmp_path / "absent.json")
