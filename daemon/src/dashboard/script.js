"use strict";
const BEARER = "zest-bearer", SECONDS = 300, EVERY_MS = 1000, SLOW = 5;
const at = (id) => document.getElementById(id);
const make = (tag, text, kind) => { const it = document.createElement(tag); if (text !== undefined) it.textContent = text; if (kind) it.className = kind; return it; };
const bytes = (n) => { const units = ["B", "kB", "MB", "GB", "TB"]; let unit = 0; n = Number(n) || 0; while (n >= 1000 && unit < 4) { n /= 1000; unit += 1; } return `${unit ? n.toFixed(n < 10 ? 2 : 1) : Math.round(n)} ${units[unit]}`; };
const counted = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
const rate = (n) => `${bytes(n)}/s`;
const ask = async (method, path, body) => {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem(BEARER)}` };
  if (body) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body), cache: "no-store", credentials: "omit" });
  if (answer.status === 401) { sessionStorage.removeItem(BEARER); lock(); throw new Error("locked"); }
  const document = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw new Error(document?.error?.message ?? `status ${answer.status}`);
  return document;
};
const lock = () => { at("locked").hidden = false; at("open").hidden = true; at("state").textContent = "locked"; };
const login = async () => {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (!code) return;
  // Before anything else: a code in the address stays in no history.
  history.replaceState(null, "", "/");
  const answer = await fetch("/v1/login", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ code }), credentials: "omit" });
  if (answer.ok) sessionStorage.setItem(BEARER, (await answer.json()).bearer);
};

const pulls = new Map();
const samples = [];
let last = null;
const sums = () => [...pulls.values()].reduce((sum, pull) => ({ peers: sum.peers + pull.progress.from_peers, cdn: sum.cdn + pull.progress.from_cdn }), { peers: 0, cdn: 0 });
const sample = (uploaded) => {
  const now = { at: performance.now(), out: uploaded, ...sums() };
  if (last) {
    const span = Math.max((now.at - last.at) / 1000, 0.001);
    samples.push({ peers: Math.max(0, now.peers - last.peers) / span, cdn: Math.max(0, now.cdn - last.cdn) / span, out: Math.max(0, now.out - last.out) / span });
    if (samples.length > SECONDS) samples.shift();
  }
  last = now;
};
const plot = () => {
  const top = Math.max(1e6, ...samples.map((it) => Math.max(it.peers, it.cdn, it.out)));
  const svg = at("plot");
  svg.replaceChildren();
  for (const name of ["peers", "cdn", "out"]) {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    line.setAttribute("class", `stroke-${name}`);
    line.setAttribute("points", samples.map((it, i) => `${(600 * (SECONDS - samples.length + i + 1)) / SECONDS},${(116 - (112 * it[name]) / top).toFixed(1)}`).join(" "));
    svg.append(line);
  }
  const now = samples.at(-1) ?? { peers: 0, cdn: 0, out: 0 };
  at("rate-in").textContent = rate(now.peers + now.cdn);
  at("rate-out").textContent = rate(now.out);
  at("plot-text").textContent = `rates of the last five minutes, up to ${rate(top)}; now ${rate(now.peers)} from peers, ${rate(now.cdn)} from the CDN, ${rate(now.out)} uploaded`;
};

const cards = new Map();
let earlier = new Set();
const card = (pull) => {
  let it = cards.get(pull.id);
  if (!it) {
    const node = make("li"), line = make("div", undefined, "line"), name = make("b"), state = make("span", "", "state"), acts = make("span", undefined, "act");
    const bar = make("div", undefined, "bar"), text = make("div", "", "quiet");
    bar.setAttribute("role", "progressbar");
    bar.setAttribute("aria-valuemin", "0");
    bar.setAttribute("aria-valuemax", "100");
    const parts = ["peers", "cdn", "disk"].map((kind) => { const part = make("i", undefined, kind); bar.append(part); return part; });
    const button = (verb, word) => { const b = make("button", word); b.type = "button"; b.onclick = () => tell(pull.id, verb()); acts.append(b); return b; };
    const pause = button(() => (pulls.get(pull.id)?.state === "paused" ? "resume" : "pause"), "Pause"), cancel = button(() => "cancel", "Cancel");
    line.append(name, state, acts);
    node.append(line, bar, text);
    it = { node, name, state, bar, parts, text, pause, cancel };
    cards.set(pull.id, it);
    at("pulls").prepend(node);
  }
  const { progress } = pull, total = progress.bytes_total || 0, percent = total ? Math.floor((100 * progress.bytes_done) / total) : 0;
  const going = pull.state === "running" || pull.state === "paused";
  it.name.textContent = pull.repo;
  it.state.textContent = [...(pull.revision === "main" ? [] : [pull.revision]), pull.state, ...(pull.policy ? [pull.policy] : []), ...(earlier.has(pull.id) ? ["of an earlier run"] : [])].join(", ");
  [progress.from_peers, progress.from_cdn, progress.from_disk].forEach((n, i) => { it.parts[i].style.width = `${total ? (100 * n) / total : 0}%`; });
  it.bar.setAttribute("aria-valuenow", percent);
  it.bar.setAttribute("aria-label", `${pull.repo}: ${percent} %`);
  const out = (progress.outages ?? []).map((it) => `${it.service} does not answer: ${it.why}`);
  // Why it failed comes first, and alone where nothing else is known.
  const figures = pull.failure && !total ? [] : [`${bytes(progress.bytes_done)} of ${bytes(total)}`, `${bytes(progress.from_peers)} from peers`, `${bytes(progress.from_cdn)} from the CDN`, `${bytes(progress.from_disk)} from this disk`, `${progress.files_done} of ${counted(progress.files_total, "file")}`];
  it.text.textContent = [...(pull.failure ? [pull.failure.message] : []), ...figures, ...out].join(" · ");
  it.text.className = pull.failure ? "failed" : "quiet";
  it.pause.hidden = it.cancel.hidden = !going;
  it.pause.textContent = pull.state === "paused" ? "Resume" : "Pause";
  it.pause.setAttribute("aria-label", `${it.pause.textContent} ${pull.repo}`);
  it.cancel.setAttribute("aria-label", `Cancel ${pull.repo}`);
};
const show = (pull) => { pulls.set(pull.id, pull); card(pull); };
const tell = async (id, verb) => { try { show(await ask("POST", `/v1/pulls/${id}/${verb}`)); } catch (error) { at("state").textContent = error.message; } };
const rows = (id, list, none) => {
  const width = at(id).parentElement.querySelectorAll("th").length;
  const empty = () => { const row = make("tr"), cell = make("td", none, "quiet"); cell.colSpan = width; row.append(cell); return row; };
  at(id).replaceChildren(...(list.length ? list.map((cells) => { const row = make("tr"); row.append(...cells.map((text) => make("td", text))); return row; }) : [empty()]));
};

let turn = 0, touched = false;
const look = async () => {
  const status = await ask("GET", "/v1/status");
  at("locked").hidden = true;
  at("open").hidden = false;
  at("state").textContent = `${status.version}, process ${status.pid}${status.stopping ? ", stopping" : ""}`;
  earlier = new Set(status.resumed);
  at("waiting").textContent = status.waiting_for_token.map((it) => `${it.repo}, of an earlier run, waits for a token: ask for it again with one`).join(" · ");
  at("waiting").hidden = !status.waiting_for_token.length;
  const known = new Set(status.pulls.map((pull) => pull.id));
  status.pulls.forEach(show);
  for (const [id, it] of cards) if (!known.has(id)) { it.node.remove(); cards.delete(id); pulls.delete(id); }
  at("no-pulls").hidden = cards.size > 0;
  at("peers-count").textContent = status.stats.peers;
  at("given").textContent = bytes(status.stats.uploaded);
  at("shared").textContent = `${counted(status.shared.files_shared, "file")}, ${bytes(status.shared.bytes_shared)}`;
  sample(status.stats.uploaded);
  plot();
  if (!touched) for (const field of at("limits").elements) {
    if (!field.name) continue;
    const value = status[field.name];
    field.value = field.type === "number" ? (value === null ? "" : value / 1e6) : value;
  }
  if (turn % SLOW === 0) {
    const [peers, models] = await Promise.all([ask("GET", "/v1/peers"), ask("GET", "/v1/models")]);
    rows("peers", peers.map((it) => [`${it.addr}${it.inbound ? " (it connected)" : ""}`, bytes(it.gave), bytes(it.took)]), "nobody is linked");
    rows("models", models.map((it) => [`${it.type === "model" ? "" : `${it.type} `}${it.name} @ ${it.commit.slice(0, 8)}`, bytes(it.bytes), `${it.files} of ${it.files_total}`, it.not_shared ? `no: ${it.not_shared}` : `${counted(it.files_shared, "file")}, ${bytes(it.bytes_shared)}`]), "none");
  }
  turn += 1;
};
at("limits").addEventListener("input", () => { touched = true; });
at("limits").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData(event.target), cap = (name) => (form.get(name) ? Math.round(Number(form.get(name)) * 1e6) : null);
  try {
    await ask("PATCH", "/v1/settings", { max_download: cap("max_download"), max_upload: cap("max_upload"), policy: form.get("policy"), giving: form.get("giving") });
    touched = false;
    at("limits-said").textContent = "applied";
  } catch (error) { at("limits-said").textContent = error.message; }
});

// Events by fetch: EventSource sends no bearer.
let after = null;
const listen = async () => {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem(BEARER)}` };
  if (after) headers["Last-Event-ID"] = after;
  const answer = await fetch("/v1/events", { headers, cache: "no-store", credentials: "omit" });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ;) {
    const { value, done } = await reader.read();
    if (done) return;
    const records = (text + value).split("\n\n");
    text = records.pop();
    for (const record of records) {
      const field = (name) => record.split("\n").find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      after = field("id") ?? after;
      const data = field("data");
      if (!data) continue;
      const event = JSON.parse(data), pull = pulls.get(event.pull);
      if (event.event === "progress" && pull) show({ ...pull, progress: event });
    }
  }
};
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const keep = async (what, ms) => { while (sessionStorage.getItem(BEARER)) { try { await what(); } catch (error) { if (sessionStorage.getItem(BEARER)) at("state").textContent = `the daemon does not answer: ${error.message}`; } await pause(ms); } };
(async () => {
  await login().catch(() => {});
  if (!sessionStorage.getItem(BEARER)) return lock();
  keep(look, EVERY_MS);
  keep(listen, EVERY_MS);
})();
