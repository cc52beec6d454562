"""From evaluated runs to the table: reading, statistics, rows and columns, and notes."""
