// Reads a command as JSON from each line of stdin, and answers on stdout with its number.
import readline from "node:readline";

export async function answerCommands(commands) {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { number, command, ...options } = JSON.parse(line);
    Promise.resolve()
      .then(() => commands[command](options))
      .then(
        (value) => ({ value: value ?? null }),
        (error) => ({ failure: `${error.stack}` }),
      )
      .then((answer) => process.stdout.write(`${JSON.stringify({ number, ...answer })}\n`));
  }
}
