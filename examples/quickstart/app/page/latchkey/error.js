/** Why the token service, or the way to it, did not do what was asked. */
export class LatchkeyError extends Error {
    name = "LatchkeyError";
    /** The HTTP status; 0 where there was no answer. */
    status;
    /**
     * Stable, for programs: `invalid_credentials`, `session_limit`, `throttled` … as the
     * [TokenIssuer's page](https://github.com/latchkey-dev/latchkey/blob/main/docs/api/tokenissuer.md#endpoints) lists them. Of this package's own:
     * `unreachable` (no answer, or none of a token service), `user_changed` (somebody else has signed in since).
     */
    reason;
    /** Milliseconds to wait before another try, where the server said so. */
    retryAfter;
    constructor(status, reason, message, retryAfter, cause) {
        super(message, { cause });
        this.status = status;
        this.reason = reason;
        this.retryAfter = retryAfter;
    }
    /** Whether the same may go well in a while. */
    get passing() {
        return !this.status || this.status === 429 || this.status >= 500;
    }
}
/** Reads a refusal (RFC 9457). One that has no `reason` comes from somebody between us and the token service. */
export async function refusal(response) {
    const problem = await response.json().catch(() => undefined);
    const seconds = parseInt(response.headers.get("Retry-After") ?? "", 10);
    const reason = problem?.reason ?? "unreachable";
    return new LatchkeyError(response.status, reason, problem?.detail ?? `${response.status} ${reason}`, seconds >= 0 ? seconds * 1000 : undefined);
}
