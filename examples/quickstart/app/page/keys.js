// The keys that verify tokens, as everybody may read them, and which of them signs.
import { draw, make } from "./make.js";
import { keyOf } from "./token.js";
import { minutes, short } from "./words.js";

const phases = {
  next: ["Next", "published, so that everybody knows it before it signs"],
  active: ["Signing", "new tokens are signed by it"],
  published: ["Published", "signs, or will soon; sign in, and your token tells"],
  retiring: ["Retiring", "verifies what it has signed,"],
};

/** Where a key hangs, in degrees: the next on the left, the one that signs on top, those that retire on the right, the oldest last. */
const places = { next: -58, active: 0, published: -29, retiring: 58 };

export function showKeys(auth) {
  const list = document.querySelector("#keys ul");
  const ring = document.querySelector("#keys svg g");
  const firstSeen = new Map(); // when each key was first there
  const drawn = new Map();
  let signer = ""; // of the last token
  let shown = "";

  /**
   * A key set names no phases. But a key that has stopped signing carries its end (exp); the one that has signed the newest token signs; and
   * what came after it is to be the next.
   */
  function phasesOf(keys) {
    for (const { kid } of keys) if (!firstSeen.has(kid)) firstSeen.set(kid, firstSeen.size && performance.now());
    const fresh = keys.filter((key) => !key.exp).sort((a, b) => firstSeen.get(a.kid) - firstSeen.get(b.kid));
    const known = fresh.find((key) => key.kid === signer);
    const told = known ?? (fresh.length === 1 || firstSeen.get(fresh[0]?.kid) < firstSeen.get(fresh[1]?.kid) ? fresh[0] : undefined);
    return [
      ...fresh.map((key) => ({ kid: key.kid, phase: !told ? "published" : key === told ? "active" : "next" })).sort((a, b) => (a.phase < b.phase ? 1 : -1)),
      ...keys.filter((key) => key.exp).sort((a, b) => b.exp - a.exp).map((key) => ({ kid: key.kid, phase: "retiring", end: key.exp * 1000 })),
    ];
  }

  function show(keys) {
    const count = {};
    const text = JSON.stringify(keys.map(({ kid, phase }) => [kid, phase]));
    const changed = text !== shown;
    shown = text;
    if (changed) {
      list.replaceChildren(
        ...keys.map(({ kid, phase }) => {
          const [name, what] = phases[phase];
          return make("li", { "data-phase": phase, "data-kid": kid }, make("strong", {}, name), make("code", {}, short(kid)), make("p", {}, what, " ", make("span", { class: "until" })));
        }),
      );
    }
    for (const [i, { kid, phase, end }] of keys.entries()) {
      const nth = (count[phase] = (count[phase] ?? -1) + 1);
      if (!drawn.has(kid)) drawn.set(kid, ring.appendChild(aKey()));
      const key = drawn.get(kid);
      key.dataset.phase = phase;
      key.style.setProperty("--angle", `${places[phase] + (phase === "retiring" ? Math.min(nth, 4) * 50 : nth * 58)}deg`);
      if (end) list.children[i].querySelector(".until").textContent = `for ${minutes((end - Date.now()) / 1000)} more`;
    }
    for (const [kid, key] of drawn) {
      if (keys.some((each) => each.kid === kid)) continue;
      drawn.delete(kid);
      key.dataset.phase = "gone";
      setTimeout(() => key.remove(), 1000);
    }
  }

  let known = [];
  async function ask() {
    if (document.hidden) return;
    try {
      known = (await (await fetch("/auth/.well-known/jwks.json", { cache: "no-store" })).json()).keys;
    } catch {
      return; // it is asked again
    }
    show(phasesOf(known));
  }

  ask();
  setInterval(ask, 1000);
  return async (state) => {
    signer = state.status === "signed-in" ? keyOf(await auth.token()) : "";
    if (known.length) show(phasesOf(known));
  };
}

/** A key that hangs on the ring's top; it is turned to its place. */
function aKey() {
  return draw(
    "g",
    { class: "key" },
    draw("path", { class: "blade", d: "M0-50V-93M0-91h11M0-79h8" }),
    draw("circle", { class: "bow", cy: "-38", r: "14" }),
    draw("circle", { class: "hole", cy: "-38", r: "5" }),
  );
}
