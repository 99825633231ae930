"""Reading: from a file of any supported form to pixels, whole or part by part."""
