"""The report of a campaign: one HTML file that says what the mimics tell.

`measure` gathers the numbers, `figures` draws them, `page` writes them down.
"""

from gammapy_mimic.report.measure import Campaign
from gammapy_mimic.report.page import write_report

__all__ = ["Campaign", "write_report"]
