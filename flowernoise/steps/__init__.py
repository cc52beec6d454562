"""What ``flowernoise`` does: one module a command, same name."""
