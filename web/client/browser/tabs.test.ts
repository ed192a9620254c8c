import { expect } from "vitest";
import type { Page } from "playwright-core";
import { becomes, get, pass, picture, signIn, steal, test, tokenService, ttl } from "./world.js";

/** Lets every tab send requests over and over, for so long, and returns how they were answered. */
function use(tabs: Page[], ms: number): Promise<Record<string, number>[]> {
  return Promise.all(
    tabs.map((tab) =>
      tab.evaluate(async (ms) => {
        const answers: Record<string, number> = {};
        for (const end = performance.now() + ms; performance.now() < end; await new Promise((next) => setTimeout(next, 200))) {
          const answer = await window.auth.fetch("/api/me").then((response) => response.status, String);
          answers[answer] = (answers[answer] ?? 0) + 1;
        }
        return answers;
      }, ms),
    ),
  );
}

/** As browsers were before they had Web Locks and BroadcastChannel. */
function withoutLocks(): void {
  Object.defineProperty(navigator, "locks", { value: undefined });
  Object.defineProperty(window, "BroadcastChannel", { value: undefined });
}

test.concurrent.for([
  [2, "with locks", undefined],
  [10, "with locks", undefined],
  [2, "without locks and channels", withoutLocks], // not ten: see ADR 16
] as const)("%d tabs %s stay signed in while their tokens expire", async ([count, how, script], { open }) => {
  const device = await open(script);
  const tabs = [await device.signedIn(), ...(await Promise.all(Array.from({ length: count - 1 }, () => device.tab())))];
  device.log.length = 0;
  const answers = await use(tabs, 1.3 * ttl);
  const refreshes = device.count("POST /auth/refresh 200");
  console.log(`${count} tabs ${how}: ${refreshes} refreshes and ${answers.reduce((sum, each) => sum + (each["200"] ?? 0), 0)} requests in ${1.3 * ttl} ms`);
  for (const each of answers) expect(Object.keys(each)).toEqual(["200"]);
  expect(new Set(device.log)).toEqual(new Set(["POST /auth/refresh 200"]));
  if (!script) expect(refreshes).toBeLessThanOrEqual(4); // two turns, in which two tabs may cross
  for (const tab of tabs) expect(await tab.evaluate(() => window.seen)).not.toContain("signed-out");
  await picture(tabs.at(-1)!, `${count}-tabs-${how.replaceAll(" ", "-")}`);

  if (count > 2) return;
  // And both at the very same moment, past the client.
  const at = Date.now() + 500;
  const statuses = await Promise.all(
    tabs.map((tab) =>
      tab.evaluate(async (at) => {
        await new Promise((now) => setTimeout(now, at - Date.now()));
        return (await fetch("/auth/refresh", { method: "POST" })).status;
      }, at),
    ),
  );
  expect(new Set(statuses)).toEqual(new Set([200]));
  await tabs[0]!.reload();
  await becomes(tabs[0]!, "signed-in");
});

test.concurrent("a refresh token that is used again signs every tab out", async ({ open }) => {
  const device = await open();
  const first = await device.signedIn();
  const tabs = [first, await device.tab(), await device.tab()];
  const stolen = (await device.refreshToken())!;
  for (let replaced = 0; replaced < 2; replaced++) {
    await pass(first, 2_600); // it is, at most once in half of the reuse window
    await first.evaluate(() => window.auth.check());
  }
  expect(await steal("/auth/refresh", stolen)).toEqual({ status: 401, reason: "reuse_detected" });
  const began = Date.now();
  for (const tab of tabs) await becomes(tab, "signed-out"); // without anybody doing anything
  console.log(`all tabs were signed out ${Date.now() - began} ms after the theft was noticed`);
  expect((await get(first, "/api/me")).status).toBe(401);
  await picture(tabs[2]!, "signed-out-after-reuse");
});

test("a sign-out in one tab reaches the others", async ({ open }) => {
  const device = await open();
  const first = await device.signedIn();
  const others = [await device.tab(), await device.tab()];
  await first.getByRole("button", { name: "Sign out", exact: true }).click();
  for (const tab of others) await becomes(tab, "signed-out");
  expect(await device.refreshToken()).toBeUndefined();
  expect((await get(others[0]!, "/api/me")).status).toBe(401);
  await picture(others[1]!, "signed-out-in-another-tab");
});

test("a sign-in in one tab reaches the others, be it of another user", async ({ open }) => {
  const device = await open();
  const [first, other] = [await device.tab(), await device.tab()];
  await becomes(other, "signed-out");
  await signIn(first, "alice");
  await becomes(other, "signed-in");
  await first.evaluate(() => window.auth.login("bob", "the password of bob"));
  await other.waitForFunction(() => document.getElementById("who")!.textContent === "Hello, bob");
  expect(await get(other, "/api/me")).toMatchObject({ hello: "bob" });
  expect((await get(other, "/admin")).status).toBe(403);
  expect(device.count("POST /auth/refresh 200")).toBe(0);
});

test.concurrent("a device is signed out from another, and everywhere from one", async ({ open }) => {
  const [phone, desk] = [await open(), await open()];
  const [there, here] = [await phone.signedIn("bob"), await desk.signedIn("bob")];
  await here.evaluate(() => window.showDevices());
  await picture(here, "devices");
  await here.evaluate(async () => {
    for (const session of await window.auth.sessions()) if (!session.current) await window.auth.endSession(session.id);
  });
  await becomes(there, "signed-out");
  expect((await get(here, "/api/me")).status).toBe(200);

  await signIn(there, "bob");
  await here.getByRole("button", { name: "everywhere" }).click();
  await becomes(here, "signed-out");
  await becomes(there, "signed-out");
});

test.sequential("tabs stay signed in while the token service is away, and go on when it is back", async ({ open }) => {
  const device = await open();
  const first = await device.signedIn();
  const other = await device.tab();
  await tokenService("stop");
  expect((await get(first, "/api/me")).status).toBe(200); // tokens are verified without it
  await pass(first, ttl);
  const failed = await other.evaluate(() => window.auth.fetch("/api/me").then(String, (error) => ({ name: error.name, status: error.status, passing: error.passing })));
  expect(failed).toEqual({ name: "LatchkeyError", status: 503, passing: true });
  expect(await other.evaluate(() => window.auth.logout().then(String, (error) => error.reason))).toBe("token_service_unreachable");
  expect(await first.evaluate(() => document.body.dataset["status"])).toBe("signed-in");
  await tokenService("start");
  await first.waitForFunction(async () => (await window.auth.fetch("/api/me").catch(() => undefined))?.status === 200);
  for (const tab of [first, other]) expect(await tab.evaluate(() => window.seen)).not.toContain("signed-out");
});
