r"""A normalizing flow for the latents of all classes, conditioned on the class.

.. math:: \xi = f\big(A_C (z - m_C);\, C\big), \qquad
          \log p(z \mid C) = \sum_i \log t_\nu(\xi_i) + \log\Big|\det \frac{\partial \xi}{\partial z}\Big|

with the mean :math:`m_C` and a root :math:`A_C` of the inverse covariance of the class, Student-t variables of one learned
:math:`\nu`, and affine couplings: each scales and shifts some of the coordinates by smooth, bounded functions of the others
and of the class. Smooth, so that Newton's method has the true Hessian; bounded, so that far from all stars the flow is affine
and its tails are those of the base.

Encoded spectra lie near sheets of fewer than L dimensions, on which a flow without more would be infinitely dense. So normal
noise is added to what it is trained on, as much of it, in units of a class's spread, and for as many epochs, as objects
say that it was not trained on.

References:
    Dinh, Sohl-Dickstein & Bengio (2017), *Density estimation using Real NVP*, arXiv:1605.08803.
    Rothfuss et al. (2019), *Noise regularization for conditional density estimation*, arXiv:1907.08982.
"""

import copy

import torch
from nflows.flows.base import Flow
from nflows.transforms.base import CompositeTransform, Transform
from torch import Tensor, nn

from .kernel_prior import choose_kernels, whiten
from .latent_prior import LatentPrior, PriorCurvature, unit_matrices
from .student_t import StudentT

__all__ = ["Coupling", "FlowPrior"]

NOISE = (0.003, 0.02, 0.1)  # candidates, in units of a class's spread
BOUND = 2.0  # of |log scale| in one coupling
DRAWS = 20_000  # that a class's covariance is measured on
BATCH = 256
LEARNING_RATE = 4e-3


class Coupling(Transform):
    r"""Scale and shift of the coordinates outside of a mask, by those inside and a context.

    Arguments:
        mask: 1 for coordinates that stay as they are, shape :math:`(L,)`.
        context: Numbers of the context.
        hidden: Width of the two hidden layers.
    """

    def __init__(self, mask: Tensor, context: int, hidden: int) -> None:
        super().__init__()
        size = len(mask)
        self.register_buffer("mask", mask)
        self.layers = nn.ModuleList(
            nn.Linear(a, b) for a, b in ((size + context, hidden), (hidden, hidden), (hidden, 2 * size))
        )
        nn.init.zeros_(self.layers[-1].weight)  # the identity, before any fit
        nn.init.zeros_(self.layers[-1].bias)

    def _scale_and_shift(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.cat([inputs * self.mask, context], -1)
        for layer in self.layers[:-1]:
            h = torch.tanh(layer(h))
        scale, shift = self.layers[-1](h).chunk(2, -1)
        free = 1 - self.mask
        return free * BOUND * torch.tanh(scale / BOUND), free * shift

    def forward(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Towards the base, with the log-determinant of each row."""
        scale, shift = self._scale_and_shift(inputs, context)
        return inputs * scale.exp() + shift, scale.sum(-1)

    def inverse(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """From the base, with the log-determinant of each row."""
        scale, shift = self._scale_and_shift(inputs, context)
        return (inputs - shift) * (-scale).exp(), -scale.sum(-1)


def _masks(size: int, couplings: int) -> list[Tensor]:
    """Halves of the coordinates, each followed by the other half, dealt anew for each pair; the same at every call."""
    random = torch.Generator().manual_seed(size)
    masks = []
    while len(masks) < couplings:
        half = torch.zeros(size)
        half[torch.randperm(size, generator=random)[: size // 2]] = 1.0
        masks += [half, 1 - half]
    return masks[:couplings]


class FlowPrior(LatentPrior):
    r"""A flow of all classes.

    Arguments:
        counts: Encoded training spectra that are kept of each class, :math:`n_C`.
        latent_dim: Latents :math:`L`.
        couplings: Number of couplings.
        hidden: Width of their hidden layers.

    Use `fit` to make one from latents.
    """

    kind = "flow"

    def __init__(self, counts: list[int], latent_dim: int, couplings: int = 8, hidden: int = 64) -> None:
        super().__init__(counts, latent_dim)
        classes, self.shape = len(counts), {"couplings": couplings, "hidden": hidden}
        layers = [Coupling(mask, classes, hidden) for mask in _masks(latent_dim, couplings)]
        self.flow = Flow(CompositeTransform(layers), StudentT(latent_dim, nu=5.0))
        self.register_buffer("centre", torch.zeros(classes, latent_dim))
        self.register_buffer("whitener", unit_matrices(classes, latent_dim))  # lower
        self.register_buffer("encoded", torch.zeros(sum(counts), latent_dim))
        self.register_buffer("moments", unit_matrices(classes, latent_dim))
        self.register_buffer("bandwidth", torch.ones(classes))  # of the noise, in units of a class's spread

    @property
    def config(self) -> dict:
        """JSON-able arguments that build this shape again with `build_latent_prior`."""
        return super().config | self.shape

    @classmethod
    def fit(
        cls,
        z: Tensor,
        label: Tensor,
        classes: int,
        *,
        fold: Tensor | None = None,
        most: int = 1000,
        seed: int = 0,
        epochs: int = 30,
        **shape: int,
    ) -> "FlowPrior":
        r"""Train on the latents of all classes; noise and number of epochs by those of a fold that is left out.

        Arguments:
            z: Latents, shape :math:`(N, L)`.
            label: Class index, shape :math:`(N,)`.
            classes: :math:`K`.
            fold: Fold of each latent, shape :math:`(N,)`; give one object's latents one fold. The first is left out for the
                choice; the chosen training is then repeated with all. By default 5 folds at random.
            most: Latents to keep of each class, for `latents`.
            seed: Seed of weights, noise and order.
            epochs: Passes over the latents, at most.
            shape: Further arguments of the flow, such as ``couplings``.

        Raises:
            ModelError: if a class has fewer than two latents.
        """
        kept, fold = choose_kernels(label, classes, fold, most, seed)
        prior = cls([len(index) for index in kept], z.shape[1], **shape)
        prior._place(z, label, kept)
        white = prior._whiten(z, label)
        out = fold == fold.min()
        best = (-float("inf"), NOISE[-1], epochs)
        if bool((~out).any()):
            held_out = (white[out], label[out])
            for noise in NOISE:
                scores = prior._train(white[~out], label[~out], noise, epochs, epochs, seed, held_out)
                best = max(best, (max(scores), noise, 1 + scores.index(max(scores))))
        _, noise, stop = best
        prior._train(white, label, noise, epochs, stop, seed)
        prior.bandwidth.fill_(noise)
        prior._measure(seed)
        return prior.eval().requires_grad_(False)

    @torch.no_grad()
    def _place(self, z: Tensor, label: Tensor, kept: list[Tensor]) -> None:
        """Set what is not trained: each class's mean and whitener, and the latents that are kept."""
        for k, index in enumerate(kept):
            mine = z[label == k]
            _, factor = whiten(mine)
            self.centre[k] = mine.double().mean(0)
            self.whitener[k] = torch.linalg.inv(factor)
            self.encoded[self._slice(k)] = z[index].to(self.encoded)

    @torch.no_grad()
    def _measure(self, seed: int) -> None:
        """The covariance of each class, by draws."""
        random = torch.Generator().manual_seed(seed)
        for k in range(len(self.counts)):
            drawn = self.sample(torch.full((DRAWS,), k), random).double()
            self.moments[k] = torch.cov(drawn.T).reshape(self.latent_dim, self.latent_dim)

    def _train(
        self,
        white: Tensor,
        label: Tensor,
        noise: float,
        epochs: int,
        stop: int,
        seed: int,
        held_out: tuple[Tensor, Tensor] | None = None,
    ) -> list[float]:
        """Train the flow from the start, with a learning rate that falls over `epochs`, until `stop`.

        Returns:
            After each epoch, the log-density of the held-out latents: the mean of the classes' means.
        """
        random, scores = torch.Generator().manual_seed(seed), []
        with torch.random.fork_rng(devices=[]):  # the initial weights come from the global generator
            torch.manual_seed(seed)
            fresh = FlowPrior(self.counts, self.latent_dim, **self.shape)
        self.flow.load_state_dict(fresh.flow.state_dict())
        optimiser = torch.optim.Adam(self.flow.parameters(), lr=LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * -(-len(white) // BATCH))
        for _ in range(stop):
            for index in torch.randperm(len(white), generator=random).split(BATCH):
                x = white[index] + noise * torch.randn(len(index), white.shape[1], generator=random)
                loss = -self._white_log_prob(x, label[index]).mean()
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.flow.parameters(), 5.0)
                optimiser.step()
                schedule.step()
            if held_out:
                with torch.no_grad():
                    found = self._white_log_prob(*held_out)
                means = [found[held_out[1] == k].mean().item() for k in held_out[1].unique().tolist()]
                scores.append(sum(means) / len(means))
        return scores

    def _whiten(self, z: Tensor, label: Tensor) -> Tensor:
        centre, whitener = self.centre[label].to(z.dtype), self.whitener[label].to(z.dtype)
        return (whitener @ (z - centre).unsqueeze(-1)).squeeze(-1)

    def _context(self, label: Tensor, like: Tensor) -> Tensor:
        return nn.functional.one_hot(label, len(self.counts)).to(like.dtype)

    def _white_log_prob(self, white: Tensor, label: Tensor) -> Tensor:
        """Log-density of whitened latents (N, L), per unit of those."""
        xi, log_det = self.flow._transform(white, self._context(label, white))
        return self.flow._distribution.log_density(xi).sum(-1) + log_det

    def _log_det(self, label: Tensor) -> Tensor:
        return self.whitener.diagonal(dim1=1, dim2=2).log().sum(-1)[label]

    def latents(self, k: int) -> Tensor:
        r"""Encoded training spectra of a class, shape :math:`(n_C, L)`."""
        return self.encoded[self._slice(k)]

    def covariance(self, k: int) -> Tensor:
        r"""Covariance of the density of a class, measured on draws, shape :math:`(L, L)`, float64."""
        return self.moments[k].double()

    def log_prob(self, z: Tensor, label: Tensor) -> Tensor:
        r"""Log-density of latents :math:`(*, L)` in the classes :math:`(*,)`; shape :math:`(*,)`; differentiable."""
        flat, label = z.reshape(-1, self.latent_dim), label.expand(z.shape[:-1]).reshape(-1)
        log_prob = self._white_log_prob(self._whiten(flat, label), label) + self._log_det(label)
        return log_prob.reshape(z.shape[:-1])

    def curvature(self, z: Tensor, label: Tensor) -> PriorCurvature:
        r"""Log-density and derivatives of latents :math:`(N, L)`.

        A row of latents stands L times in one pass, and each copy gives one row of the Hessian and of
        :math:`J = \partial\xi/\partial z`: a tenth of the calls of one pass for each. The majorant is
        :math:`J^\top \mathrm{diag}(\omega)\, J` with the weights :math:`\omega_i = (\nu + 1)/(\nu + \xi_i^2)`, whose quadratic
        stays below the base's log-density.
        """
        dim, base = self.latent_dim, self.flow._distribution
        copies = label.repeat_interleave(dim)
        pick = torch.eye(dim, dtype=z.dtype, device=z.device).repeat(len(z), 1)
        with torch.enable_grad():
            white = self._whiten(z.detach(), label).repeat_interleave(dim, 0).requires_grad_()
            xi, log_det = self.flow._transform(white, self._context(copies, white))
            each = base.log_density(xi).sum(-1) + log_det
            (slope,) = torch.autograd.grad(each.sum(), white, create_graph=True)
            (bend,) = torch.autograd.grad((slope * pick).sum(), white, retain_graph=True)
            (rows,) = torch.autograd.grad((xi * pick).sum(), white)
        first, root = slice(None, None, dim), self.whitener[label].to(z.dtype)
        bend, rows = bend.reshape(-1, dim, dim), rows.reshape(-1, dim, dim) @ root
        xi = xi[first].detach()
        weight = (base.nu.detach() + 1) / (base.nu.detach() + xi * xi)
        return PriorCurvature(
            each[first].detach() + self._log_det(label).to(z.dtype),
            (slope[first].detach().unsqueeze(1) @ root).squeeze(1),
            root.mT @ (-(bend + bend.mT) / 2) @ root,
            rows.mT @ (weight.unsqueeze(-1) * rows),
        )

    @torch.no_grad()
    def sample(self, label: Tensor, generator: torch.Generator | None = None) -> Tensor:
        r"""Draw latents :math:`(N, L)` of the classes :math:`(N,)`."""
        base = copy.deepcopy(self.flow._distribution).cpu()  # where the generator is
        xi = base.draw((len(label), self.latent_dim), generator).to(self.centre)
        white, _ = self.flow._transform.inverse(xi, self._context(label, xi))
        step = torch.linalg.solve_triangular(self.whitener[label], white.unsqueeze(-1), upper=False)
        return self.centre[label] + step.squeeze(-1)
