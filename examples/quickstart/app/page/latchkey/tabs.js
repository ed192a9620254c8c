/** How long a tab waits for another that works. */
const patience = 15_000;
export function openTabs(name, hear) {
    let channel;
    let queue = Promise.resolve();
    return {
        tell: (message) => channel?.postMessage(message),
        open() {
            if (channel || typeof location === "undefined" || typeof BroadcastChannel === "undefined")
                return;
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
                queue = turn.catch(() => { });
                return turn;
            }
            let granted = false;
            try {
                return await locks.request(name, { signal: within(patience, signal) }, async () => {
                    granted = true;
                    return work();
                });
            }
            catch (error) {
                if (granted || signal?.aborted)
                    throw error;
                return work();
            }
        },
    };
}
/** Aborts after so many milliseconds, or with one of the signals. */
export function within(ms, ...signals) {
    return AbortSignal.any([AbortSignal.timeout(ms), ...signals.filter((each) => each !== undefined)]);
}
