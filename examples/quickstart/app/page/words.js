// How the page says things.

/** 75 as "1:15". */
export function minutes(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  if (whole >= 48 * 3600) return `${Math.round(whole / 86400)} days`;
  if (whole >= 3600) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** Enough of a key's id to tell it from the others. */
export function short(kid) {
  return kid.slice(0, 8);
}

/** What went wrong, for people. */
export function explain(error) {
  if (error.name === "LatchkeyError" && error.passing) {
    return navigator.onLine ? "The token service cannot be reached. You are still signed in; try again in a moment." : "You are offline. Nothing has changed; try again later.";
  }
  return `That did not work: ${error.message}`;
}
