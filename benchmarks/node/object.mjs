// node object.mjs NODE_MODULES FOLDER DATE: runs object.js on workerd, with the objects' SQLite in FOLDER, under a
// compatibility date. Prints {"url": …} when it listens, and ends with its standard input.
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const [nodeModules, persist, compatibilityDate] = process.argv.slice(2);
const { Miniflare } = createRequire(join(nodeModules, "object.js"))("miniflare");
const here = dirname(fileURLToPath(import.meta.url));
const miniflare = new Miniflare({
  name: "javascript",
  host: "127.0.0.1",
  port: 0,
  compatibilityDate,
  modulesRoot: here,
  modules: [{ type: "ESModule", path: join(here, "object.js") }],
  unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
  durableObjects: { CHATS: { className: "Chat", useSQLite: true } },
  durableObjectsPersist: persist,
});
await miniflare.ready;
process.stdout.write(JSON.stringify({ url: (await miniflare.unsafeGetDirectURL("javascript")).origin }) + "\n");
for await (const _ of process.stdin);
await miniflare.dispose();
