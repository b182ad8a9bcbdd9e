r"""The pages that `--help` shows; a paragraph under ``\b`` keeps its lines as they are."""

__all__ = ["PAGES", "PROGRAM", "SHORT"]

PROGRAM = """Denoise stellar spectra by Bayesian inference, from all exposures of a star.

The main job:

\b
  bayesden denoise spec-4961-55719-0378.fits --map --plot --out out
  bayesden inspect out/spec-4961-55719-0378.fits
  bayesden report out/*.fits --out report.html

Your own model, all steps in one, or step by step:

\b
  bayesden train templates/ spec-*.fits --out model.safetensors

\b
  bayesden library templates/ --rest --out library.npz
  bayesden fit-generator library.npz --out generator.safetensors
  bayesden fit-prior library.npz --generator generator.safetensors \\
      --out prior.safetensors
  bayesden fit-noise spec-*.fits --out noise.safetensors
  bayesden train library.npz --generator generator.safetensors \\
      --prior prior.safetensors --noise noise.safetensors \\
      --out model.safetensors

Each command has a page of its own, such as `bayesden denoise --help`.

Exit status: 0 all done; 1 some files failed, each named on standard error; 2 the command or the model could not be
used."""

SHORT = {
    "denoise": "Infer the noise-free spectra of stars.",
    "plot": "Draw figures of results.",
    "report": "Show results on one interactive web page.",
    "inspect": "Say what a file is and what is in it.",
    "library": "Build a training library.",
    "fit-generator": "Train a generator on a library.",
    "fit-prior": "Estimate the density of a generator's latents.",
    "fit-noise": "Train a noise flow on repeated exposures.",
    "train": "Train a model: all steps, or those that are left.",
    "simulate": "Simulate observations whose truth is known.",
    "evaluate": "Test whether error bars are right.",
    "fetch": "Download spectra of SDSS, or models of the BOSZ grid.",
    "doctor": "Check that the installation works.",
}

PAGES = {
    "denoise": """Infer the noise-free spectrum of each star from all of its exposures.

FILE is a spec file of SDSS-I to SDSS-V, "full" (with its single exposures) or "lite" (the coadd only), gzipped or not; a
folder, searched with its sub-folders; a glob in quotes, for more files than a shell takes; or a list, @LIST or a name that
ends in .txt, with one of these a line.
Pixels that are masked, not finite or without inverse variance are left out; nothing is imputed.

For each file, DIR/NAME.fits holds the denoised flux with its error bars, the residuals and the class probabilities
(`bayesden inspect` says what is in it), and with --plot DIR/NAME.png shows them. One line is printed for each: name,
best class and its probability, signal-to-noise ratio per pixel of all exposures together, number of exposures, radial
velocity (heliocentric, as SDSS's wavelengths are), flags, and the result's path.

--without takes parts of the model out, as far as it has them: velocity (the star is at rest), reddening (E(B-V) is what the
model expects), tilt (the calibration error that all exposures share), calibration (the errors of single exposures), arms
(that their arms have errors of their own), shifts (of single exposures' wavelengths).

Methods: --map (the default, about 5 spectra a second and core) finds the mode of each class and the posterior about it in
closed form; --laplace adds draws from that; --svi fits a normal guide with Pyro; --mcmc runs Markov chains, a few seconds a
spectrum, which hold where the posterior is not normal: low signal-to-noise ratios, classes that compete. With --mcmc
DIR/NAME.nc has all draws of all parameters for ArviZ, and the FITS file those that --draws keeps.

Flags warn: OUT_OF_SUPPORT (unlike everything that the model knows), NOT_CONVERGED, LOW_INFORMATION (mostly the
prior's opinion), FEATURE_NOT_IN_MODEL (a line that the fitted model lacks; `bayesden inspect` lists all such lines).

A file that cannot be used is named on standard error with the reason, and the others still get their results. Beside the
results, manifest.jsonl records each spectrum as soon as its result is on disk, manifest.parquet is the same as a table at
the end (with the package pyarrow), timing.parquet says how long each took, and denoise.log what happened.

After any interruption, --resume with the same command goes on: nothing is lost or repeated, and the end is the same. It
takes the same model, options and versions. A result that is there is replaced with --overwrite only.

With --workers, processes share the files, each on one core; one that dies costs a retry. Without, one spectrum comes after
the other, and --mcmc takes more cores for each, as many as OMP_NUM_THREADS says. --scheduler gives the files to a dask
cluster whose workers see them under the same names. A spectrum's result does not depend on either, nor on the
spectra beside it: on a CPU each is fitted alone, and where several are (--batch) it is in double precision.

Examples:

\b
  bayesden denoise spec-4961-55719-0378.fits --map --plot --out out
  bayesden denoise plates/ --out out --workers 16
  bayesden denoise plates/ --out out --workers 16 --resume
  bayesden denoise @list.txt --out out --scheduler tcp://10.0.0.1:8786 --format table
  bayesden denoise "plates/*/spec-*.fits" --out out --device cuda
  bayesden denoise spec-lite.fits --mask-policy or --model mine.safetensors
  bayesden denoise spec-1.fits --without velocity,reddening
  bayesden denoise spec-1.fits --mcmc --samples 4000 --rerun longer

Exit status: 0 all done; 1 some files failed; 2 the command or the model could not be used.""",
    "plot": """Draw results: exposures and denoised flux with its 50 and 90 % bands, residuals, and what is left of the
prior; or, with --kind, another figure. All are as wide as a journal's column (88 mm) or page (180 mm), --size, and are to be
printed at that size; .pdf, .svg and .eps are vectors with their text as text.

What to look at: the residuals of each exposure should scatter as the curve beside them does; in the stacked residuals,
whatever keeps its shape over several pixels is in all exposures and not in the model. Where "prior left" is near 1, the
data said nothing (the axis is logarithmic). A figure that exists is replaced.

\b
  residuals   by exposure, their quantiles, and correlation of neighbours
  classes     the probability of each
  latents     pairs of them, with those of the model's training library
  trace       chains of parameters: they should look alike, R-hat be near 1
  pairs       of parameters, with contours that hold 50 and 90 % of the draws
  predictive  exposures over what the posterior predicts for each; one pixel
              in ten should be outside the 90 % bands
  loo-pit     where left-out pixels are in their predictions: flat if right,
              a hump if those are too wide, a bowl if too narrow

Trace, pairs, predictive and loo-pit need a result of a method that draws. A figure is named after
its result, its kind and its window: RESULT.png, RESULT-latents.png, RESULT-CaT.png.

Examples:

\b
  bayesden plot out/spec-4961-55719-0378.fits
  bayesden plot out/spec-4961-55719-0378.fits --zoom CaT --out ca.pdf
  bayesden plot out/*.fits --zoom Halpha --size column --format pdf --out figures
  bayesden plot out/*.fits --kind trace --out figures
  bayesden plot out/spec-1.fits --kind trace --parameters velocity_kms,z[0]

Exit status: 0 all done; 1 some files failed, each named on standard error; 2 the command could not be used.""",
    "report": """Show results, one or thousands, on one web page that needs nothing else: no network, no other file.

RESULT is a file that `bayesden denoise` wrote, of one spectrum or with --format table of many; a folder of them, searched
with its sub-folders; a glob in quotes, for more files than a shell takes; or a list, @LIST or a name that ends in .txt, with
one of these a line.

The page has a table of all results, to sort and filter by text, class, flag and conditions such as snr>20; and of the chosen
one exposures, denoised flux with its 50 and 90 % bands, residuals, masked stretches, lines at the star's velocity, lines that
the model lacks, class probabilities, and its latents among those of the training library. Drag over the figure to zoom; the
keys j and k walk through the results, 1 to 8 show the windows of `bayesden plot --zoom`, ? lists all keys. The address of a
chosen spectrum, FILE#NAME, is a link to it. It prints, it is dark where the reader's screen is, and it can be read by ear.

A spectrum takes some 13 kB and 4 kB more for each exposure. A page that would be larger than --max-mb is made without single
exposures (their mean and stacked residuals stay); if that is not enough, the last spectra are in its table only.

Latents are shown for results of the model that --model names. A file that cannot be read is named on standard error and on
the page, and the others are shown. The package bokeh is needed: install bayesden[report].

Examples:

\b
  bayesden report out/*.fits --out report.html
  bayesden report out/ --out night.html --title "Night of 2026-05-04" --overwrite
  bayesden report "plates/*/spec-*.fits" --model mine.safetensors --max-mb 30

Exit status: 0 done; 1 some files could not be read; 2 the command or the model could not be used, or there is no result.""",
    "inspect": """Say what a file is and what is in it.

Known are SDSS spec files (exposures, arms, the survey's class, S/N, share of masked pixels), result files and tables of
results, folders of results and their manifests (how many are done, classes, flags, why others failed), netCDF files of chains,
model files and single parts (classes, latents, grid, card with scores, sources and licences; the checksum is verified), library
files, and the HDF5 files of `bayesden simulate`.

Examples:

\b
  bayesden inspect spec-4961-55719-0378.fits
  bayesden inspect out/spec-4961-55719-0378.fits
  bayesden inspect out
  bayesden inspect sdss-10class

Exit status: 0 done; 2 the file could not be used.""",
    "library": """Build a training library: clean spectra of the classes O B A F G K M CV Carbon WD in one file.

From a folder (and its sub-folders) of SDSS spec files it keeps the best spectra of each subclass, as Kang et al. (2021)
did. From a folder of template files it draws variety: mixtures, line depths, velocities, reddening, calibration errors.

With --rest the spectra are those of stars at rest, without dust and calibration errors, on cells that reach beyond the
grid: what the default recipe of `train` takes, as its model has velocity, reddening and calibration as parameters.

Training, validation and test spectra are split by a hash of the object's name. The file records every source with its
checksum; one that exists is replaced.

Examples:

\b
  bayesden library templates/ --rest --out library.npz
  bayesden library /data/dr17/spectra --top 200 --out survey.npz
  bayesden library templates/ --per-class 300 --velocity 500 --out small.npz

Exit status: 0 done; 2 the command or the folder could not be used.""",
    "fit-generator": """Train a generator: the autoencoder whose decoder turns L latent numbers into a clean spectrum.

It is trained on the library's training split, its weights are chosen on the validation split, and its reconstruction of
the test split is printed by class. The isometry term keeps distances between latents and between spectra alike; it costs
reconstruction. An output file that exists is replaced.

Examples:

\b
  bayesden fit-generator library.npz --out generator.safetensors
  bayesden fit-generator library.npz --latent-dim 3 --isometry 0.05
  bayesden fit-generator library.npz --kind conv --latent-dim 3 --epochs 50

Exit status: 0 done; 2 the command or the library could not be used.""",
    "fit-prior": """Estimate how common each latent vector is within a class: by Gaussian kernels, or by a normalizing flow.

Kernels stand on the encoded training spectra; each class's bandwidth, in units of its kernels' covariance, is that
of highest cross-validated likelihood. Kernels of one shape in each class (kde) are those of Kang et al. (2021).

A flow is one smooth density for all classes, trained with noise on the latents. As much of it, in units of a class's
spread, and for as many epochs as objects say that it was not trained on; that noise is its bandwidth.

Bandwidths and the mean log-density of the validation spectra's latents are printed by class.

The prior belongs to its generator, and `bayesden train` takes it with that one only. An output file that exists is
replaced.

Example:

\b
  bayesden fit-prior library.npz --generator generator.safetensors
  bayesden fit-prior library.npz --generator generator.safetensors --kind flow

Exit status: 0 done; 2 the command, the library or the generator could not be used.""",
    "fit-noise": """Train a noise flow on what the exposures of one star do not share.

The flow is the density of a pixel's noise given the pixels before it: correlated pixels, cosmic rays, errors that the
pipeline got wrong.

With --compare its negative log-likelihood on exposures that it was not fitted on is printed, in nats per pixel (lower
is better), beside that of simpler models: independent Gaussian and Student-t noise on the pipeline's errors (gaussian,
student), a Gaussian autoregression (gaussian-ar), a masked autoregressive flow (maf), and the published model
(kang2021). With two stars or more each star in turn is left out; with one, its last exposures are.

The flow knows of each pixel the pipeline's error, the star's signal-to-noise ratio, how resampling has correlated it, and
the sky if the file has it.

Printed too is the ratio of its scale to the pipeline's, for each arm, and by wavelength; --plot draws it. Below 1, the
pipeline overestimates the errors.

A FILE that cannot be used, or has one exposure only, is named on standard error, and the others are used. An output
file that exists is replaced.

Examples:

\b
  bayesden fit-noise spec-*.fits --out noise.safetensors
  bayesden fit-noise spec-*.fits --no-compare --plot noise.png
  bayesden fit-noise spec-*.fits --kind kang2021 --no-compare

Exit status: 0 all done; 1 some files could not be used; 2 the command, or none of the files, could be used.""",
    "train": """Train a model and write it to one file that `bayesden denoise --model` takes.

Library, generator, prior and noise are made in turn, or taken from the files that the single commands wrote. The file's
card records the recipe, the sources with their checksums and licences, and held-out scores, which are printed too. An
output file that exists is replaced.

Examples:

\b
  bayesden train library.npz spec-*.fits --out model.safetensors
  bayesden train library.npz spec-*.fits --recipe kang2021
  bayesden train library.npz --generator generator.safetensors \\
      --prior prior.safetensors --noise noise.safetensors

Exit status: 0 done; 2 the command or one of the files could not be used.""",
    "simulate": """Simulate observations of stars whose truth is known.

pfs-mr is the medium-resolution red arm of the Prime Focus Spectrograph as Pál & Dobos (2024) use it: 4096 pixels, 20
exposures stacked. sdss is like BOSS: several exposures of two arms, with cosmic rays, sky residuals, calibration errors
and bad columns.

Spectrum number i of a seed is the same in every run, chunk and on every device. The HDF5 file holds noiseless and noisy
spectra, inverse variance, mask and the table of parameters. An interrupted run, or a file that was cut short, is completed
by the same command with --resume; finished chunks wait in a folder beside the file. With --format sdss each star becomes an
SDSS spec file that "bayesden denoise" reads, the truth in the coadd's column "model".

Parameters are drawn uniformly over the ranges of Pál & Dobos (2024), those of sdss over wider ones. The embedded grid of
spectra is computed when it is first needed, in a minute or two, and kept in the user's cache (BAYESDEN_CACHE names
another folder); it is an illustration, not for abundance work.

Examples:

\b
  bayesden simulate pfs-mr -n 10000 --out sim.h5
  bayesden simulate pfs-mr --range teff_K=4000:5000 --range magnitude=20:22 --range seeing_arcsec=0.6:0.8
  bayesden simulate pfs-mr --grid bosz/ -n 1000000 --out million.h5
  bayesden simulate pfs-mr --etc pfs_mr_etc_grid.npz --mode multilinear
  bayesden simulate sdss -n 100 --grid generator --format sdss --out stars

Exit status: 0 done; 2 the command could not be used.""",
    "evaluate": """Test whether error bars are right, on stars that the model draws itself.

Class, latents, velocity, reddening, amplitude and calibration errors come from the model's own priors, the noise from its
own flow. The engines fit them, and four tests ask where the truth stands in their posteriors: ranks of every parameter (SBC);
coverage of the flux, by class as it was found and by signal-to-noise ratio; coverage of the flux as a vector (TARP); and how
one more exposure of each star turns out (PIT). Two posteriors that are wrong on purpose, one with standard deviations of 0.7
of the engine's and one that is shifted by 0.3 of them, must fail every test; where one does not, there were too few
simulations to tell.

Exposures have plain errors of two arms by default; with FILEs those of real spectra, in turn: their masks, gaps and sky lines,
scaled to each signal-to-noise ratio. A FILE that cannot be used is named on standard error, and the others are used.

DIR/calibration.json is the card, DIR/calibration.png shows it; those that exist are replaced. With --store the card is kept in a
model file too. Until then DIR/parts holds the stars that are done, some thirty in a file: the same command goes on after them if
it was stopped. What this does not test is whether the model is right about real stars.

Laplace takes about a third of a second a star and core, ensemble 4 to 20 seconds, svi some 5, nuts minutes.

Examples:

\b
  bayesden evaluate --method laplace --simulations 500 --out calibration
  bayesden evaluate spec-*.fits --exposures 2 --snr 3,30
  bayesden evaluate --model mine.safetensors --store mine.safetensors

Exit status: 0 done, whatever the verdict; 1 some files could not be used; 2 the command or the model could not be used.""",
    "fetch": """Download spectra of SDSS with all their exposures, or synthetic spectra of the BOSZ grid (2024).

Spectra of SDSS are named by plate, MJD and fiber (in SDSS-V field, MJD and catalogue number), on the line or in a list;
or they are found in the survey's catalogue: about positions, by SQL, or as one of the samples of Kang et al. (2021), the
stars of highest r-band S/N in each subclass: training (the best), test (S/N above 60, after the first 200), noise (S/N 20
to 30) and test-noise (10 to 20). Only the catalogue needs the package astroquery: install bayesden[fetch].

Of BOSZ, the models within the ranges and their wavelengths are fetched; [C/M] and microturbulence are 0 where no range is
given. The published grid has gaps, which are counted.

A file that exists is kept. An interrupted download goes on where it broke off when the same command is given again. Each
file is checked before it gets its name, by its checksum where the list has one: what "sha256sum spec-*.fits" prints is
such a list. The servers are asked for a few files at a time, and left alone as long as they want to be.

Examples:

\b
  bayesden fetch sdss 4961-55719-378 --out spectra
  bayesden fetch sdss --list stars.txt --out spectra
  bayesden fetch sdss --near 184.0349,33.7105 --radius 2
  bayesden fetch sdss --selection training --top 200 --out training
  bayesden fetch sdss --sql "SELECT TOP 9 plate, mjd, fiberid, run2d FROM SpecObj WHERE subclass = 'CV'"
  bayesden fetch bosz --resolution 10000 --range teff_K=4000:5000 --range feh=-1:0

Exit status: 0 all are there; 1 some are not, each named on standard error; 2 the command could not be used, or a server
cannot be reached.""",
    "doctor": """Check that the installation works, and say what to do where it does not.

Checked are Python, the packages that bayesden needs and their versions, the extras (what each adds, and how to install it), the
device, the threads, the cache folder, the checksum of the shipped model, and at last a fit of a star of known truth, whose
numbers must be the expected ones. It takes some ten seconds.

Examples:

\b
  bayesden doctor
  bayesden doctor --json > installation.json

Exit status: 0 all works, warnings and absent extras included; 1 something does not; 2 the command could not be used.""",
}
