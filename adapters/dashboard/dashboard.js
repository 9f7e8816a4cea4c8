"use strict";
// Asks the gateway once a second and shows what it says. Text goes in as text, never as HTML.

const EVERY_MS = 1000;
const PATIENCE_MS = 5000;
const ROWS = 200;
const CHANGES = 30;
const LEVELS = ["monitor", "alert", "throttle", "quarantine", "block"];

const at = (id) => document.getElementById(id);
const numbers = new Intl.NumberFormat("en");
const rows = new Map();      // by app and partner: the table row
const levels = new Map();    // and the level last seen
let before = null;           // events and time of the last answer, for the rate

function cell(name, label, text) {
  const td = document.createElement("td");
  td.className = name;
  if (label) td.dataset.label = label;
  td.textContent = text || "";
  return td;
}

function newRow(partner) {
  const tr = document.createElement("tr");
  const name = cell("partner", "", partner.partner);
  if (partner.app !== "default") name.append(tag("app", partner.app));
  const learning = tag("learning", "learning");
  name.append(learning);
  const badge = cell("badge");
  const level = tag("level", "");
  badge.append(level);
  const score = cell("number score", "Score");
  const meter = document.createElement("meter");
  meter.max = 100;
  meter.low = 31;
  meter.high = 61;
  meter.optimum = 0;
  meter.setAttribute("aria-hidden", "true");
  const points = document.createElement("span");
  score.append(meter, points);
  const events = cell("number", "Events");
  const hour = cell("number", "Usual an hour");
  const seen = cell("number seen", "Last seen");
  const why = cell("why");
  tr.append(name, badge, score, events, hour, seen, why);
  return { tr, learning, level, meter, points, events, hour, seen, why };
}

function tag(name, text) {
  const span = document.createElement("span");
  span.className = name;
  span.textContent = text;
  return span;
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function ago(seconds, now) {
  if (seconds === null) return "never";
  const past = Math.max(0, Math.round(now - seconds));
  if (past < 60) return past + " s ago";
  if (past < 3600) return Math.round(past / 60) + " min ago";
  if (past < 172800) return Math.round(past / 3600) + " h ago";
  return Math.round(past / 86400) + " days ago";
}

function show(partner, now) {
  const key = JSON.stringify([partner.app, partner.partner]);
  if (!rows.has(key)) rows.set(key, newRow(partner));
  const row = rows.get(key);
  row.tr.className = partner.level;
  row.learning.hidden = !partner.learning;
  put(row.level, partner.level);
  row.meter.value = partner.score;
  put(row.points, partner.score.toFixed(0));
  put(row.events, numbers.format(partner.events));
  put(row.hour, numbers.format(Math.round(partner.requests_per_hour)));
  put(row.seen, ago(partner.last_seen, now));
  put(row.why, partner.pinned ? "pinned there by a person" : partner.reason ? partner.reason.detail : "");
  note(key, partner);
  return [key, row.tr];
}

function note(key, partner) {
  const was = levels.get(key);
  levels.set(key, partner.level);
  if (before === null || was === partner.level || (was === undefined && partner.level === "monitor")) return;
  const li = document.createElement("li");
  const badge = document.createElement("span");
  badge.className = partner.level;
  badge.append(tag("level", partner.level));
  const time = document.createElement("time");
  const now = new Date();
  time.dateTime = now.toISOString();
  time.textContent = now.toLocaleTimeString();
  const up = LEVELS.indexOf(partner.level) > LEVELS.indexOf(was);
  li.append(time, tag("partner", partner.partner), tag("way", up ? "rose to" : "fell to"), badge,
    tag("why", up && partner.reason ? partner.reason.detail : ""));
  at("changes").prepend(li);
  while (at("changes").children.length > CHANGES) at("changes").lastChild.remove();
  at("quiet").hidden = true;
}

// Rows in the order of the answer; those already in place stay untouched, so that nothing flickers.
function arrange(wanted) {
  const body = at("rows");
  wanted.forEach(([, tr], i) => {
    if (body.children[i] !== tr) body.insertBefore(tr, body.children[i] || null);
  });
  while (body.children.length > wanted.length) body.lastChild.remove();
  const keys = new Set(wanted.map(([key]) => key));
  for (const key of rows.keys()) if (!keys.has(key)) rows.delete(key);
}

// Under an action first, the others by name: a list that jumps about every second cannot be read.
function order(a, b) {
  const level = LEVELS.indexOf(b.level) - LEVELS.indexOf(a.level);
  return level || (a.partner < b.partner ? -1 : a.partner > b.partner ? 1 : a.app < b.app ? -1 : 1);
}

function draw(stats, found) {
  const now = Date.now() / 1000;
  arrange(found.partners.sort(order).map((partner) => show(partner, now)));
  put(at("partners"), numbers.format(found.total));
  put(at("acted"), numbers.format(found.partners.filter((partner) => partner.level !== "monitor").length));
  put(at("events"), numbers.format(stats.events));
  if (before !== null && now > before.now && stats.events >= before.events) {
    const fresh = (stats.events - before.events) / (now - before.now);
    before.rate = before.rate === null ? fresh : before.rate * 0.8 + fresh * 0.2;
    put(at("rate"), before.rate < 10 ? before.rate.toFixed(1) : numbers.format(Math.round(before.rate)));
  }
  before = { now, events: stats.events, rate: before === null ? null : before.rate };
  const mode = at("mode");
  mode.hidden = false;
  mode.classList.toggle("acting", !stats.shadow && !stats.kill_switch);
  at("held").hidden = !stats.newcomers_held;
  put(mode, stats.kill_switch ? "KILL SWITCH: nothing is enforced"
    : stats.shadow ? "SHADOW mode: reported, nothing is enforced" : "ENFORCING");
  at("note").hidden = !stats.demo;
  if (stats.demo) put(at("note"), "A demonstration with simulated partners, learned from two simulated days. Every two and a half " +
    "minutes one of them turns bad for a while; levels fall again sooner than they do by default.");
  at("empty").hidden = found.total > 0;
  at("more").hidden = found.total <= found.partners.length;
  put(at("more"), "and " + numbers.format(found.total - found.partners.length) + " more, all at lower levels");
}

// A token is kept for this tab only; without one the gateway lets in who is on its own machine.
function headers() {
  const token = sessionStorage.getItem("token");
  return token ? { authorization: "Bearer " + token } : {};
}

async function ask(path) {
  const answer = await fetch(path, { headers: headers(), signal: AbortSignal.timeout(PATIENCE_MS) });
  if (answer.status === 401 || answer.status === 403) wantToken(answer.status);
  if (!answer.ok) throw new Error("HTTP " + answer.status);
  return answer.json();
}

function wantToken(status) {
  const given = sessionStorage.getItem("token") !== null;
  at("login").hidden = false;
  put(at("login-why"), !given ? "" : status === 401 ? "This token is not known, or was revoked." : "This token may not look: it lacks the role read.");
}

at("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", at("token").value.trim());
  at("token").value = "";
  at("login").hidden = true;
  turn();
});

// What happens is told at once: a change of level is drawn when it comes, not at the next turn.
async function listen() {
  try {
    const answer = await fetch("/events", { headers: headers() });
    if (answer.ok) {
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        if (value.includes("event: ")) turn();
      }
    }
  } catch (error) {
    console.warn(error);
  }
  setTimeout(listen, PATIENCE_MS);
}

function connected(yes) {
  const place = at("connection");
  place.classList.toggle("lost", !yes);
  put(place, yes ? "live" : "no answer from the gateway; trying again");
}

let next = null;
let asking = false;

async function turn() {
  if (asking) return;
  asking = true;
  clearTimeout(next);
  try {
    const [stats, found] = await Promise.all([ask("/stats"), ask("/partners?limit=" + ROWS)]);
    draw(stats, found);
    at("login").hidden = true;
    connected(true);
  } catch (error) {
    console.warn(error);
    connected(false);
  }
  asking = false;
  next = setTimeout(turn, EVERY_MS);
}

turn();
listen();
