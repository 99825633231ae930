"""Pictures: which of the planes, times, channels and scenes of a file are segmented, and why."""
