"""The commands of the workflow, one after the other: what one writes the next takes."""

import pytest

import bayesden as bd
from bayesden.model.checkpoint import read_header
from bayesden.model.class_prior import CLASSES
from bayesden.train.library import load_library
from bayesden.train.noise_models import MODELS

SMALL = "4000:9000:256"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("workflow")


@pytest.fixture
def parts(bayesden, library_file, star, folder):
    """Generator, prior and noise, fitted by the commands; once for this file."""
    names = [folder / f"{name}.safetensors" for name in ("generator", "prior", "noise")]
    if not names[2].exists():
        words = ("--latent-dim", 2, "--epochs", 100, "--out", names[0])
        ran = bayesden("fit-generator", library_file, *words)
        assert (ran.status, ran.err) == (0, "") and all(name in ran.out for name in ("all", *CLASSES))
        ran = bayesden("fit-prior", library_file, "--generator", names[0], "--out", names[1])
        assert (ran.status, ran.err) == (0, "") and "bandwidth" in ran.out and "Carbon" in ran.out
        ran = bayesden("fit-noise", star(exposures=4), "--no-compare", "--grid", SMALL, "--out", names[2])
        assert (ran.status, ran.err) == (0, "") and "all 0." in ran.out and "blue" in ran.out
    return names


def test_parts_make_a_model_that_denoises(bayesden, parts, library_file, star, tmp_path):
    generator, prior, noise = parts
    out = tmp_path / "model.safetensors"
    words = ("--generator", generator, "--prior", prior, "--noise", noise, "--out", out)
    ran = bayesden("train", library_file, *words)
    assert (ran.status, ran.err) == (0, "") and "Held-out reconstruction" in ran.out and str(out) in ran.out
    card = read_header(out)["card"]
    assert {name: part["sha256"] for name, part in card["parts"].items()} == {
        name: read_header(path)["sha256"]
        for name, path in zip(("generator", "latent_prior", "noise"), parts, strict=True)
    }
    assert not {"generator", "prior", "noise"} & set(card["recipe"]) and card["recipe"]["seed"] == 0
    assert "reconstruction" in card["scores"]
    assert [source["name"] for source in card["sources"]] == ["spec-1-2-3.fits"]
    ran = bayesden("denoise", star("spec-9.fits"), "--model", out, "--out", tmp_path)
    assert ran.status == 1 and "is an input" in ran.err
    assert bayesden("denoise", star("spec-8.fits"), "--model", out, "--out", tmp_path / "out").status == 0
    assert bd.read_posterior(tmp_path / "out" / "spec-8.fits").best_class == "M"
    assert "fitted before" in bayesden("inspect", out).out


def test_a_flow_prior_and_scores_of_ones_own(bayesden, parts, library_file, star, tmp_path):
    generator, _, noise = parts
    prior, scores, out = tmp_path / "flow.safetensors", tmp_path / "scores.json", tmp_path / "model.safetensors"
    ran = bayesden(
        "fit-prior", library_file, "--generator", generator, "--kind", "flow", "--kernels", 20, "--out", prior
    )
    assert (ran.status, ran.err) == (0, "") and "bandwidth" in ran.out
    scores.write_text('{"held_out_nats_per_pixel": {"L2": {"S/N 20": 1.25}, "L3": {"S/N 20": 1.5}}}')
    words = ("--generator", generator, "--prior", prior, "--noise", noise, "--scores", scores, "--out", out)
    ran = bayesden("train", library_file, *words)
    assert (ran.status, ran.err) == (0, "")
    header = read_header(out)
    assert header["latent_prior"]["kind"] == "flow" and header["latent_prior"]["counts"] == [20] * 10
    assert header["card"]["scores"]["held_out_nats_per_pixel"]["L3"] == {"S/N 20": 1.5}
    assert "| L3 | 1.5 |" in out.with_suffix(".md").read_text()
    ran = bayesden("inspect", out)
    assert ran.status == 0 and "flow, counts" in ran.out
    assert bayesden("denoise", star("spec-8.fits"), "--model", out, "--out", tmp_path / "out").status == 0
    assert bd.read_posterior(tmp_path / "out" / "spec-8.fits").best_class == "M"
    scores.write_text("[]")
    ran = bayesden("train", library_file, *words)
    assert ran.status == 2 and "scores.json: expected scores by name" in ran.err


def test_train_fits_what_is_not_given(bayesden, parts, library_file, star, tmp_path):
    out = tmp_path / "model.safetensors"
    files = [star("a.fits"), star("b.fits", seed=1)]
    ran = bayesden("train", library_file, *files, "--generator", parts[0], "--out", out, "--seed", 5)
    assert (ran.status, ran.err) == (0, "") and "nats per pixel" in ran.out
    card = read_header(out)["card"]
    assert (
        card["recipe"]["seed"] == 5
        and card["recipe"]["noise"] == {"kind": "robust"}
        and "generator" not in card["recipe"]
    )
    assert [source["name"] for source in card["sources"]] == ["a.fits", "b.fits"]
    assert set(card["scores"]) == {"reconstruction", "noise_nats_per_pixel", "noise_scale_over_pipeline"}


def test_parts_that_do_not_belong_together(bayesden, parts, library_file, star, tmp_path):
    _, prior, noise = parts
    other, small = tmp_path / "other.safetensors", tmp_path / "small.safetensors"
    words = ("--latent-dim", 2, "--epochs", 1, "--seed", 1, "--out", other)
    assert bayesden("fit-generator", library_file, *words).status == 0
    assert bayesden("fit-noise", star(), "--no-compare", "--grid", "4000:9000:128", "--out", small).status == 0
    cases = {
        "expected the generator that it was fitted with, got another": ("--generator", other, "--prior", prior),
        "expected beside it the generator that it was fitted with": ("--prior", prior),
        "expected a file that holds a generator": ("--generator", prior),
        "256 as the model has, got 128": ("--noise", small),
        "got both": (star("more.fits"), "--noise", noise),
    }
    for expected, words in cases.items():
        noise_words = () if "--noise" in words else ("--noise", noise)
        ran = bayesden("train", library_file, *words, *noise_words, "--out", tmp_path / "model.safetensors")
        assert (ran.status, ran.out) == (2, "") and len(ran.err.splitlines()) == 1 and expected in ran.err, ran
    ran = bayesden("train", library_file, "--out", tmp_path / "model.safetensors")
    assert ran.status == 2 and "got neither" in ran.err
    assert not (tmp_path / "model.safetensors").exists()


def test_noise_models_side_by_side(bayesden, star, tmp_path):
    files = [star("a.fits", exposures=3), star("b.fits", seed=1, exposures=3)]
    ran = bayesden("fit-noise", *files, "--grid", "4000:9000:128", "--out", tmp_path / "noise.safetensors")
    assert (ran.status, ran.err) == (0, "")
    lines = ran.out.splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("left out"))
    assert lines[head].split()[2:] == list(MODELS)
    rows = {line.split()[0]: [float(word) for word in line.split()[1:]] for line in lines[head + 1 :]}
    assert set(rows) == {"a", "b", "mean"} and all(len(row) == len(MODELS) for row in rows.values())


def test_noise_scale_is_printed_and_drawn(bayesden, star, tmp_path):
    out, figure = tmp_path / "noise.safetensors", tmp_path / "noise.png"
    words = ("fit-noise", star(exposures=4), "--no-compare", "--grid", SMALL, "--out", out, "--plot", figure)
    ran = bayesden(*words)
    assert (ran.status, ran.err) == (0, "") and str(figure) in ran.out
    assert figure.read_bytes().startswith(b"\x89PNG")
    head = next(line for line in ran.out.splitlines() if line.startswith("Angstrom"))
    assert {"blue", "red"} <= set(head.split())
    ran = bayesden(*words[:-1], tmp_path / "noise.txt")
    assert (ran.status, ran.out) == (2, "") and "--plot: expected a name that ends in .png" in ran.err


def test_noise_goes_on_after_files_that_cannot_be_used(bayesden, star, tmp_path):
    good, single = star("good.fits"), star("single.fits", exposures=1)
    twin = tmp_path / "twin.fits"
    twin.write_bytes(good.read_bytes())
    out = tmp_path / "noise.safetensors"
    files = (tmp_path / "none.fits", good, single, twin)
    ran = bayesden("fit-noise", *files, "--no-compare", "--grid", "4000:9000:128", "--out", out)
    assert ran.status == 1 and "2 exposures of 1 stars" in ran.out
    missing, one, same = ran.err.splitlines()
    assert "found nothing" in missing and "at least two exposures" in one and "single" in one
    assert f"got the content of {good} again" in same
    assert [source["name"] for source in read_header(out)["card"]["sources"]] == ["good.fits"]
    ran = bayesden("fit-noise", single, "--out", tmp_path / "nothing.safetensors")
    assert ran.status == 2 and len(ran.err.splitlines()) == 2 and not (tmp_path / "nothing.safetensors").exists()


def test_a_library_from_spec_files(bayesden, star, tmp_path):
    for number, label in enumerate((0, 6, 6, 9)):
        star(f"plates/spec-{number}.fits", label=label, seed=number)
    (tmp_path / "plates" / "spec-bad.fits").write_text("hello")
    out = tmp_path / "library.npz"
    ran = bayesden("library", tmp_path / "plates", "--grid", SMALL, "--out", out)
    assert (ran.status, ran.err) == (0, "") and "4 spectra of 4 source files" in ran.out
    found = load_library(out)
    assert sorted(found.classes[k] for k in found.label) == ["M", "M", "O", "WD"] and found.grid.size == 256
    assert bayesden("inspect", out).status == 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("library", "nowhere"), "nowhere: expected a folder"),
        (("library", "."), "found neither"),
        (("library", ".", "--out", "library.fits"), "expected a name that ends in .npz, got library.fits"),
        (("library", ".", "--grid", "4000:9000"), "expected FIRST:LAST:PIXELS"),
        (("library", ".", "--grid", "9000:4000:64"), "expected FIRST:LAST:PIXELS"),
        (("fit-generator", "nowhere.npz"), "nowhere.npz: expected a library file, found nothing"),
        (("fit-generator", "text"), "text: expected a library file"),
        (("fit-generator", "text", "--out", "g.npz"), "expected a name that ends in .safetensors, got g.npz"),
        (("fit-generator", "text", "--out", "text/g.safetensors"), "expected a folder that can be written"),
        (("fit-prior", "text", "--generator", "text"), "text: expected a model file"),
        (("fit-noise", "text", "--out", "text"), "expected a name that ends in .safetensors, got text"),
        (("train", "text", "--noise", "text"), "text: expected a library file"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_status_2(bayesden, monkeypatch, tmp_path, words, expected):
    (tmp_path / "text").write_text("hello")
    monkeypatch.chdir(tmp_path)
    ran = bayesden(*words)
    assert (ran.status, ran.out) == (2, "") and len(ran.err.splitlines()) == 1 and expected in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["text"]
