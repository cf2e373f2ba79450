"""The page: one HTML file that needs no network, its plots and tables, and the same page served live."""
