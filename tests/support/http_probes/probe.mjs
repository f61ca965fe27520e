// node probe.mjs URL KEY EVENT_FILE LINES_FILE: sends one event, then lines, by fetch (undici) and by node:http.
import { createReadStream, readFileSync } from "node:fs";
import http from "node:http";
import { Readable } from "node:stream";

const [url, key, event, lines] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true });

function byHttp(path, headers) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method: "POST", headers, agent }, (answer) => {
      let text = "";
      answer.on("data", (piece) => (text += piece));
      answer.on("end", () => resolve([answer.statusCode, text]));
    });
    request.on("error", reject);
    if (headers.Expect) {
      request.on("continue", () => createReadStream(path).pipe(request));
      request.flushHeaders();
    } else {
      createReadStream(path).pipe(request);
    }
  });
}

async function byFetch(path, headers, streamed) {
  const body = streamed ? Readable.toWeb(createReadStream(path)) : readFileSync(path);
  const answer = await fetch(url, { method: "POST", headers, body, duplex: "half" });
  return [answer.status, await answer.text()];
}

for (const form of ["fetch", "stream", "http", "expect"]) {
  for (const path of [event, lines]) {
    const mediaType = path === event ? "application/cloudevents+json" : "application/x-ndjson";
    const headers = { Authorization: `Bearer ${key}`, "Content-Type": mediaType };
    if (form === "expect") headers.Expect = "100-continue";
    const [status, text] = ["http", "expect"].includes(form)
      ? await byHttp(path, headers)
      : await byFetch(path, headers, form === "stream");
    console.log(form, status, text.split('"status":"accepted"').length - 1);
  }
}
agent.destroy();
