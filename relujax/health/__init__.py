"""From statistics to rows people read, and from rows to alarms with published thresholds."""

from ._alarms import alarms as alarms
from ._dormant import DORMANT_SHARE as DORMANT_SHARE, dormant_units as dormant_units
from ._findings import Alarm as Alarm, Alarms as Alarms, Skipped as Skipped, not_checked as not_checked
from ._gradient_rules import EXPLODING_RATIO as EXPLODING_RATIO, VANISHING_RATIO as VANISHING_RATIO
from ._network_summary import NetworkSummary as NetworkSummary
from ._site_summary import SiteSummary as SiteSummary
from ._summary import SILENT_OUTPUT as SILENT_OUTPUT, Summary as Summary, summarize as summarize
from ._travel import Travel as Travel, travel as travel
