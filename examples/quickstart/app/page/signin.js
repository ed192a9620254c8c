// The form, and why somebody sees it.
import { minutes } from "./words.js";

/** Why the session is over, as the token service says. */
const endings = {
  session_ended: "Your session was ended, or has run out. Please sign in again.",
  reuse_detected: "A copy of your session was used somewhere else, so it was ended for everybody. Please sign in again.",
  network_changed: "Your session was used from another network, so it was ended. Please sign in again.",
  no_session: "Your session is over. Please sign in again.",
};

/** Why a sign-in was refused. */
const refusals = {
  invalid_credentials: "Name or password is wrong.",
  session_limit: "You are signed in on as many devices as you may. Sign out on one of them first.",
};

export function showSignIn(auth) {
  const form = document.getElementById("login");
  const trouble = document.getElementById("trouble");
  const ended = document.getElementById("ended");
  const [button, inputs] = [form.querySelector("button"), form.querySelectorAll("input")];
  let wait; // while the token service takes no more guesses

  function tell(text, invalid = false) {
    trouble.textContent = text;
    for (const input of inputs) input.setAttribute("aria-invalid", invalid);
  }

  /** Takes no more guesses of a name for so long; another name may be tried meanwhile. */
  function waitFor(ms) {
    const until = performance.now() + ms;
    button.setAttribute("aria-disabled", "true"); // it keeps the focus, which disabled would not
    tell(`Too many guesses. Try again in ${minutes(ms / 1000)}.`);
    const count = () => {
      const left = (until - performance.now()) / 1000;
      if (left <= 0) goOn("You may try again.");
      else button.textContent = `Wait ${minutes(left)}`;
    };
    wait = setInterval(count, 1000);
    count();
  }

  function goOn(text) {
    clearInterval(wait);
    wait = undefined;
    button.removeAttribute("aria-disabled");
    button.textContent = "Sign in";
    tell(text);
  }

  async function submit(event) {
    event.preventDefault();
    if (wait) return;
    const empty = [...inputs].find((input) => !input.value);
    if (empty) {
      tell(`Please type your ${empty.name === "username" ? "name" : "password"}.`);
      empty.setAttribute("aria-invalid", "true");
      return empty.focus();
    }
    tell("");
    button.textContent = "One moment …";
    try {
      await auth.login(form.username.value, form.password.value);
      form.reset();
    } catch (error) {
      if (error.reason === "throttled") return waitFor(error.retryAfter ?? 60_000);
      const passing = navigator.onLine ? "The token service cannot be reached now. Please try again in a moment." : "You are offline. Please try again when the network is back.";
      tell(refusals[error.reason] ?? (error.passing ? passing : `That did not work: ${error.message}`), error.reason === "invalid_credentials");
      if (error.reason === "invalid_credentials") form.password.select();
    } finally {
      if (!wait) button.textContent = "Sign in";
    }
  }

  form.addEventListener("submit", submit);
  form.username.addEventListener("input", () => goOn(""));
  for (const hint of document.querySelectorAll("[data-user]")) {
    hint.addEventListener("click", () => {
      [form.username.value, form.password.value] = [hint.dataset.user, hint.dataset.password];
      goOn("");
      button.focus();
    });
  }

  let wasIn = false;
  return (state) => {
    if (state.status === "signed-out") {
      // Who comes for the first time has no session either, and is not told of it.
      const why = wasIn || state.reason !== "no_session" ? endings[state.reason] : undefined;
      ended.textContent = why ?? (wasIn ? "You are signed out, in every tab." : "");
      ended.hidden = !ended.textContent;
    }
    if (state.status !== "unknown") wasIn = state.status === "signed-in";
  };
}
