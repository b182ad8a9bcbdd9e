"""What is done to clean spectra on test bed B1, and the result for one of them."""

from collections.abc import Callable
from dataclasses import dataclass

from bayesden.evaluate.testbed import GAPS, TestBed, cut_gap

__all__ = ["CONDITIONS", "Condition", "Row"]


@dataclass(frozen=True)
class Condition:
    """What is done to the clean spectra: S/N of each exposure, exposures, and where how many pixels are missing."""

    snr: float
    exposures: int = 1
    gap: str = "none"
    width: int = 0

    def __str__(self) -> str:
        missing = f", {self.width} px missing ({self.gap})" if self.width else ""
        return f"S/N {self.snr:g}, E = {self.exposures}{missing}"

    def apply(self, make: Callable[..., TestBed]) -> TestBed:
        """The bed of this condition, given how to make one without gaps."""
        bed = make(snr=self.snr, exposures=self.exposures)
        return cut_gap(bed, self.gap, self.width) if self.width else bed


@dataclass(frozen=True)
class Row:
    """One spectrum under one condition by one method.

    `der_snr` is the signal-to-noise ratio of the data, as `baselines.der_snr` has it, `der_snr_denoised` that of the result;
    `seconds` of a processor is the method's mean for a spectrum there.
    """

    method: str
    snr: float
    exposures: int
    gap: str
    width: int
    spectral_class: str
    name: str
    loss: float
    within_50: float = float("nan")
    within_90: float = float("nan")
    der_snr: float = float("nan")
    der_snr_denoised: float = float("nan")
    seconds: float = float("nan")

    @property
    def condition(self) -> Condition:
        """What was done to the spectrum."""
        return Condition(self.snr, self.exposures, self.gap, self.width)

    @property
    def star(self) -> str:
        """The object that the clean spectrum was made of: several spectra of it are no independent evidence."""
        return self.name.rpartition(" (")[0] or self.name


CONDITIONS = {
    "all": (
        *(Condition(snr, exposures) for snr in (5.0, 10.0, 20.0) for exposures in (1, 4)),
        Condition(15.0),
        *(Condition(15.0, 1, gap, width) for gap in GAPS for width in (200, 400, 600, 800, 1000)),
    ),
    "plain": tuple(Condition(snr, exposures) for snr in (5.0, 10.0, 20.0) for exposures in (1, 4)),
    "choice": (Condition(10.0), Condition(20.0), *(Condition(15.0, 1, gap, 800) for gap in GAPS)),
    "quick": (Condition(10.0), Condition(15.0, 1, "middle", 400)),
}
