import { readFile } from "node:fs/promises";
import { build } from "esbuild";
import { compile } from "svelte/compiler";

const svelte = {
  name: "svelte",
  setup: ({ onLoad }) =>
    onLoad({ filter: /\.svelte$/ }, async ({ path }) => ({
      contents: compile(await readFile(path, "utf8"), { generate: "client", filename: path }).js.code,
    })),
};

await build({
  entryPoints: ["page.mjs"],
  bundle: true,
  format: "esm",
  outfile: "page.js",
  conditions: ["svelte", "browser"],
  plugins: [svelte],
});
