"""Laws of model files: an exact round trip, and one clear line for every file that is not what it should be."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from bayesden.errors import ModelError, OutputError
from bayesden.model.checkpoint import load_model, load_part, read_header, save_model, save_part
from bayesden.model.generator import ConvGenerator
from bayesden.model.nuisance import Nuisance


@pytest.fixture
def saved(toy_model: Callable, tmp_path: Path) -> Path:
    model = toy_model(nuisance=Nuisance(0.4, 0.03, 1), card={"scores": {"all": 1e-4}, "licence": "BSD-3-Clause"})
    save_model(model, tmp_path / "toy.safetensors")
    return tmp_path / "toy.safetensors"


def contents(path: Path) -> tuple[dict, dict[str, torch.Tensor]]:
    with safe_open(path, "pt") as file:
        names = list(file.keys())
        return json.loads(file.metadata()["bayesden"]), {name: file.get_tensor(name) for name in names}


def rewrite(path: Path, header: object, tensors: dict[str, torch.Tensor]) -> None:
    save_file(tensors, path, metadata={"bayesden": json.dumps(header)})


def refusal(path: Path) -> str:
    """The message of a file that cannot be loaded, which is one line and names the file."""
    with pytest.raises(ModelError) as caught:
        load_model(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: expected ") and "\n" not in message
    with pytest.raises(ModelError):
        read_header(path) if "checksum" in message or "format" in message else load_model(path)
    return message


def test_a_round_trip_is_bit_identical(toy_model: Callable, saved: Path) -> None:
    before, after = toy_model(nuisance=Nuisance(0.4, 0.03, 1)), load_model(saved)
    assert before.state_dict().keys() == after.state_dict().keys()
    assert all(torch.equal(value, after.state_dict()[key]) for key, value in before.state_dict().items())
    assert after.grid == before.grid and after.classes == before.classes and after.nuisance == before.nuisance
    assert after.generator.config == before.generator.config and after.noise.config == before.noise.config
    assert after.card["scores"] == {"all": 1e-4} and after.card["name"] == "toy"
    assert not after.training and not any(p.requires_grad for p in after.parameters())
    z = torch.randn(5, 2)
    assert torch.equal(after.generator(z), before.generator(z))
    assert torch.equal(after.latent_prior.log_prob_all(z), before.latent_prior.log_prob_all(z))


def test_saving_twice_gives_the_same_bytes(toy_model: Callable, saved: Path, tmp_path: Path) -> None:
    again = load_model(saved)
    again.card.pop("name"), again.card.pop("sha256")
    save_model(again, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == saved.read_bytes()


def test_the_header_says_what_the_model_is(saved: Path) -> None:
    header = read_header(saved)
    assert header["content"] == "model" and header["classes"] == ["A", "G", "M"]
    assert header["sha256"] == load_model(saved).card["sha256"]


@pytest.mark.parametrize("content", ["generator", "latent_prior", "noise"])
def test_parts_round_trip_and_are_not_mistaken_for_another(toy_model: Callable, tmp_path: Path, content: str) -> None:
    part = getattr(toy_model(), content)
    path = tmp_path / f"{content}.safetensors"
    save_part(content, part, path, {"seed": 3})
    loaded = load_part(content, path)
    assert loaded.config == part.config and read_header(path)["card"] == {"seed": 3}
    assert all(torch.equal(v, loaded.state_dict()[k]) for k, v in part.state_dict().items())
    assert refusal(path).endswith(f"expected a file that holds a model, got one that holds a {content}")
    other = "noise" if content != "noise" else "generator"
    with pytest.raises(ModelError, match=f"holds a {other}, got one that holds a {content}"):
        load_part(other, path)


def test_a_model_is_no_part(saved: Path) -> None:
    with pytest.raises(ModelError, match="expected a file that holds a generator, got one that holds a model"):
        load_part("generator", saved)


def test_a_convolutional_generator_round_trips(tmp_path: Path) -> None:
    generator = ConvGenerator(64, 2, channels=(4, 6))
    save_part("generator", generator, tmp_path / "g.safetensors")
    z = torch.randn(3, 2)
    assert torch.equal(load_part("generator", tmp_path / "g.safetensors")(z), generator(z))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.05, 0.5, 0.9, 0.99999])
def test_a_truncated_file_is_refused(saved: Path, share: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    assert "damaged or of another kind" in refusal(saved)


def test_any_flipped_byte_is_noticed(saved: Path) -> None:
    content = saved.read_bytes()
    size = int.from_bytes(content[:8], "little")
    text = content[8 : 8 + size].rstrip(b" ")
    places = [*range(8, 8 + len(text), 97), *range(8 + size, len(content), 997), len(content) - 1]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1
        saved.write_bytes(changed)
        with pytest.raises(ModelError):
            load_model(saved)


def test_a_changed_tensor_has_a_wrong_checksum(saved: Path) -> None:
    header, tensors = contents(saved)
    tensors["spread"][0, 0] += 1e-6
    rewrite(saved, header, tensors)
    assert f"expected checksum {header['sha256']}, got " in refusal(saved)


def test_a_changed_header_has_a_wrong_checksum(saved: Path) -> None:
    header, tensors = contents(saved)
    rewrite(saved, header | {"nuisance": header["nuisance"] | {"amplitude_sd": 5.0}}, tensors)
    assert "expected checksum" in refusal(saved)


def test_another_format_version_is_refused(saved: Path) -> None:
    header, tensors = contents(saved)
    rewrite(saved, header | {"format": 99}, tensors)
    assert refusal(saved).endswith("expected model format 2, got 99")


@pytest.mark.parametrize("header", [None, [], "model", 3])
def test_a_safetensors_file_of_others_is_refused(saved: Path, header: object) -> None:
    rewrite(saved, header, {"weight": torch.zeros(3)})
    assert "got a safetensors file without its header" in refusal(saved)
    save_file({"weight": torch.zeros(3)}, saved)
    assert "got a safetensors file without its header" in refusal(saved)


def signed(path: Path, header: dict, tensors: dict[str, torch.Tensor]) -> None:
    """Write a file whose checksum is right, whatever it holds."""
    from bayesden.model.checkpoint import _write

    _write(path, {k: v for k, v in header.items() if k not in ("format", "sha256")}, tensors)


@pytest.mark.parametrize("name", ["wavelength", "spread", "class_prior.logits", "generator.decoder.0.weight"])
def test_a_missing_tensor_is_named(saved: Path, name: str) -> None:
    header, tensors = contents(saved)
    del tensors[name]
    signed(saved, header, tensors)
    assert name in refusal(saved)


def test_a_tensor_too_many_or_of_another_shape_is_named(saved: Path) -> None:
    header, tensors = contents(saved)
    signed(saved, header, tensors | {"generator.extra": torch.zeros(2)})
    assert "generator.extra" in refusal(saved)
    signed(saved, header, tensors | {"generator.mean": torch.zeros(65)})
    assert "generator.mean" in refusal(saved)


@pytest.mark.parametrize(
    "change",
    [
        {"classes": 3},
        {"classes": ["A"]},
        {"generator": {}},
        {"generator": {"kind": "basis", "size": -4, "latent_dim": 2}},
        {"generator": {"kind": "basis", "size": "wide", "latent_dim": 2}},
        {"noise": {"kind": "laplace"}},
        {"noise": None},
        {"latent_prior": {"counts": [1], "latent_dim": 2}},
        {"nuisance": {"colour": "red"}},
        {"card": None},
        {"generator": {"kind": "basis", "size": 10**12, "latent_dim": 2}},
        {"generator": {"kind": "basis", "size": 64, "latent_dim": 2, "components": 10**7, "hidden": [10**5, 10**5]}},
        {"noise": {"kind": "robust", "size": 64, "window": 10**9}},
        {"latent_prior": {"kind": "kde", "counts": [10**11] * 3, "latent_dim": 2}},
        {"frame": {"step": 1e-12, "reach_kms": 1000.0}},
        {"frame": {"step": 1e-300, "reach_kms": 1000.0}},
        {"frame": "at rest"},
        {"nuisance": {"amplitude_sd": "wide"}},
        {"classes": [["A"], 2, None]},
    ],
    ids=str,
)
def test_a_configuration_that_cannot_be_built_is_refused(saved: Path, change: dict) -> None:
    header, tensors = contents(saved)
    signed(saved, header | change, tensors)
    refusal(saved)


def test_a_file_of_an_absurd_size_is_refused_without_reading_it(saved: Path) -> None:
    with saved.open("r+b") as file:
        file.truncate(2**31 + 1)  # a hole that takes no space
    assert refusal(saved).endswith("expected a model file of at most 2,147,483,648 bytes, got 2,147,483,649")


@pytest.mark.parametrize("length", [0, 1, 10**9, 2**63, 2**64 - 1])
def test_a_header_of_an_absurd_length_is_refused(saved: Path, length: int) -> None:
    saved.write_bytes(length.to_bytes(8, "little") + saved.read_bytes()[8:])
    assert "damaged or of another kind" in refusal(saved)


def test_tensors_of_another_type_or_value_are_refused(saved: Path) -> None:
    header, tensors = contents(saved)
    signed(saved, header, tensors | {"wavelength": tensors["wavelength"].flip(0)})
    assert "descending" in refusal(saved)
    rewrite(saved, header, tensors | {"spread": tensors["spread"].bfloat16()})
    refusal(saved)


class Bomb:
    """Says so when it is unpickled."""

    def __reduce__(self) -> tuple:
        return (pytest.fail, ("unpickled",))


def test_a_pickle_is_never_opened(saved: Path) -> None:
    saved.write_bytes(pickle.dumps(Bomb()))
    assert "damaged or of another kind" in refusal(saved)
    torch.save({"weight": Bomb()}, saved)
    assert "damaged or of another kind" in refusal(saved)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    assert "found nothing" in refusal(tmp_path / "none.safetensors")
    assert "found a folder" in refusal(tmp_path)
    with pytest.raises(ModelError, match="no-such-model: expected a model file or one of"):
        load_model("no-such-model")


def test_a_place_that_cannot_be_written_is_named(toy_model: Callable, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        save_model(toy_model(), tmp_path / "file" / "model.safetensors")


def test_a_file_is_replaced_whole(toy_model: Callable, saved: Path) -> None:
    save_model(toy_model(seed=1), saved)
    assert torch.equal(load_model(saved).generator.mean, toy_model(seed=1).generator.mean)
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]
