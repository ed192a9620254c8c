import { defineConfig } from "vitest/config";

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
        test: { name: "browser", include: ["browser/*.test.ts"], environment: "node", testTimeout: 90_000, hookTimeout: 60_000 },
      },
      {
        // The page of examples/quickstart, in a cluster of its own: see test/web.
        test: { name: "quickstart", include: ["quickstart/*.test.ts"], environment: "node", testTimeout: 150_000, hookTimeout: 60_000 },
      },
    ],
  },
});
