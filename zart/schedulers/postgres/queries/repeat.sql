-- repeat: what is said again, and answered from what is there (rule 10).

-- name: settle
-- Has the commit of this transaction wait for the disk and for the synchronous standby, as that of a write does: so what is seen here is
-- there too when the answer is given. A commit whose client went away while it waited is seen although no standby has it. (A number
-- alone, without a record in the log, would not have it wait. Nobody reads the message, and nobody waits for it.)
SELECT pg_logical_emit_message(true, 'zart', '')
