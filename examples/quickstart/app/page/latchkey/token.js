/**
 * Whichever clock has gone further counts. The monotonic one cannot be set, but stands still in some browsers while the machine sleeps; the
 * wall clock can. Either way the error is one refresh that was not needed.
 */
export function stopwatch() {
    const monotonic = performance.now();
    const wall = Date.now();
    return () => Math.max(performance.now() - monotonic, Date.now() - wall);
}
export function left(token) {
    return token.lifetime - token.age();
}
/** How long before its end a token is replaced: 30 s, or a third of a short life. */
export function lead(token) {
    return Math.min(30_000, token.lifetime / 3);
}
/** The claims of a token of our own server, which come as JSON in base64url. */
export function claimsOf(text) {
    const payload = atob(text.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"));
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(payload, (c) => c.charCodeAt(0))));
}
