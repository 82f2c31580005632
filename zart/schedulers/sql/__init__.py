"""What the SQL backends share: columns and migrations, what starts and events mean, waiting, and what surrounds operations."""
