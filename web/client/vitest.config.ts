import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    reporters: ["verbose"],
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/*.test.ts"],
          environment: "happy-dom",
          environmentOptions: { happyDOM: { url: "https://shop.example/orders" } },
        },
      },
    ],
  },
});
