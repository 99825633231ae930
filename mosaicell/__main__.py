"""python -m mosaicell: the command line."""

from mosaicell.command_line import start

start()
