import { LatchkeyError, refusal } from "./error.js";
import { openTabs, within } from "./tabs.js";
import { claimsOf, lead, left, stopwatch } from "./token.js";
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
export function createClient({ prefix = "/auth" } = {}) {
    let state = { status: "unknown" };
    let token;
    let asked = false; // whether anybody wants to know
    let flight; // the refresh that is under way
    let failure; // of the last one
    let failures = 0; // in a row
    let notBefore = 0; // on the monotonic clock: when the next one may begin
    let stubborn; // refused though it was new: another would be, too
    let ended; // the session that ended last: what is still on its way of it comes too late
    let timer;
    let life = new AbortController(); // until the page is put away
    let closed = false;
    const send = globalThis.fetch.bind(globalThis); // what it is now, so that an app may put ours in its place
    const listeners = new Set();
    const tabs = openTabs(`latchkey:${prefix}`, hear);
    function become(next) {
        if (next.status === state.status && next.status !== "signed-in")
            return;
        state = next;
        for (const listener of [...listeners])
            call(listener);
    }
    function call(listener) {
        try {
            listener(state);
        }
        catch (error) {
            reportError(error); // the app's fault is not to keep anybody signed in, or out
        }
    }
    // --- the token
    /** Keeps a token, and says whether it may be told to others. */
    function take(text, lifetime, age) {
        const claims = claimsOf(text);
        if (claims.sid !== undefined && claims.sid === ended)
            return false;
        token = { text, claims, lifetime, age };
        asked = true;
        failures = notBefore = 0;
        become({ status: "signed-in", claims });
        schedule();
        return true;
    }
    function end(reason) {
        ended = token?.claims.sid;
        token = undefined;
        become({ status: "signed-out", reason });
        schedule();
    }
    async function grant(response, age) {
        const { access_token: text, expires_in: seconds } = await response.json();
        if (take(text, seconds * 1000, age))
            tabs.tell({ token: text, lifetime: seconds * 1000, age: age(), sent: Date.now() });
    }
    /** What another tab says. */
    function hear(message) {
        if ("token" in message) {
            const claims = claimsOf(message.token);
            // Of two tokens the one that was made later counts, by the server's clock alone.
            if (token && Number(claims.iat) < Number(token.claims.iat))
                return;
            const age = message.age + Math.max(0, Date.now() - message.sent); // this tab may have been frozen meanwhile
            const since = stopwatch();
            take(message.token, message.lifetime, () => age + since());
        }
        else if (token && (message.ended === undefined || message.ended === token.claims.sid)) {
            end(message.reason);
        }
    }
    // --- the token service
    async function ask(path, init) {
        let response;
        try {
            response = await send(prefix + path, { method: "POST", credentials: "same-origin", cache: "no-store", redirect: "error", ...init });
        }
        catch (error) {
            throw new LatchkeyError(0, "unreachable", "the token service cannot be reached", undefined, error);
        }
        if (response.ok)
            return response;
        throw await refusal(response);
    }
    /** Gets another token in place of `stale`. All who want one share it. */
    function refresh(stale) {
        return (flight ??= persist(stale).finally(() => {
            flight = undefined;
            schedule();
        }));
    }
    async function persist(stale) {
        asked = true;
        const { signal } = life;
        for (let attempt = 1;; attempt++) {
            const wait = notBefore - performance.now();
            if (wait > patience)
                throw failure;
            if (wait > 0)
                await sleep(wait, signal);
            try {
                return await tabs.alone(() => renew(stale, signal), signal);
            }
            catch (error) {
                signal.throwIfAborted();
                failure = error instanceof LatchkeyError ? error : new LatchkeyError(0, "unreachable", "the token service gave no token", undefined, error);
                notBefore = performance.now() + (failure.retryAfter ?? Math.min(60_000, 1_000 * 2 ** failures++) * (1 - Math.random() / 2));
                if (attempt === tries || !failure.passing || !navigator.onLine)
                    throw failure;
            }
        }
    }
    async function renew(stale, signal) {
        const held = token;
        if (held && held !== stale && good(held))
            return; // another tab was faster
        const age = stopwatch();
        try {
            await grant(await ask("/refresh", { signal: within(answerTimeout, signal) }), age);
        }
        catch (error) {
            if (!(error instanceof LatchkeyError && error.status === 401 && over.has(error.reason)))
                throw error;
            if (token !== held)
                return; // it was about another session than the one that is there now
            end(error.reason);
            // Who held nothing has nothing to tell: a page within another site's gets no cookie, and proves nothing by it.
            if (held)
                tabs.tell({ ended: held.claims.sid, reason: error.reason });
        }
    }
    /** Whether a token is good for long enough to arrive. */
    function good(held) {
        return left(held) > lead(held) / 10;
    }
    /** A token for a request that begins now; undefined where nobody is signed in. */
    async function current(signal) {
        signal?.throwIfAborted();
        if (state.status === "signed-out")
            return;
        if (!token || !good(token)) {
            try {
                await unless(signal, refresh(token));
            }
            catch (error) {
                if (!token || left(token) <= 0 || signal?.aborted)
                    throw error;
            }
        }
        else if (left(token) < lead(token)) {
            background();
        }
        return token;
    }
    // --- by itself
    /** Renews the token without anybody waiting for it. */
    function background() {
        refresh(token).catch(() => { }); // it is tried again
    }
    /**
     * Sees to it that the token is renewed in time. A tab that nobody sees leaves it be until it is looked at or sends a request, so that forgotten
     * tabs neither trouble the server nor keep a session from becoming idle.
     */
    function wake() {
        if (globalThis.document?.hidden)
            return;
        if (token ? left(token) <= lead(token) * (1 + spread) : asked && state.status === "unknown")
            background();
        else
            schedule();
    }
    function schedule() {
        clearTimeout(timer);
        if (closed || flight || !(token || (asked && state.status === "unknown")))
            return;
        const due = token ? left(token) - lead(token) * (1 + spread * Math.random()) : 0;
        timer = setTimeout(wake, Math.max(due, notBefore - performance.now(), 500));
    }
    function online() {
        if (failure?.status === 0)
            notBefore = 0; // which a Retry-After is not
        wake();
    }
    /** The page may be frozen, and shown again after others have signed in or out. Meanwhile it knows nothing. */
    function hide() {
        tabs.close();
        life.abort();
        life = new AbortController();
        token = undefined;
        become({ status: "unknown" });
        clearTimeout(timer);
    }
    function show(event) {
        if (!event.persisted)
            return;
        tabs.open();
        if (asked)
            background();
    }
    const events = [
        [globalThis.document, "visibilitychange", wake],
        [globalThis.window, "pagehide", hide],
        [globalThis.window, "pageshow", show],
        [globalThis.window, "online", online],
    ];
    for (const [target, type, listener] of events)
        target?.addEventListener(type, listener);
    tabs.open();
    // --- what apps call
    async function authorized(input, init) {
        const request = new Request(input, init);
        if (new URL(request.url).origin !== location.origin || request.headers.has("Authorization"))
            return send(request);
        asked = true;
        const { signal } = request;
        const user = token?.claims.sub;
        const held = await current(signal);
        if (user !== undefined && held && held.claims.sub !== user) {
            throw new LatchkeyError(0, "user_changed", "somebody else has signed in since");
        }
        const response = await sendAs(held, request);
        if (response.status !== 401 || !held || held === stubborn)
            return response;
        if (init?.body instanceof ReadableStream || (input instanceof Request && (input.bodyUsed || input.body))) {
            if (token === held)
                background();
            return response;
        }
        if (!token || token === held)
            await unless(signal, refresh(held));
        const next = token;
        if (!next || next === held || next.claims.sub !== held.claims.sub)
            return response;
        await response.body?.cancel();
        const again = await sendAs(next, new Request(input, init));
        if (again.status === 401)
            stubborn = next;
        return again;
    }
    function sendAs(held, request) {
        if (held)
            request.headers.set("Authorization", `Bearer ${held.text}`);
        return send(request);
    }
    async function authorizedOK(path, init) {
        const response = await authorized(prefix + path, { cache: "no-store", redirect: "error", ...init });
        if (response.ok)
            return response;
        throw await refusal(response);
    }
    /** Ends a session here and in the other tabs, but not one that has begun since. */
    function signedOut(sid) {
        if (token?.claims.sid !== sid)
            return;
        end();
        tabs.tell({ ended: sid, reason: undefined });
    }
    async function logout() {
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
            if (state.status === "unknown" && !asked)
                background();
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
                }
                catch (error) {
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
            return sessions.map((each) => ({
                id: each.id,
                current: each.current,
                createdAt: new Date(each.created_at),
                lastUsedAt: new Date(each.last_used_at),
                address: each.address,
                userAgent: each.user_agent,
            }));
        },
        async endSession(id) {
            if (id === (await current())?.claims.sid)
                return logout();
            await authorizedOK(`/sessions/${encodeURIComponent(id)}`, { method: "DELETE" });
        },
        fetch: authorized,
        async token({ signal } = {}) {
            return (await current(signal))?.text;
        },
        async check({ signal } = {}) {
            await unless(signal, Promise.resolve(flight).catch(() => { })); // which may have begun before there was something to find
            await unless(signal, refresh(token));
            return state;
        },
        close() {
            closed = true;
            listeners.clear();
            hide();
            for (const [target, type, listener] of events)
                target?.removeEventListener(type, listener);
        },
    };
}
/** What becomes of a promise, unless the signal is first. What it stands for goes on, for others. */
function unless(signal, promise) {
    if (!signal)
        return promise;
    return new Promise((resolve, reject) => {
        const abort = () => reject(signal.reason);
        if (signal.aborted)
            abort();
        signal.addEventListener("abort", abort);
        promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
    });
}
function sleep(ms, signal) {
    return unless(signal, new Promise((resolve) => setTimeout(resolve, ms)));
}
