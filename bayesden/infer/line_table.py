"""What is known to be at a wavelength: lines of stars, lines of the night sky, bands of the Earth's air. All in vacuum Å."""

__all__ = ["AIR", "LIGHT_KMS", "NIGHT_SKY", "STELLAR", "identify"]

LIGHT_KMS = 299792.458
NEAR_KMS = 250.0  # a line's centre and its entry may differ by this, or by half its width

STELLAR = {
    "Ca II K": 3934.78,
    "Ca II H": 3969.59,
    "Hδ": 4102.89,
    "Sr II": 4216.71,
    "Ca I": 4227.92,
    "CH": 4304.6,
    "Hγ": 4341.68,
    "He I 4472": 4472.73,
    "Mg II": 4482.39,
    "He II 4687": 4687.02,
    "Hβ": 4862.68,
    "[O III] 4960": 4960.30,
    "[O III] 5008": 5008.24,
    "Mg b1": 5185.05,
    "Mg b2": 5174.13,
    "Mg b4": 5168.76,
    "Fe I 5270": 5271.0,
    "He I 5877": 5877.25,
    "Na D2": 5891.58,
    "Na D1": 5897.56,
    "[N II] 6550": 6549.85,
    "Hα": 6564.61,
    "[N II] 6585": 6585.28,
    "He I 6680": 6680.00,
    "Li I": 6709.66,
    "[S II] 6718": 6718.29,
    "[S II] 6733": 6732.67,
    "K I 7667": 7667.01,
    "K I 7701": 7701.08,
    "O I 7774": 7774.08,
    "Na I 8185": 8185.51,
    "Na I 8197": 8197.08,
    "O I 8449": 8448.57,
    "Ca II 8500": 8500.36,
    "Ca II 8544": 8544.44,
    "Ca II 8665": 8664.52,
}
NIGHT_SKY = {"sky [O I] 5579": 5578.89, "sky [O I] 6302": 6302.05, "sky [O I] 6366": 6365.54}
SKY_A = 8.0  # either side of a line of the night sky
AIR = {
    "air O2 (B)": (6866.0, 6965.0),
    "air H2O 7200": (7160.0, 7345.0),
    "air O2 (A)": (7590.0, 7710.0),
    "air H2O 8200": (8105.0, 8350.0),
    "air H2O 9000": (8920.0, 9200.0),
}


def identify(wavelength_A: float, width_kms: float, velocity_kms: float = 0.0) -> tuple[str, bool]:
    """What is known to be at a wavelength, '' if nothing, and whether it is of the Earth.

    Arguments:
        wavelength_A: Centre of a line, as observed, vacuum Å.
        width_kms: Its full width at half maximum.
        velocity_kms: Of the star.
    """
    for name, line in NIGHT_SKY.items():
        if abs(wavelength_A - line) <= SKY_A:
            return name, True
    rest = wavelength_A / (1 + velocity_kms / LIGHT_KMS)
    distance = {name: abs(rest / line - 1) * LIGHT_KMS for name, line in STELLAR.items()}
    name = min(distance, key=distance.__getitem__)
    stellar = name if distance[name] <= max(NEAR_KMS, width_kms / 2) else ""
    for band, (first, last) in AIR.items():
        if first <= wavelength_A <= last:
            return (f"{band}, {stellar}" if stellar else band), True
    return stellar, False
