import { describe, expect, test, vi } from "vitest";
import { LatchkeyError } from "../src/index.js";
import { giveLocks, later, openTab, pass, refused, settle, show, turn, world } from "./world.js";

describe("who is signed in", () => {
  test("is unknown until somebody wants to know, and then asked once", async () => {
    const tab = openTab();
    await pass(60_000);
    expect(world.asked).toEqual([]);
    tab.onChange((state) => tab.told.push(state));
    tab.onChange(() => {});
    expect(tab.statuses).toEqual(["unknown"]);
    await settle();
    expect(tab.statuses).toEqual(["unknown", "signed-in"]);
    expect(world.count("/auth/refresh")).toBe(1);
  });

  test("comes with the claims, whatever letters they have", async () => {
    const tab = openTab();
    expect(await tab.check()).toMatchObject({ status: "signed-in", claims: { sub: "alice", roles: ["überall"] } });
  });

  test("is nobody where the token service says so, and is not asked again", async () => {
    world.sid = undefined;
    const tab = openTab();
    expect(await tab.check()).toEqual({ status: "signed-out", reason: "no_session" });
    await pass(600_000);
    await tab.fetch("/public");
    expect(world.count("/auth/refresh")).toBe(1);
    expect(world.last("/public").token).toBeUndefined();
  });

  test("is the same object until it changes", async () => {
    const tab = openTab();
    await tab.check();
    expect(tab.state).toBe(tab.state);
  });

  test("does not depend on what a listener throws", async () => {
    const reported = vi.fn();
    vi.stubGlobal("reportError", reported);
    const tab = openTab();
    tab.onChange(() => {
      throw new Error("the app's");
    });
    await settle();
    expect(tab.state.status).toBe("signed-in");
    expect(reported).toHaveBeenCalledTimes(2);
  });

  test("is not told to who has left", async () => {
    const tab = openTab();
    const leave = tab.onChange((state) => tab.told.push(state));
    leave();
    await settle();
    expect(tab.statuses).toEqual(["unknown"]);
  });
});

describe("signing in and out", () => {
  test("sends what was typed, as JSON, to the policy's prefix", async () => {
    const tab = openTab({ prefix: "/session" });
    world.answers("/session/login", world.grant());
    await tab.login("alice", "wonder\"land");
    expect(world.asked).toEqual([{ method: "POST", path: "/session/login", token: undefined, body: '{"username":"alice","password":"wonder\\"land"}' }]);
    expect(tab.state.status).toBe("signed-in");
  });

  test("tells why it was refused", async () => {
    const tab = openTab();
    world.answers("/auth/login", refused(401, "invalid_credentials"), refused(429, "throttled", { "Retry-After": "300" }), new Response("<html>", { status: 502 }));
    await expect(tab.login("alice", "x")).rejects.toMatchObject({ status: 401, reason: "invalid_credentials", message: "because of invalid_credentials", passing: false });
    await expect(tab.login("alice", "x")).rejects.toMatchObject({ status: 429, reason: "throttled", retryAfter: 300_000, passing: true });
    await expect(tab.login("alice", "x")).rejects.toMatchObject({ status: 502, reason: "unreachable" });
    expect(world.count("/auth/login")).toBe(3);
    expect(tab.state.status).toBe("unknown");
  });

  test("can be cut short", async () => {
    const tab = openTab();
    world.answers("/auth/login", later().answer);
    const controller = new AbortController();
    const signingIn = tab.login("alice", "x", { signal: controller.signal });
    await settle();
    controller.abort(new Error("enough"));
    await expect(signingIn).rejects.toThrow("enough");
  });

  test("ends the session, and what comes of it later counts for nothing", async () => {
    const [tab, other] = [openTab(), openTab()];
    await tab.check();
    const slow = later();
    world.answers("/auth/refresh", slow.answer);
    const late = world.grant();
    const checking = other.check(); // without locks, at the same time
    await settle();
    await tab.logout();
    slow.come(late);
    await checking;
    await settle();
    expect([tab.state.status, other.state.status]).toEqual(["signed-out", "signed-out"]);
  });

  test("does not claim to be signed out where the token service cannot be reached", async () => {
    const tab = openTab();
    await tab.check();
    world.connected = false;
    await expect(tab.logout()).rejects.toMatchObject({ status: 0, reason: "unreachable" });
    expect(tab.state.status).toBe("signed-in");
  });

  test("everywhere takes the access token, and a new one where that is refused", async () => {
    const tab = openTab();
    await tab.check();
    world.answers("/auth/logout-all", refused(401, "invalid_token"));
    await tab.logoutEverywhere();
    expect(world.count("/auth/logout-all")).toBe(2);
    expect(tab.state).toEqual({ status: "signed-out", reason: undefined });
  });

  test("everywhere rejects where nobody is signed in here, as it has signed nobody out", async () => {
    world.sid = undefined;
    world.answers("/auth/logout-all", refused(401, "invalid_token"));
    await expect(openTab().logoutEverywhere()).rejects.toMatchObject({ status: 401 });
  });

  test("lists devices, and signs out on one", async () => {
    const tab = openTab();
    const device = { id: "s2", current: false, created_at: "2026-11-22T01:00:00Z", last_used_at: "2026-11-22T01:30:00Z", address: "192.0.2.7", user_agent: "Firefox" };
    world.answers("/auth/sessions", Response.json({ sessions: [device] }));
    expect(await tab.sessions()).toEqual([
      { id: "s2", current: false, createdAt: new Date("2026-11-22T01:00:00Z"), lastUsedAt: new Date("2026-11-22T01:30:00Z"), address: "192.0.2.7", userAgent: "Firefox" },
    ]);
    await tab.endSession("s/2");
    expect(world.last("/auth/sessions/s%2F2")).toMatchObject({ method: "DELETE", token: expect.stringMatching(/^h\./) });
    world.answers("/auth/sessions/s3", refused(404, "no_such_session"));
    await expect(tab.endSession("s3")).rejects.toMatchObject({ reason: "no_such_session" });
  });

  test("signs out here when this device is the one", async () => {
    const tab = openTab();
    await tab.check();
    await tab.endSession("s1");
    expect(world.count("/auth/logout")).toBe(1);
    expect(tab.state.status).toBe("signed-out");
  });

  test("finds a session that was begun another way, even while it asks already", async () => {
    world.sid = undefined;
    const tab = openTab();
    const first = later();
    world.answers("/auth/refresh", first.answer);
    tab.onChange(() => {});
    await settle();
    world.sid = "passkey";
    const checked = tab.check();
    first.come(refused(401, "no_session"));
    expect((await checked).status).toBe("signed-in");
  });
});

describe("the token", () => {
  test("is asked for on first use, once for all who wait", async () => {
    const tab = openTab();
    const answers = await Promise.all([tab.fetch("/a"), tab.fetch("/b"), tab.token()]);
    expect(await (answers[0] as Response).text()).toBe("alice");
    expect(world.count("/auth/refresh")).toBe(1);
    expect(world.last("/a").token).toBe(world.last("/b").token);
    expect(world.last("/a").token).toBe(answers[2]);
  });

  test("is renewed before it expires while somebody looks at the page", async () => {
    const tab = openTab();
    await tab.check();
    await pass(263_000);
    expect(world.count("/auth/refresh")).toBe(1);
    await pass(8_000);
    expect(world.count("/auth/refresh")).toBe(2);
  });

  test("of a short life is renewed in its last third", async () => {
    world.ttl = 9;
    const tab = openTab();
    await tab.check();
    await pass(5_300);
    expect(world.count("/auth/refresh")).toBe(1);
    await pass(800);
    expect(world.count("/auth/refresh")).toBe(2);
  });

  test("is left to expire in a tab that nobody sees, and renewed when it is looked at", async () => {
    const tab = openTab();
    await tab.check();
    show(false);
    await pass(3_600_000);
    expect(world.count("/auth/refresh")).toBe(1);
    show(true);
    await settle();
    expect(world.count("/auth/refresh")).toBe(2);
  });

  test("that has expired is not sent, in a tab that nobody sees either", async () => {
    const tab = openTab();
    const first = await tab.token();
    show(false);
    await pass(400_000);
    await tab.fetch("/a");
    expect(world.last("/a").token).not.toBe(first);
  });

  test("is as old as the clock says that has gone further, for one stands still in sleep", async () => {
    const tab = openTab();
    await tab.check();
    vi.setSystemTime(Date.now() + 8 * 3_600_000); // the wall clock alone
    await tab.fetch("/a");
    expect(world.count("/auth/refresh")).toBe(2);
  });

  test.each([-8, 8])("does not care for a wall clock that is set by %d hours", async (hours) => {
    const tab = openTab();
    await tab.check();
    vi.setSystemTime(Date.now() + hours * 3_600_000);
    for (let i = 0; i < 10; i++) {
      await tab.fetch("/a");
      await pass(1_000);
    }
    expect(world.count("/auth/refresh")).toBeLessThanOrEqual(2);
    expect(tab.state.status).toBe("signed-in");
  });

  test("does not care what the server's clock says", async () => {
    const tab = openTab();
    const claims = Buffer.from(JSON.stringify({ sub: "alice", sid: "s1", iat: 1, exp: 2 })).toString("base64url");
    world.answers("/auth/refresh", Response.json({ access_token: `h.${claims}.s`, expires_in: 300 }));
    await tab.fetch("/a");
    await tab.fetch("/a");
    expect(world.count("/auth/refresh")).toBe(1);
  });

  test("is counted from the question, not from an answer that took its time", async () => {
    world.ttl = 9;
    const tab = openTab();
    const slow = later();
    world.answers("/auth/refresh", slow.answer);
    const first = tab.token();
    await pass(8_800);
    slow.come(world.grant());
    await first;
    await tab.fetch("/a");
    expect(world.count("/auth/refresh")).toBe(2);
  });
});

describe("fetch", () => {
  test("adds the token to requests of its own origin alone", async () => {
    const tab = openTab();
    for (const url of ["/a", "b", "https://shop.example/c", new URL("https://shop.example/d"), new Request("https://shop.example/e")]) await tab.fetch(url);
    for (const path of ["/a", "/b", "/c", "/d", "/e"]) expect(world.last(path).token).toMatch(/^h\./);
    const others = ["https://evil.example/", "http://shop.example/", "https://shop.example:8443/", "//evil.example/", "\\\\evil.example/", "/\\evil.example/", "/\t/evil.example/"];
    for (const url of [...others, new Request("https://evil.example/r")]) await tab.fetch(url);
    expect(world.asked.filter((each) => each.token !== undefined)).toHaveLength(5);
  });

  test("asks for no token for another origin, and leaves an Authorization of the app's own", async () => {
    const tab = openTab();
    await tab.fetch("https://evil.example/");
    await tab.fetch("/a", { headers: { Authorization: "Bearer mine" } });
    expect(world.count("/auth/refresh")).toBe(0);
    expect(world.last("/a").token).toBe("mine");
  });

  test("sends again with a new token after 401, once", async () => {
    const tab = openTab();
    world.answers("/a", refused(401, "invalid_token"), refused(401, "invalid_token"), refused(401, "invalid_token"));
    const answer = await tab.fetch("/a", { method: "POST", body: "order" });
    expect(answer.status).toBe(401);
    expect(world.count("/a")).toBe(2);
    expect(world.asked.filter((each) => each.path === "/a").map((each) => each.body)).toEqual(["order", "order"]);
    expect(new Set(world.asked.filter((each) => each.path === "/a").map((each) => each.token)).size).toBe(2);
  });

  test("does not refresh over and over at an app that takes no token at all", async () => {
    const tab = openTab();
    for (let i = 0; i < 10; i++) {
      world.answers("/a", refused(401, "wrong_audience"), refused(401, "wrong_audience"));
      expect((await tab.fetch("/a")).status).toBe(401);
    }
    expect(world.count("/auth/refresh")).toBe(2);
  });

  test("takes 403 for an answer", async () => {
    const tab = openTab();
    world.answers("/a", refused(403, "claims_missing"));
    expect((await tab.fetch("/a")).status).toBe(403);
    expect(world.count("/a")).toBe(1);
    expect(world.count("/auth/refresh")).toBe(1);
  });

  test.each<[string, () => [RequestInfo, RequestInit?], number]>([
    ["text", () => ["/a", { method: "POST", body: "x" }], 2],
    ["a form", () => ["/a", { method: "POST", body: new URLSearchParams("a=1") }], 2],
    ["a file", () => ["/a", { method: "PUT", body: new Blob(["x"]) }], 2],
    ["bytes", () => ["/a", { method: "PUT", body: new Uint8Array(3) }], 2],
    ["nothing, in a Request", () => [new Request("https://shop.example/a")], 2],
    ["a stream", () => ["/a", { method: "POST", body: stream(), duplex: "half" } as RequestInit], 1],
    ["a Request with a body", () => [new Request("https://shop.example/a", { method: "POST", body: "x" })], 1],
  ])("with %s as its body", async (_, request, times) => {
    const tab = openTab();
    world.answers("/a", refused(401, "invalid_token"));
    expect((await tab.fetch(...request())).status).toBe(times === 2 ? 200 : 401);
    await settle();
    expect(world.count("/a")).toBe(times);
    expect(world.count("/auth/refresh")).toBe(2); // so that the next one passes
  });

  test("after 401 takes over what another request has got meanwhile", async () => {
    const tab = openTab();
    const slow = later();
    world.answers("/slow", slow.answer);
    const slowly = tab.fetch("/slow");
    await settle();
    await tab.check();
    slow.come(refused(401, "invalid_token"));
    expect((await slowly).status).toBe(200);
    expect(world.count("/auth/refresh")).toBe(2);
  });

  test("never sends for one user what another has asked for", async () => {
    const tab = openTab();
    await tab.check();
    world.answers("/pay", () => {
      world.user = "bob";
      world.sid = "s2";
      return refused(401, "invalid_token");
    });
    expect((await tab.fetch("/pay", { method: "POST", body: "100" })).status).toBe(401);
    expect(world.count("/pay")).toBe(1);
    expect(tab.state).toMatchObject({ status: "signed-in", claims: { sub: "bob" } });

    world.user = "carol";
    show(false);
    await pass(400_000);
    await expect(tab.fetch("/pay", { method: "POST" })).rejects.toMatchObject({ reason: "user_changed" });
    expect(world.count("/pay")).toBe(1);
  });

  test("is cut short while it waits for the token, which others wait for, too", async () => {
    const tab = openTab();
    const slow = later();
    world.answers("/auth/refresh", slow.answer);
    const controller = new AbortController();
    const [first, second] = [tab.fetch("/a", { signal: controller.signal }), tab.fetch("/b")];
    await settle();
    controller.abort(new Error("enough"));
    await expect(first).rejects.toThrow("enough");
    slow.come(world.grant());
    expect((await second).status).toBe(200);
    expect(world.count("/a")).toBe(0);
    await expect(tab.fetch("/a", { signal: AbortSignal.abort(new Error("before")) })).rejects.toThrow("before");
    expect(world.count("/a")).toBe(0);
  });

  test("may be put in place of the page's own", async () => {
    const tab = openTab();
    vi.stubGlobal("fetch", tab.fetch);
    expect((await fetch("/a")).status).toBe(200);
  });
});

describe("a token service that does not answer", () => {
  test.each<[string, () => Response]>([
    ["503", () => refused(503, "store_unavailable", { "Retry-After": "2" })],
    ["429", () => refused(429, "busy", { "Retry-After": "1" })],
    ["502 of a proxy", () => new Response("<html>", { status: 502 })],
    ["a bare 401 of a proxy", () => new Response("", { status: 401 })],
    ["401 for another reason", () => refused(401, "proxy_authentication")],
    ["403", () => refused(403, "cross_origin")],
    ["404", () => refused(404, "no_such_route")],
    ["a page to sign in to a network", () => new Response("<html>")],
    ["JSON that is no token", () => Response.json({})],
    [
      "no answer",
      () => {
        throw new TypeError("Failed to fetch");
      },
    ],
  ])("with %s signs nobody out", async (_, answer) => {
    const tab = openTab();
    await tab.check();
    const next = Array.from({ length: 20 }, () => answer);
    world.answers("/auth/refresh", ...next);
    show(false);
    await pass(400_000);
    const asking = tab.fetch("/a").catch((error: unknown) => error);
    await pass(20_000);
    expect(await asking).toBeInstanceOf(LatchkeyError);
    expect(world.count("/a")).toBe(0);
    expect(tab.state.status).toBe("signed-in");
    world.answers("/auth/refresh");
    show(true);
    await pass(60_000);
    expect((await tab.fetch("/a")).status).toBe(200);
  });

  test("is asked again when it says so, and not before", async () => {
    const tab = openTab();
    world.answers("/auth/refresh", refused(503, "not_ready", { "Retry-After": "3" }));
    const asking = tab.fetch("/a");
    await pass(2_900);
    expect(world.count("/auth/refresh")).toBe(1);
    await pass(200);
    expect((await asking).status).toBe(200);
  });

  test("is not asked for what is longer than anybody waits", async () => {
    const tab = openTab();
    world.answers("/auth/refresh", refused(503, "not_ready", { "Retry-After": "60" }));
    const failing = expect(tab.fetch("/a")).rejects.toMatchObject({ status: 503, retryAfter: 60_000 });
    await settle();
    await failing;
    await expect(tab.fetch("/a")).rejects.toMatchObject({ status: 503 });
    expect(world.count("/auth/refresh")).toBe(1);
    window.dispatchEvent(new Event("online"));
    await settle();
    expect(world.count("/auth/refresh")).toBe(1);
    await pass(60_000);
    expect(world.count("/auth/refresh")).toBe(2);
    expect(tab.state.status).toBe("signed-in");
  });

  test("is asked ever more rarely, and at once when the network is back", async () => {
    const tab = openTab();
    giveLocks();
    world.connected = false;
    tab.onChange(() => {});
    await pass(600_000);
    expect(world.count("/auth/refresh")).toBeLessThan(30);
    await pass(36_000_000);
    expect(world.count("/auth/refresh")).toBeGreaterThan(600); // but never more rarely than once a minute
    const before = world.count("/auth/refresh");
    world.connected = true;
    window.dispatchEvent(new Event("online"));
    await settle();
    expect(world.count("/auth/refresh")).toBe(before + 1);
    expect(tab.state.status).toBe("signed-in");
  });

  test("is not waited for where the browser knows that it is offline", async () => {
    giveLocks();
    const tab = openTab();
    world.connected = false;
    const failing = expect(tab.fetch("/a")).rejects.toMatchObject({ status: 0, reason: "unreachable" });
    await settle();
    await failing;
    expect(world.count("/auth/refresh")).toBe(1);
  });

  test("does not matter while the token is good", async () => {
    world.ttl = 60;
    const tab = openTab();
    await tab.check();
    world.connected = false;
    await pass(45_000); // it tries, in vain, from 36 to 40 s on
    expect(world.count("/auth/refresh")).toBeGreaterThan(1);
    world.connected = true;
    world.answers("/auth/refresh", ...Array.from({ length: 9 }, () => () => refused(503, "not_ready", { "Retry-After": "60" })));
    expect((await tab.fetch("/a")).status).toBe(200);
  });

  test("leaves a request that was refused without an answer rather than with 401", async () => {
    const tab = openTab();
    await tab.check();
    world.answers("/a", refused(401, "invalid_token"));
    world.answers("/auth/refresh", refused(503, "not_ready", { "Retry-After": "60" }));
    await expect(tab.fetch("/a")).rejects.toMatchObject({ status: 503 });
    expect(tab.state.status).toBe("signed-in");
  });
});

describe.each([true, false])("tabs, with locks: %s", (locks) => {
  const tabs = async (count: number) => {
    if (locks) giveLocks();
    const all = Array.from({ length: count }, () => openTab());
    await all[0]!.login("alice", "x");
    await settle();
    return all;
  };

  test("share what one of them has got", async () => {
    const all = await tabs(3);
    expect(all.map((tab) => tab.state.status)).toEqual(["signed-in", "signed-in", "signed-in"]);
    await all[2]!.fetch("/a");
    expect(world.count("/auth/refresh")).toBe(0);
  });

  test("renew one token once", async () => {
    const all = await tabs(10);
    await pass(290_000);
    await Promise.all(all.map((tab) => tab.fetch("/a")));
    expect(world.count("/auth/refresh")).toBe(1);
    expect(all.every((tab) => tab.state.status === "signed-in")).toBe(true);
  });

  test("that all need a new token at the same moment", async () => {
    const all = await tabs(10);
    show(false);
    await pass(400_000);
    await Promise.all(all.map((tab) => tab.fetch("/a")));
    expect(world.count("/auth/refresh")).toBe(locks ? 1 : 10);
    expect(all.every((tab) => tab.state.status === "signed-in")).toBe(true);
  });

  test("do not believe an answer about a session before this one", async () => {
    const [tab, other] = await tabs(2);
    const slow = later();
    world.answers("/auth/refresh", slow.answer);
    const checking = tab!.check();
    await settle();
    world.sid = "s2";
    const signingIn = other!.login("alice", "x");
    await settle();
    slow.come(refused(401, "session_ended"));
    await Promise.all([checking, signingIn]);
    await settle();
    expect([tab!.state.status, other!.state.status]).toEqual(["signed-in", "signed-in"]);
  });

  test("do not end a session that has begun since", async () => {
    const [tab, other] = await tabs(2);
    const slow = later();
    world.answers("/auth/logout-all", slow.answer);
    const leaving = tab!.logoutEverywhere();
    await settle();
    world.user = "bob";
    world.sid = "s2";
    await other!.login("bob", "x");
    await settle();
    slow.come(new Response(null, { status: 204 }));
    await leaving;
    await settle();
    for (const each of [tab, other]) expect(each!.state).toMatchObject({ status: "signed-in", claims: { sub: "bob" } });
  });

  test("do not take a message for theirs that is about another session, or too late", async () => {
    const [tab] = await tabs(1);
    const channel = new BroadcastChannel("latchkey:/auth");
    channel.postMessage({ ended: "another", reason: "session_ended" });
    const claims = Buffer.from(JSON.stringify({ sub: "bob", sid: "before", iat: 1 })).toString("base64url");
    channel.postMessage({ token: `h.${claims}.old`, lifetime: 300_000, age: 0, sent: Date.now() });
    await settle();
    expect(tab!.state).toMatchObject({ status: "signed-in", claims: { sub: "alice" } });
  });

  test("all hear of a sign-out", async () => {
    const all = await tabs(3);
    await all[1]!.logout();
    await settle();
    expect(all.map((tab) => tab.state.status)).toEqual(["signed-out", "signed-out", "signed-out"]);
    await all[0]!.fetch("/a");
    expect(world.last("/a").token).toBeUndefined();
  });

  test("all hear of a session that was ended elsewhere, and why", async () => {
    const all = await tabs(3);
    world.answers("/a", refused(401, "invalid_token"));
    world.answers("/auth/refresh", refused(401, "reuse_detected"));
    expect((await all[0]!.fetch("/a")).status).toBe(401);
    await settle();
    for (const tab of all) expect(tab.state).toEqual({ status: "signed-out", reason: "reuse_detected" });
  });

  test("all become who signs in last", async () => {
    const all = await tabs(2);
    world.user = "bob";
    world.sid = "s2";
    await all[1]!.login("bob", "x");
    await settle();
    expect(all[0]!.state).toMatchObject({ claims: { sub: "bob" } });
  });

  test("with other prefixes are others", async () => {
    await tabs(1);
    const other = openTab({ prefix: "/other" });
    await openTab().check();
    expect(other.state.status).toBe("unknown");
  });

  test("that never had a session do not sign out those that have", async () => {
    const [tab] = await tabs(1);
    const framed = openTab();
    world.answers("/auth/refresh", refused(401, "no_session"));
    await framed.check();
    await settle();
    expect(tab!.state.status).toBe("signed-in");
  });

  test("that were frozen look again", async () => {
    const [tab, other] = await tabs(2);
    turn("pagehide"); // both are of one window here
    expect(tab!.state.status).toBe("unknown");
    world.sid = undefined;
    turn("pageshow");
    await settle();
    expect([tab!.state.status, other!.state.status]).toEqual(["signed-out", "signed-out"]);
  });

  test("take an old message for what it is worth", async () => {
    const [tab] = await tabs(1);
    const channel = new BroadcastChannel("latchkey:/auth");
    const text = (tab!.state as { claims: object }).claims;
    const claims = Buffer.from(JSON.stringify(text)).toString("base64url");
    channel.postMessage({ token: `h.${claims}.old`, lifetime: 300_000, age: 1_000, sent: Date.now() - 298_000 });
    await settle();
    await tab!.fetch("/a");
    expect(world.count("/auth/refresh")).toBe(1);
  });
});

test("a tab that does not let go of the lock does not hold up the others for good", async () => {
  giveLocks();
  void navigator.locks.request("latchkey:/auth", { signal: new AbortController().signal } as never, (() => new Promise(() => {})) as never);
  vi.spyOn(AbortSignal, "timeout").mockImplementation((ms) => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(new DOMException("", "TimeoutError")), ms);
    return controller.signal;
  });
  const tab = openTab();
  const asking = tab.fetch("/a");
  await pass(15_100);
  expect((await asking).status).toBe(200);
});

test("an answer that comes when the page was put away is not for the page that comes back", async () => {
  const tab = openTab();
  const slow = later();
  world.answers("/auth/refresh", slow.answer);
  tab.onChange((state) => tab.told.push(state));
  await settle();
  turn("pagehide");
  slow.come(world.grant());
  await settle();
  expect(tab.statuses).toEqual(["unknown"]);
});

test("a page that is shown for the first time asks nothing", async () => {
  const tab = openTab();
  await tab.check();
  window.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: false }));
  await settle();
  expect(world.count("/auth/refresh")).toBe(1);
});

test("nothing is stored", async () => {
  const tab = openTab();
  await tab.login("alice", "x");
  await tab.fetch("/a");
  await tab.logout();
  expect([localStorage.length, sessionStorage.length, document.cookie]).toEqual([0, 0, ""]);
});

test("a client that was closed is quiet", async () => {
  const tab = openTab();
  tab.onChange((state) => tab.told.push(state));
  await settle();
  tab.close();
  const before = world.asked.length;
  await pass(600_000);
  show(false);
  show(true);
  expect(world.asked.length).toBe(before);
  expect(tab.told.at(-1)!.status).toBe("signed-in");
});

function stream(): ReadableStream {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode("x"));
      controller.close();
    },
  });
}
