r"""The BOSS spectrographs of SDSS: two cameras, several exposures of a quarter of an hour.

Each spectrum gets its night: seeing, clouds, airmass, dark sky, moon and airglow, which wander from exposure to exposure.
Each camera then makes its exposures on its own pixels (`sdss_site`, `sdss_camera`, `sdss_defects`), and they are joined on
the 2048 pixels from 4000 to 9000 Å as `bayesden read` joins those of a file (`sdss_exposure`), or written to a file in the
survey's format that reads back as the same exposures.

Noise is computed (`physical`), drawn from a fitted flow, or taken from real exposures (`sdss_noise`).

References:
    Smee et al. (2013), AJ 146, 32; Dawson et al. (2013), AJ 145, 10.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from ...errors import InputError
from ...io.sdss_write import ArmSpectrum, coadd_arms, write_spec
from ...model.noiseflow import NoiseFlow
from ...spectrum import Grid
from ..random import Random
from .protocol import Detector, Exposures
from .sdss_camera import Camera, Weather
from .sdss_exposure import CameraExposures, Effects, expose_camera, join
from .sdss_noise import FlowNoise, NoiseSource, RealNoise
from .sdss_site import CAMERAS, REFERENCE_AIRMASS, REFERENCE_SEEING_ARCSEC, fiber_share

__all__ = ["Effects", "Sdss"]

CONDITIONS = ("seeing_arcsec", "transparency", "airmass", "sky", "moon", "airglow")
GRID = Grid.uniform()
FIRST_EXPOSURE = 100001  # number in the files
MOON = 15.0  # 1e-17 erg/s/cm²/Å in a fibre: the brightest, in the last of the 40 % of nights that are not dark


@dataclass(frozen=True, eq=False)
class Sdss:
    """BOSS-like exposures from 4000 to 9000 Å.

    Arguments:
        exposures: How many E a spectrum has.
        noise: `physical`; `real`, with `files`; or a fitted flow: a `NoiseFlow`, or the file of one or of a model.
        files: Real spec files with several exposures each.
        effects: What happens besides counting noise.
        cameras: The cameras; BOSS's by default.
        source: What adds the noise if it is not computed; made of `noise` and `files` by default.

    Raises:
        InputError: if there is no exposure, or noise and files do not fit together.

    Example:
        >>> sdss = Sdss(exposures=2)
        >>> arms = [torch.ones(1, camera.size) for camera in sdss.cameras]
        >>> sdss.expose(arms, sdss.draw(torch.rand(1, sdss.uniforms)), Random(0), torch.arange(1)).flux.shape
        torch.Size([1, 2, 2048])
    """

    exposures: int = 4
    noise: str | Path | NoiseFlow = "physical"
    files: Sequence[str | Path] = ()
    effects: Effects = field(default_factory=Effects)
    cameras: tuple[Camera, ...] = ()
    source: NoiseSource | None = None
    name: str = "sdss"
    conditions: tuple[str, ...] = CONDITIONS
    uniforms: int = len(CONDITIONS)

    def __post_init__(self) -> None:
        if self.exposures < 1:
            raise InputError(f"sdss: exposures: expected at least 1, got {self.exposures}")
        if len(self.files) and self.noise != "real":
            raise InputError(f"sdss: files: expected none with noise {self.noise!s:.40}, got {len(self.files)}")

        if not self.cameras:
            object.__setattr__(self, "cameras", tuple(Camera.of(facts, GRID) for facts in CAMERAS))
        if self.source is None and self.noise != "physical":
            real = isinstance(self.noise, str) and self.noise == "real"
            made = RealNoise.of(self.files, GRID) if real else FlowNoise.of(self.noise, GRID.size)
            object.__setattr__(self, "source", made)

    @property
    def detectors(self) -> tuple[Detector, ...]:
        """The cameras' pixels and line-spread functions."""
        return tuple(camera.detector for camera in self.cameras)

    @property
    def wavelength(self) -> Tensor:
        """Pixel centres of the output grid, shape (2048,), vacuum Å, double precision."""
        return torch.from_numpy(GRID.wavelength.copy()).to(self.cameras[0].gain.device)

    def to(self, device: torch.device | str) -> Self:
        """The same instrument on a device."""
        source = None if self.source is None else self.source.to(device)
        return replace(self, cameras=tuple(camera.to(device) for camera in self.cameras), source=source)

    def draw(self, uniform: Tensor) -> Tensor:
        """Conditions from uniform numbers: (B, 6) to (B, 6), double precision; columns as `conditions`."""
        u = uniform.double()
        n = torch.special.ndtri(u)
        return torch.stack(
            [
                REFERENCE_SEEING_ARCSEC * torch.exp(0.18 * n[:, 0]),
                torch.exp(0.2 * n[:, 1]),
                1.0 + 0.4 * u[:, 2],
                torch.exp(0.15 * n[:, 3]),
                MOON * (2.5 * u[:, 4] - 1.5).clamp(min=0.0) ** 2,
                torch.exp(0.3 * n[:, 5]),
            ],
            1,
        )

    def weather(self, conditions: Tensor, random: Random, index: Tensor) -> Weather:
        """Conditions of each exposure from those of the spectrum, (B, 6)."""
        n = random.normal("sdss/weather", index, 4 * self.exposures).view(-1, 4, self.exposures, 1)
        change = torch.exp(self.effects.wander * n)
        seeing, transparency, airmass, sky, moon, glow = conditions.float()[:, :, None, None].unbind(1)
        share = fiber_share(seeing * change[:, 0]) / fiber_share(REFERENCE_SEEING_ARCSEC)
        path = airmass / REFERENCE_AIRMASS  # more air glows more
        return Weather(
            throughput=transparency * change[:, 1] * share,
            airmass=airmass.expand_as(share),
            dark=sky * path * change[:, 2],
            moon=moon * change[:, 2],
            glow=glow * path * change[:, 3],
        )

    def project(self, arms: Sequence[Tensor]) -> Tensor:
        """Noiseless spectra on the output grid: each (B, N) to (B, 2048); in the overlap weighted as a faint star's."""
        size = GRID.size
        total, weight = 0.0, 0.0
        for camera, flux in zip(self.cameras, arms, strict=True):
            ivar = camera.gain**2 / (camera.gain * camera.dark + camera.facts.read_variance)
            share, mean = camera.onto(ivar).to(flux.dtype), camera.onto(flux)
            margin = (camera.first, size - camera.first - mean.shape[-1])
            total = total + pad(share * mean, margin)
            weight = weight + pad(share, margin)
        return total / weight

    def expose_cameras(
        self, arms: Sequence[Tensor], conditions: Tensor, random: Random, index: Tensor, *, noisy: bool = True
    ) -> list[CameraExposures]:
        """Exposures on each camera's own pixels; arguments as `expose`, `noisy` as in `expose_camera`."""
        weather = self.weather(conditions, random, index)
        pairs = zip(self.cameras, arms, strict=True)
        return [expose_camera(c, flux, weather, self.effects, random, index, noisy=noisy) for c, flux in pairs]

    def expose(self, arms: Sequence[Tensor], conditions: Tensor, random: Random, index: Tensor) -> Exposures:
        """Exposures of noiseless spectra on the output grid.

        Arguments:
            arms: Flux density on each camera's pixels, each (B, N), 1e-17 erg/s/cm²/Å.
            conditions: Shape (B, 6), as `draw` makes them.
            random: Where chance comes from.
            index: Numbers of the spectra, shape (B,).
        """
        seen = self.expose_cameras(arms, conditions, random, index, noisy=self.source is None)
        joined = join(self.cameras, seen, GRID.size)
        return joined if self.source is None else self.source(joined, random, index)

    def write(
        self,
        path: str | Path,
        arms: Sequence[Tensor],
        conditions: Tensor,
        random: Random,
        index: Tensor,
        *,
        facts: Mapping[str, str | int | float] | None = None,
        cards: Mapping[str, str | int | float] | None = None,
        overwrite: bool = False,
    ) -> None:
        """Write one spectrum as a spec file of the survey, the truth in the coadd's column `model`.

        `bayesden.io.read` gives the exposures of `expose` back to single precision.

        Arguments:
            path: Where.
            arms: As in `expose`, for one spectrum, each (1, N).
            conditions: Shape (1, 6).
            random: Where chance comes from.
            index: The spectrum's number, shape (1,).
            facts: Columns of the table of facts, such as `SUBCLASS` and `Z`.
            cards: Further cards of the primary header.
            overwrite: Whether an existing file may be replaced.

        Raises:
            InputError: if there is more than one spectrum, or its noise is not computed and so has no pixels of cameras.
            OutputError: if the file exists, or cannot be written.
        """
        if self.source is not None:
            raise InputError(
                f"{path}: expected noise 'physical', which has the cameras' pixels, got {self.noise!s:.40}"
            )
        if len(index) != 1:
            raise InputError(f"{path}: expected one spectrum for a file, got {len(index)}")
        seen = self.expose_cameras(arms, conditions, random, index)
        spectra = [
            _arm(camera, one, exposure)
            for camera, one in zip(self.cameras, seen, strict=True)
            for exposure in range(self.exposures)
        ]
        clean = [_clean(camera, flux) for camera, flux in zip(self.cameras, arms, strict=True)]
        coadd = replace(coadd_arms(spectra), model=coadd_arms(clean).flux)
        number = int(index[0])
        columns = {"CLASS": "STAR", "Z": 0.0, **(facts or {})}
        header = {"OBJECT": "simulated", "COMMENT": "simulated; not an observation", **(cards or {})}
        options = {"plate": 1, "mjd": 55555, "fiber": number % 1000 + 1, "facts": columns, "cards": header}
        write_spec(path, spectra, coadd=coadd, overwrite=overwrite, **options)


def _arm(camera: Camera, seen: CameraExposures, exposure: int) -> ArmSpectrum:
    flux, ivar, bits = (x[0, exposure].cpu().numpy() for x in (seen.flux, seen.ivar, seen.bits))
    return ArmSpectrum(camera.facts.name, FIRST_EXPOSURE + exposure, camera.loglam.cpu().numpy(), flux, ivar, bits)


def _clean(camera: Camera, flux: Tensor) -> ArmSpectrum:
    """The noiseless spectrum with a weight that is the camera's, so that the cameras can be joined."""
    ivar = np.square(camera.gain.cpu().double().numpy())
    return ArmSpectrum(camera.facts.name, 0, camera.loglam.cpu().numpy(), flux[0].detach().cpu().double().numpy(), ivar)
