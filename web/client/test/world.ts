import { afterEach, beforeEach, vi } from "vitest";
import { createClient } from "../src/index.js";
import type { Client, Options, State } from "../src/index.js";

/** What a page has asked for. */
export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly token: string | undefined;
  readonly body: string;
}

export type Answer = Response | (() => Response | Promise<Response>);

/** The outside of a browser: a network with a token service and an app at the other end, and clocks that tests move by hand. */
export class World {
  readonly asked: Asked[] = [];
  /** What is answered to the next requests for a path, in turn; then what always is. */
  readonly next = new Map<string, Answer[]>();
  /** Whether the network carries anything. */
  connected = true;
  ttl = 300;
  user = "alice";
  sid: string | undefined = "s1";
  made = 0;

  /** A token of the token service as it is now. */
  readonly grant = (): Response => {
    const claims = { sub: this.user, sid: this.sid, iat: Math.floor(Date.now() / 1000), roles: ["überall"], jti: String(++this.made) };
    const payload = Buffer.from(JSON.stringify(claims)).toString("base64url");
    return Response.json({ access_token: `h.${payload}.${this.made}`, token_type: "Bearer", expires_in: this.ttl, refresh_expires_in: 86_400 });
  };

  readonly fetch = async (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
    const request = new Request(input, init);
    const { pathname, origin } = new URL(request.url);
    const path = origin === location.origin ? pathname : request.url;
    const token = request.headers.get("Authorization")?.replace("Bearer ", "");
    this.asked.push({ method: request.method, path, token, body: request.body ? await request.text() : "" });
    request.signal.throwIfAborted();
    if (!this.connected) throw new TypeError("Failed to fetch");
    const answer = this.next.get(path)?.shift() ?? (() => this.answer(path));
    const answered = Promise.resolve(typeof answer === "function" ? answer() : answer);
    return Promise.race([answered, new Promise<never>((_, reject) => request.signal.addEventListener("abort", () => reject(request.signal.reason)))]);
  };

  private answer(path: string): Response {
    switch (path) {
      case "/auth/login":
        return this.grant();
      case "/auth/refresh":
        return this.sid === undefined ? refused(401, "no_session") : this.grant();
      case "/auth/logout":
      case "/auth/logout-all":
        this.sid = undefined;
        return new Response(null, { status: 204 });
      default:
        return new Response(this.sid === undefined ? "stranger" : this.user);
    }
  }

  answers(path: string, ...answers: Answer[]): void {
    this.next.set(path, answers);
  }

  /** How often a path was asked for. */
  count(path: string): number {
    return this.asked.filter((each) => each.path === path).length;
  }

  last(path: string): Asked {
    return this.asked.filter((each) => each.path === path).at(-1)!;
  }
}

export function refused(status: number, reason: string, headers: Record<string, string> = {}): Response {
  return Response.json({ title: "", status, reason, detail: `because of ${reason}` }, { status, headers: { "Content-Type": "application/problem+json", ...headers } });
}

/** An answer that comes when the test says so. */
export function later(): { answer: Answer; come: (response: Response) => void } {
  let come!: (response: Response) => void;
  const promise = new Promise<Response>((resolve) => (come = resolve));
  return { answer: () => promise, come };
}

/** What tests are written against: made anew for each. */
export let world: World;
let clients: Client[] = [];

/** A tab, and what its app was told. */
export function openTab(options?: Options): Client & { told: State[]; statuses: string[] } {
  const client = createClient(options);
  clients.push(client);
  const told: State[] = [];
  return Object.defineProperties(client as never, { told: { value: told }, statuses: { get: () => told.map((each) => each.status) } });
}

/** Time passes, on both clocks. */
export async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}

/** What is under way gets as far as it gets by itself. */
export const settle = () => pass(1);

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date", "performance"] });
  world = new World();
  vi.stubGlobal("fetch", world.fetch);
  vi.stubGlobal("BroadcastChannel", Channel);
  show(true);
});

afterEach(() => {
  for (const client of clients) client.close();
  clients = [];
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

/** A BroadcastChannel as the standard has it: all others of the name hear it, later. */
class Channel {
  static all = new Set<Channel>();
  onmessage: ((event: { data: unknown }) => void) | undefined;
  constructor(readonly name: string) {
    Channel.all.add(this);
  }
  postMessage(message: unknown): void {
    const data = structuredClone(message);
    for (const each of Channel.all) {
      if (each !== this && each.name === this.name) queueMicrotask(() => Channel.all.has(each) && each.onmessage?.({ data }));
    }
  }
  close(): void {
    Channel.all.delete(this);
  }
}

/** Locks as the standard has them: one holder of a name, the others wait in turn. */
export class Locks {
  private readonly tails = new Map<string, Promise<unknown>>();
  async request<T>(name: string, { signal }: { signal: AbortSignal }, work: () => Promise<T>): Promise<T> {
    const before = this.tails.get(name) ?? Promise.resolve();
    const aborted = new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    const turn = Promise.race([before, aborted]).then(work);
    this.tails.set(name, Promise.allSettled([before, turn]));
    return turn;
  }
}

export function giveLocks(): void {
  vi.stubGlobal("navigator", Object.create(navigator, { locks: { value: new Locks() }, onLine: { get: () => world.connected } }));
}

export function show(visible: boolean): void {
  Object.defineProperty(document, "hidden", { configurable: true, value: !visible });
  document.dispatchEvent(new Event("visibilitychange"));
}

/** The page goes into the back/forward cache, or comes out of it. */
export function turn(type: "pagehide" | "pageshow"): void {
  window.dispatchEvent(Object.assign(new Event(type), { persisted: true }));
}
