// What the app received of a request, beside what was sent.
import { make } from "./make.js";

export function showSeen(auth) {
  const form = document.getElementById("forge");
  const rows = document.querySelector("#seen tbody");
  const verdict = document.getElementById("verdict");
  const received = document.getElementById("received");

  async function ask(forged) {
    const token = await auth.token();
    const response = await auth.fetch("/orders", { headers: forged, cache: "no-store" });
    if (!response.ok) throw new Error(`the sidecar answered ${response.status}`);
    const seen = await response.json();
    const arrived = new Map(Object.entries(seen.headers).map(([name, values]) => [name.toLowerCase(), values.join(", ")]));
    received.textContent = JSON.stringify(seen, undefined, 2);
    rows.replaceChildren(
      row("Authorization", `Bearer ${token?.slice(0, 12)}…`, arrived, "checked, and kept by the sidecar"),
      row("Cookie", undefined, arrived, "the refresh token goes to /auth alone, and no script can read it"),
      ...["X-Auth-Subject", "X_Auth_Subject", "X-Auth-Email", "X-Auth-Roles"].map((name) => row(name, forged[name], arrived)),
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

  async function show(forged = {}) {
    try {
      const arrived = await ask(forged);
      const sent = Object.keys(forged).length;
      if (!sent) return (verdict.textContent = "");
      const through = Object.entries(forged).filter(([name, value]) => arrived.get(name.toLowerCase()) === value && value !== auth.state.claims?.sub);
      verdict.textContent = through.length
        ? `${through.length} of ${sent} forged headers arrived.`
        : `None of the ${sent} forged headers arrived: the app still greets ${arrived.get("x-auth-subject")}.`;
    } catch (error) {
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
      received.textContent = verdict.textContent = ""; // nothing private stays on a page that nobody is signed in on
    }
  };
}
