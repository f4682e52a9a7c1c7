// The bank's page: one state, changed by `reduce` alone, and what is drawn from it. Every page reads without this script,
// and every form works without it; with it, what changes at the bank is seen as it changes.

// ---- The state, and the only function that makes the next one of it.

/** What the page knows before it has been told anything. */
export const nothing = {
  user: null, viewer: null, weather: null,
  position: 0, accounts: [], payments: [],
  asks: [], // what was asked for here and is not seen in the books yet, newest first
  chosen: null, line: "connecting",
};

const PAYMENTS_MAX = 20;
const ENTRIES_MAX = 40;
const ASKS_MAX = 8;

/** The next state; the former one is left as it is. */
export function reduce(state, action) {
  switch (action.type) {
    case "started": return settle({ ...state, ...action.init });
    case "told": return settle({ ...state, position: action.position, accounts: action.accounts, payments: action.payments });
    case "news": return settle({ ...action.news.reduce(change, state), position: Math.max(state.position, action.position) });
    case "asked": return { ...state, asks: [{ ...action.ask, status: "pending", sentence: "" }, ...state.asks].slice(0, ASKS_MAX) };
    case "answered": return settle({ ...state, asks: state.asks.map((ask) => ask.request === action.request ? answered(ask, action.outcome) : ask) });
    case "earlier": return { ...state, accounts: state.accounts.map((account) => account.id === action.account ? longer(account, action) : account) };
    case "chosen": return { ...state, chosen: action.account };
    case "line": return { ...state, line: action.line };
    case "weather": return { ...state, weather: action.weather };
    default: throw new Error(`no such action: ${action.type}`);
  }
}

// Earlier entries come behind those that are there; what is there already stays once.
function longer(account, { entries, more }) {
  const oldest = account.entries.at(-1)?.position ?? Infinity;
  return { ...account, entries: [...account.entries, ...entries.filter((entry) => entry.position < oldest)], more };
}

const answered = (ask, outcome) => ({
  ...ask,
  status: outcome.outcome,
  sentence: outcome.sentence,
  position: outcome.position,
  payment: outcome.payment,
});

// One of the news. What is known already changes nothing.
function change(state, news) {
  if (news.position <= state.position) return state;
  const account = (id, how) => state.accounts.map((account) => account.id === id ? how(account) : account);
  switch (news.change) {
    case "opened":
      return { ...state, accounts: [...state.accounts, news.account].sort((a, b) => a.id < b.id ? -1 : 1) };
    case "entry":
      return { ...state, accounts: account(news.account, (one) => ({
        ...one,
        balance: news.balance,
        entries: [news.entry, ...one.entries].slice(0, Math.max(ENTRIES_MAX, one.entries.length)),
        more: one.more || one.entries.length >= ENTRIES_MAX,
      })) };
    case "points":
      return { ...state, accounts: account(news.account, (one) => ({ ...one, points: news.points })) };
    case "payment": {
      const known = state.payments.some((payment) => payment.id === news.payment.id);
      const payments = known
        ? state.payments.map((payment) => payment.id === news.payment.id ? news.payment : payment)
        : [news.payment, ...state.payments].slice(0, PAYMENTS_MAX);
      return { ...state, payments };
    }
    default: return state; // of a later version of the bank
  }
}

// What was asked for goes once the books show it. What was refused stays, so that it can be read.
function settle(state) {
  const seen = new Set(state.payments.map((payment) => payment.request));
  for (const account of state.accounts) for (const entry of account.entries) seen.add(entry.request);
  const open = (ask) => !seen.has(ask.request) && !(ask.status === "accepted" && ask.position <= state.position);
  return state.asks.every(open) ? state : { ...state, asks: state.asks.filter(open) };
}

/** What is under way from an account and into it, in pence. */
export function underWay(state, id) {
  const asks = state.asks.filter((ask) => ask.status === "pending" && ask.account === id);
  const payments = state.payments.filter((payment) => payment.status === "pending" && payment.from === id);
  const sum = (list) => list.reduce((sum, one) => sum + one.pence, 0);
  return {
    out: sum(asks.filter((ask) => ask.deed === "pay" || ask.deed === "withdraw")) + sum(payments),
    into: sum(asks.filter((ask) => ask.deed === "deposit")),
  };
}

/** The account whose statement is shown. */
export const current = (state) => state.accounts.find((account) => account.id === state.chosen) ?? state.accounts[0] ?? null;

// ---- Words.

/** `£1,234.50`, as the server writes it. */
export function pounds(pence) {
  const whole = String(Math.floor(pence / 100)).replace(/\B(?=(\d{3})+$)/g, ",");
  return `£${whole}.${String(pence % 100).padStart(2, "0")}`;
}

/** What people write, in pence; null if it is no amount. */
export function amount(text) {
  const plain = text.trim().replace(/^£/, "").trim().replaceAll(",", "");
  const parts = /^(\d{0,13})(?:\.(\d{0,2}))?$/.exec(plain);
  if (!parts || plain.replace(".", "") === "") return null;
  const pence = Number(parts[1] || 0) * 100 + Number((parts[2] ?? "").padEnd(2, "0"));
  return pence > 0 ? pence : null;
}

export const slug = (name) => name.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "");
const points = (number) => `${number.toLocaleString("en-GB")} nectar ${number === 1 ? "point" : "points"}`;
const lines = { connecting: "connecting", live: "live", lost: "reconnecting", reading: "the bank reads its books" };

// ---- Drawing: the state into the page. Nothing is read back from what is drawn.

const one = (selector, from = document) => from.querySelector(selector);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];
const slot = (name, from) => one(`[data-f="${name}"]`, from);

function write(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

// A list is drawn by keys, so that what stays keeps its place, its focus and its animation.
function list(parent, template, items, keyOf, draw) {
  const old = new Map(all(":scope > [data-id]", parent).map((element) => [element.dataset.id, element]));
  let before = null;
  for (const item of items) {
    const key = String(keyOf(item));
    let element = old.get(key);
    if (element) {
      old.delete(key);
    } else {
      element = one(template).content.firstElementChild.cloneNode(true);
      element.dataset.id = key;
      if (drawn) element.classList.add("new");
    }
    draw(element, item);
    const place = before ? before.nextElementSibling : parent.firstElementChild;
    if (place !== element) parent.insertBefore(element, place);
    before = element;
  }
  for (const element of old.values()) element.remove();
}

function time(element, us) {
  const date = new Date(us / 1000);
  const text = date.toISOString();
  if (element.dateTime === text && element.dataset.own) return;
  element.dateTime = text;
  element.dataset.own = "yes";
  const today = new Date().toDateString() === date.toDateString();
  const clock = date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  element.textContent = today ? clock : `${date.toLocaleDateString("en-GB", { day: "numeric", month: "short" })} ${clock}`;
  element.title = date.toLocaleString("en-GB");
}

function trail(element, correlation, what) {
  const link = slot("trail", element);
  link.hidden = !state.viewer || !correlation;
  if (link.hidden) return;
  link.href = `${state.viewer}/correlation/${encodeURIComponent(correlation)}`;
  link.setAttribute("aria-label", `What caused this: ${what}`);
}

function drawAccount(element, account) {
  const link = slot("link", element);
  link.href = `/accounts/${account.id}`;
  if (current(state)?.id === account.id) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  write(slot("name", element), account.name);
  write(slot("id", element), account.id);
  write(slot("balance", element), pounds(account.balance));
  const badge = slot("points", element);
  badge.hidden = account.points === 0;
  write(badge, points(account.points));
  const { out, into } = underWay(state, account.id);
  const pending = slot("pending", element);
  pending.hidden = out + into === 0;
  write(pending, [out && `−${pounds(out)}`, into && `+${pounds(into)}`].filter(Boolean).join(" ") + " pending");
}

function drawEntry(element, entry) {
  element.dataset.tone = entry.direction === "credit" ? "in" : "out";
  write(slot("title", element), entry.title);
  write(slot("reference", element), entry.reference);
  time(slot("time", element), entry.time);
  write(slot("amount", element), `${entry.direction === "credit" ? "+" : "−"}${pounds(entry.pence)}`);
  write(slot("holds", element), pounds(entry.balance));
  trail(element, entry.correlation, entry.title);
}

// Asks and payments are orders: the former become the latter.
function orders() {
  const asks = state.asks.map((ask) => ({ ...ask, key: ask.request, title: ask.title }));
  const payments = state.payments.map((payment) => ({
    ...payment, key: payment.request ?? payment.id, title: `${pounds(payment.pence)} to ${payment.to}`, sentence: payment.sentence ?? "",
  }));
  return [...asks, ...payments].sort((a, b) => b.time - a.time);
}

function drawOrder(element, order) {
  element.dataset.status = order.status;
  write(slot("title", element), order.title);
  write(slot("reference", element), order.reference ?? "");
  write(slot("sentence", element), order.status === "accepted" ? "" : order.sentence);
  write(slot("status", element), order.status);
  time(slot("time", element), order.time);
  trail(element, order.correlation, order.title);
}

function drawChoices() {
  for (const select of all("select[data-accounts]")) {
    const chosen = select.value || current(state)?.id;
    const known = new Map([...select.options].map((option) => [option.value, option]));
    for (const account of state.accounts) {
      const option = known.get(account.id) ?? select.appendChild(new Option("", account.id));
      write(option, `${account.name} · ${pounds(account.balance)}`);
    }
    if (chosen) select.value = chosen;
  }
}

function drawWeather() {
  const strip = one("#weather");
  if (!strip || !state.weather) return;
  strip.dataset.sound = state.weather.sound;
  write(slot("sentence", strip), state.weather.sentence || "nothing has gone wrong yet");
  write(slot("audit", strip), state.weather.audit || "not audited yet");
}

let drawn = false;
function draw() {
  const account = current(state);
  one("#home").dataset.empty = state.accounts.length === 0;
  write(slot("total", document), pounds(state.accounts.reduce((sum, one) => sum + one.balance, 0)));
  list(one("#accounts"), "#t-account", state.accounts, (account) => account.id, drawAccount);
  const statement = one("#statement");
  statement.hidden = !account;
  if (account) {
    write(one("#statement-title"), account.name);
    write(slot("id", statement), account.id);
    list(one("#entries"), "#t-entry", account.entries, (entry) => entry.position, drawEntry);
    one('[data-when="no-entries"]').hidden = account.entries.length > 0;
    one('[data-when="more"]').hidden = !account.more;
    if (account.more) slot("back", statement).href = `/accounts/${account.id}/earlier?before=${account.entries.at(-1).position}`;
  }
  list(one("#orders"), "#t-order", orders(), (order) => order.key, drawOrder);
  one('[data-when="no-orders"]').hidden = orders().length > 0;
  drawChoices();
  drawWeather();
  const line = one("#line");
  line.hidden = false;
  line.dataset.line = state.line;
  write(slot("line", line), lines[state.line]);
  drawn = true;
}

// ---- The one state, and who may change it.

let state = nothing;
let due = false;
function dispatch(action) {
  state = reduce(state, action);
  if (due) return;
  due = true;
  queueMicrotask(() => { due = false; draw(); });
}

// ---- The live channel: told, not asked. After a cut it says what it knows, and is told what it missed.

const SILENCE_MS = 25_000;
let wait = 250;
function listen() {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live?after=${state.position}`);
  let silence = 0;
  const heard = () => { clearTimeout(silence); silence = setTimeout(() => socket.close(), SILENCE_MS); };
  socket.onopen = () => { wait = 250; heard(); };
  socket.onmessage = (message) => { heard(); hear(JSON.parse(message.data)); };
  socket.onclose = () => {
    clearTimeout(silence);
    dispatch({ type: "line", line: "lost" });
    setTimeout(listen, wait * (0.5 + Math.random() / 2));
    wait = Math.min(wait * 2, 4_000);
  };
}

function hear(told) {
  switch (told.kind) {
    case "state": dispatch({ type: "told", ...told }); break;
    case "news": dispatch({ type: "news", ...told }); greet(told.news); break;
    case "weather": dispatch({ type: "weather", weather: told }); break;
    case "reading": dispatch({ type: "line", line: "reading" }); return;
    case "ended": location.assign("/"); return;
  }
  if (state.line !== "live") dispatch({ type: "line", line: "live" });
}

// Money that somebody sent is said aloud, not only shown.
function greet(news) {
  const came = news.filter(({ change, entry }) => change === "entry" && entry.direction === "credit" && entry.why !== "deposit").at(-1);
  if (came) say(`${came.entry.title}: ${pounds(came.entry.pence)}.`, "accepted");
}

// ---- Asking: a form becomes an ask at once, and is sent until its outcome is known. Its id makes that harmless.

const request = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const fieldOf = { amount: "amount", recipient: "to", unknown_recipient: "to", self_transfer: "to", reference: "reference", name: "name", taken: "name", insufficient_funds: "amount", balance_too_large: "amount" };

function titleOf(deed, fields, pence) {
  switch (deed) {
    case "pay": return `${pounds(pence)} to ${fields.get("to").trim()}`;
    case "deposit": return `Pay in ${pounds(pence)}`;
    case "withdraw": return `Withdraw ${pounds(pence)}`;
    default: return `Open ${fields.get("name").trim()}`;
  }
}

function wrong(form, sentence, field) {
  const told = slot("wrong", form);
  told.hidden = !sentence;
  write(told, sentence);
  for (const input of all("[aria-invalid]", form)) input.removeAttribute("aria-invalid");
  const input = sentence && field && form.elements[field];
  if (!input) return;
  input.setAttribute("aria-invalid", "true");
  input.focus();
}

async function ask(form) {
  const deed = form.dataset.deed;
  const fields = new FormData(form);
  fields.set("request", request());
  const pence = deed === "open" ? 0 : amount(fields.get("amount"));
  if (pence === null) return wrong(form, `“${fields.get("amount").trim()}” is no amount. Write it like 12.50.`, "amount");
  wrong(form, "");
  const own = { request: fields.get("request"), deed, account: fields.get("account"), pence, title: titleOf(deed, fields, pence), reference: fields.get("reference")?.trim() ?? "", time: Date.now() * 1000 };
  dispatch({ type: "asked", ask: own });
  form.reset();
  for (const select of all("select", form)) select.value = own.account;
  const outcome = await outcomeOf(form.action, new URLSearchParams(fields), own.request);
  dispatch({ type: "answered", request: own.request, outcome });
  say(outcome.sentence, outcome.outcome);
  if (outcome.outcome === "rejected") wrong(form, outcome.sentence, document.activeElement?.form === form && fieldOf[outcome.reason]);
  if (outcome.outcome === "accepted" && deed === "open") opened(`${state.user.id}-${slug(fields.get("name"))}`);
}

// A new account is looked at, and what one does next is to pay in.
function opened(account) {
  choose(account);
  if (one("#tab-open").checked) tab("deposit");
}

async function goBack(link) {
  const account = current(state).id;
  try {
    const answer = await fetch(link.href, { headers: { accept: "application/json" } });
    if (answer.ok) return dispatch({ type: "earlier", account, ...await answer.json() });
  } catch { /* told below */ }
  say("The earlier entries cannot be read just now. Try again.");
}

async function outcomeOf(url, body, request) {
  for (let wait = 400; ; wait = Math.min(wait * 2, 4_000)) {
    try {
      const answer = await fetch(url, { method: "POST", body, headers: { accept: "application/json" } });
      if (answer.status === 401 || answer.status === 403) { location.assign("/"); return new Promise(() => {}); }
      if (answer.ok) {
        const outcome = await answer.json();
        if (outcome.outcome !== "pending" || outcome.payment) return outcome;
        dispatch({ type: "answered", request, outcome });
      }
    } catch { /* the bank is not there; it is asked again */ }
    await pause(wait);
  }
}

function say(text, outcome = "") {
  const place = one("#outcome");
  place.dataset.outcome = outcome;
  write(place, text);
}

// ---- Keys, buttons, the looks.

const root = document.documentElement;
const memory = {
  get: (name) => { try { return localStorage.getItem(name); } catch { return null; } },
  set: (name, value) => { try { localStorage.setItem(name, value); } catch { /* then not */ } },
};
const themed = memory.get("theme");
if (themed === "light" || themed === "dark") root.dataset.theme = themed;

const doing = {
  theme() {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    memory.set("theme", root.dataset.theme);
  },
  keys() {
    const keys = one("#keys");
    if (keys.open) keys.close(); else keys.showModal();
  },
  async copy() {
    const account = current(state);
    if (!account) return;
    try { await navigator.clipboard.writeText(account.id); say(`${account.id} copied`); } catch { say(account.id); }
  },
};

function tab(deed) {
  one(`#tab-${deed}`).checked = true;
  one(`#deed-${deed} :is(input:not([type="hidden"]), select)`).focus();
}

function choose(id) {
  dispatch({ type: "chosen", account: id });
  history.replaceState(null, "", `/accounts/${id}`);
  for (const select of all("select[data-accounts]")) select.value = id;
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=radio]), select, textarea, dialog")) return;
  const tabs = { p: "pay", d: "deposit", w: "withdraw", o: "open" };
  const account = /^[1-9]$/.test(event.key) && state.accounts[Number(event.key) - 1];
  if (event.key === "t") doing.theme();
  else if (!one("#home")) return;
  else if (event.key === "?") doing.keys();
  else if (event.key === "y") doing.copy();
  else if (tabs[event.key]) tab(tabs[event.key]);
  else if (account) choose(account.id);
  else return;
  event.preventDefault();
}

async function start() {
  for (const button of all("[data-do]")) {
    button.hidden = false;
    button.addEventListener("click", () => doing[button.dataset.do]());
  }
  document.addEventListener("keydown", press);
  if (!one("#home")) return;
  const answer = await fetch("/init", { headers: { accept: "application/json" } });
  if (!answer.ok) { setTimeout(() => location.reload(), 1_000); return; }
  dispatch({ type: "started", init: await answer.json() });
  const chosen = one("#home").dataset.account;
  if (chosen) dispatch({ type: "chosen", account: chosen });
  listen();
  document.addEventListener("submit", (event) => {
    const form = event.target.closest("form[data-deed]");
    if (!form) return;
    event.preventDefault();
    if (form.action.includes("/chaos/")) fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), headers: { accept: "application/json" } }).catch(() => {});
    else ask(form);
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a.account, a[data-f="back"]');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (link.dataset.f === "back") return goBack(link);
    choose(link.closest("[data-id]").dataset.id);
  });
  one("#open-name").addEventListener("input", (event) => write(slot("slug", one("#deed-open")), slug(event.target.value) || "everyday"));
}

if (typeof document !== "undefined") start();
