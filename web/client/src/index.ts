/**
 * Keeps a browser signed in at an app behind Latchkey.
 *
 * @packageDocumentation
 */
export { createClient } from "./client.js";
export type { Client, Options, Session, State } from "./client.js";
export { LatchkeyError } from "./error.js";
export type { Claims } from "./token.js";
