-- The W3C `traceparent` of whoever started a run: its spans are linked to that. Old rows have none, and no row is rewritten for it.
ALTER TABLE zart_executions ADD COLUMN trace TEXT;
