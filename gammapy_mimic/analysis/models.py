"""Source models for an empty sky: what is fitted, and what is not."""

from collections.abc import Iterable, Sequence

from astropy import units as u
from gammapy.modeling import Parameter
from gammapy.modeling.models import ModelBase, Models, SkyModel

__all__ = [
    "amplitude_of",
    "describe_free",
    "free_amplitudes",
    "scaled_models",
    "source_models",
]

_AMPLITUDES = ("amplitude", "norm")


def source_models(models: Iterable[ModelBase]) -> list[SkyModel]:
    """Give the models of sources, without those of backgrounds.

    Parameters
    ----------
    models : `~gammapy.modeling.models.Models`
        Models.

    Returns
    -------
    sources : list of `~gammapy.modeling.models.SkyModel`
        Sources.
    """
    return [model for model in models if isinstance(model, SkyModel)]


def amplitude_of(model: SkyModel) -> Parameter:
    """Find the parameter that the flux of a source is proportional to.

    Parameters
    ----------
    model : `~gammapy.modeling.models.SkyModel`
        Source.

    Returns
    -------
    amplitude : `~gammapy.modeling.Parameter`
        Its ``amplitude``, or else ``norm``.

    Raises
    ------
    ValueError
        If it has neither.
    """
    parameters = model.spectral_model.parameters
    for name in _AMPLITUDES:
        if name in parameters.names:
            return parameters[name]
    raise ValueError(
        f"model {model.name!r} has no amplitude that could be fitted to an empty sky: "
        "multiply its spectrum by a PowerLawNormSpectralModel"
    )


def free_amplitudes(models: Models, free: Sequence[str] = ()) -> Models:
    """Prepare models for an empty sky.

    There amplitudes may be negative, and shapes mean nothing: of each source all
    parameters but the amplitude are frozen where they are, and the amplitude has no
    lower bound. Background models stay as they are.

    Parameters
    ----------
    models : `~gammapy.modeling.models.Models`
        Models of the target. Not changed.
    free : list of str, optional
        Parameters that are fitted besides: ``index`` of all sources, or ``crab.index``
        of one. Default is none.

    Returns
    -------
    models : `~gammapy.modeling.models.Models`
        New models.

    Raises
    ------
    ValueError
        If a name in ``free`` is that of no parameter of a source, or a source has no
        amplitude.
    """
    models = Models([model.copy(name=model.name) for model in models])
    sources, wanted = source_models(models), set(free)
    known = {f"{it.name}.{name}" for it in sources for name in it.parameters.names}
    known |= {name.rpartition(".")[2] for name in known}
    if wanted - known:
        raise ValueError(
            f"mimic.analyse.free = {sorted(wanted - known)}: the models have no such "
            f"parameter; they have {', '.join(sorted(known))}"
        )
    for model in sources:
        amplitude = amplitude_of(model)
        for name, parameter in zip(
            model.parameters.names, model.parameters, strict=True
        ):
            parameter.frozen = not {name, f"{model.name}.{name}"} & wanted
        amplitude.frozen, amplitude.min = False, float("nan")
    return models


def describe_free(models: Models) -> str:
    """Say in words what is fitted.

    Parameters
    ----------
    models : `~gammapy.modeling.models.Models`
        Models that `free_amplitudes` has prepared.

    Returns
    -------
    text : str
        Names of the parameters of sources that are fitted, and of those that are not.
    """
    fitted: list[str] = []
    frozen: list[str] = []
    for model in source_models(models):
        for parameter in model.parameters:
            name = f"{model.name}.{parameter.name}"
            (frozen if parameter.frozen else fitted).append(name)
    return (
        f"fitted without a lower bound of the amplitudes: {', '.join(fitted)}; frozen "
        f"at the model of the target: {', '.join(frozen) or 'nothing'}"
    )


def scaled_models(
    models: SkyModel | Iterable[ModelBase], scale: float
) -> list[SkyModel]:
    """Give sources with their flux multiplied by a factor.

    Parameters
    ----------
    models : `~gammapy.modeling.models.SkyModel` or list of these
        Sources; background models are left out. Not changed.
    scale : float
        Factor.

    Returns
    -------
    models : list of `~gammapy.modeling.models.SkyModel`
        New models.
    """
    sources = [models] if isinstance(models, SkyModel) else source_models(models)
    scaled = [model.copy(name=model.name) for model in sources]
    for model in scaled:
        amplitude = amplitude_of(model)
        amplitude.min = amplitude.max = float("nan")
        amplitude.quantity = u.Quantity(amplitude.quantity) * scale
    return scaled
