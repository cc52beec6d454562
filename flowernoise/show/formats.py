"""The formats that things are written in, known before anything that writes them is imported."""

from flowernoise.show import writers

DOCUMENTS = writers.FORMATS
PICTURES = ("png", "svg", "pdf")  # the first is the default
