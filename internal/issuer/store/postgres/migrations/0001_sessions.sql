-- Times are Unix milliseconds, but for those that are compared with claims of tokens: these are Unix seconds, and named *_until.
-- Whatever changes several rows is a function, so that it is one statement: nobody's lock waits for a network.

CREATE TABLE latchkey_sessions (
    id           BYTEA  PRIMARY KEY, -- 16 random bytes
    user_name    TEXT   NOT NULL,
    secret       BYTEA  NOT NULL,    -- 32 random bytes: the key of the HMAC in refresh tokens
    counter      BIGINT NOT NULL,    -- of the refresh token that is current
    created_at   BIGINT NOT NULL,
    rotated_at   BIGINT NOT NULL,
    access_until BIGINT NOT NULL,
    address      TEXT   NOT NULL,    -- of the device, as last seen
    user_agent   TEXT   NOT NULL,
    data         TEXT   NOT NULL     -- the token service's own
) WITH (fillfactor = 80);            -- a refresh changes no index, and finds room for its row beside the old one

CREATE INDEX latchkey_sessions_of_user ON latchkey_sessions (user_name, created_at);

CREATE TABLE latchkey_revocations (
    number        BIGINT PRIMARY KEY, -- from latchkey_stream.last, never given out twice
    session_id    BYTEA  NOT NULL,
    revoked_until BIGINT NOT NULL
);

CREATE INDEX latchkey_revocations_by_end ON latchkey_revocations (revoked_until);

-- One row. Numbers come from here rather than from a sequence, because they must become visible in ascending order: who raises last holds
-- the row until commit, and a transaction is visible before it lets go of its rows.
CREATE TABLE latchkey_stream (
    only_row BOOLEAN PRIMARY KEY DEFAULT true CHECK (only_row),
    name     TEXT    NOT NULL,
    last     BIGINT  NOT NULL,
    owner    TEXT    NOT NULL -- the TokenIssuer whose sessions these are; empty until one has come
);

INSERT INTO latchkey_stream (name, last, owner) VALUES (replace(gen_random_uuid()::text, '-', ''), 0, '');

CREATE TABLE latchkey_counters (
    key     BYTEA   PRIMARY KEY, -- a hash
    hits    INTEGER NOT NULL,
    ends_at BIGINT  NOT NULL
);

CREATE INDEX latchkey_counters_by_end ON latchkey_counters (ends_at);

-- Ends sessions at a time in milliseconds, and returns those that had not ended before. All their rows are locked before the stream's, so
-- that two of these never wait for each other.
CREATE FUNCTION latchkey_end(ids BYTEA[], at BIGINT, leeway BIGINT) RETURNS BYTEA[] LANGUAGE plpgsql AS $$
DECLARE
    ended  BYTEA[];
    untils BIGINT[];
    next   BIGINT;
BEGIN
    WITH gone AS (DELETE FROM latchkey_sessions s WHERE s.id = ANY (ids) RETURNING s.id, s.created_at, s.access_until)
    SELECT coalesce(array_agg(g.id ORDER BY g.created_at DESC, g.id), '{}'), array_agg(g.access_until + leeway ORDER BY g.created_at DESC, g.id)
    INTO ended, untils FROM gone g;
    FOR i IN 1 .. cardinality(ended) LOOP
        IF untils[i] * 1000 > at THEN
            UPDATE latchkey_stream SET last = last + 1 RETURNING last INTO next;
            INSERT INTO latchkey_revocations (number, session_id, revoked_until) VALUES (next, ended[i], untils[i]);
            PERFORM pg_notify('latchkey_revocations', '');
        END IF;
    END LOOP;
    RETURN ended;
END $$;

-- One at a time for each user.
CREATE FUNCTION latchkey_lock_user(name TEXT) RETURNS VOID LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(1279349579, hashtext(name)) -- "LATK"
$$;

CREATE FUNCTION latchkey_end_all(of_user TEXT, but BYTEA, at BIGINT, leeway BIGINT) RETURNS BYTEA[] LANGUAGE plpgsql AS $$
BEGIN
    PERFORM latchkey_lock_user(of_user);
    RETURN latchkey_end(ARRAY(SELECT s.id FROM latchkey_sessions s WHERE s.user_name = of_user AND s.id <> but), at, leeway);
END $$;

-- Adds a session and returns those that had to make room for it; NULL when there is no room and nobody shall make any.
CREATE FUNCTION latchkey_create(
    new_id BYTEA, of_user TEXT, new_secret BYTEA, first_counter BIGINT, created BIGINT, rotated BIGINT, until BIGINT,
    device_address TEXT, device_agent TEXT, own_data TEXT,
    max_sessions INTEGER, refuse BOOLEAN, created_before BIGINT, rotated_before BIGINT, leeway BIGINT
) RETURNS BYTEA[] LANGUAGE plpgsql AS $$
DECLARE
    over   BYTEA[];
    beyond BYTEA[];
BEGIN
    PERFORM latchkey_lock_user(of_user);
    over := ARRAY(SELECT s.id FROM latchkey_sessions s
                  WHERE s.user_name = of_user AND (s.created_at < created_before OR s.rotated_at < rotated_before));
    beyond := ARRAY(SELECT s.id FROM latchkey_sessions s WHERE s.user_name = of_user AND s.id <> ALL (over)
                    ORDER BY s.created_at DESC, s.id OFFSET greatest(max_sessions - 1, 0));
    IF refuse AND cardinality(beyond) > 0 THEN
        RETURN NULL;
    END IF;
    -- Both at once, for the rows of all come before the stream's.
    beyond := ARRAY(SELECT e.id FROM unnest(latchkey_end(over || beyond, created, leeway)) WITH ORDINALITY e (id, place)
                    WHERE e.id = ANY (beyond) ORDER BY e.place);
    INSERT INTO latchkey_sessions (id, user_name, secret, counter, created_at, rotated_at, access_until, address, user_agent, data)
    VALUES (new_id, of_user, new_secret, first_counter, created, rotated, until, device_address, device_agent, own_data);
    RETURN beyond;
END $$;
