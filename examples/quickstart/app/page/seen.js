// What the app received of a request, beside what was sent.
import { make } from "./make.js";

/** What could tell the app who calls. */
const identity = ["X-Auth-Subject", "X_Auth_Subject", "X-Auth-Email", "X-Auth-Roles"];

export function showSeen(auth) {
  const form = document.getElementById("forge");
  const rows = document.querySelector("#seen tbody");
  const verdict = document.getElementById("verdict");
  const received = document.getElementById("received");

  let turn = 0; // of the request that is shown

  async function ask(forged, mine) {
    const token = await auth.token();
    const response = await auth.fetch("/orders", { headers: forged, cache: "no-store" });
    if (!response.ok) throw new Error(`the sidecar answered ${response.status}`);
    const seen = await response.json();
    if (auth.state.status !== "signed-in") throw new Error("you have signed out meanwhile"); // nothing private stays on the page
    const arrived = new Map(Object.entries(seen.headers).map(([name, values]) => [name.toLowerCase(), values.join(", ")]));
    if (mine !== turn) return arrived; // another was sent since
    received.textContent = JSON.stringify(seen, undefined, 2);
    rows.replaceChildren(
      row("Authorization", `Bearer ${token?.slice(0, 12)}…`, arrived, "checked, and kept by the sidecar"),
      row("Cookie", undefined, arrived, "the refresh token goes to /auth alone, and no script can read it"),
      ...identity.map((name) => row(name, forged[name], arrived)),
    );
    return arrived;
  }

  /** One header: what was sent is crossed out where it did not arrive as it was. */
  function row(name, sent, arrived, why) {
    const got = arrived.get(name.toLowerCase());
    const left = sent === undefined ? make("span", { class: "nothing" }, "not sent") : make(sent === got ? "span" : "s", {}, sent);
    const right = got === undefined ? make("span", { class: "nothing" }, why ? `nothing: ${why}` : "nothing") : make("code", {}, got);
    return make("tr", { role: "row", "data-header": name }, make("th", { role: "rowheader", scope: "row" }, name), make("td", { role: "cell" }, left), make("td", { role: "cell" }, right));
  }

  /** Sends the request with forged headers and without: what the app is told of the caller must be the same. */
  async function show(forged) {
    const mine = ++turn;
    try {
      const genuine = await ask({}, mine);
      if (!forged) return;
      const arrived = await ask(forged, mine);
      if (mine !== turn) return;
      const through = identity.filter((name) => arrived.get(name.toLowerCase()) !== genuine.get(name.toLowerCase()));
      verdict.classList.toggle("trouble", through.length > 0);
      verdict.textContent = through.length
        ? `The app was told otherwise in ${through.join(", ")}.`
        : `None of the ${Object.keys(forged).length} forged headers arrived: the app still greets ${arrived.get("x-auth-subject")}.`;
    } catch (error) {
      verdict.classList.add("trouble");
      verdict.textContent = `No answer: ${error.message}`;
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    show({ "X-Auth-Subject": form.subject.value, X_Auth_Subject: form.subject.value, "X-Auth-Roles": form.role.value });
  });

  return (state) => {
    if (state.status === "signed-in" && state.newcomer) show();
    if (state.status !== "signed-in") {
      rows.replaceChildren();
      received.textContent = verdict.textContent = "";
    }
  };
}
