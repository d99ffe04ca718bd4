"""From a configuration to mimic data sets on disk: parallel, streamed, resumable.

`selection` finds the runs that a configuration means, `worker` makes single mimics,
`folder` guards what lies on disk and `provenance` writes down whence it came, `work`
is the loop over mimics and `core` holds `MimicCampaign`, `result` and `overview` what
is printed for the user; `reading` and `check` read again what lies on disk.
"""

from gammapy_mimic.campaign.check import check_campaign, is_campaign
from gammapy_mimic.campaign.core import MimicCampaign
from gammapy_mimic.campaign.overview import explain_run, overview
from gammapy_mimic.campaign.result import CampaignResult

__all__ = [
    "CampaignResult",
    "MimicCampaign",
    "check_campaign",
    "explain_run",
    "is_campaign",
    "overview",
]
