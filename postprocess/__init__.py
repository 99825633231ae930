"""Decoders: network maps in, label images out; pure functions on numpy arrays that know no file and no session."""
