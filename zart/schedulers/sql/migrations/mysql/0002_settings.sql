-- What is true of the database as a whole and is decided once, such as which shard of several it is.
CREATE TABLE IF NOT EXISTS zart_settings (
    name            VARCHAR(255) NOT NULL,
    value           LONGTEXT     NOT NULL,
    PRIMARY KEY (name)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
