// Writes src/aibind/demo/static/vendor/ from the packages of package-lock.json. scripts/vendor runs it.
import { cp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const modules = new URL("node_modules/", import.meta.url);
const vendor = new URL(process.argv[2] ? `file://${process.argv[2]}/` : "../../src/aibind/demo/static/vendor/", import.meta.url);

/** Read a package's file, without the line that names a source map that is not shipped. */
const read = async (path) => (await readFile(new URL(path, modules), "utf8")).replace(/\n\/\/# sourceMappingURL=.*\n?$/, "\n");

/** Shrink an ES module; the packages below ship none that is small. */
async function minified(path) {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL(path, modules))],
    bundle: true,
    format: "esm",
    minify: true,
    charset: "utf8",
    legalComments: "inline",
    target: "es2022",
    write: false,
  });
  return outputFiles[0].text;
}

/** Keep the rules for MathML, without the font and the pictures in them: the page's policy would refuse them. */
async function mathsStyles(path) {
  const text = (await read(path)).replace(/\/\*[\s\S]*?\*\//g, "");
  return text
    .replace(/@font-face\s*\{[^}]*\}/g, "")
    .replace(/[^{}]*\{[^{}]*url\([^{}]*\}/g, "")
    .replace(/body\s*\{[^}]*\}/g, "")
    .replace(/\n\s*\n+/g, "\n")
    .trimStart();
}

// Each folder: [package, file in the package, file here, how it is made].
const FILES = [
  ["markdown-it", "dist/browser/markdown-it.esm.min.mjs", "markdown-it.js", read],
  ["markdown-it-footnote", "index.mjs", "markdown-it-footnote.js", read],
  ["dompurify", "dist/purify.es.mjs", "dompurify.js", minified],
  ["@highlightjs/cdn-assets", "es/highlight.min.js", "highlight.js", read],
  ["temml", "dist/temml.mjs", "temml.js", minified],
  ["temml", "dist/Temml-Local.css", "temml.css", mathsStyles],
];
const BUNDLED = { "markdown-it": ["entities", "linkify-it", "mdurl", "punycode.js", "uc.micro"] };
const HOW = new Map([[read, "as it is"], [minified, "minified by esbuild"], [mathsStyles, "without comments, its font and pictures"]]);

await rm(vendor, { recursive: true, force: true });
const rows = [];
for (const [name, from, to, make] of FILES) {
  const folder = name.replace("@highlightjs/cdn-assets", "highlight.js");
  const place = new URL(`${folder}/`, vendor);
  await mkdir(place, { recursive: true });
  await writeFile(new URL(to, place), await make(`${name}/${from}`));
  for (const part of [name, ...(BUNDLED[name] ?? [])]) {
    for (const file of (await readdir(new URL(`${part}/`, modules))).filter((each) => /^licen[cs]e/i.test(each))) {
      const target = part === name ? file : `LICENSE-${part}`;
      await cp(new URL(`${part}/${file}`, modules), new URL(target.replace(/\.(txt|md)$/i, ""), place));
    }
  }
  const { version, license } = JSON.parse(await read(`${name}/package.json`));
  rows.push(`| \`${folder}/${to}\` | ${name} | ${version} | ${license} | \`${from}\`, ${HOW.get(make)} |`);
}
const bundled = await Promise.all(
  BUNDLED["markdown-it"].map(async (name) => {
    const { version, license } = JSON.parse(await read(`${name}/package.json`));
    return `${name} ${version} (${license})`;
  }),
);
await writeFile(
  new URL("README.md", vendor),
  `# Vendored modules

Other people's work that the page uses, so that nothing has to be built or downloaded to use the demo. \`scripts/vendor\`
writes this folder from the npm packages that \`scripts/page-packages/package-lock.json\` pins; do not edit it by hand.

| File | Package | Version | Licence | File in the package |
| --- | --- | --- | --- | --- |
${rows.join("\n")}

\`markdown-it.js\` contains ${bundled.join(", ")}.
The licences are beside the files. DOMPurify may be used under either of its two; the page uses it under Apache-2.0.
`,
);
