"""Decoders: network maps in, label images out; pure functions on arrays that know no file and no session."""
