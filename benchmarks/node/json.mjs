// node json.mjs FILE ROUNDS: how long JSON.parse and JSON.stringify take for a text, in seconds, and whether the text
// comes back byte for byte.
import { readFileSync } from "node:fs";

const text = readFileSync(process.argv[2], "utf8");
const rounds = Number(process.argv[3]);
const load = [];
const save = [];
let same = true;
for (let round = 0; round < rounds; round++) {
  let began = performance.now();
  const value = JSON.parse(text);
  load.push((performance.now() - began) / 1000);
  began = performance.now();
  const written = JSON.stringify(value);
  save.push((performance.now() - began) / 1000);
  same &&= written === text;
}
console.log(JSON.stringify({ load, save, same }));
