"""The plugin for napari: masks as layers, cells of a layer, pairs for a training. The program needs none of it."""
