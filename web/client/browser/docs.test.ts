import { build } from "esbuild";
import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { afterEach, expect, vi } from "vitest";
import { picture, test, world } from "./world.js";

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

test("the React components show the form, what is private, and the form again", async ({ open }) => {
  const contents = `
    import { StrictMode } from "react";
    import { createRoot } from "react-dom/client";
    import { SignedIn, auth, useAuth } from "./react";

    function Hello() {
      const state = useAuth();
      return <p>Hello, {state.claims.sub} <button onClick={() => auth.logout()}>Sign out</button></p>;
    }
    createRoot(document.getElementById("root")).render(<StrictMode><SignedIn><Hello /></SignedIn></StrictMode>);`;
  await build({ stdin: { contents, resolveDir: resolve("docs"), loader: "jsx" }, bundle: true, jsx: "automatic", format: "esm", outfile: "docs/app.js" });
  await writeFile("docs/react.html", '<!doctype html><html lang="en"><title>React</title><div id="root"></div><script type="module" src="app.js"></script></html>');

  const device = await open();
  const page = await device.context.newPage();
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && !message.text().startsWith("Failed to load resource") && complaints.push(message.text()));
  await page.goto(`${world.app}/public/docs/react.html`);
  await page.getByLabel("Name").fill("alice");
  await page.getByLabel("Password").fill("wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("alert").filter({ hasText: "Name or password is wrong" }).waitFor();
  await page.getByLabel("Password").fill("the password of alice");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("Hello, alice").waitFor();
  await picture(page, "react");
  await page.reload();
  await page.getByText("Hello, alice").waitFor();
  const other = await device.context.newPage();
  await other.goto(page.url());
  await other.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Name").waitFor();
  expect(await page.content()).not.toContain("alice");
  expect(complaints).toEqual([]);
});

test("the mobile client signs in, stays signed in over a restart, and signs out", async () => {
  const { openSession } = await import(/* @vite-ignore */ resolve("docs/mobile.ts"));
  const kept = new Map<string, string>();
  const vault = {
    getItemAsync: async (key: string) => kept.get(key) ?? null,
    setItemAsync: async (key: string, value: string) => void kept.set(key, value),
    deleteItemAsync: async (key: string) => void kept.delete(key),
  };
  const token = () => [...kept.values()].join();
  const open = () => openSession(`${world.mobile}/auth`, vault);
  let session = open();
  const hello = async () => (await (await session.fetch(`${world.mobile}/api/me`)).json()).hello;

  await expect(session.login("alice", "wrong")).rejects.toThrow("invalid_credentials");
  expect(await session.token()).toBeUndefined();
  await session.login("alice", "the password of alice");
  expect(await hello()).toBe("alice");
  expect(token()).toMatch(/^.{20,100}$/);

  const first = token();
  session = open(); // the app starts anew, and all its screens ask at once
  expect(new Set(await Promise.all(Array.from({ length: 10 }, hello)))).toEqual(new Set(["alice"]));
  expect(token()).not.toBe(first);

  await session.logout();
  expect(token()).toBe("");
  expect((await session.fetch(`${world.mobile}/api/me`)).status).toBe(401);
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
