"""One study from start to end: fit, forecast, verify, explain. The only chapter that calls several analyses.

Every analysis is a step of its own: one that cannot be done for these data becomes a reason in the result,
and the others go on. Only errors that say so on purpose are taken as reasons; a mistake of ours surfaces.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from esntools._typing import Progress, RandomState, no_progress
from esntools.errors import InvalidInputError
from esntools.series import Series
from esntools.spec import StudySpec
from esntools.study.contraction import CertifiedRange, certified_range
from esntools.study.findings import Study, TaskRun, Verdict, study_document
from esntools.study.phase import PhasePlane, phase_plane
from esntools.study.series import study_series
from esntools.study.steps import Steps, chosen_seed, with_options
from esntools.study.tasks import GivenNetwork, pulse_paths, study_network, study_task
from esntools.zoo import ZooModel

__all__ = [
    "CertifiedRange",
    "GivenNetwork",
    "PhasePlane",
    "Study",
    "TaskRun",
    "Verdict",
    "certified_range",
    "phase_plane",
    "pulse_paths",
    "run_study",
    "study_document",
]


def run_study(
    source: ZooModel | Series | GivenNetwork,
    *,
    settings: StudySpec | None = None,
    rng: RandomState = None,
    progress: Progress = no_progress,
    **fit_options: Any,
) -> Study:
    """Fit, verify and explain: everything that a report shows.

    A series is fitted, forecast from many starts on values held back, and run freely; the echo state property
    is asked of the driven network over the range of the data and of the closed loop; fixed points, Lyapunov
    exponents and visits are found for the closed loop and put beside the true system where it is known. A
    task is trained, tested on unseen inputs, verified and read as an excitable network. A network of the zoo
    or of one's own is verified and explained as it is; with a task it is tested and diagnosed.

    Parameters
    ----------
    source : ZooModel, Series or GivenNetwork
        As `esntools.zoo.load` or `esntools.series.read_series` returns it, or a network of one's own.
    settings : StudySpec, optional
        study.toml of the model by default; for a series, the defaults of `StudySpec`.
    rng : int, Generator or None
        Seed of the reservoir and of every search; None takes the seed in `settings`, so that a study is the
        same on every run.
    progress : callable, optional
        Called as ``progress(label, fraction)``.
    **fit_options
        Keywords of `esntools.training.fit` that replace those in `settings`.

    Returns
    -------
    Study
        With a reason in ``not_done`` for every analysis that could not be done.

    Raises
    ------
    EsntoolsError
        When the source cannot be read or fitted at all, or an option is unknown.

    Examples
    --------
    >>> from esntools.zoo import load
    >>> study = run_study(load("switching-2neuron"))
    >>> len(study.summary_lines), sorted(study.fixed_points)
    (5, ['input A', 'input B', 'zero input'])
    """
    steps = Steps(progress)
    if settings is None:
        settings = source.study if isinstance(source, ZooModel) else StudySpec()
    settings, given = with_options(settings, fit_options)
    written_out = isinstance(source, GivenNetwork) or getattr(source, "kind", "") == "network"
    if fit_options and written_out:
        raise InvalidInputError(
            source.name, f"fit options {sorted(fit_options)}", "a network that is written out is not fitted"
        )
    seed = chosen_seed(rng, settings.fit.seed)
    if isinstance(source, Series):
        study = study_series(source, source, settings, seed, steps, given)
    elif isinstance(source, GivenNetwork):
        study = study_network(source, settings, seed, steps)
    elif source.kind == "series":
        study = study_series(source, source.series(), settings, seed, steps, given)
    elif source.kind == "task":
        study = study_task(source, settings, seed, steps)
    else:
        study = study_network(source, settings, seed, steps)
    if fit_options:
        study = replace(study, settings={**study.settings, "options": dict(fit_options)})
    progress("done", 1.0)
    return study
