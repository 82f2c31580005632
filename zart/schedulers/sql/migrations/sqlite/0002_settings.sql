-- What is true of the database as a whole and is decided once, such as which shard of several it is.
CREATE TABLE zart_settings (
    name            TEXT    NOT NULL PRIMARY KEY,
    value           TEXT    NOT NULL
) WITHOUT ROWID;
