import https from "node:https";
import { join } from "node:path";
import { chromium } from "playwright-core";
import type { Browser, BrowserContext, BrowserContextOptions, Page } from "playwright-core";
import { afterAll, test as base, beforeAll, expect } from "vitest";
import type { Client } from "../src/index.js";

/** What test/web has started around us. */
export const world: {
  readonly chromium: string;
  readonly pictures: string;
  readonly control: string;
  readonly key: string;
  readonly hosts: string;
  readonly address: string;
  readonly authority: string;
  readonly app: string;
  readonly neighbour: string;
  readonly stranger: string;
  readonly orders: string;
  readonly ordersNeighbour: string;
  readonly issuer: string;
  readonly mobile: string;
} = JSON.parse(process.env["LATCHKEY_WORLD"] ?? "{}");

export const cookieName = "__Secure-latchkey-refresh";

/** How long access tokens live in this world, in ms. */
export const ttl = 10_000;

declare global {
  interface Window {
    auth: Client;
    seen: string[];
    cameBack: boolean;
    showDevices(): Promise<unknown[]>;
  }
}

let browser: Browser;

beforeAll(async () => {
  browser = await chromium.launch({
    executablePath: world.chromium,
    args: [
      ...["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
      `--host-resolver-rules=${world.hosts}`,
      `--ignore-certificate-errors-spki-list=${world.key}`, // undefined where no page comes over TLS
    ],
    ignoreDefaultArgs: ["--disable-back-forward-cache"],
  });
});

afterAll(async () => {
  await browser.close();
});

/** A test gets devices of its own, which are put away after it. */
export const test = base.extend<{ open: (script?: () => void, options?: BrowserContextOptions) => Promise<Device> }>({
  open: async ({}, use) => {
    const contexts: BrowserContext[] = [];
    await use(async (script, options) => {
      const context = await browser.newContext(options);
      contexts.push(context);
      context.setDefaultTimeout(60_000);
      if (script) await context.addInitScript(script);
      return new Device(context);
    });
    for (const context of contexts) await context.close();
  },
});

/** A browser of its own, with tabs that share its cookies. */
export class Device {
  /** The requests to the sign-in routes, and what was answered, as "POST /auth/refresh 200". */
  readonly log: string[] = [];

  constructor(readonly context: BrowserContext) {
    context.on("response", (response) => {
      const { pathname } = new URL(response.url());
      if (pathname.startsWith("/auth/")) this.log.push(`${response.request().method()} ${pathname} ${response.status()}`);
    });
  }

  count(line: string): number {
    return this.log.filter((each) => each === line).length;
  }

  /** A tab with the app's page in it. */
  async tab(path = "/"): Promise<Page> {
    const page = await this.context.newPage();
    await page.goto(world.app + path);
    await page.waitForFunction(() => window.auth?.state.status !== undefined && window.auth.state.status !== "unknown");
    return page;
  }

  /** A tab in which a user has signed in. */
  async signedIn(user = "alice"): Promise<Page> {
    const page = await this.tab();
    await signIn(page, user);
    this.log.length = 0;
    return page;
  }

  async refreshToken(): Promise<string | undefined> {
    return (await this.context.cookies()).find((each) => each.name === cookieName)?.value;
  }
}

export async function signIn(page: Page, user = "alice"): Promise<void> {
  await page.getByLabel("Name").fill(user);
  await page.getByLabel("Password").fill(`the password of ${user}`);
  await page.getByRole("button", { name: "Sign in" }).click();
  await becomes(page, "signed-in");
  await page.evaluate(() => (window.seen.length = 0));
}

/** Waits until the page shows that it is signed in, or out. */
export async function becomes(page: Page, status: string): Promise<void> {
  await page.waitForFunction((wanted) => document.body.dataset["status"] === wanted, status);
}

/** What the app answers to a request with the token. */
export function get(page: Page, path: string): Promise<{ status: number; hello?: string; headers?: Record<string, string[]> }> {
  return page.evaluate(async (path) => {
    const response = await window.auth.fetch(path);
    return { ...(await response.json()), status: response.status };
  }, path);
}

/** Keeps what a tab shows. */
export async function picture(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: join(world.pictures, `${name}.png`) });
}

/** A request without a browser, such as a thief would send. */
export function steal(path: string, cookie: string): Promise<{ status: number; reason: string | undefined }> {
  return new Promise((resolve, reject) => {
    const options = { host: world.address, port: 8443, servername: "shop.example", ca: world.authority, path, method: "POST", headers: { Host: "shop.example", Cookie: `${cookieName}=${cookie}` } };
    https
      .request(options, async (response) => {
        let body = "";
        for await (const part of response) body += part;
        resolve({ status: response.statusCode!, reason: JSON.parse(body).reason });
      })
      .on("error", reject)
      .end();
  });
}

/** Lets so much time pass in a page. */
export function pass(page: Page, ms: number): Promise<void> {
  return page.evaluate((ms) => new Promise((next) => setTimeout(next, ms)), ms);
}

export async function tokenService(what: "stop" | "start"): Promise<void> {
  expect((await fetch(`${world.control}/token-service/${what}`, { method: "POST" })).status).toBe(200);
}
