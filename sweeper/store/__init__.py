"""The study store: `schema` its tables, `connection` its opening, `reads`, `claims` and `writes` the only SQL."""
