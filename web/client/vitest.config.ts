import { defineConfig } from "vitest/config";

/** Of tests with a real browser and real servers on a busy machine: what takes milliseconds may take a minute. */
const patient = { environment: "node", testTimeout: 600_000, hookTimeout: 120_000, expect: { poll: { timeout: 60_000 } } };

export default defineConfig({
  test: {
    reporters: ["verbose"],
    fileParallelism: false, // one browser at a time
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/*.test.ts"],
          environment: "happy-dom",
          environmentOptions: { happyDOM: { url: "https://shop.example/orders" } },
          testTimeout: 30_000, // of a busy machine; clocks are moved by hand
        },
      },
      {
        // Needs a world around it: see test/web.
        test: { name: "browser", include: ["browser/*.test.ts"], ...patient },
      },
      {
        // The page of examples/quickstart, in a cluster of its own: see test/web.
        test: { name: "quickstart", include: ["quickstart/*.test.ts"], ...patient },
      },
    ],
  },
});
