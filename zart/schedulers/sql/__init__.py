"""What the SQL backends share: the columns, the statements of the Inspector, and the migrations."""
