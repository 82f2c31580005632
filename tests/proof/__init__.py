"""Everything that tries to refute what is promised, one after the other, with one verdict for each."""
