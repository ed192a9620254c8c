/**
 * What tabs tell each other. The access token is among it: a BroadcastChannel is open to pages of this origin alone, and a script that runs in
 * one of them can ask the token service for a token anyway, as the page itself does. In return one refresh serves all tabs, and nothing is
 * ever stored.
 */
export type Message =
  /** Somebody has signed in or refreshed. The token was `age` ms old when the wall clock, which is all that tabs share, showed `sent`. */
  | { readonly token: string; readonly lifetime: number; readonly age: number; readonly sent: number }
  /** The session `sid` has ended, for that reason; undefined: whichever there was. */
  | { readonly ended: string | undefined; readonly reason: string | undefined };

export interface Tabs {
  /** Tells the other tabs. */
  tell(message: Message): void;
  /** Hears them, from now on. A page that goes into the back/forward cache must not, or the browser throws it out. */
  open(): void;
  close(): void;
  /**
   * Does work while no other tab does. Where there are no locks, or who has it does not let go, the work is done all the same: the token service
   * forgives the refresh token before the current one.
   */
  alone<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T>;
}

/** How long a tab waits for another that works. */
const patience = 15_000;

export function openTabs(name: string, hear: (message: Message) => void): Tabs {
  let channel: BroadcastChannel | undefined;
  let queue: Promise<unknown> = Promise.resolve();
  return {
    tell: (message) => channel?.postMessage(message),
    open() {
      if (channel || typeof location === "undefined" || typeof BroadcastChannel === "undefined") return;
      channel = new BroadcastChannel(name);
      channel.onmessage = (event) => hear(event.data);
    },
    close() {
      channel?.close();
      channel = undefined;
    },
    async alone(work, signal) {
      const locks = navigator.locks;
      if (!locks) {
        const turn = queue.then(work, work);
        queue = turn.catch(() => {});
        return turn;
      }
      let granted = false;
      try {
        return await locks.request(name, { signal: within(patience, signal) }, async () => {
          granted = true;
          return work();
        });
      } catch (error) {
        if (granted || signal?.aborted) throw error;
        return work();
      }
    },
  };
}

/** Aborts after so many milliseconds, or with one of the signals. */
export function within(ms: number, ...signals: (AbortSignal | undefined)[]): AbortSignal {
  return AbortSignal.any([AbortSignal.timeout(ms), ...signals.filter((each) => each !== undefined)]);
}
