"""The demonstration: sends the week of the first report through the whole system. Needs only Python and pip."""
