import { expect } from "vitest";
import { cookieName, get, picture, test, world } from "./world.js";

test("the browser keeps the refresh token as it should, and nothing else", async ({ open }) => {
  const device = await open();
  const page = await device.signedIn();
  const cookies = await device.context.cookies();
  expect(cookies).toEqual([
    { name: cookieName, value: expect.stringMatching(/^.{20,100}$/), domain: "shop.example", path: "/auth", expires: expect.any(Number), httpOnly: true, secure: true, sameSite: "Strict" },
  ]);
  const days = (cookies[0]!.expires - Date.now() / 1000) / 86_400;
  expect(days).toBeGreaterThan(0.99);
  expect(days).toBeLessThan(1.01);
  expect(await page.evaluate(async () => [localStorage.length, sessionStorage.length, (await indexedDB.databases()).length, (await caches.keys()).length])).toEqual([0, 0, 0, 0]);
  await picture(page, "signed-in");
});

test("no script can read the refresh token, where the cookie goes either", async ({ open }) => {
  const device = await open();
  const page = await device.signedIn();
  const token = (await device.refreshToken())!;
  const read = () =>
    page.evaluate(async () => {
      const store = (globalThis as never as { cookieStore: { getAll(): Promise<unknown[]> } }).cookieStore;
      const answer = await fetch("/auth/refresh", { method: "POST" });
      return JSON.stringify([document.cookie, await store.getAll(), [...answer.headers], await answer.text()]);
    });
  expect(await read()).not.toContain(cookieName);
  await page.goto(`${world.app}/auth/.well-known/jwks.json`);
  const again = await read();
  expect(again).toContain("access_token");
  expect(again).not.toContain(cookieName);
  expect(again).not.toContain(token);
  expect(again).not.toContain(await device.refreshToken());
});

test("no script can put another in its place", async ({ open }) => {
  const device = await open();
  const page = await device.signedIn();
  const before = await device.refreshToken();
  await page.evaluate((name) => {
    document.cookie = `${name}=planted; path=/auth; secure`;
    document.cookie = `${name}=; path=/auth; secure; max-age=0`;
  }, cookieName);
  expect(await device.refreshToken()).toBe(before);
  await page.reload();
  expect(await get(page, "/api/me")).toMatchObject({ status: 200, hello: "alice" });
});

test("the app sees neither the cookie nor the token", async ({ open }) => {
  const page = await (await open()).signedIn();
  const answer = await get(page, "/api/me");
  expect(answer).toMatchObject({ status: 200, hello: "alice" });
  expect(Object.keys(answer.headers!).map((name) => name.toLowerCase())).not.toEqual(expect.arrayContaining(["cookie"]));
  expect(JSON.stringify(answer)).not.toMatch(/eyJ|latchkey-refresh/);
});

test.for([
  ["another site", world.stranger, [401, 403]],
  ["another origin of the same site", world.neighbour, [403]],
] as const)("what a page of %s sends changes nothing", async ([, origin, refusals], { open }) => {
  const device = await open();
  const page = await device.signedIn("carol");
  const sessions = () => page.evaluate(async () => (await window.auth.sessions()).map((each) => each.id));
  const before = [await device.refreshToken(), await sessions()];
  const answered: number[] = [];

  const other = await device.context.newPage();
  device.context.on("response", (response) => {
    if (response.frame().page() === other && response.url().startsWith(world.app) && response.request().method() !== "OPTIONS") answered.push(response.status());
  });
  for (const route of ["login", "refresh", "logout", "logout-all", "sessions"]) {
    for (const enctype of ["application/x-www-form-urlencoded", "text/plain"]) {
      await other.goto(`${origin}/form`);
      await Promise.all([
        other.waitForURL(`${world.app}/auth/${route}`),
        other.evaluate(
          ([action, enctype]) => {
            const form = document.createElement("form");
            Object.assign(form, { method: "POST", action, enctype });
            form.innerHTML = `<input name='{"username":"bob","password":"the password of bob","x":"' value='"}'>`;
            document.body.append(form);
            form.submit();
          },
          [`${world.app}/auth/${route}`, enctype] as const,
        ),
      ]);
    }
  }
  await other.goto(`${origin}/fetch`);
  const outcomes = await other.evaluate(async (app) => {
    const all: string[] = [];
    for (const route of ["login", "refresh", "logout", "logout-all", "sessions"]) {
      for (const init of [{ mode: "no-cors" }, {}, { headers: { "Content-Type": "application/json" } }] as RequestInit[]) {
        const body = JSON.stringify({ username: "bob", password: "the password of bob" });
        all.push(await fetch(`${app}/auth/${route}`, { method: "POST", credentials: "include", body, ...init }).then((response) => response.type, String));
      }
    }
    return all;
  }, world.app);
  expect(new Set(outcomes)).toEqual(new Set(["opaque", "TypeError: Failed to fetch"]));
  expect(answered.length).toBeGreaterThanOrEqual(15);
  for (const status of answered) expect([...refusals, 405]).toContain(status);
  await other.close();

  expect(await page.evaluate(() => window.seen)).not.toContain("signed-out");
  expect(await sessions()).toEqual(before[1]);
  expect(device.log).not.toContain("POST /auth/refresh 401");
  if (!device.log.includes("POST /auth/refresh 200")) expect(await device.refreshToken()).toBe(before[0]); // it may have been time for another
  expect(await get(page, "/api/me")).toMatchObject({ hello: "carol" });
});

test("the token goes to no other origin, over a redirect neither", async ({ open }) => {
  const device = await open();
  await device.signedIn();
  const free = await device.tab("/public/page.html"); // whose Content-Security-Policy does not keep it from asking others
  const taken = await free.evaluate(async (stranger) => {
    await window.auth.fetch(`${stranger}/taken`);
    return (await window.auth.fetch("/public/away")).json() as Promise<Record<string, string[]>[]>;
  }, world.stranger);
  expect(taken.length).toBeGreaterThanOrEqual(2);
  for (const headers of taken) expect(headers).not.toHaveProperty("Authorization");
});

test("the browser takes such a cookie from http://localhost as well, where apps are developed", async ({ open }) => {
  const device = await open();
  const page = await device.context.newPage();
  await page.goto(`${world.control.replace("127.0.0.1", "localhost")}/cookie`);
  expect(await device.context.cookies()).toMatchObject([{ name: cookieName, secure: true, httpOnly: true, sameSite: "Strict" }]);
});
