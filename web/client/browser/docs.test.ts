import { resolve } from "node:path";
import { afterEach, expect, vi } from "vitest";
import { test, world } from "./world.js";

// What docs/frontend.md has to copy. Its programs are put into docs/ by the test that runs this one.

afterEach(() => vi.unstubAllGlobals());

test("the plain page signs in, shows what is private, and signs out", async ({ open }) => {
  const { context } = await open();
  const page = await context.newPage();
  await page.goto(`${world.app}/public/docs/plain.html`);
  await page.getByLabel("Name").fill("alice");
  await page.getByLabel("Password").fill("the password of alice");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText('"hello":"alice"').waitFor();
  await page.reload();
  await page.getByText('"hello":"alice"').waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByText("Please sign in").waitFor();
  expect(await page.content()).not.toContain("hello");
});

test("the mobile client keeps its session in the vault alone, and renews it once for all", async () => {
  const { openSession } = await import(/* @vite-ignore */ resolve("docs/mobile.ts"));
  const kept = new Map<string, string>();
  const vault = {
    getItemAsync: async (key: string) => kept.get(key) ?? null,
    setItemAsync: async (key: string, value: string) => void kept.set(key, value),
    deleteItemAsync: async (key: string) => void kept.delete(key),
  };
  const asked: string[] = [];
  let answer: (path: string) => Response = () => new Response(null, { status: 204 });
  vi.stubGlobal("fetch", async (url: string, init: RequestInit) => {
    const path = new URL(url).pathname;
    asked.push(`${path} ${(init.headers as Record<string, string>)["Authorization"] ?? init.body}`);
    return answer(path);
  });
  const granted = (n: number) => Response.json({ access_token: `a${n}`, expires_in: 300, refresh_token: `r${n}` });
  const session = openSession("https://shop.example/auth", vault);

  answer = () => granted(1);
  await session.login("alice", "x");
  expect([...kept.values()]).toEqual(["r1"]);
  asked.length = 0;

  const refusals = [401, 401];
  answer = (path) => (path === "/auth/refresh" ? granted(2) : new Response(null, { status: refusals.pop() ?? 200 }));
  const answers = await Promise.all([session.fetch("https://shop.example/a"), session.fetch("https://shop.example/b")]);
  expect(answers.map((each) => each.status)).toEqual([200, 200]);
  expect(asked.filter((each) => each.startsWith("/auth"))).toEqual(['/auth/refresh {"refresh_token":"r1"}']);
  expect(asked.slice(-2).sort()).toEqual(["/a Bearer a2", "/b Bearer a2"]);
  expect([...kept.values()]).toEqual(["r2"]);

  answer = (path) => (path === "/auth/refresh" ? Response.json({ reason: "store_unavailable" }, { status: 503 }) : new Response(null, { status: 401 }));
  await expect(session.fetch("https://shop.example/a")).rejects.toThrow("try again later");
  expect([...kept.values()]).toEqual(["r2"]);

  answer = () => Response.json({ reason: "session_ended" }, { status: 401 });
  expect(await session.token()).toBeUndefined();
  expect(kept.size).toBe(0);
});
