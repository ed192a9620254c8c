// The page of the quickstart: who is signed in, and what comes of it. Each part of the page is a module of its own.
import { createClient } from "./latchkey/index.js";
import { showDevices } from "./devices.js";
import { showDoors } from "./doors.js";
import { showKeys } from "./keys.js";
import { showSeen } from "./seen.js";
import { showSignIn } from "./signin.js";
import { showToken } from "./token.js";

const auth = createClient();
const who = document.getElementById("who");
const parts = [showSignIn(auth), showToken(auth), showDoors(auth), showSeen(auth), showKeys(auth), showDevices(auth)];

let user; // whose name the page shows
auth.onChange((state) => {
  document.body.dataset.status = state.status;
  const now = state.status === "signed-in" ? state.claims.sub : undefined;
  const text = { unknown: "One moment …", "signed-in": `Signed in as ${now}`, "signed-out": "Nobody is signed in" }[state.status];
  if (who.textContent !== text) who.textContent = text; // so that it is read out once, and not at each renewal
  for (const part of parts) part({ ...state, newcomer: now !== user });
  user = now;
});

document.getElementById("leave").addEventListener("click", () => document.querySelector("[data-out=here]").click());

const offline = document.getElementById("offline");
for (const type of ["online", "offline"]) addEventListener(type, tellNetwork);
tellNetwork();
function tellNetwork() {
  offline.hidden = navigator.onLine;
  offline.textContent = navigator.onLine ? "" : "You are offline. You stay signed in; the page goes on when the network is back.";
}
