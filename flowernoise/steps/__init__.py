"""What ``flowernoise`` does: one module per command, with the same name."""
