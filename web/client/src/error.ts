/** Why the token service, or the way to it, did not do what was asked. */
export class LatchkeyError extends Error {
  override readonly name = "LatchkeyError";
  /** The HTTP status; 0 where there was no answer. */
  readonly status: number;
  /**
   * Stable, for programs: `invalid_credentials`, `session_limit`, `throttled` … as the
   * [TokenIssuer's page](https://github.com/latchkey-dev/latchkey/blob/main/docs/api/tokenissuer.md#endpoints) lists them. Of this package's own:
   * `unreachable` (no answer, or none of a token service), `user_changed` (somebody else has signed in since).
   */
  readonly reason: string;
  /** Milliseconds to wait before another try, where the server said so. */
  readonly retryAfter: number | undefined;

  constructor(status: number, reason: string, message: string, retryAfter?: number, cause?: unknown) {
    super(message, { cause });
    this.status = status;
    this.reason = reason;
    this.retryAfter = retryAfter;
  }

  /** Whether the same may go well in a while. */
  get passing(): boolean {
    return !this.status || this.status === 429 || this.status >= 500;
  }
}

/** Reads a refusal (RFC 9457). One that has no `reason` comes from somebody between us and the token service. */
export async function refusal(response: Response): Promise<LatchkeyError> {
  const problem = await response.json().catch(() => undefined);
  const seconds = parseInt(response.headers.get("Retry-After") ?? "", 10);
  const reason: string = problem?.reason ?? "unreachable";
  return new LatchkeyError(response.status, reason, problem?.detail ?? `${response.status} ${reason}`, seconds >= 0 ? seconds * 1000 : undefined);
}
