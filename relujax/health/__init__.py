"""From statistics to rows people read, and from rows to alarms with published thresholds."""

from ._alarms import Alarm as Alarm, alarms as alarms, travel as travel
from ._summary import SiteSummary as SiteSummary, Summary as Summary, summarize as summarize
