/** What an access token says. It is read to tell the app who is signed in; whether it is true is for the server to judge. */
export interface Claims {
  /** The user's name or id. */
  readonly sub: string;
  /** The session: one sign-in on one device. */
  readonly sid?: string;
  /** What else the TokenIssuer puts in, such as `email` and `roles`. */
  readonly [name: string]: unknown;
}

/** An access token, and how long it is good for. */
export interface Token {
  readonly text: string;
  readonly claims: Claims;
  /** Milliseconds for which it was good when it was new. */
  readonly lifetime: number;
  readonly age: Stopwatch;
}

/** Tells how many milliseconds have passed. */
export type Stopwatch = () => number;

/**
 * Whichever clock has gone further counts. The monotonic one cannot be set, but stands still in some browsers while the machine sleeps; the
 * wall clock can. Either way the error is one refresh that was not needed.
 */
export function stopwatch(): Stopwatch {
  const monotonic = performance.now();
  const wall = Date.now();
  return () => Math.max(performance.now() - monotonic, Date.now() - wall);
}

export function left(token: Token): number {
  return token.lifetime - token.age();
}

/** How long before its end a token is replaced: 30 s, or a third of a short life. */
export function lead(token: Token): number {
  return Math.min(30_000, token.lifetime / 3);
}

/** The claims of a token of our own server, which come as JSON in base64url. */
export function claimsOf(text: string): Claims {
  const payload = atob(text.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/"));
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(payload, (c) => c.charCodeAt(0))));
}
