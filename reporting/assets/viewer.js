// Keys, zoom, lighting, live rows. Every page reads without it; nothing here asks anybody but the viewer itself.

const one = (selector, from = document) => from.querySelector(selector);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];
const root = document.documentElement;

// What is remembered, where that is possible: a file that was opened from a disk may not be allowed to.
const memory = {
  get: (name) => { try { return localStorage.getItem(name); } catch { return null; } },
  set: (name, value) => { try { localStorage.setItem(name, value); } catch { /* then not */ } },
};

let stepping = null;
let silence = 0;
function say(text) {
  const notice = one("#notice");
  notice.textContent = text;
  notice.classList.add("said");
  clearTimeout(silence);
  silence = setTimeout(() => notice.classList.remove("said"), 2200);
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  say(`${what} copied`);
}

// Light and dark.
const themed = memory.get("theme");
if (themed === "light" || themed === "dark") root.dataset.theme = themed;
function theme() {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  memory.set("theme", root.dataset.theme);
  say(dark ? "Light" : "Dark");
}

function help() {
  const keys = one("#keys");
  if (keys.open) keys.close(); else keys.showModal();
}

for (const button of all("[data-do]")) {
  button.hidden = false;
  button.addEventListener("click", () => doing[button.dataset.do]?.(button));
}
for (const button of all("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(button.dataset.copy, button.dataset.what ?? "Text"));
}

// Rows and nodes: one of them is on.
const rows = () => all("tr[data-p], .node[data-p]").filter((row) => row.getClientRects().length);
let on = null;
function turnOn(row, scroll = true) {
  on?.classList.remove("on");
  on = row;
  if (!row) return;
  row.classList.add("on");
  if (scroll) row.scrollIntoView({ block: "nearest", inline: "nearest" });
  if (row.matches(".node")) row.focus({ preventScroll: true });
}
function move(by) {
  const list = rows();
  if (!list.length) return;
  const at = list.indexOf(on);
  turnOn(list[Math.max(0, Math.min(list.length - 1, at < 0 ? 0 : at + by))]);
}

// Lighting: what led to it, what came of it.
function light(row, ways) {
  const picture = row?.closest(".picture");
  if (!picture) return;
  const edges = all(".edge[data-from]", picture);
  const next = { causes: new Map(), effects: new Map() };
  for (const edge of edges) {
    const { from, to } = edge.dataset;
    (next.effects.get(from) ?? next.effects.set(from, []).get(from)).push([to, edge]);
    (next.causes.get(to) ?? next.causes.set(to, []).get(to)).push([from, edge]);
  }
  unlight();
  picture.classList.add("lighting");
  row.classList.add("lit");
  let number = 0;
  for (const way of ways) {
    const open = [row.dataset.p];
    const seen = new Set(open);
    while (open.length) {
      for (const [id, edge] of next[way].get(open.pop()) ?? []) {
        edge.classList.add("lit");
        if (seen.has(id)) continue;
        seen.add(id);
        open.push(id);
        number += 1;
        for (const node of all(`.node[data-p="${id}"]`, picture)) node.classList.add("lit");
      }
    }
  }
  const words = { causes: "led to it", effects: "came of it" };
  say(`${number} ${ways.map((way) => words[way]).join(" and ")}`);
}
function unlight() {
  for (const picture of all(".lighting")) picture.classList.remove("lighting");
  for (const lit of all(".lit")) lit.classList.remove("lit");
}
document.addEventListener("click", (event) => {
  const node = event.target.closest(".picture .node[data-p]");
  if (!node || node.classList.contains("fold") || event.ctrlKey || event.metaKey || event.shiftKey) return;
  // The first click lights, the second one opens.
  if (node === on && node.classList.contains("lit")) return;
  event.preventDefault();
  turnOn(node, false);
  light(node, ["causes", "effects"]);
});
for (const node of all(".node.selected")) { turnOn(node, false); centre(node); }
function centre(node) {
  const picture = node.closest(".picture");
  if (!picture) return;
  const [box, frame] = [node.getBoundingClientRect(), picture.getBoundingClientRect()];
  picture.scrollLeft += box.left + box.width / 2 - frame.left - frame.width / 2;
  picture.scrollTop += box.top + box.height / 2 - frame.top - frame.height / 2;
}

// Zoom: the picture's size changes, never its layout.
function zoom(how) {
  const picture = one(".picture[data-zoom]");
  const svg = picture && one("svg", picture);
  if (!svg) return;
  const [width, height] = svg.getAttribute("viewBox").split(" ").slice(2).map(Number);
  const now = svg.getBoundingClientRect().width / width;
  const fit = Math.min(1, (picture.clientWidth - 2) / width, (innerHeight * .76) / height);
  const to = { in: now * 1.25, out: now / 1.25, full: 1, fit }[how];
  const scale = Math.max(.05, Math.min(4, to));
  const middle = [(picture.scrollLeft + picture.clientWidth / 2) / now, (picture.scrollTop + picture.clientHeight / 2) / now];
  svg.setAttribute("width", width * scale);
  svg.setAttribute("height", height * scale);
  picture.scrollLeft = middle[0] * scale - picture.clientWidth / 2;
  picture.scrollTop = middle[1] * scale - picture.clientHeight / 2;
}

// Problems, one after the other.
let problem = -1;
function problems(by) {
  const list = all(".node.wrong, .violation, [data-problem-mark]").filter((node) => node.getClientRects().length);
  if (!list.length) return say("No problem here");
  problem = (problem + by + list.length) % list.length;
  const node = list[problem];
  if (node.matches(".node")) turnOn(node);
  node.scrollIntoView({ block: "center", inline: "center" });
  say(`Problem ${problem + 1} of ${list.length}`);
}

const doing = {
  theme, help,
  link: () => copy(location.href, "Link"),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("input, textarea, select");
  if (event.key === "Escape") {
    if (typing) typing.blur();
    unlight();
    turnOn(null);
    return;
  }
  if (typing || one("dialog[open]")) return;
  const keys = {
    "/": () => one("#q")?.focus(),
    "?": help,
    j: () => move(1), k: () => move(-1),
    Enter: () => { const link = on?.matches("a") ? on : on && one("a.event", on); if (link) location.href = link.href?.baseVal ?? link.href; },
    a: () => light(on, ["causes"]), d: () => light(on, ["effects"]),
    n: () => problems(1), N: () => problems(-1),
    "+": () => zoom("in"), "=": () => zoom("in"), "-": () => zoom("out"), "0": () => zoom("full"), f: () => zoom("fit"),
    y: () => doing.link(),
    c: () => { const command = one("[data-copy][data-what='Replay command']"); if (command) command.click(); },
    t: theme,
    ArrowLeft: () => stepping?.(-1), ArrowRight: () => stepping?.(1),
  };
  const tab = one(`.tabs [data-key="${CSS.escape(event.key)}"]`);
  const key = keys[event.key];
  if (tab) { event.preventDefault(); tab.click(); }
  else if (key && !(event.key === "Enter" && event.target.closest("a, button, summary"))) {
    if (!event.key.startsWith("Arrow") || stepping) event.preventDefault();
    key();
  }
});

// Live rows: they come as the server would have drawn them.
for (const sign of all("[data-live]")) {
  const { after, q = "" } = sign.dataset;
  const source = new EventSource(`/live?after=${after}&q=${encodeURIComponent(q)}`);
  source.onopen = () => { sign.hidden = false; };
  source.onerror = () => { sign.hidden = true; };
  source.addEventListener("rows", (event) => {
    const body = one("#rows");
    if (!body) return location.reload();
    const table = document.createElement("template");
    table.innerHTML = event.data;
    const many = body.rows.length;
    for (const row of [...table.content.children]) {
      row.classList.add("new");
      body.prepend(row);
    }
    while (body.rows.length > Math.max(many, 14)) body.lastElementChild.remove();
  });
}

// Windows of a diagram that were packed: templates, and the numbers that go into their holes.
const packed = one("#packed") && JSON.parse(one("#packed").textContent);
function unpack(chunk) {
  if (!chunk?.classList.contains("packed")) return;
  const parts = packed.pieces[Number(chunk.dataset.piece)];
  let markup = "";
  for (let at = 0; at < parts.length;) {
    const filled = [];
    markup += packed.templates[parts[at++]].replace(/\u0001|\u0002(.)/g, (hole, place) => {
      if (place !== undefined) return filled[place];
      const part = parts[at++];
      filled.push(part[0] === "~" ? packed.names[part.slice(1)] : part);
      return filled.at(-1);
    });
  }
  chunk.innerHTML = markup;
  chunk.classList.remove("packed");
  chunk.style.height = "";
}
if (packed) {
  const space = one(".space");
  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      // Its place was kept, so that nothing moves.
      unpack(target);
    }
  }, { root: space, rootMargin: "200px" });
  for (const chunk of all(".chunk.packed", space)) seen.observe(chunk);
}

// Steps that are pages of their own: of a diagram's next window, or of two runs side by side.
function follow(by) {
  const link = one(`[data-step-link="${by}"]`);
  if (link) location.href = link.href;
}
if (one("[data-step-link]")) stepping = follow;

// Stepping through a run: the next row, and what was known at it.
const space = one(".space");
if (space) {
  const go = (row, jump = false) => {
    for (const old of all(".row.on, .row.here", space)) old.classList.remove("on", "here");
    row.classList.add("on");
    const frame = space.getBoundingClientRect();
    const box = row.getBoundingClientRect();
    if (jump || box.top < frame.top + 60 || box.bottom > frame.bottom - 40) {
      space.scrollTop += box.top - frame.top - frame.height / 2;
    }
    const step = Number(row.dataset.step);
    for (const table of all(".knew tbody")) {
      let last = null;
      for (const known of all("tr[data-step-row]", table)) {
        known.classList.remove("on");
        if (Number(known.dataset.stepRow) <= step) last = known;
      }
      last?.classList.add("on");
    }
    say(`Step ${step}`);
  };
  const start = one(".row.here", space);
  if (start) space.scrollTop += start.getBoundingClientRect().top - space.getBoundingClientRect().top - space.clientHeight * .6;
  stepping = (by) => {
    const list = all(".row[data-step]", space);
    const now = one(".row.on, .row.here", space);
    const next = list[(now ? list.indexOf(now) : -1) + by];
    const chunk = now?.closest(".chunk");
    const beyond = chunk && (by > 0 ? chunk.nextElementSibling : chunk.previousElementSibling);
    if (packed && now && (!next || next.closest(".chunk") !== chunk) && beyond?.matches(".chunk.packed")) {
      unpack(beyond);
      return stepping(by);
    }
    if (next) return go(next);
    if (!packed) follow(by);
  };
  const goTo = (step) => {
    const chunk = all(".chunk.packed", space).find(({ dataset }) => Number(dataset.first) <= step && step <= Number(dataset.last));
    if (chunk) unpack(chunk);
    const row = all(".row[data-step]", space).findLast((row) => Number(row.dataset.step) <= step);
    if (row) go(row, true);
  };
  for (const link of all("[data-goto]")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      goTo(Number(link.dataset.goto));
      space.scrollIntoView({ block: "nearest" });
    });
  }
  space.addEventListener("click", (event) => {
    const row = event.target.closest(".row[data-step]");
    if (row) go(row);
  });
  // A deep link to a step of a page that stands alone.
  const wanted = /^#s(\d+)$/.exec(location.hash);
  if (wanted) goTo(Number(wanted[1]));
}
