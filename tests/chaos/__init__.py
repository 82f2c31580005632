"""What workers survive: real processes that are killed, stopped and cut off, on real storage."""
