/**
 * Keeps a browser signed in at an app behind Latchkey.
 *
 * @packageDocumentation
 */
export { createClient } from "./client.js";
export { LatchkeyError } from "./error.js";
