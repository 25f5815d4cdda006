"""What a cell shows: figures, tables and sentences."""
