import { expect } from "vitest";
import { becomes, get, pass, picture, test, ttl, world } from "./world.js";

test("a page that is loaded again is signed in by one refresh", async ({ open }) => {
  const device = await open();
  const page = await device.signedIn();
  device.log.length = 0;
  await page.reload();
  await becomes(page, "signed-in");
  expect(await get(page, "/api/me")).toMatchObject({ status: 200, hello: "alice" });
  expect(device.log).toEqual(["POST /auth/refresh 200"]);
});

test.for(["still there", "signed out meanwhile"])("a page that comes back out of the back/forward cache looks again: %s", async (what, { open }) => {
  const device = await open();
  const page = await device.signedIn();
  await page.goto(`${world.app}/public/page.css`);
  if (what !== "still there") {
    const other = await device.tab();
    await other.evaluate(() => window.auth.logout());
    await other.close();
  }
  await page.goBack({ waitUntil: "commit" });
  await page.waitForFunction(() => window.cameBack !== undefined);
  expect(await page.evaluate(() => window.cameBack)).toBe(true);
  if (what === "still there") {
    await becomes(page, "signed-in");
    expect(await page.evaluate(() => window.seen)).toEqual(["unknown", "signed-in"]);
    expect((await get(page, "/api/me")).status).toBe(200);
  } else {
    await becomes(page, "signed-out");
    expect(await page.evaluate(() => window.seen)).toEqual(["unknown", "signed-out"]);
    expect(await page.locator("#private").isVisible()).toBe(false);
  }
  await picture(page, `back-${what.replaceAll(" ", "-")}`);
});

test.concurrent("a page without a network stays signed in, and goes on with it", async ({ open }) => {
  const device = await open();
  const page = await device.signedIn();
  await device.context.setOffline(true);
  await pass(page, ttl);
  expect(await page.evaluate(() => window.auth.fetch("/api/me").then(String, (error) => [error.name, error.reason]))).toEqual(["LatchkeyError", "unreachable"]);
  expect(await page.evaluate(() => document.body.dataset["status"])).toBe("signed-in");
  await device.context.setOffline(false);
  await page.waitForFunction(async () => (await window.auth.fetch("/api/me").catch(() => undefined))?.status === 200);
  expect(await page.evaluate(() => window.seen)).not.toContain("signed-out");
});

test("a clock that is wrong by years signs nobody out", async ({ open }) => {
  for (const years of [-3, 3]) {
    const device = await open(
      years < 0 ? () => void (Date.now = ((now) => () => now() - 1e11)(Date.now)) : () => void (Date.now = ((now) => () => now() + 1e11)(Date.now)),
    );
    const page = await device.signedIn();
    for (let i = 0; i < 3; i++) expect((await get(page, "/api/me")).status).toBe(200);
    expect(device.count("POST /auth/refresh 200")).toBe(0);
  }
});

test.concurrent.for(["text", "a stream"])("%s is sent again with a new token when the old one is refused, if it can be", async (kind, { open }) => {
  // Clocks that stand still make the client believe that its token is as new as ever.
  const device = await open(() => {
    const [date, performed] = [Date.now(), performance.now()];
    Date.now = () => date;
    performance.now = () => performed;
  });
  const page = await device.signedIn();
  await pass(page, ttl + 1_000);
  device.log.length = 0;
  const order = () =>
    page.evaluate(async (kind) => {
      const body = kind === "text" ? "an order" : new Blob(["an order"]).stream();
      const response = await window.auth.fetch("/api/orders", { method: "POST", body, duplex: "half" } as RequestInit);
      return { status: response.status, ...(await response.json()) };
    }, kind);
  if (kind !== "text") {
    expect(await order()).toMatchObject({ status: 401 });
    await page.waitForFunction(() => window.seen.length > 0); // there is a new token for the next time
  }
  expect(await order()).toMatchObject({ status: 200, hello: "alice", body: "an order" });
  expect(device.log).toEqual(["POST /auth/refresh 200"]);
});

test("a wrong password is told, and is no session", async ({ open }) => {
  const device = await open();
  const page = await device.tab();
  await page.getByLabel("Name").fill("alice");
  await page.getByLabel("Password").fill("looking-glass");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").filter({ hasText: "wrong" }).waitFor();
  await picture(page, "wrong-password");
  expect(await device.refreshToken()).toBeUndefined();
});
