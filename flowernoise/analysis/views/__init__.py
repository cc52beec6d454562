"""Views as plain data: steps fill them from an artifacts directory, and ``show`` draws and writes them."""
