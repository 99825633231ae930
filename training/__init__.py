"""Training of the models: drawn scenes, targets, networks, losses and export."""
