"""Settings: typed, layered, documented. `resolve` gives a run its settings and says where each value came from."""

from __future__ import annotations

from qtsim.config.layers import Resolved, resolve
from qtsim.config.settings import Settings, flatten, from_dict, settings_digest, to_dict

__all__ = ["Resolved", "Settings", "flatten", "from_dict", "resolve", "settings_digest", "to_dict"]
