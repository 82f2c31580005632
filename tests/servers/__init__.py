"""Real database servers that a test run starts for itself and takes down with it."""
