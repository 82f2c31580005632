-- What is true of the database as a whole and is decided once, such as which shard of several it is.
CREATE TABLE zart_settings (
    name            text    COLLATE "C" NOT NULL,
    value           text    COLLATE "C" NOT NULL,
    PRIMARY KEY (name)
);
