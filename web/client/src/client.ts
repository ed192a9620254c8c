import { LatchkeyError, refusal } from "./error.js";
import { openTabs, within } from "./tabs.js";
import type { Message } from "./tabs.js";
import { claimsOf, lead, left, stopwatch } from "./token.js";
import type { Claims, Stopwatch, Token } from "./token.js";

/** Who is signed in. It is never changed in place, so two of them may be compared with `===`. */
export type State =
  /** Nobody has asked yet, or the token service has not answered, or the page is in the back/forward cache. Show nothing that is private. */
  | { readonly status: "unknown" }
  | { readonly status: "signed-in"; readonly claims: Claims }
  /** `reason` is what the token service said of the session, such as `session_ended`; undefined after a sign-out. */
  | { readonly status: "signed-out"; readonly reason: string | undefined };

/** One device on which the user is signed in. */
export interface Session {
  readonly id: string;
  /** Whether it is this one. */
  readonly current: boolean;
  readonly createdAt: Date;
  readonly lastUsedAt: Date;
  /** From where it was last seen; empty where that is not known. */
  readonly address: string;
  readonly userAgent: string;
}

export interface Options {
  /** Where the AuthPolicy offers the sign-in routes, its `session.pathPrefix`; `/auth` by default. */
  readonly prefix?: string;
}

/** What can be cut short. */
interface Abortable {
  readonly signal?: AbortSignal;
}

export interface Client {
  /** Who is signed in, as far as this tab knows. */
  readonly state: State;

  /**
   * Calls the listener with the state as it is, at once, and whenever it changes, which a refresh does too. The first listener makes the client ask
   * the token service. Returns what takes the listener off again.
   */
  onChange(listener: (state: State) => void): () => void;

  /** Signs in. Rejects with a {@link LatchkeyError}: `invalid_credentials`, `session_limit`, `throttled` with `retryAfter`, … */
  login(username: string, password: string, options?: Abortable): Promise<void>;

  /**
   * Signs out here, in every tab. It rejects where the token service cannot be reached: the session is still there then, so the state does not
   * pretend otherwise.
   */
  logout(): Promise<void>;

  /** Signs out here and on all other devices. */
  logoutEverywhere(): Promise<void>;

  /** The devices on which the user is signed in, the latest sign-in first. */
  sessions(options?: Abortable): Promise<Session[]>;

  /** Signs out on one device; {@link Session.id} says which. This one's is as good as {@link Client.logout}. */
  endSession(id: string): Promise<void>;

  /**
   * `fetch` with the access token, for URLs of this origin. Others, and requests that bring an `Authorization` of their own, go out as they are:
   * the token never leaves its origin.
   *
   * The token is renewed before it expires, and once when the answer is 401; then the request is sent again, unless its body is a stream or in a
   * `Request`, which can be read only once, or somebody else is signed in by now. Where nobody is signed in it is sent without a token.
   *
   * Rejects with a {@link LatchkeyError} where a token is needed and the token service cannot be reached. That signs nobody out.
   */
  fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response>;

  /** A token that is good now, for what is no `fetch`, such as a WebSocket; undefined where nobody is signed in. Do not keep it. */
  token(options?: Abortable): Promise<string | undefined>;

  /** Asks the token service who is signed in: after your own backend has signed a user in by another way, such as a passkey. */
  check(options?: Abortable): Promise<State>;

  /** Takes the client's listeners off the page. */
  close(): void;
}

/** The answers to a refresh that say that the session is over. All others, a bare 401 of some proxy too, say nothing about it. */
const over = new Set(["no_session", "session_ended", "reuse_detected", "network_changed"]);

/** How long the token service may take to answer. */
const answerTimeout = 10_000;

/** How long a request waits for a token service that asks to come again. Beyond, it fails, and the wait goes on without it. */
const patience = 5_000;

/** How often in a row a request tries. */
const tries = 3;

/** How much earlier than need be a tab may refresh, so that tabs that share a token do not all do it at once. */
const spread = 0.2;

/** Makes a client. One per page is enough; several, and those of other tabs, act as one. */
export function createClient({ prefix = "/auth" }: Options = {}): Client {
  let state: State = { status: "unknown" };
  let token: Token | undefined;
  let asked = false; // whether anybody wants to know
  let flight: Promise<void> | undefined; // the refresh that is under way
  let failure: LatchkeyError | undefined; // of the last one
  let failures = 0; // in a row
  let notBefore = 0; // on the monotonic clock: when the next one may begin
  let stubborn: Token | undefined; // refused though it was new: another would be, too
  let ended: string | undefined; // the session that ended last: what is still on its way of it comes too late
  let timer: ReturnType<typeof setTimeout> | undefined;
  let life = new AbortController(); // until the page is put away
  let closed = false;
  const send = globalThis.fetch.bind(globalThis); // what it is now, so that an app may put ours in its place
  const listeners = new Set<(state: State) => void>();
  const tabs = openTabs(`latchkey:${prefix}`, hear);

  function become(next: State): void {
    if (next.status === state.status && next.status !== "signed-in") return;
    state = next;
    for (const listener of [...listeners]) call(listener);
  }

  function call(listener: (state: State) => void): void {
    try {
      listener(state);
    } catch (error) {
      reportError(error); // the app's fault is not to keep anybody signed in, or out
    }
  }

  // --- the token

  /** Keeps a token, and says whether it may be told to others. */
  function take(text: string, lifetime: number, age: Stopwatch): boolean {
    const claims = claimsOf(text);
    if (claims.sid !== undefined && claims.sid === ended) return false;
    token = { text, claims, lifetime, age };
    asked = true;
    failures = notBefore = 0;
    become({ status: "signed-in", claims });
    schedule();
    return true;
  }

  function end(reason?: string): void {
    ended = token?.claims.sid;
    token = undefined;
    become({ status: "signed-out", reason });
    schedule();
  }

  async function grant(response: Response, age: Stopwatch): Promise<void> {
    const { access_token: text, expires_in: seconds } = await response.json();
    if (take(text, seconds * 1000, age)) tabs.tell({ token: text, lifetime: seconds * 1000, age: age(), sent: Date.now() });
  }

  /** What another tab says. */
  function hear(message: Message): void {
    if ("token" in message) {
      const claims = claimsOf(message.token);
      // Of two tokens the one that was made later counts, by the server's clock alone.
      if (token && Number(claims.iat) < Number(token.claims.iat)) return;
      const age = message.age + Math.max(0, Date.now() - message.sent); // this tab may have been frozen meanwhile
      const since = stopwatch();
      take(message.token, message.lifetime, () => age + since());
    } else if (token && (message.ended === undefined || message.ended === token.claims.sid)) {
      end(message.reason);
    }
  }

  // --- the token service

  async function ask(path: string, init: RequestInit): Promise<Response> {
    let response;
    try {
      response = await send(prefix + path, { method: "POST", credentials: "same-origin", cache: "no-store", redirect: "error", ...init });
    } catch (error) {
      throw new LatchkeyError(0, "unreachable", "the token service cannot be reached", undefined, error);
    }
    if (response.ok) return response;
    throw await refusal(response);
  }

  /** Gets another token in place of `stale`. All who want one share it. */
  function refresh(stale: Token | undefined): Promise<void> {
    return (flight ??= persist(stale).finally(() => {
      flight = undefined;
      schedule();
    }));
  }

  async function persist(stale: Token | undefined): Promise<void> {
    asked = true;
    const { signal } = life;
    for (let attempt = 1; ; attempt++) {
      const wait = notBefore - performance.now();
      if (wait > patience) throw failure;
      if (wait > 0) await sleep(wait, signal);
      try {
        return await tabs.alone(() => renew(stale, signal), signal);
      } catch (error) {
        signal.throwIfAborted();
        failure = error instanceof LatchkeyError ? error : new LatchkeyError(0, "unreachable", "the token service gave no token", undefined, error);
        notBefore = performance.now() + (failure.retryAfter ?? Math.min(60_000, 1_000 * 2 ** failures++) * (1 - Math.random() / 2));
        if (attempt === tries || !failure.passing || !navigator.onLine) throw failure;
      }
    }
  }

  async function renew(stale: Token | undefined, signal: AbortSignal): Promise<void> {
    const held = token;
    if (held && held !== stale && good(held)) return; // another tab was faster
    const age = stopwatch();
    try {
      await grant(await ask("/refresh", { signal: within(answerTimeout, signal) }), age);
    } catch (error) {
      if (!(error instanceof LatchkeyError && error.status === 401 && over.has(error.reason))) throw error;
      if (token !== held) return; // it was about another session than the one that is there now
      end(error.reason);
      // Who held nothing has nothing to tell: a page within another site's gets no cookie, and proves nothing by it.
      if (held) tabs.tell({ ended: held.claims.sid, reason: error.reason });
    }
  }

  /** Whether a token is good for long enough to arrive. */
  function good(held: Token): boolean {
    return left(held) > lead(held) / 10;
  }

  /** A token for a request that begins now; undefined where nobody is signed in. */
  async function current(signal?: AbortSignal | null): Promise<Token | undefined> {
    signal?.throwIfAborted();
    if (state.status === "signed-out") return;
    if (!token || !good(token)) {
      try {
        await unless(signal, refresh(token));
      } catch (error) {
        if (!token || left(token) <= 0 || signal?.aborted) throw error;
      }
    } else if (left(token) < lead(token)) {
      background();
    }
    return token;
  }

  // --- by itself

  /** Renews the token without anybody waiting for it. */
  function background(): void {
    refresh(token).catch(() => {}); // it is tried again
  }

  /**
   * Sees to it that the token is renewed in time. A tab that nobody sees leaves it be until it is looked at or sends a request, so that forgotten
   * tabs neither trouble the server nor keep a session from becoming idle.
   */
  function wake(): void {
    if (globalThis.document?.hidden) return;
    if (token ? left(token) <= lead(token) * (1 + spread) : asked && state.status === "unknown") background();
    else schedule();
  }

  function schedule(): void {
    clearTimeout(timer);
    if (closed || flight || !(token || (asked && state.status === "unknown"))) return;
    const due = token ? left(token) - lead(token) * (1 + spread * Math.random()) : 0;
    timer = setTimeout(wake, Math.max(due, notBefore - performance.now(), 500));
  }

  function online(): void {
    if (failure?.status === 0) notBefore = 0; // which a Retry-After is not
    wake();
  }

  /** The page may be frozen, and shown again after others have signed in or out. Meanwhile it knows nothing. */
  function hide(): void {
    tabs.close();
    life.abort();
    life = new AbortController();
    token = undefined;
    become({ status: "unknown" });
    clearTimeout(timer);
  }

  function show(event: PageTransitionEvent): void {
    if (!event.persisted) return;
    tabs.open();
    if (asked) background();
  }

  const events: [EventTarget | undefined, string, (event: never) => void][] = [
    [globalThis.document, "visibilitychange", wake],
    [globalThis.window, "pagehide", hide],
    [globalThis.window, "pageshow", show],
    [globalThis.window, "online", online],
  ];
  for (const [target, type, listener] of events) target?.addEventListener(type, listener as EventListener);
  tabs.open();

  // --- what apps call

  async function authorized(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
    const request = new Request(input, init);
    if (new URL(request.url).origin !== location.origin || request.headers.has("Authorization")) return send(request);
    asked = true;
    const { signal } = request;
    const user = token?.claims.sub;
    const held = await current(signal);
    if (user !== undefined && held && held.claims.sub !== user) {
      throw new LatchkeyError(0, "user_changed", "somebody else has signed in since");
    }
    const response = await sendAs(held, request);
    if (response.status !== 401 || !held || held === stubborn) return response;
    if (init?.body instanceof ReadableStream || (input instanceof Request && (input.bodyUsed || input.body))) {
      if (token === held) background();
      return response;
    }
    if (!token || token === held) await unless(signal, refresh(held));
    const next = token as Token | undefined;
    if (!next || next === held || next.claims.sub !== held.claims.sub) return response;
    await response.body?.cancel();
    const again = await sendAs(next, new Request(input, init));
    if (again.status === 401) stubborn = next;
    return again;
  }

  function sendAs(held: Token | undefined, request: Request): Promise<Response> {
    if (held) request.headers.set("Authorization", `Bearer ${held.text}`);
    return send(request);
  }

  async function authorizedOK(path: string, init?: RequestInit): Promise<Response> {
    const response = await authorized(prefix + path, { cache: "no-store", redirect: "error", ...init });
    if (response.ok) return response;
    throw await refusal(response);
  }

  /** Ends a session here and in the other tabs, but not one that has begun since. */
  function signedOut(sid: string | undefined): void {
    if (token?.claims.sid !== sid) return;
    end();
    tabs.tell({ ended: sid, reason: undefined });
  }

  async function logout(): Promise<void> {
    await tabs.alone(async () => {
      await ask("/logout", { keepalive: true, signal: within(answerTimeout) });
      signedOut(token?.claims.sid);
    });
  }

  return {
    get state() {
      return state;
    },
    onChange(listener) {
      listeners.add(listener);
      call(listener);
      if (state.status === "unknown" && !asked) background();
      return () => listeners.delete(listener);
    },
    async login(username, password, { signal } = {}) {
      await tabs.alone(async () => {
        signal?.throwIfAborted();
        const age = stopwatch();
        try {
          const response = await ask("/login", {
            body: JSON.stringify({ username, password }),
            headers: { "Content-Type": "application/json" },
            signal: within(answerTimeout, signal),
          });
          await grant(response, age);
        } catch (error) {
          signal?.throwIfAborted();
          throw error;
        }
      }, signal);
    },
    logout,
    async logoutEverywhere() {
      const held = await current();
      await authorizedOK("/logout-all", { method: "POST", keepalive: true });
      signedOut(held?.claims.sid);
    },
    async sessions({ signal } = {}) {
      const { sessions } = await (await authorizedOK("/sessions", { signal: signal ?? null })).json();
      return sessions.map((each: Record<string, string> & { current: boolean }) => ({
        id: each.id,
        current: each.current,
        createdAt: new Date(each.created_at!),
        lastUsedAt: new Date(each.last_used_at!),
        address: each.address,
        userAgent: each.user_agent,
      }));
    },
    async endSession(id) {
      if (id === (await current())?.claims.sid) return logout();
      await authorizedOK(`/sessions/${encodeURIComponent(id)}`, { method: "DELETE" });
    },
    fetch: authorized,
    async token({ signal } = {}) {
      return (await current(signal))?.text;
    },
    async check({ signal } = {}) {
      await unless(signal, Promise.resolve(flight).catch(() => {})); // which may have begun before there was something to find
      await unless(signal, refresh(token));
      return state;
    },
    close() {
      closed = true;
      listeners.clear();
      hide();
      for (const [target, type, listener] of events) target?.removeEventListener(type, listener as EventListener);
    },
  };
}

/** What becomes of a promise, unless the signal is first. What it stands for goes on, for others. */
function unless<T>(signal: AbortSignal | null | undefined, promise: Promise<T>): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort);
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return unless(signal, new Promise((resolve) => setTimeout(resolve, ms)));
}
