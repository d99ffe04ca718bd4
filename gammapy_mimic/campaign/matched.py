"""The runs of a campaign, and their pairs."""

from gammapy_mimic.campaign.rematch import known_pairs, pairs_fingerprint
from gammapy_mimic.campaign.selection import select_donors, select_targets
from gammapy_mimic.campaign.work import CampaignInputs
from gammapy_mimic.config import ConfigError

__all__ = ["matched", "select_runs"]


def select_runs(config):
    """Select the targets and possible donors of a configuration.

    Parameters
    ----------
    config : `~gammapy_mimic.config.MimicAnalysisConfig`
        Configuration.

    Returns
    -------
    selected : dict
        "targets" and "donors", each a `~gammapy_mimic.campaign.selection.Selection`.
    """
    donors = select_donors(config.mimic.donors, config.observations)
    return {"targets": select_targets(config.observations), "donors": donors}


def matched(config, selected, folder=None):
    """Match the selected runs.

    Parameters
    ----------
    config : `~gammapy_mimic.config.MimicAnalysisConfig`
        Configuration.
    selected : dict
        What `select_runs` gives.
    folder : `~gammapy_mimic.campaign.folder.CampaignFolder`, optional
        Folder whose pairs are taken if they were matched from the same. Default is
        None.

    Returns
    -------
    inputs : `~gammapy_mimic.campaign.work.CampaignInputs`
        Runs and pairs.

    Raises
    ------
    ConfigError
        If a file that the section ``match`` names is broken.
    """
    stores = {side: selection.store for side, selection in selected.items()}
    fingerprint = pairs_fingerprint(config, stores)
    pairs = None if folder is None else known_pairs(folder, fingerprint)
    if pairs is None:
        try:
            matcher = config.matcher()
        except ValueError as error:
            # such as a region file that is broken
            raise ConfigError([f"mimic.match: {error}"]) from error
        pairs = matcher.run(**stores, skip_broken=True)
        for side, selection in selected.items():
            pairs.meta["notes"] += [
                f"{side}: run {obs_id}, left out: {why}"
                for obs_id, why in selection.incomplete.items()
            ]
        left_out = selected["targets"].incomplete
        pairs.meta["left_out"] += [list(item) for item in left_out.items()]
    return CampaignInputs(**stores, pairs=pairs, fingerprint=fingerprint)
