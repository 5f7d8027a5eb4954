// The story with Node: node steps.mjs (fetch | agent | undici) BASE IDLE_SECONDS
import { createHash } from "node:crypto";
import http from "node:http";
import { createRequire } from "node:module";
import { setTimeout as idle } from "node:timers/promises";

const [kind, base, seconds] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true });

async function byFetch(url, data) {
  const got = await fetch(url, data ? { method: "POST", body: data } : {});
  return [got.status, Buffer.from(await got.arrayBuffer())];
}

function byAgent(url, data) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { agent, method: data ? "POST" : "GET", timeout: 40000 }, (got) => {
      const pieces = [];
      got.on("data", (piece) => pieces.push(piece));
      got.on("end", () => resolve([got.statusCode, Buffer.concat(pieces)]));
      got.on("error", reject);
    });
    request.on("error", reject);
    request.end(data);
  });
}

let undici;
async function byUndici(url, data) {
  undici ??= createRequire(process.env.NODE_MODULES_BESIDE)("undici");
  const got = await undici.request(url, data ? { method: "POST", body: data } : {});
  return [got.statusCode, Buffer.from(await got.body.arrayBuffer())];
}

const ask = { fetch: byFetch, agent: byAgent, undici: byUndici }[kind];
const sizes = { post: 300_000, refused: 3_000_000 };
for (const step of ["kept", "again", "post", "refused", "closed"]) {
  try {
    const [status, body] = await ask(`${base}/${step}`, sizes[step] ? Buffer.alloc(sizes[step], "u") : null);
    console.log(step, status, body.length, createHash("sha256").update(body).digest("hex"));
  } catch (error) {
    console.log(step, "error", `${error.message} ${error.cause?.code ?? error.code ?? ""}`);
  }
  if (step === "kept" || step === "closed") await idle(Number(seconds) * 1000);
}
process.exit(0);
