// node rig.mjs OPTIONS.json: runs Workers on workerd until its standard input ends.
//
// OPTIONS: {"modules": node_modules folder with miniflare, "persist": folder, "workers": [{"name", "build": folder,
// "date": compatibility date, "flags": […], "pyodide": {…}, "meter": bool, "bindings": {…},
// "objects": {binding: class, or class@worker}}]}.
// Prints one line of JSON when all is ready: {"urls": {name: …}}. Each line on its standard input is a command, answered
// by a line: {"scheduled": name, "cron": …} runs the cron handler of a worker, {"evict": name, "class": …, "object": …}
// evicts an object, which the oldest miniflare cannot do.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

const { modules: nodeModules, persist, workers } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const { Miniflare } = createRequire(join(nodeModules, "rig.js"))("miniflare");

function worker({ name, build, date, flags, pyodide, meter = false, objects = {}, bindings = {} }) {
  const modules = (type, ...files) => files.map((file) => ({ type, path: join(build, file) }));
  return {
    name,
    modulesRoot: build,
    modules: [
      ...modules("ESModule", "main.mjs", "bindings.mjs", "python.mjs", "globals.mjs", "classic.mjs", "meter.mjs", "object.mjs", "objects.mjs", "pyodide.mjs", "pyodide.asm.mjs"),
      ...modules("CompiledWasm", "pyodide.asm.wasm"),
      ...modules("Data", "stdlib.zip", "site.zip"),
    ],
    compatibilityDate: date,
    compatibilityFlags: flags,
    unsafeEvalBinding: "UNSAFE_EVAL",
    unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
    bindings: { ...bindings, PYODIDE: pyodide, METER: meter },
    d1Databases: { DB: "rig-database" },
    kvNamespaces: { KV: "rig-namespace", CONVERSATIONS: "rig-conversations" },
    durableObjects: Object.fromEntries(
      Object.entries(objects).map(([binding, named]) => {
        const [className, scriptName] = named.split("@");
        return [binding, { className, useSQLite: true, ...(scriptName && { scriptName }) }];
      }),
    ),
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

async function run(command) {
  if (command.evict) {
    const evicting = miniflare.unsafeEvictDurableObject(command.evict, command.class, { name: command.object });
    await evicting.catch((error) => {
      if (!error.message.includes("not currently running")) throw error;
    });
    return {};
  }
  const target = await miniflare.getWorker(command.scheduled);
  return await target.scheduled({ cron: command.cron });
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  try {
    say(await run(command));
  } catch (error) {
    say({ error: String(error?.stack ?? error) });
  }
}
await miniflare.dispose();
