// Where the user is signed in, and how to end it.
import { make } from "./make.js";
import { explain } from "./words.js";

export function showDevices(auth) {
  const section = document.getElementById("devices");
  const [list, trouble] = [section.querySelector("ul"), document.getElementById("devices-trouble")];
  let known = [];

  async function load() {
    known = await auth.sessions();
    if (auth.state.status !== "signed-in") return;
    const held = list.contains(document.activeElement) && document.activeElement.dataset.id;
    list.replaceChildren(...known.map(item));
    if (held) list.querySelector(`[data-id="${CSS.escape(held)}"]`)?.focus(); // who has come so far by keyboard stays there
  }

  function item(device) {
    const name = nameOf(device.userAgent);
    const since = device.createdAt.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    const button = make("button", { class: "quiet", "data-id": device.id, "aria-label": `Sign out ${name}, signed in at ${since}` }, "Sign out");
    button.addEventListener("click", () => does(() => auth.endSession(device.id)));
    return make(
      "li",
      device.current ? { "aria-current": "true" } : {},
      make("div", {}, make("strong", {}, name), device.current ? make("em", {}, "this one") : ""),
      make("p", {}, `Since ${since}, last seen ${ago(device.lastUsedAt)}${device.address && `, at ${device.address}`}`),
      button,
    );
  }

  const outs = {
    here: () => auth.logout(),
    everywhere: () => auth.logoutEverywhere(),
    async others() {
      for (const device of await auth.sessions()) if (!device.current) await auth.endSession(device.id);
    },
  };
  for (const button of section.querySelectorAll("[data-out]")) button.addEventListener("click", () => does(outs[button.dataset.out]));

  /** Does it, tells what went wrong, and shows what is left. */
  async function does(work) {
    trouble.textContent = "";
    try {
      await work();
      if (auth.state.status === "signed-in") await load();
    } catch (error) {
      trouble.textContent = explain(error);
    }
  }

  const look = () => auth.state.status === "signed-in" && !document.hidden && load().catch(() => {}); // it is looked at again
  setInterval(look, 5000);
  addEventListener("focus", look);
  return (state) => {
    if (state.status === "signed-in") return look();
    list.replaceChildren();
    trouble.textContent = "";
  };
}

/** A browser's name out of all that it says of itself. */
function nameOf(agent) {
  const program = [[/Edg\//, "Edge"], [/Firefox\//, "Firefox"], [/Chrome\//, "Chrome"], [/Safari\//, "Safari"], [/^([\w.-]+)/, undefined]].find(([pattern]) => pattern.test(agent));
  const system = [[/Android/, "Android"], [/iPhone|iPad/, "iOS"], [/Mac OS X/, "macOS"], [/Windows/, "Windows"], [/Linux/, "Linux"]].find(([pattern]) => pattern.test(agent));
  const name = program ? (program[1] ?? program[0].exec(agent)[1]) : "A device";
  return system ? `${name} on ${system[1]}` : name;
}

function ago(date) {
  const seconds = Math.round((Date.now() - date) / 1000);
  if (seconds < 5) return "just now";
  if (seconds < 120) return `${seconds} s ago`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min ago` : date.toLocaleString();
}
