"""Every backend passes the same suite; what a backend needs to run is made here, next to it."""
