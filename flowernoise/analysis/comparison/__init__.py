"""From evaluated runs to the table: what is read, what is found, what is shown, and what is told beside it."""
