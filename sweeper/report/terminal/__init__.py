"""What a terminal shows: tables, the live view, the lines at a sweep's end. Drawn with rich; computed in `analysis`."""
