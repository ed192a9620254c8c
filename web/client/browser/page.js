import { createClient } from "/public/latchkey/index.js";

const auth = (window.auth = createClient());
const id = (name) => document.getElementById(name);

/** What a button or a form does; trouble is told. */
const does = (target, type, work) =>
  id(target).addEventListener(type, async (event) => {
    event.preventDefault();
    try {
      id("trouble").textContent = "";
      await work(event);
    } catch (error) {
      id("trouble").textContent = error.message;
    }
  });

does("login", "submit", ({ target }) => auth.login(target.username.value, target.password.value));
does("logout", "click", () => auth.logout());
does("everywhere", "click", () => auth.logoutEverywhere());

window.seen = [];
auth.onChange((state) => {
  window.seen.push(state.status);
  document.body.dataset.status = state.status;
  id("who").textContent = { unknown: "…", "signed-in": `Hello, ${state.claims?.sub}`, "signed-out": "Nobody is signed in" }[state.status];
});
window.showDevices = async () => {
  const devices = await auth.sessions();
  id("devices").replaceChildren(
    ...devices.map((each) => {
      const item = document.createElement("li");
      item.textContent = `${each.current ? "this one" : "another"}, since ${each.createdAt.toISOString()}, ${each.address}, ${each.userAgent}`;
      return item;
    }),
  );
  return devices;
};
window.addEventListener("pageshow", (event) => (window.cameBack = event.persisted));
