"""Programs that show what the others do."""
