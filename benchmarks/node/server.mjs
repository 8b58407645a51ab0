// node server.mjs [FOLDER]: the Durable Streams server, in memory or with its files in FOLDER, on a free port.
// Prints {"port": …} when it listens, and ends with its standard input. Each line on that is a command:
// {"prefill": path, "chunks": n, "text": …} stores n chunks through the server's own store and answers {"seconds": …};
// {"cpu": true} answers {"cpu_seconds": …} so far.
import { createInterface } from "node:readline";
import { DurableStreamTestServer } from "@durable-streams/server";

for (const name of ["log", "info", "debug", "warn"]) console[name] = () => {}; // writing a log would slow it down
const say = (value) => process.stdout.write(JSON.stringify(value) + "\n");
const type = "text/plain";
const server = new DurableStreamTestServer({ port: 0, host: "127.0.0.1", dataDir: process.argv[2], compression: false });
const url = await server.start();
say({ port: Number(new URL(url).port) });

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  if (command.prefill) {
    const began = performance.now();
    await server.store.create(command.prefill, { contentType: type });
    for (let number = 0; number < command.chunks; number++) {
      const data = new TextEncoder().encode(command.text + number);
      await server.store.append(command.prefill, data, { contentType: type });
    }
    await server.store.closeStream(command.prefill);
    say({ seconds: (performance.now() - began) / 1000 });
  } else {
    const { user, system } = process.cpuUsage();
    say({ cpu_seconds: (user + system) / 1e6 });
  }
}
process.exit(0);
