"""What every room shares: errors, source positions, output files. Imports no room."""
