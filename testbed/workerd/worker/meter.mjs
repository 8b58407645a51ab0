// A D1 binding that counts what goes through it and can make each call slower: what a Worker really sends to D1 is
// measured on the binding itself. What its Durable Objects are billed for is counted on their storage.

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function zero() {
  const objects = { requests: 0, alarms: 0, statements: 0, rowsRead: 0, rowsWritten: 0 };
  return { delayMs: 0, statements: 0, roundTrips: 0, rowsRead: 0, rowsWritten: 0, sql: {}, times: [], objects };
}

export const meter = zero();

export function readMeter() {
  return { ...meter };
}

export function resetMeter(delayMs) {
  Object.assign(meter, zero(), { delayMs });
}

async function call(statements, run) {
  meter.roundTrips += 1;
  meter.statements += statements.length;
  meter.times.push(Date.now());
  for (const { sql } of statements) meter.sql[sql] = (meter.sql[sql] ?? 0) + 1;
  if (meter.delayMs) await sleep(meter.delayMs);
  const answer = await run();
  for (const { meta } of Array.isArray(answer) ? answer : [answer]) {
    meter.rowsRead += meta.rows_read;
    meter.rowsWritten += meta.rows_written;
  }
  return answer;
}

// Counts the rows of an object's SQLite, and its alarms, each of which is billed as a row.
export function countStorage({ storage }) {
  const { sql } = storage;
  const [exec, setAlarm] = [sql.exec.bind(sql), storage.setAlarm.bind(storage)];
  sql.exec = (...values) => {
    const cursor = exec(...values);
    meter.objects.statements += 1;
    queueMicrotask(() => {
      // it has been read by now
      meter.objects.rowsRead += cursor.rowsRead;
      meter.objects.rowsWritten += cursor.rowsWritten;
    });
    return cursor;
  };
  storage.setAlarm = (...values) => {
    meter.objects.rowsWritten += 1;
    return setAlarm(...values);
  };
}

// Counts a request, a remote call or an alarm of an object: each is billed as a request.
export function countEvent(name) {
  meter.objects.requests += 1;
  if (name === "alarm") meter.objects.alarms += 1;
}

class Statement {
  constructor(sql, inner) {
    this.sql = sql;
    this.inner = inner;
  }

  bind(...values) {
    return new Statement(this.sql, this.inner.bind(...values));
  }

  all() {
    return call([this], () => this.inner.all());
  }
}

// Named as the binding's own class is: the SDK wraps bindings by the name of their class.
export class D1Database {
  constructor(inner) {
    this.inner = inner;
  }

  prepare(sql) {
    return new Statement(sql, this.inner.prepare(sql));
  }

  batch(statements) {
    return call(statements, () => this.inner.batch(statements.map(({ inner }) => inner)));
  }

  withSession(...constraint) {
    return new D1Database(this.inner.withSession(...constraint));
  }

  getBookmark() {
    return this.inner.getBookmark();
  }
}
