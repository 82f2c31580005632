"""One module per command; each holds the function of its name."""
