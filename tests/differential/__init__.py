"""A random story told to two storages at once: whatever one answers, the other answers too."""
