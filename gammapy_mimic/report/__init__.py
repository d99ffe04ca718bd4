"""The report of a campaign: one HTML file with the results of its mimics.

`measure` computes the numbers, `figures` draws them, `page` writes the HTML.
"""

from gammapy_mimic.report.measure import Campaign
from gammapy_mimic.report.page import write_report

__all__ = ["Campaign", "write_report"]
