import axe from "axe-core";
import type { BrowserContextOptions, Page } from "playwright-core";
import { expect } from "vitest";
import { becomes, picture, test as base, world } from "../browser/world.js";
import type { Device } from "../browser/world.js";

// The page of examples/quickstart, as `make demo KEEP=1` shows it: with keys and tokens that change while one looks.

const address = `${world.app}/public/`;
const passwords: Record<string, string> = { alice: "wonderland", bob: "can we fix it" };

/** How long something may take that waits for a token to be renewed, or a key to be replaced, on a busy machine. */
const aTurn = 240_000;

/** Opens the page, which must not do what its own Content-Security-Policy forbids, nor fail. */
const test = base.extend<{ visit: (device: Device) => Promise<Page> }>({
  visit: async ({}, use) => {
    const troubles: string[] = [];
    await use(async (device) => {
      const page = await device.context.newPage();
      page.on("console", (message) => message.text().includes("Content Security Policy") && troubles.push(message.text()));
      page.on("pageerror", (error) => troubles.push(error.stack ?? String(error)));
      await page.goto(address);
      await page.waitForFunction(() => ["signed-in", "signed-out"].includes(document.body.dataset["status"]!));
      return page;
    });
    expect(troubles).toEqual([]);
  },
});

async function signIn(page: Page, user = "alice"): Promise<void> {
  await page.getByLabel("Name").fill(user);
  await page.getByLabel("Password").fill(passwords[user]!);
  await page.keyboard.press("Enter");
  await becomes(page, "signed-in");
}

const answers = (page: Page) => page.locator("#doors .answer").allTextContents();

test("shows who is signed in, what the app receives, and which doors are open", async ({ open, visit }) => {
  const page = await visit(await open());
  await expect.poll(() => answers(page)).toEqual(["200 The app says: hello, stranger", "401 The sidecar says: token_required", "401 The sidecar says: token_required"]);
  await picture(page, "quickstart-signed-out");
  await signIn(page, "bob");
  await page.getByRole("status").filter({ hasText: "Signed in as bob" }).waitFor();
  await expect.poll(() => answers(page)).toEqual(["200 The app says: hello, bob", "200 The app says: hello, bob", "403 The sidecar says: claims_not_met"]);

  await page.getByRole("button", { name: "Send forged headers" }).click();
  await page.getByText("None of the 3 forged headers arrived: the app still greets bob.").waitFor();
  const row = async (name: string) => page.locator(`[data-header="${name}"] td`).allTextContents();
  expect(await row("Authorization")).toEqual([expect.stringMatching(/^Bearer eyJ/), "nothing: checked, and kept by the sidecar"]);
  expect(await row("Cookie")).toEqual(["not sent", "nothing: the refresh token goes to /auth alone, and no script can read it"]);
  expect(await row("X-Auth-Subject")).toEqual(["root", "bob"]);
  expect(await row("X_Auth_Subject")).toEqual(["root", "nothing"]);
  expect(await row("X-Auth-Roles")).toEqual(["owner", "viewer"]);
  const received = await page.locator("#received").textContent();
  expect(received).toContain("bob@quickstart.example");
  expect(received).not.toMatch(/root|owner|eyJ|latchkey/i);
  await picture(page, "quickstart");

  await page.getByRole("button", { name: "Sign out", exact: true }).first().click();
  await page.getByText("You are signed out, in every tab.").waitFor();
  expect(await page.content()).not.toMatch(/bob@|"sub"/);
});

test.concurrent("counts down, and is renewed without anybody doing anything", async ({ open, visit }) => {
  const page = await visit(await open());
  await signIn(page);
  const left = page.getByRole("timer");
  await expect.poll(() => left.textContent()).toMatch(/^0:1[0-5]$/);
  await page.getByText("Renewed, without a click. Good for 0:15").nth(1).waitFor({ timeout: aTurn });
  expect(await page.locator("#renewals").textContent()).toMatch(/^So far (twice|\d+ times) since you came/);
  expect(await page.locator("#who").textContent()).toBe("Signed in as alice");
  await picture(page, "quickstart-renewed");
});

test.concurrent("shows the keys in the phases that Kubernetes says they have", async ({ open, visit }) => {
  const page = await visit(await open());
  await signIn(page);
  const names: Record<string, string> = { Pending: "next", Active: "active", Retiring: "retiring" };
  const truth = async () => {
    const keys: { keyID: string; phase: string }[] = await (await fetch(`${world.control}/keys`)).json();
    return keys.map(({ keyID, phase }) => `${names[phase]} ${keyID}`).sort();
  };
  const shown = () => page.locator("#keys li").evaluateAll((all) => all.map((each) => `${(each as HTMLElement).dataset["phase"]} ${(each as HTMLElement).dataset["kid"]}`).sort());
  // All phases at once, and the same before and after it was looked at.
  await expect
    .poll(async () => {
      const before = await truth();
      const seen = await shown();
      return JSON.stringify(before) === JSON.stringify(await truth()) && JSON.stringify(seen) === JSON.stringify(before) ? [...new Set(seen.map((each) => each.split(" ")[0]))] : [];
    }, { timeout: aTurn, interval: 200 })
    .toEqual(["active", "next", "retiring"]);
  await picture(page, "quickstart-keys");
  const next = (await page.locator("#keys li[data-phase=next]").getAttribute("data-kid"))!;
  await page.locator(`#keys li[data-phase=active][data-kid="${next}"]`).waitFor({ timeout: aTurn });
});

test.concurrent("a sign-out in one tab reaches another, and a sign-in too", async ({ open, visit }) => {
  const device = await open();
  const [first, second] = [await visit(device), await visit(device)];
  await signIn(first);
  await becomes(second, "signed-in");
  await second.getByRole("button", { name: "Sign out here" }).click();
  await becomes(first, "signed-out");
  await first.getByText("You are signed out, in every tab.").waitFor();
  expect(await device.refreshToken()).toBeUndefined();
});

test.concurrent("a device is signed out from another, and all at once", async ({ open, visit }) => {
  const [phone, desk] = [await open(undefined, { viewport: { width: 375, height: 800 } }), await open()];
  const [there, here] = [await visit(phone), await visit(desk)];
  await signIn(there, "bob");
  await signIn(here, "bob");
  const others = here.locator("#devices li:not([aria-current]) button");
  await others.first().waitFor();
  await picture(here, "quickstart-devices");
  await here.getByRole("button", { name: "Sign out the others" }).click();
  await becomes(there, "signed-out");
  await there.getByText(/Your session .*Please sign in again\./).waitFor();
  expect(await here.locator("#who").textContent()).toBe("Signed in as bob");
  await signIn(there, "bob");
  await here.getByRole("button", { name: "Sign out everywhere" }).click();
  await becomes(here, "signed-out");
  await becomes(there, "signed-out");
});

test("tells what is wrong with a sign-in, and how long to wait", async ({ open, visit }) => {
  const device = await open();
  const { context } = device;
  const page = await visit(device);
  const [name, password] = [page.getByLabel("Name"), page.getByLabel("Password")];
  const said = (text: string | RegExp) => page.getByRole("alert").filter({ hasText: text }).waitFor();
  await page.getByRole("button", { name: "Sign in" }).click();
  await said("Please type your name.");
  expect(await name.evaluate((input) => [input === document.activeElement, input.getAttribute("aria-invalid")])).toEqual([true, "true"]);
  await name.fill(`mallory ${Date.now()}`); // whom nobody has counted guesses of
  await password.fill("password1");
  await context.setOffline(true);
  await page.getByText("You are offline. You stay signed in").waitFor();
  await page.keyboard.press("Enter");
  await said("You are offline. Please try again when the network is back.");
  await context.setOffline(false);
  await page.keyboard.press("Enter");
  await said("Name or password is wrong.");
  await picture(page, "quickstart-wrong-password");
  for (let guess = 0; guess < 20 && !(await page.getByText("Too many guesses.").isVisible()); guess++) {
    const answered = page.waitForResponse("**/auth/login");
    await page.keyboard.press("Enter");
    await answered;
    await page.getByRole("button", { name: "One moment" }).waitFor({ state: "detached" });
  }
  await said(/^Too many guesses\. Try again in \d+:\d\d\.$/);
  const button = page.locator("#login button");
  expect(await button.getAttribute("aria-disabled")).toBe("true");
  expect(await button.isDisabled()).toBe(true); // to those who read the page aloud, too; it keeps the focus
  await picture(page, "quickstart-throttled");
  await signIn(page); // as somebody of whom nobody has guessed
});

const looks: Record<string, BrowserContextOptions> = {
  light: { colorScheme: "light" },
  dark: { colorScheme: "dark" },
  "light, phone": { colorScheme: "light", viewport: { width: 375, height: 800 }, hasTouch: true, isMobile: true },
  "dark, phone": { colorScheme: "dark", viewport: { width: 375, height: 800 }, hasTouch: true, isMobile: true },
  "dark, narrow": { colorScheme: "dark", viewport: { width: 320, height: 640 } },
};

test.for(Object.entries(looks))("is accessible: %s", async ([name, options], { open, visit }) => {
  const device = await open(undefined, { reducedMotion: "reduce", bypassCSP: true, ...options }); // of the page, or axe would not be let in
  const page = await visit(device);
  for (const when of ["signed-out", "signed-in"]) {
    if (when === "signed-in") {
      await signIn(page);
      await page.getByRole("button", { name: "Send forged headers" }).click();
      await page.getByText("None of the 3").waitFor();
      await page.locator("#devices li").first().waitFor();
      for (const summary of await page.locator("summary").all()) await summary.click();
    }
    await page.locator("#keys li").first().waitFor();
    await page.evaluate(axe.source);
    const { violations, incomplete, passes } = await page.evaluate(() =>
      (globalThis as never as { axe: typeof axe }).axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }),
    );
    const told = (all: axe.Result[]) => all.flatMap((each) => each.nodes.map((node) => `${each.id}: ${node.html} ${node.any[0]?.message ?? ""}`));
    expect(told(violations)).toEqual([]);
    expect(told(incomplete.filter((each) => each.id === "color-contrast"))).toEqual([]); // what could not be measured
    expect(passes.find((each) => each.id === "color-contrast")!.nodes.length).toBeGreaterThan(10);
    expect(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)).toBeLessThanOrEqual(0);
    await page.screenshot({ path: `${world.pictures}/quickstart-${when}-${name.replace(", ", "-")}.png`, fullPage: true });
  }
  expect(await page.locator("#keys .key").first().evaluate((key) => getComputedStyle(key).transitionDuration)).toBe("0s");
});

test("is for the keyboard, too: everything is reached, in order, and it shows where one is", async ({ open, visit }) => {
  const page = await visit(await open());
  await page.keyboard.press("Tab");
  expect(await page.evaluate(() => document.activeElement!.textContent)).toBe("Skip to the content");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await page.keyboard.type("alice");
  await page.keyboard.press("Tab");
  await page.keyboard.type("wonderland");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await becomes(page, "signed-in");
  await page.locator("#devices li").first().waitFor();
  await page.locator("#leave").focus();
  const reached: string[] = [];
  for (let i = 0; i < 60; i++) {
    await page.keyboard.press("Tab");
    const focus = await page.evaluate(() => {
      const element = document.activeElement as HTMLElement;
      const style = getComputedStyle(element);
      return element === document.body ? undefined : { name: element.getAttribute("aria-label") ?? element.textContent!.trim(), outline: style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth) };
    });
    if (!focus) break;
    reached.push(focus.name);
    expect([focus.name, focus.outline]).toEqual([focus.name, 3]);
    if (focus.name === "Send forged headers") await picture(page, "quickstart-focus");
  }
  for (const name of ["Knock at /admin", "Send forged headers", "Open a second tab", "Sign out here", "Sign out everywhere"]) expect(reached).toContain(name);
});
