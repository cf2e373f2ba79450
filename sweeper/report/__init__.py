"""What people see of a study: numbers as they write them, tables, the live view, one trial's sheet."""
