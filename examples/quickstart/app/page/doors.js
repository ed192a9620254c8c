// Three paths of the app, and who may pass.
import { make } from "./make.js";

const doors = [
  { path: "/public/news", who: "Anybody", rule: "access: Anonymous" },
  { path: "/orders", who: "Who is signed in", rule: "default: Authenticated" },
  { path: "/admin", who: "Admins alone", rule: "roles: [admin]" },
];

export function showDoors(auth) {
  const all = doors.map((door) => {
    const [said, answer] = [make("strong", {}, "…"), make("span", {}, "")];
    const knock = make("button", { class: "quiet", "aria-label": `Knock at ${door.path}` }, "Knock");
    const item = make("li", {}, make("h3", {}, door.who), make("code", {}, door.path), make("p", { class: "answer", role: "status" }, said, " ", answer), make("p", { class: "rule" }, make("code", {}, door.rule)), knock);
    knock.addEventListener("click", () => ask());
    document.querySelector("#doors ul").append(item);
    let turn = 0;

    async function ask() {
      const mine = ++turn;
      item.dataset.answer = "waiting";
      let told;
      try {
        const response = await auth.fetch(door.path, { cache: "no-store" });
        const { hello, reason } = await response.json();
        told = [response.ok ? "open" : "shut", `${response.status}`, response.ok ? `The app says: hello, ${hello}` : `The sidecar says: ${reason}`];
      } catch {
        told = ["shut", "–", "No answer. You are still signed in; knock again in a moment."];
      }
      if (mine === turn) [item.dataset.answer, said.textContent, answer.textContent] = told;
    }
    return ask;
  });

  let last;
  return (state) => {
    if (state.status === "unknown" || (state.status === last && !state.newcomer)) return;
    last = state.status;
    for (const ask of all) ask();
  };
}
