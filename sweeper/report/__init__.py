"""What people see: the terminal, the page, pictures, files. Draws; computes nothing.

terminal  tables, the live view, the lines at a sweep's end
html      the page, its plots and tables, and the same page served live
answer    what a study has found, in sentences
accounts  where its time went, in words
card      the model card of a model that was trained for keeps
pictures  the main plots as PNG and SVG
export    trials and epochs as a file
formats   JSON, CSV, Parquet
"""
