"""The study store: `schema` its tables, `connection` its opening, `writes` and `reads` the only SQL."""
