/**
 * Send detainer events, one JSON CloudEvent per line, and read the receipts while sending. Node 20, no packages.
 *
 *     node client.mjs [FILE]     # without FILE: standard input, which may be endless
 *
 * DDOR_INGEST_URL is the address of ingest, DDOR_AGENCY_KEY the agency's key. Exit code 0: every event was accepted.
 * 1: some were rejected; standard output lists each with line, code and detail. 2: the client stopped before the end
 * of the input; standard error gives the reason.
 */

import { createReadStream } from "node:fs";
import http from "node:http";
import https from "node:https";
import { setTimeout as sleep } from "node:timers/promises";

const LINES = 10_000; // per request at most: events without a receipt are in memory
const IDLE_SECONDS = 1; // without a new event, the request ends; ingest would end it after 300 seconds
const STALL_SECONDS = 330; // without a receipt, the connection is closed; ingest is never that slow
const [FIRST_WAIT, LONGEST_WAIT] = [0.5, 30]; // seconds before a retry
const RETRYABLE_STATUSES = [408, 429, 500, 502, 503, 504];
const RETRYABLE_ERRORS = ["too-many-events", "too-slow", "receipts-not-read"]; // on the last line of a stream

/** Some events have no final receipt yet. `seconds` is the value of Retry-After, or 0. */
class RetryError extends Error {
  constructor(reason, seconds = 0) {
    super(reason);
    this.seconds = seconds;
  }
}

class Client {
  waiting = []; // events { number, text, settled } without a final receipt; sent before new events
  inputEnded = false;
  accepted = 0;
  rejected = 0;

  constructor(url, key, source) {
    this.url = new URL(url.replace(/\/+$/, "") + "/v1/events");
    this.headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/x-ndjson" };
    this.newEvents = read(source);
  }

  /** Send until every event has a final receipt. Returns the exit code. */
  async run() {
    let wait = FIRST_WAIT;
    while (await this.more()) {
      const settled = this.accepted + this.rejected;
      try {
        await this.post();
      } catch (error) {
        if (!(error instanceof RetryError) && !error.code) throw error; // a defect of this program
        if (this.accepted + this.rejected > settled) wait = FIRST_WAIT; // there was progress
        // Random, so that disconnected clients do not all return at the same time.
        const seconds = Math.max(error.seconds ?? 0, wait * (0.5 + Math.random() / 2));
        wait = Math.min(2 * wait, LONGEST_WAIT);
        console.error(`again in ${seconds.toFixed(1)} s: ${error.message || error.code}`);
        await sleep(1000 * seconds);
      }
    }
    console.log(`accepted ${this.accepted}, rejected ${this.rejected}`);
    return this.rejected ? 1 : 0;
  }

  /** Whether there is an event to send. Waits up to `seconds` for a new one. */
  async more(seconds = Infinity) {
    if (!this.waiting.length && !this.inputEnded) {
      this.nextEvent ??= this.newEvents.next().then(({ done, value }) => {
        this.inputEnded = done;
        if (!done) this.waiting.push(value);
        this.nextEvent = null;
      });
      const timer = new AbortController();
      const idle = seconds < Infinity ? [sleep(1000 * seconds, null, { signal: timer.signal }).catch(() => {})] : [];
      await Promise.race([this.nextEvent, ...idle]); // a later event is found by the next call
      timer.abort();
    }
    return this.waiting.length > 0;
  }

  /** Make one request, and read receipts while sending. The next request resends unsettled events. */
  async post() {
    const request = (this.url.protocol === "https:" ? https : http).request(this.url, {
      method: "POST", headers: this.headers, agent: false, timeout: 1000 * STALL_SECONDS,
    });
    request.on("timeout", () => request.destroy(new RetryError("no data for too long")));
    const responded = new Promise((resolve, reject) => request.on("response", resolve).on("error", reject));
    const exchange = { sent: [], closed: false };
    this.send(request, exchange);
    try {
      await this.receive(await responded, exchange);
    } finally {
      exchange.closed = true;
      request.destroy();
      this.waiting.unshift(...exchange.sent.filter((event) => !event.settled));
    }
  }

  /** Send waiting events, then new ones, until the request must end. */
  async send(request, exchange) {
    request.flushHeaders();
    while (!exchange.closed && exchange.sent.length < LINES && (await this.more(IDLE_SECONDS)) && !exchange.closed) {
      const event = this.waiting.shift();
      exchange.sent.push(event); // line n of the request is sent[n - 1]; its receipt may arrive at once
      // One at a time: backpressure. There is no callback after `request.destroy()`.
      await new Promise((written) => request.write(Buffer.concat([event.text, Buffer.from("\n")]), written));
    }
    request.end();
  }

  /** Read receipts until every event of the request has a final one. Throws RetryError if one is missing. */
  async receive(response, exchange) {
    if (response.statusCode !== 207) {
      const reason = `${response.statusCode} ${await problem(response)}`;
      if (!RETRYABLE_STATUSES.includes(response.statusCode)) stop(reason);
      const retryAfter = response.headers["retry-after"] ?? "";
      throw new RetryError(reason, /^\d+$/.test(retryAfter) ? Number(retryAfter) : 0);
    }
    for await (const line of lines(response)) {
      const message = JSON.parse(line);
      if (message.line) {
        this.settle(message, exchange.sent[message.line - 1], exchange);
      } else if (message.error) {
        const reason = `ingest ended the stream, ${message.error.code}: ${message.error.detail}`;
        if (!RETRYABLE_ERRORS.includes(message.error.code)) stop(reason);
        throw new RetryError(reason);
      } else if (message.summary) {
        const missing = exchange.sent.filter((event) => !event.settled).length;
        if (missing) throw new RetryError(`${missing} events are not known to be stored`);
        return;
      }
    }
    throw new RetryError("the response was cut off");
  }

  settle(receipt, event, exchange) {
    if (receipt.status === "accepted") {
      this.accepted += 1;
    } else if (receipt.status === "rejected") {
      this.rejected += 1;
      console.log(`line ${event.number}: ${receipt.code}: ${receipt.detail}`);
    } else {
      exchange.closed = true; // unavailable: end the request, wait, and send again
    }
    event.settled = receipt.status !== "unavailable";
  }
}

/** The lines of a stream as Buffers: ingest validates bytes. `rest`: also a last line without a line break. */
async function* lines(stream, rest = false) {
  let begun = Buffer.alloc(0);
  for await (const chunk of stream) {
    begun = Buffer.concat([begun, chunk]);
    for (let end; (end = begun.indexOf(10)) >= 0; begun = begun.subarray(end + 1)) yield begun.subarray(0, end);
  }
  if (rest) yield begun;
}

async function* read(source) {
  let number = 0;
  try {
    for await (const text of lines(source, true)) {
      number += 1;
      if (/[^ \t\r]/.test(text.toString("latin1"))) yield { number, text, settled: false };
    }
  } catch (error) {
    stop(`the input cannot be read: ${error.message}`); // not the end of the input
  }
}

/** Code and detail of a problem (RFC 9457); a proxy's response may have neither. */
async function problem(response) {
  try {
    const { code, detail } = JSON.parse(Buffer.concat(await response.toArray()).toString());
    return `${code}: ${detail}`;
  } catch {
    return "no reason given; check that DDOR_INGEST_URL is the address of ingest";
  }
}

function stop(reason) {
  console.error(`stopped: ${reason}`);
  process.exit(2);
}

const { DDOR_INGEST_URL: url, DDOR_AGENCY_KEY: key } = process.env;
if (!url || !key) stop("DDOR_INGEST_URL and DDOR_AGENCY_KEY must be set");
const source = process.argv[2] ? createReadStream(process.argv[2]) : process.stdin;
process.exit(await new Client(url, key, source).run());
