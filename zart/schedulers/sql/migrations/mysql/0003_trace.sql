-- The W3C `traceparent` of whoever started a run: its spans are linked to that. Old rows have none, and no row is rewritten for it.
-- Only MariaDB knows ADD COLUMN IF NOT EXISTS, so the column is looked for: a migration that was broken off may have added it.
SET @add_trace = IF(
    (
        SELECT COUNT(*) FROM information_schema.columns
        WHERE table_schema = DATABASE() AND table_name = REPLACE('zart_executions', '`', '') AND column_name = 'trace'
    ) = 0,
    'ALTER TABLE zart_executions ADD COLUMN trace VARCHAR(255)',
    'DO 0'
);
PREPARE add_trace FROM @add_trace;
EXECUTE add_trace;
DEALLOCATE PREPARE add_trace;
