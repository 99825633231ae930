"""The machine: how much memory and time there is, and how a run ends."""
