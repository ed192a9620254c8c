// @vitest-environment node
import { buildSync } from "esbuild";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";

test("a page loads less than 4 kB for it", () => {
  const { outputFiles } = buildSync({ entryPoints: ["src/index.ts"], bundle: true, minify: true, format: "esm", target: "es2022", write: false });
  const { byteLength } = gzipSync(outputFiles[0]!.contents, { level: 9 });
  console.log(`${byteLength} bytes with gzip, ${outputFiles[0]!.contents.byteLength} without`);
  expect(byteLength).toBeLessThan(4_000);
});
