"""What is shown, as plain data: steps fill it in from an artifacts directory, ``show`` draws and writes it."""
