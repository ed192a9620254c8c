-- Times are Unix milliseconds, but for those that are compared with claims of tokens: these are Unix seconds, and named *_until.

CREATE TABLE sessions (
    id           BLOB    PRIMARY KEY, -- 16 random bytes
    user_name    TEXT    NOT NULL,
    secret       BLOB    NOT NULL,    -- 32 random bytes: the key of the HMAC in refresh tokens
    counter      INTEGER NOT NULL,    -- of the refresh token that is current
    created_at   INTEGER NOT NULL,
    rotated_at   INTEGER NOT NULL,
    access_until INTEGER NOT NULL,
    address      TEXT    NOT NULL,    -- of the device, as last seen
    user_agent   TEXT    NOT NULL,
    data         TEXT    NOT NULL     -- the token service's own
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_of_user ON sessions (user_name, created_at);

CREATE TABLE revocations (
    number         INTEGER PRIMARY KEY, -- from revocation_stream.last, never given out twice
    session_id     BLOB    NOT NULL,
    revoked_until  INTEGER NOT NULL
) STRICT;

CREATE INDEX revocations_by_end ON revocations (revoked_until);

-- One row. Numbers come from here rather than from AUTOINCREMENT, because they must become visible in ascending order: who raises last
-- holds the row until commit.
CREATE TABLE revocation_stream (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    name TEXT    NOT NULL,
    last INTEGER NOT NULL
) STRICT;

INSERT INTO revocation_stream (only, name, last) VALUES (1, lower(hex(randomblob(16))), 0);

CREATE TABLE counters (
    key      BLOB    PRIMARY KEY, -- a hash
    hits     INTEGER NOT NULL,
    ends_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX counters_by_end ON counters (ends_at);
