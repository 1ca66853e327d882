"""From statistics to rows people read, and from rows to alarms with published thresholds."""

from ._alarms import Alarm as Alarm
from ._alarms import alarms as alarms
from ._alarms import travel as travel
from ._summary import SiteSummary as SiteSummary
from ._summary import Summary as Summary
from ._summary import summarize as summarize
