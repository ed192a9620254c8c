DROP FUNCTION latchkey_create, latchkey_end_all, latchkey_lock_user, latchkey_end;
DROP TABLE latchkey_counters, latchkey_stream, latchkey_revocations, latchkey_sessions;
