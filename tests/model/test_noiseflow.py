"""Laws of the noise flow: locality, normalisation, closed-form derivatives, masks without influence, samples."""

import json

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import kstest, norm, t
from torch.nn.functional import conv1d

from bayesden.errors import InputError
from bayesden.model.local_network import LocalNetwork
from bayesden.model.noise_context import CHANNELS
from bayesden.model.noiseflow import KINDS, NoiseFlow

SIZE, WINDOW = 24, 3


def random_flow(kind: str, seed: int = 0, size: int = SIZE, context: tuple[str, ...] = ()) -> NoiseFlow:
    """A flow with weights far from zero, in float64."""
    noise = NoiseFlow(kind, size=size, window=WINDOW, channels=6, hidden=5, context=context).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in noise.parameters():
            if p.requires_grad and p.ndim > 0:
                p.copy_(0.5 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return noise


def data(seed: int = 1, shape: tuple[int, ...] = (2, 3, SIZE)) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Residuals, inverse variances, and a mask with single pixels and a gap."""
    generator = torch.Generator().manual_seed(seed)
    eps = torch.randn(shape, generator=generator, dtype=torch.float64)
    ivar = 0.5 + 4 * torch.rand(shape, generator=generator, dtype=torch.float64)
    mask = torch.rand(shape, generator=generator) < 0.05
    mask[..., 10:13] = True
    return eps, ivar, mask


def clear(mask: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(mask)


@pytest.fixture(params=KINDS)
def noise(request: pytest.FixtureRequest) -> NoiseFlow:
    return random_flow(request.param)


def test_jacobian_is_zero_outside_the_window_and_logdet_is_autograds(noise: NoiseFlow) -> None:
    eps, ivar, _ = data(shape=(1, SIZE))
    transform = noise.flow._transform
    jacobian = torch.autograd.functional.jacobian(lambda x: transform(x, ivar)[0][0], eps)[:, 0]
    lag = torch.arange(SIZE)[:, None] - torch.arange(SIZE)
    assert (jacobian[(lag < 0) | (lag > WINDOW)] == 0).all()
    assert (jacobian[WINDOW:][(lag[WINDOW:] >= 0) & (lag[WINDOW:] <= WINDOW)] != 0).double().mean() > 0.5
    torch.testing.assert_close(transform(eps, ivar)[1][0], torch.linalg.slogdet(jacobian)[1])


def test_linearization_is_autograds(noise: NoiseFlow) -> None:
    eps, ivar, mask = data()
    eps.requires_grad_()
    log_prob = noise.log_prob(eps, ivar, mask)
    (score,) = torch.autograd.grad(log_prob.sum(), eps)
    found = noise.linearize(eps.detach(), ivar, mask)
    torch.testing.assert_close(found.log_prob, log_prob.detach(), rtol=0, atol=1e-10)
    torch.testing.assert_close(found.score, score, rtol=0, atol=1e-10)

    clean = noise.linearize(eps.detach(), ivar, clear(mask))
    jacobian = torch.autograd.functional.jacobian(
        lambda x: noise.flow._transform(x, ivar[0])[0].sum(0), eps.detach()[0]
    ).movedim(0, 1)
    for k in range(WINDOW + 1):
        band = torch.diagonal(jacobian, -k, dim1=-2, dim2=-1)
        torch.testing.assert_close(clean.band[0, :, k:, k], band, rtol=0, atol=1e-10)
        assert (found.band[..., k][~noise.counted(mask)] == 0).all()


def test_weight_is_the_score_of_the_base_over_xi(noise: NoiseFlow) -> None:
    eps, ivar, mask = data()
    found = noise.linearize(eps, ivar, mask)
    xi = found.xi.requires_grad_()
    (score,) = torch.autograd.grad(noise.log_density(xi).sum(), xi)
    counted = noise.counted(mask)
    torch.testing.assert_close(found.weight[counted], (-score / xi)[counted].detach())
    assert (found.weight[counted] > 0).all()
    assert (found.weight[~counted] == 0).all()


def test_a_conditional_density_integrates_to_one(noise: NoiseFlow) -> None:
    eps, ivar, mask = data(shape=(1, SIZE))

    for pixel in (1, 15):

        def density(value: float, pixel: int = pixel) -> float:
            x = eps.clone()
            x[0, pixel] = value
            with torch.no_grad():
                return noise.log_prob(x, ivar, clear(mask))[0, pixel].exp().item()

        parts = [quad(density, a, b, limit=400)[0] for a, b in ((-1e5, -50), (-50, 0), (0, 50), (50, 1e5))]
        assert sum(parts) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("poison", [1e30, float("nan"), float("inf")])
def test_what_is_masked_has_no_influence(noise: NoiseFlow, poison: float) -> None:
    eps, ivar, mask = data()
    poisoned = torch.where(mask, poison, eps).requires_grad_()
    poisoned_ivar = torch.where(mask, poison, ivar)
    clean, dirty = noise.linearize(eps, ivar, mask), noise.linearize(poisoned.detach(), poisoned_ivar, mask)
    for key in ("log_prob", "score", "xi", "weight", "band"):
        assert torch.equal(getattr(clean, key), getattr(dirty, key)), key
    log_prob = noise.log_prob(poisoned, poisoned_ivar, mask)
    assert torch.equal(log_prob, noise.log_prob(eps, ivar, mask))
    (score,) = torch.autograd.grad(log_prob.sum(), poisoned)
    assert score.isfinite().all()
    assert (score[mask] == 0).all()


def test_without_the_mask_the_same_values_do_have_influence(noise: NoiseFlow) -> None:
    eps, ivar, mask = data()
    other = torch.where(mask, 30.0, eps)
    assert (noise.log_prob(other, ivar, clear(mask)) != noise.log_prob(eps, ivar, clear(mask))).sum() > mask.sum()


def test_zero_inverse_variance_is_a_mask(noise: NoiseFlow) -> None:
    eps, ivar, mask = data()
    by_ivar = noise.log_prob(eps, torch.where(mask, 0.0, ivar), clear(mask))
    assert torch.equal(by_ivar, noise.log_prob(eps, ivar, mask))


def test_counting_is_equation_15(noise: NoiseFlow) -> None:
    eps, ivar, mask = data()
    mask[0, 0, :2] = torch.tensor([True, False])
    found, log_prob = noise.counted(mask), noise.log_prob(eps, ivar, mask)
    for row, bad in zip(found.view(-1, SIZE), mask.view(-1, SIZE), strict=True):
        for d in range(SIZE):
            seen = bad[d : d + 1] if d < WINDOW else bad[d - WINDOW : d + 1]
            assert row[d] == (not seen.any())
    assert (log_prob[~found] == 0).all()
    assert (log_prob[found] != 0).all()


def test_nflows_density_is_the_sum_over_pixels(noise: NoiseFlow) -> None:
    eps, ivar, mask = data(shape=(4, SIZE))
    by_pixel = noise.log_prob(eps, ivar, clear(mask)).sum(-1)
    torch.testing.assert_close(noise.flow.log_prob(eps, ivar), by_pixel)
    assert noise.flow.sample(2, context=ivar).shape == (4, 2, SIZE)


def test_inverse_undoes_forward(noise: NoiseFlow) -> None:
    eps, ivar, _ = data(shape=(4, SIZE))
    xi, logabsdet = noise.flow._transform(eps, ivar)
    back, inverse_logabsdet = noise.flow._transform.inverse(xi, ivar)
    torch.testing.assert_close(back, eps)
    torch.testing.assert_close(inverse_logabsdet, -logabsdet)


def test_samples_are_from_the_density_and_not_from_another(noise: NoiseFlow) -> None:
    _, ivar, mask = data(shape=(400, SIZE))
    eps = noise.sample(ivar, mask, generator=torch.Generator().manual_seed(3))
    assert (eps[mask] == 0).all()
    base = t(noise.nu) if noise.kind == "robust" else norm()
    counted = noise.counted(mask)
    right = noise.linearize(eps, ivar, mask).xi[counted]
    wrong = random_flow(noise.kind, seed=9).linearize(eps, ivar, mask).xi[counted]
    assert kstest(right.numpy(), base.cdf).pvalue > 0.01
    assert kstest(wrong.numpy(), base.cdf).pvalue < 1e-6


@pytest.mark.parametrize("block", [SIZE, 3 * SIZE, 10**6])
def test_rows_in_common_and_blocks_change_nothing(
    noise: NoiseFlow, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    eps, ivar, mask = data(shape=(7, 5, SIZE))
    rows = [x[:1].expand(7, -1, -1) for x in (ivar, mask)]
    copies = [x.clone() for x in rows]
    expected = noise.log_prob(eps, *copies)
    drawn = noise.sample(*copies, generator=torch.Generator().manual_seed(3))
    for module in ("noiseflow", "local_network"):
        monkeypatch.setattr(f"bayesden.model.{module}.BLOCK", block)
    assert torch.equal(noise.log_prob(eps, *rows), expected) and torch.equal(noise.log_prob(eps, *copies), expected)
    assert torch.equal(noise.sample(*rows, generator=torch.Generator().manual_seed(3)), drawn)


def test_samples_repeat_with_the_seed(noise: NoiseFlow) -> None:
    ivar = torch.full((2, SIZE), 4.0, dtype=torch.float64)
    first, again, other = (noise.sample(ivar, generator=torch.Generator().manual_seed(s)) for s in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_config_and_state_rebuild_the_flow(noise: NoiseFlow) -> None:
    again = NoiseFlow(**json.loads(json.dumps(noise.config))).double()
    again.load_state_dict(noise.state_dict())
    eps, ivar, mask = data()
    assert torch.equal(again.log_prob(eps, ivar, mask), noise.log_prob(eps, ivar, mask))
    state = NoiseFlow(**noise.config).state_dict().values()
    assert all(v.dtype == torch.float32 and v.is_contiguous() for v in state)


def test_robust_is_equivariant_under_the_flux_unit_and_kang2021_is_not() -> None:
    eps, ivar, mask = data()
    for kind, same in (("robust", True), ("kang2021", False)):
        noise = random_flow(kind)
        scaled = noise.log_prob(100 * eps, ivar / 1e4, mask) + noise.counted(mask) * torch.log(torch.tensor(100.0))
        assert torch.allclose(scaled, noise.log_prob(eps, ivar, mask), atol=1e-10) is same


def test_kang2021_is_the_published_convolution_with_free_first_pixels() -> None:
    noise, (eps, ivar, mask) = random_flow("kang2021"), data(shape=(2, SIZE))
    net = noise.network
    h = conv1d(eps[:, None], net.first.weight[:, None], net.first.bias)[..., :-1].movedim(1, 2)
    mu, alpha = net.heads(torch.relu(net.second(torch.relu(h)))).unbind(-1)
    mu = torch.cat([net.edge_mu.expand(2, -1), mu], -1)
    alpha = torch.cat([net.edge_alpha.expand(2, -1), alpha], -1)
    published = torch.distributions.Normal(mu, alpha.exp()).log_prob(eps)
    torch.testing.assert_close(noise.log_prob(eps, ivar, clear(mask)), published)
    assert net.edge_mu.requires_grad
    assert net.edge_mu.shape == (WINDOW,)


def test_the_clamp_of_kang2021_bounds_what_a_cosmic_ray_does_to_the_scale() -> None:
    eps, ivar, mask = data(shape=(1, SIZE))
    eps[0, 15] = 1e4
    scales = []
    for bound in (0, 7.0):
        noise = NoiseFlow("kang2021", size=SIZE, window=WINDOW, channels=6, hidden=5, alpha_bound=bound).double()
        noise.load_state_dict(random_flow("kang2021").state_dict())
        scales.append(noise.scale(eps, ivar, clear(mask)).log().abs().max().item())
    assert scales[0] > 100
    assert scales[1] == pytest.approx(7.0)


def test_one_outlier_moves_the_robust_density_by_its_tail_only() -> None:
    eps, ivar, mask = data(shape=(1, SIZE))
    noise, hit = random_flow("robust"), eps.clone()
    hit[0, 15] = 1e6
    change = (noise.log_prob(eps, ivar, clear(mask)) - noise.log_prob(hit, ivar, clear(mask)))[0]
    assert 20 < change[15] < 200
    assert change[16 : 16 + WINDOW].abs().max() < 30
    assert (change[:15] == 0).all()
    assert (change[16 + WINDOW :] == 0).all()


def test_robust_flow_needs_the_inverse_variance() -> None:
    with pytest.raises(InputError, match="inverse variance"):
        random_flow("robust").flow.log_prob(torch.zeros(1, SIZE, dtype=torch.float64))


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "gaussian"}, {"window": 0}, {"window": 2048}, {"hidden": 99}, {"squash": 0.0}, {"alpha_bound": 0.0}],
)
def test_wrong_options_are_named(wrong: dict) -> None:
    with pytest.raises(InputError, match="expected"):
        NoiseFlow(**wrong)


def test_wrong_number_of_pixels_is_named(noise: NoiseFlow) -> None:
    with pytest.raises(InputError, match=f"expected {SIZE} pixels, got 7"):
        noise.log_prob(*data(shape=(1, 7)))


def test_network_depends_on_errors_by_their_ratios_only() -> None:
    net = LocalNetwork("robust", WINDOW, 6, 5, 4.0, 3.0, 2.0).double()
    _, ivar, mask = data(shape=(2, SIZE))
    for a, b in zip(net.error_profile(ivar, mask), net.error_profile(ivar / 7, mask), strict=True):
        torch.testing.assert_close(a, b)


def conditioned(shape: tuple[int, ...] = (2, 3)) -> tuple[NoiseFlow, torch.Tensor]:
    """A flow with context, and a context for data of some shape."""
    generator = torch.Generator().manual_seed(5)
    channels = torch.randn(*shape, len(CHANNELS), SIZE, generator=generator, dtype=torch.float64)
    return random_flow("robust", context=CHANNELS), channels


def test_linearization_with_context_is_autograds() -> None:
    (eps, ivar, mask), (noise, context) = data(), conditioned()
    eps.requires_grad_()
    log_prob = noise.log_prob(eps, ivar, mask, context)
    (score,) = torch.autograd.grad(log_prob.sum(), eps)
    found = noise.linearize(eps.detach(), ivar, mask, context)
    torch.testing.assert_close(found.log_prob, log_prob.detach(), rtol=0, atol=1e-10)
    torch.testing.assert_close(found.score, score, rtol=0, atol=1e-10)
    packed = torch.cat([ivar[0].unsqueeze(1), context[0]], 1)
    jacobian = torch.autograd.functional.jacobian(
        lambda x: noise.flow._transform(x, packed)[0].sum(0), eps.detach()[0]
    ).movedim(0, 1)
    clean = noise.linearize(eps.detach(), ivar, clear(mask), context)
    for k in range(WINDOW + 1):
        band = torch.diagonal(jacobian, -k, dim1=-2, dim2=-1)
        torch.testing.assert_close(clean.band[0, :, k:, k], band, rtol=0, atol=1e-10)


def test_context_changes_the_density_and_none_is_all_zeros() -> None:
    (eps, ivar, mask), (noise, context) = data(), conditioned()
    without = noise.log_prob(eps, ivar, mask)
    torch.testing.assert_close(noise.log_prob(eps, ivar, mask, torch.zeros_like(context)), without, rtol=0, atol=1e-12)
    assert not torch.allclose(noise.log_prob(eps, ivar, mask, context), without)
    plain = random_flow("robust")  # knows no channels
    assert torch.equal(plain.log_prob(eps, ivar, mask, context), plain.log_prob(eps, ivar, mask))


def test_inverse_undoes_forward_and_samples_fit_with_context() -> None:
    noise, context = conditioned((400,))
    eps, ivar, mask = data(shape=(400, SIZE))
    packed = torch.cat([ivar.unsqueeze(1), context], 1)
    xi, logabsdet = noise.flow._transform(eps, packed)
    back, inverse_logabsdet = noise.flow._transform.inverse(xi, packed)
    torch.testing.assert_close(back, eps)
    torch.testing.assert_close(inverse_logabsdet, -logabsdet)
    torch.testing.assert_close(
        noise.flow.log_prob(eps, packed), noise.log_prob(eps, ivar, clear(mask), context).sum(-1)
    )
    drawn = noise.sample(ivar, mask, context, generator=torch.Generator().manual_seed(3))
    counted, base = noise.counted(mask), t(noise.nu)
    right, wrong = (noise.linearize(drawn, ivar, mask, c).xi[counted].numpy() for c in (context, -context))
    assert kstest(right, base.cdf).pvalue > 0.01
    assert kstest(wrong, base.cdf).pvalue < 1e-6


def test_without_the_profile_errors_act_by_their_own_pixel_only() -> None:
    eps, ivar, mask = data(shape=(2, SIZE))
    for profile in ("none", "full"):
        noise = NoiseFlow("robust", size=SIZE, window=WINDOW, channels=6, hidden=5, profile=profile).double()
        with torch.no_grad():
            for layer in (noise.network.first, noise.network.second, noise.network.heads):
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(2)))
        other = ivar.clone()
        other[:, 15] *= 2
        white = [noise.linearize(eps * (ivar / i).sqrt(), i, clear(mask)) for i in (ivar, other)]
        assert torch.allclose(white[0].xi, white[1].xi) is (profile == "none")
        assert NoiseFlow(**noise.config).config["profile"] == profile


def test_config_keeps_the_context() -> None:
    noise, _ = conditioned()
    again = NoiseFlow(**json.loads(json.dumps(noise.config))).double()
    again.load_state_dict(noise.state_dict())
    assert again.config["context"] == list(CHANNELS)


@pytest.mark.parametrize("wrong", [{"context": ("snr",)}, {"kind": "kang2021", "context": CHANNELS}])
def test_unknown_context_is_named(wrong: dict) -> None:
    with pytest.raises(InputError, match="context: expected none, or snr"):
        NoiseFlow(**wrong)
    noise, context = conditioned()
    with pytest.raises(InputError, match=r"context: expected shape \(..., 6, 24\), got"):
        noise.log_prob(*data(), context[..., 1:, :])
