"""What componentize-py is pointed at; the exports are in `rewarden/guest.py`."""

import sys

# The build sees the author's folder, and shall leave nothing there.
sys.dont_write_bytecode = True

from rewarden.guest import Environment, GroupReward, Plugin, Reward, Tool  # noqa: E402

__all__ = ["Environment", "GroupReward", "Plugin", "Reward", "Tool"]
