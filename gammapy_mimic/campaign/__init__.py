"""From a configuration to mimic data sets on disk: parallel, streamed, resumable.

`selection` finds the runs that a configuration means, `worker` makes single mimics,
`folder` guards what lies on disk and `provenance` writes down whence it came, `core`
holds `MimicCampaign`, `result` and `overview` what is told to the user.
"""

from gammapy_mimic.campaign.core import MimicCampaign
from gammapy_mimic.campaign.overview import explain_run, overview
from gammapy_mimic.campaign.result import CampaignResult

__all__ = ["CampaignResult", "MimicCampaign", "explain_run", "overview"]
