import type { BrowserContext, Page } from "playwright-core";
import { expect } from "vitest";
import { picture, test, tokenService, world } from "./world.js";

// An app without a line of script, in a browser that runs none.

const access = "__Host-latchkey-access";
const refresh = "__Host-latchkey-refresh";
const orders = `${world.orders}/orders`;
const withoutScripts = { javaScriptEnabled: false };

async function fill(page: Page, password: string): Promise<void> {
  await page.getByLabel("Name").fill("alice");
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
}

async function signIn(context: BrowserContext): Promise<Page> {
  const page = await context.newPage();
  await page.goto(`${orders}?page=2`);
  expect(page.url()).toBe(`${world.orders}/sign-in?return=%2Forders%3Fpage%3D2`);
  await fill(page, "the password of alice");
  await page.waitForURL(`${orders}?page=2`);
  return page;
}

const cookie = async (context: BrowserContext, name: string) => (await context.cookies(world.orders)).find((each) => each.name === name);

/** Waits until the browser has let go of the access token, and has nothing but the refresh token. */
async function expire(context: BrowserContext): Promise<void> {
  await expect.poll(() => cookie(context, access)).toBeUndefined();
  expect(await cookie(context, refresh)).toBeDefined();
}

/** How often the token service has given out a new refresh token, or the same once more. */
async function refreshes(): Promise<Record<string, number>> {
  const text = await (await fetch(`${world.issuer}/metrics`)).text();
  return Object.fromEntries([...text.matchAll(/^latchkey_issuer_refreshes_total\{verdict="(\w+)"\} (\d+)$/gm)].map(([, verdict, count]) => [verdict, Number(count)]));
}

async function isWhole(page: Page): Promise<void> {
  expect(await page.getByRole("heading").textContent()).toBe("Orders of alice");
  for (const frame of page.frames().slice(1)) expect(await frame.locator("body").textContent()).toBe("alice "); // and no cookie, and no token
}

test("pages without scripts sign in, stay signed in and sign out", async ({ open }) => {
  const { context } = await open(undefined, withoutScripts);
  const page = await signIn(context);
  await isWhole(page);
  const attributes = { domain: "orders.example", path: "/", httpOnly: true, secure: true, sameSite: "Lax", expires: expect.any(Number) };
  expect(await context.cookies()).toEqual([
    { name: access, value: expect.stringMatching(/^eyJ/), ...attributes },
    { name: refresh, value: expect.stringMatching(/^.{20,100}$/), ...attributes },
  ]);
  await picture(page, "pages");

  const first = (await cookie(context, refresh))!.value;
  await expire(context);
  await page.goto(`${orders}?page=3`);
  expect(page.url()).toBe(`${orders}?page=3`);
  await isWhole(page);
  expect((await cookie(context, refresh))!.value).not.toBe(first);

  await expire(context);
  await page.getByLabel("Order").fill("two pounds of tea");
  await page.getByRole("button", { name: "Send" }).click();
  expect(await page.getByRole("status").textContent()).toBe("Ordered: two pounds of tea");
  expect(await page.getByRole("heading").textContent()).toBe("Orders of alice");

  await page.getByRole("button", { name: "Sign out", exact: true }).click();
  await page.waitForURL(`${world.orders}/sign-in`);
  expect(await context.cookies()).toEqual([]);
  await page.goto(orders);
  await fill(page, "wrong");
  await page.waitForURL(`${world.orders}/sign-in?reason=invalid_credentials&return=%2Forders`);
  expect(await page.getByRole("alert").textContent()).toBe("Name or password is wrong.");
  await picture(page, "pages-signed-out");
});

test("ten tabs that come back at once renew the session once", async ({ open }) => {
  const { context } = await open(undefined, withoutScripts);
  const tabs = [await signIn(context)];
  for (let i = 1; i < 10; i++) tabs.push(await context.newPage());
  await expire(context);
  const before = await refreshes();
  await Promise.all(tabs.map((tab) => tab.goto(orders)));
  for (const tab of tabs) await isWhole(tab);
  const after = await refreshes();
  expect([after["rotate"]! - (before["rotate"] ?? 0), (after["repeat"] ?? 0) - (before["repeat"] ?? 0), after["reuse"] ?? 0]).toEqual([1, 0, before["reuse"] ?? 0]);
});

test("a token service that is away signs nobody out", async ({ open }) => {
  const { context } = await open(undefined, withoutScripts);
  const page = await signIn(context);
  await expire(context);
  await tokenService("stop");
  try {
    expect((await page.goto(orders))!.status()).toBe(503);
  } finally {
    await tokenService("start");
  }
  await expect.poll(async () => (await page.goto(orders))!.status()).toBe(200);
  await isWhole(page);
});

test("signing out everywhere reaches the other device", async ({ open }) => {
  const [one, two] = [await open(undefined, withoutScripts), await open(undefined, withoutScripts)];
  const [page, other] = [await signIn(one.context), await signIn(two.context)];
  await expire(one.context); // it is renewed for that
  await page.getByRole("button", { name: "Sign out everywhere" }).click();
  await page.waitForURL(`${world.orders}/sign-in`);
  expect(await one.context.cookies()).toEqual([]);
  await expect.poll(async () => (await other.goto(orders), other.url())).toBe(`${world.orders}/sign-in?return=%2Forders`);
});

test("a script reads no cookie, and other sites get nowhere with them", async ({ open }) => {
  const { context } = await open();
  const page = await signIn(context);
  expect(await page.evaluate(async () => [document.cookie, JSON.stringify(await (globalThis as never as { cookieStore: { getAll(): Promise<unknown[]> } }).cookieStore.getAll())])).toEqual(["", "[]"]);
  const before = await context.cookies(world.orders);

  for (const [origin, status] of [[world.stranger, 303], [world.ordersNeighbour, 403]] as const) { // 303: to the sign-in page
    for (const [path, want] of [["/orders", status], ["/auth/logout", 403], ["/auth/login", 403]] as const) {
      const other = await context.newPage();
      await other.goto(`${origin}/form`);
      const answered = other.waitForResponse((response) => response.url() === world.orders + path);
      await other.evaluate((action) => {
        const form = document.createElement("form");
        Object.assign(form, { method: "POST", action });
        document.body.append(form);
        form.submit();
      }, world.orders + path);
      const got = (await answered).status();
      expect([origin, path, got]).toEqual([origin, path, want]);
    }
    const other = await context.newPage();
    await other.goto(`${origin}/form`);
    expect(await other.evaluate((url) => fetch(url, { credentials: "include" }).then((answer) => answer.text(), () => "unreadable"), orders)).toBe("unreadable");
    await other.close();
  }
  expect(await context.cookies(world.orders)).toEqual(before);

  const other = await context.newPage(); // a link is what the user asked for
  await other.goto(`${world.stranger}/form`);
  await expire(context);
  await other.evaluate((url) => {
    const link = document.createElement("a");
    Object.assign(link, { href: url, textContent: "your orders" });
    document.body.append(link);
  }, orders);
  await other.getByRole("link").click();
  await other.waitForURL(orders);
  expect(await other.getByRole("heading").textContent()).toBe("Orders of alice");
});
