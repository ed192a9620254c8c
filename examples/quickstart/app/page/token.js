// The access token: how long it is good for, and that it is renewed without anybody noticing.
import { make } from "./make.js";
import { minutes, short } from "./words.js";

export function showToken(auth) {
  const [left, renewals, log, claims] = ["left", "renewals", "log", "claims"].map((id) => document.getElementById(id));
  const card = document.getElementById("token");
  let held; // { id, lifetime, since } of the token as it is
  let came; // when the first token did
  let renewed = 0;
  let asked = 0; // how many of the renewals this tab has asked for

  // The browser keeps a note of each request that a page has made.
  new PerformanceObserver((list) => {
    asked += list.getEntries().filter((entry) => entry.name.endsWith("/auth/refresh") && entry.startTime > came).length;
    tellRenewals();
  }).observe({ type: "resource" });

  function tellRenewals() {
    if (renewed) renewals.textContent = `So far ${times(renewed)} since you came, ${asked < renewed ? `${times(asked)} by this tab` : "by this tab"}.`;
  }

  function note(text) {
    const time = new Date().toLocaleTimeString([], { hour12: false });
    log.prepend(make("li", {}, make("time", {}, time), ` ${text}`));
    while (log.children.length > 20) log.lastChild.remove();
  }

  setInterval(() => {
    if (!held) return;
    // Counted by this page's own clock, since clocks differ; the token says how long it lives.
    const seconds = Math.max(0, held.lifetime - (performance.now() - held.since) / 1000);
    left.textContent = minutes(seconds);
    card.style.setProperty("--left", (100 * seconds) / held.lifetime);
  }, 250);

  return async (state) => {
    if (state.status !== "signed-in") {
      if (held && state.status === "signed-out") log.replaceChildren();
      held = undefined;
      renewals.textContent = "Not yet since you came.";
      claims.textContent = "";
      return;
    }
    const { jti, iat, exp, sub } = state.claims;
    if (held?.id === jti) return;
    const before = held;
    if (!before || state.newcomer) [came, renewed, asked] = [performance.now(), 0, 0];
    const lifetime = exp - iat;
    held = { id: jti, lifetime, since: performance.now() };
    card.style.setProperty("--zone", (100 * Math.min(30, lifetime / 3) * 1.2) / lifetime); // where @latchkey/client renews
    card.style.setProperty("--left", 100);
    claims.textContent = JSON.stringify(state.claims, undefined, 2);
    const kid = keyOf(await auth.token());
    if (held?.id !== jti) return;
    if (before && !state.newcomer) {
      renewed++;
      tellRenewals();
      note(`Renewed, without a click. Good for ${minutes(lifetime)}, signed by ${short(kid)}`);
    } else {
      note(`A token for ${sub}, good for ${minutes(lifetime)}, signed by ${short(kid)}`);
    }
  };
}

function times(n) {
  return ["never", "once", "twice"][n] ?? `${n} times`;
}

/** The id of the key that has signed a token. */
export function keyOf(token) {
  return token ? JSON.parse(atob(token.split(".")[0].replace(/-/g, "+").replace(/_/g, "/"))).kid : "";
}
