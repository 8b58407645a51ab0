// Reads Markdown in a thread of its own: see heavy.js.
import { endsOfBlocks } from "./ends.js";
import { Definitions } from "./definitions.js";
import { MAX_BLOCK_ELEMENTS } from "./limits.js";
import { htmlOf } from "./parser.js";

function ends({ text }) {
  return { ends: endsOfBlocks(text) };
}

function html({ source, known }) {
  const environment = Definitions.of(known).environment();
  const found = htmlOf(source, environment);
  if ((found.match(/<[a-z]/g)?.length ?? 0) > MAX_BLOCK_ELEMENTS) {
    return undefined;
  }
  const { links, sought, noteRefs, noteDefinitions } = environment;
  return { html: found, environment: { links, sought, noteRefs, noteDefinitions } };
}

self.onmessage = ({ data }) => self.postMessage(data.kind === "ends" ? ends(data) : html(data));
self.postMessage("ready");
