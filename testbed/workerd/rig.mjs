// node rig.mjs OPTIONS.json: runs Workers on workerd until its standard input ends.
//
// OPTIONS: {"persist": folder, "workers": [{"name", "build": folder, "pyodide": {…}, "meter": bool, "bindings": {…}}]}.
// Prints one line of JSON when all is ready: {"urls": {name: …}}. Each line on its standard input is a command, answered
// by a line: {"scheduled": name, "cron": …} runs the cron handler of a worker.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Miniflare } from "miniflare";

const { persist, workers } = JSON.parse(readFileSync(process.argv[2], "utf8"));

function worker({ name, build, pyodide, meter = false, bindings = {} }) {
  const modules = (type, ...files) => files.map((file) => ({ type, path: join(build, file) }));
  return {
    name,
    modulesRoot: build,
    modules: [
      ...modules("ESModule", "main.mjs", "python.mjs", "globals.mjs", "classic.mjs", "meter.mjs", "pyodide.mjs", "pyodide.asm.mjs"),
      ...modules("CompiledWasm", "pyodide.asm.wasm"),
      ...modules("Data", "stdlib.zip", "site.zip"),
    ],
    compatibilityDate: "2026-04-01",
    unsafeEvalBinding: "UNSAFE_EVAL",
    unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
    bindings: { ...bindings, PYODIDE: pyodide, METER: meter },
    d1Databases: { DB: "rig-database" },
    kvNamespaces: { KV: "rig-namespace", CONVERSATIONS: "rig-conversations" },
    durableObjects: { STREAMS: { className: "StreamObject", useSQLite: true } },
  };
}

const miniflare = new Miniflare({
  host: "127.0.0.1",
  port: 0,
  d1Persist: join(persist, "d1"),
  kvPersist: join(persist, "kv"),
  durableObjectsPersist: join(persist, "do"),
  handleRuntimeStdio(stdout, stderr) {
    stdout.pipe(process.stderr);
    stderr.pipe(process.stderr);
  },
  workers: workers.map(worker),
});
await miniflare.ready;
const urls = {};
for (const { name } of workers) urls[name] = (await miniflare.unsafeGetDirectURL(name)).origin;
const say = (value) => process.stdout.write(JSON.stringify(value) + "\n");
say({ urls });

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  try {
    const target = await miniflare.getWorker(command.scheduled);
    say(await target.scheduled({ cron: command.cron }));
  } catch (error) {
    say({ error: String(error?.stack ?? error) });
  }
}
await miniflare.dispose();
