// The page of `kontext console`. Whatever comes from the stack is hostile text: it becomes text nodes and
// attributes, never markup (the content security policy forbids the rest).

const PAGE = 24;
const SOON = 1000;
const LATER = 3000;

const by = (id) => document.getElementById(id);
const view = { group: "", prefix: "", limit: PAGE, cards: new Map(), pairs: [], groups: [], ladder: 0, lag: 0, open: null, told: "" };

function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name in node && typeof value !== "string") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

// ---- words

const now = () => Date.now() / 1000 + view.lag;
const money = (usd) => `USD ${usd.toFixed(2)}`;
const titled = (prefix) => prefix || "(the root of the bucket)";

function seconds(count) {
  if (count < 0) return "0 s";
  if (count < 9.95) return `${count.toFixed(1)} s`;
  if (count < 100) return `${Math.round(count)} s`;
  return count < 5400 ? `${Math.round(count / 60)} min` : `${(count / 3600).toFixed(1)} h`;
}

function ago(at) {
  const passed = now() - at;
  if (passed < 60) return "just now";
  if (passed < 3600) return `${Math.floor(passed / 60)} min ago`;
  if (passed < 86400) return `${Math.floor(passed / 3600)} h ago`;
  return new Date(at * 1000).toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric" });
}

function clock(at) {
  const date = new Date(at * 1000);
  const time = date.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
  return Math.abs(now() - at) < 72000 ? time : `${date.toLocaleDateString()} ${time}`;
}

function bytes(count) {
  if (count < 1e3) return `${count} bytes`;
  return count >= 1e6 ? `${(count / 1e6).toFixed(1)} MB` : `${Math.round(count / 1e3)} kB`;
}

function times(notice) {
  const parts = [];
  if (notice.since) parts.push(`since ${clock(notice.since)}`);
  const does = notice.place ? "goes" : "looks again";
  if (notice.place) parts.push(`number ${notice.place} in line`);
  if (notice.until) parts.push(notice.until > now() ? `${does} at ${clock(notice.until)}` : `${does} now`);
  return parts.join(", ");
}

// ---- pictures

function source(role, object, width) {
  const asked = new URLSearchParams({ role, key: object.key });
  if (object.version) asked.set("version", object.version);
  if (width) asked.set("width", width);
  return `/picture?${asked}`;
}

function picture(role, object, width, alt) {
  const size = object.width ? { width: String(object.width), height: String(object.height) } : {};
  const image = h("img", { src: source(role, object, width), alt, decoding: "async", loading: "lazy", ...size });
  image.addEventListener("error", () => image.replaceWith(h("div", { class: "blank" }, "cannot be shown")));
  return image;
}

function inputPlate(pair, slot, width) {
  const input = pair.inputs[slot];
  const name = slot ? "Second photograph" : "First photograph";
  if (!input) return h("div", { class: "plate missing" }, h("div", { class: "blank" }, `image ${slot + 1} is missing`));
  if (input.host) return h("div", { class: "plate" }, h("div", { class: "blank" }, `image ${slot + 1} at ${input.host}`));
  return h("div", { class: "plate" }, picture("input", input, width, name));
}

function resultPlate(pair, width) {
  if (pair.result) return h("div", { class: "plate result" }, picture("output", pair.result, width, `Result: ${pair.prompt || "no prompt"}`));
  return h("div", { class: `plate result ${pair.group}` }, state(pair));
}

function state(pair) {
  const notice = pair.notice;
  if (!notice) return running(pair);
  const [word, more] = notice.title.split(": ");
  return h("div", { class: "state" },
    h("b", {}, word), more ? h("span", { class: "lead" }, more) : null,
    notice.tone === "parked" ? h("span", {}, times(notice)) : h("span", { class: "clamp" }, h("bdi", {}, notice.text)),
    notice.charged ? h("span", {}, notice.charged) : null);
}

function running(pair) {
  return h("div", { class: "state" },
    h("b", {}, pair.label),
    h("span", { class: "seconds", "data-since": String(pair.since) }, seconds(now() - pair.since)),
    h("div", { class: "ladder", "aria-hidden": "true" }, [...Array(view.ladder).keys()].map((step) => h("i", { class: step < pair.step ? "done" : null }))));
}

// ---- the gallery

function card(pair) {
  return h("li", { class: "pair", "data-status": pair.status },
    h("div", { class: "plates" }, inputPlate(pair, 0, 480), inputPlate(pair, 1, 480), resultPlate(pair, 480)),
    h("p", { class: "prompt" }, pair.prompt ? h("bdi", {}, pair.prompt) : ""),
    h("h3", { class: "prefix" }, h("a", { href: address(pair.prefix), title: pair.prefix }, h("bdi", {}, titled(pair.prefix)))),
    facts(pair));
}

function facts(pair) {
  const told = [h("span", { class: `status ${pair.group}` }, pair.label)];
  if (pair.seconds !== null) told.push(h("span", {}, seconds(pair.seconds)));
  if (pair.cost !== null) told.push(h("span", {}, money(pair.cost)));
  told.push(h("span", { "data-ago": String(pair.since) }, ago(pair.since)));
  return h("p", { class: "facts" }, told);
}

const address = (prefix) => `#pair=${encodeURIComponent(prefix)}`;

function draw(page) {
  news(page.pairs);
  view.pairs = page.pairs;
  const list = by("pairs");
  const kept = new Set(page.pairs.map((pair) => pair.prefix));
  for (const [prefix, { node }] of view.cards) if (!kept.has(prefix)) { node.remove(); view.cards.delete(prefix); }
  page.pairs.forEach((pair, position) => {
    const node = current(pair);
    if (list.children[position] !== node) list.insertBefore(node, list.children[position] || null);
  });
  chips(page.counts, page.most);
  today(page.today);
  banners(page);
  by("more").hidden = page.is_whole || view.limit >= 2000;
  by("empty").hidden = page.pairs.length > 0;
  by("empty").textContent = emptiness(page);
}

// A card is made anew only when its pair has changed, so focus, pictures and selections stay where they are.
function current(pair) {
  const known = view.cards.get(pair.prefix);
  const print = JSON.stringify(pair);
  if (known && known.print === print) return known.node;
  const node = card(pair);
  if (known) {
    const focused = known.node.contains(document.activeElement);
    keepPictures(known.node, node);
    known.node.replaceWith(node);
    if (focused) node.querySelector("a").focus({ preventScroll: true });
  }
  view.cards.set(pair.prefix, { node, print });
  return node;
}

// The same picture is moved rather than loaded again: it would flicker.
function keepPictures(from, to) {
  for (const image of to.querySelectorAll("img")) {
    const same = [...from.querySelectorAll("img")].find((old) => old.getAttribute("src") === image.getAttribute("src"));
    if (same) image.replaceWith(same);
  }
}

function emptiness(page) {
  if (view.prefix || view.group) return "No pair fits this filter.";
  return "Nothing has been dropped yet. Drop two photographs above, or into the input bucket.";
}

function news(pairs) {
  const known = new Map(view.pairs.map((pair) => [pair.prefix, pair.label]));
  const changed = pairs.filter((pair) => known.has(pair.prefix) && known.get(pair.prefix) !== pair.label);
  if (changed.length) by("news").textContent = changed.slice(0, 3).map((pair) => `${titled(pair.prefix)}: ${pair.label}.`).join(" ");
}

function chips(counts, most) {
  const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
  for (const group of view.groups) {
    const count = group ? counts[group] || 0 : all;
    by(`count-${group}`).textContent = count >= most ? `${most.toLocaleString()}+` : count ? count.toLocaleString() : "";
    by(`chip-${group}`).hidden = group === "uncertain" && !count && view.group !== group;
  }
}

function today(ledger) {
  const told = [[ledger.completed === 1 ? "render today" : "renders today", String(ledger.completed)], ["spent", money(ledger.cost)]];
  if (ledger.credits !== null) told.push(["credits left", ledger.credits.toFixed(2)]);
  replace("today", told.map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))));
}

function banners(page) {
  const told = [];
  if (page.problem) told.push(h("p", { class: "banner failed", role: "alert" }, h("b", {}, "The stack cannot be read. "), page.problem));
  if (page.stop) told.push(h("p", { class: "banner parked" }, h("b", {}, `${page.stop.title}. `), `${page.stop.text} ${page.stop.remedy} ${capital(times(page.stop))}.`));
  if (page.loose.length) {
    const some = page.loose.slice(0, 5).map((one) => `${one.key} (${one.why})`).join("; ");
    const count = page.loose.length === 1 ? "One object fits no rule. " : `${page.loose.length}${page.loose.length >= page.most ? " or more" : ""} objects fit no rule. `;
    told.push(h("p", { class: "banner parked" }, h("b", {}, count), `${some}${page.loose.length > 5 ? "; …" : "."}`));
  }
  replace("banners", told);
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// Only what differs is touched: a live region would speak again, and a selection would go.
function replace(id, nodes) {
  const place = by(id);
  const fresh = h("div", {}, nodes);
  if (place.textContent !== fresh.textContent || place.childElementCount !== nodes.length) place.replaceChildren(...nodes);
}

// ---- the story of one pair

function opened() {
  const match = /^#pair=(.*)$/.exec(location.hash);
  try {
    return match ? decodeURIComponent(match[1]) : null;
  } catch {
    return null;
  }
}

async function follow() {
  const prefix = opened();
  const dialog = by("story");
  if (prefix === null) return shut();
  if (view.open !== prefix) {
    view.open = prefix;
    view.told = "";
    by("story-title").textContent = titled(prefix);
    by("story-body").replaceChildren(h("p", { class: "empty" }, "Reading…"));
    dialog.scrollTop = 0;
  }
  if (!dialog.open) dialog.showModal();
  await tell(prefix);
}

async function tell(prefix) {
  const answer = await fetch(`/api/pair?${new URLSearchParams({ prefix })}`);
  const text = await answer.text();
  if (view.open !== prefix || view.told === text) return;
  view.told = text;
  const content = JSON.parse(text);
  const nodes = content.pair ? storyOf(content) : [h("p", { class: "empty" }, content.message)];
  const fresh = h("div", {}, nodes);
  keepPictures(by("story-body"), fresh);
  by("story-body").replaceChildren(...fresh.childNodes);
  neighbours();
}

function storyOf({ pair, drops, renders }) {
  const [first, ...older] = renders;
  const prompt = first?.parameters.prompt || pair.prompt;
  return [
    h("div", { class: "wall" },
      h("div", {},
        h("div", { class: "inputs" }, [0, 1].map((slot) => framed(inputPlate(pair, slot, 1600), "input", pair.inputs[slot], `Photograph ${slot + 1}`))),
        prompt ? h("p", { class: "said-prompt" }, h("bdi", {}, prompt)) : null,
        facts(pair)),
      // Where there is no picture, what stands in its place says why.
      pair.notice ? notice(pair.notice) : framed(resultPlate(pair, 1600), "output", pair.result, "Result")),
    h("div", { class: "columns" },
      h("section", { "aria-label": "What happened" }, h("h3", {}, "What happened"), steps([...drops, ...(first ? first.steps : [])])),
      first ? h("section", { "aria-label": "Details" }, h("h3", {}, "Details"), details(first), download(first)) : null),
    older.map(olderRender),
  ].flat();
}

function olderRender(render) {
  const ended = [render.label, render.cost === null ? "" : money(render.cost)].filter(Boolean).join(", ");
  return h("section", { class: "older" },
    h("h3", {}, `An earlier render: ${ended}`),
    render.parameters.prompt ? h("p", {}, h("bdi", {}, render.parameters.prompt)) : null,
    render.notice ? notice(render.notice) : null,
    steps(render.steps));
}

function framed(plate, role, object, name) {
  return h("figure", { class: role }, linked(plate, role, object), caption(object, name));
}

function linked(plate, role, object) {
  const image = plate.querySelector("img");
  if (!image) return plate;
  plate.replaceChildren(h("a", { href: source(role, object), target: "_blank", rel: "noopener", "aria-label": `${image.alt}, in full` }, image));
  return plate;
}

function caption(object, name) {
  if (!object?.key) return h("figcaption", {}, name);
  const told = [name];
  if (object.width) told.push(`${object.width} × ${object.height}`);
  if (object.bytes) told.push(bytes(object.bytes));
  return h("figcaption", {}, told.join(" · "));
}

function notice(told) {
  return h("div", { class: `notice ${told.tone}` },
    h("h3", {}, told.title),
    h("p", {}, h("bdi", {}, told.text)),
    told.charged ? h("p", {}, told.charged) : null,
    told.remedy ? h("p", {}, `What to do: ${told.remedy}`) : null,
    times(told) ? h("p", {}, `${capital(times(told))}.`) : null);
}

function steps(list) {
  const ordered = [...list].sort((a, b) => a.at - b.at);
  const start = ordered[0]?.at;
  return h("ol", { class: "steps" }, ordered.map((step) => h("li", {},
    h("time", { datetime: new Date(step.at * 1000).toISOString(), title: new Date(step.at * 1000).toLocaleString() }, step.at === start ? clock(step.at) : `+${seconds(step.at - start)}`),
    h("span", {}, h("bdi", {}, step.what)))));
}

function details(render) {
  const parameters = Object.entries(render.parameters).filter(([name]) => name !== "prompt");
  const rows = [
    ...parameters.map(([name, value]) => [name.replaceAll("_", " "), String(value)]),
    ...render.times.map(([name, value]) => [name, seconds(value)]),
    ["drop to result", render.seconds === null ? null : seconds(render.seconds)],
    ["cost", render.cost === null ? null : money(render.cost)],
    ["credits left then", render.credits === null ? null : render.credits.toFixed(2)],
    ["attempt", String(render.attempt)],
    ["request id", render.request_id, "mono"],
    ["render id", render.render_id, "mono"],
    ["result", render.result?.key, "mono"],
  ].filter(([, value]) => value);
  return h("dl", { class: "details" }, rows.map(([term, value, style]) => [h("dt", {}, term), h("dd", { class: style }, h("bdi", {}, value))]));
}

function download(render) {
  if (!render.result?.key) return null;
  const name = `${titled(opened() || "").replace(/[^\w.-]+/g, "-").replace(/^-|-$/g, "")}.${render.result.key.split(".").pop()}`;
  return h("a", { class: "download", href: source("output", render.result), download: name }, "Download the result");
}

// Whether there may be something new to tell; the workflow's last step comes after the record's.
function unsettled(prefix) {
  const pair = view.pairs.find((known) => known.prefix === prefix);
  return !pair || !["delivered", "failed"].includes(pair.group) || now() - pair.updated < 10;
}

function neighbours() {
  const at = view.pairs.findIndex((pair) => pair.prefix === view.open);
  const [newer, older] = at < 0 ? [] : [view.pairs[at - 1], view.pairs[at + 1]];
  by("newer").disabled = !newer;
  by("older").disabled = !older;
  return { newer, older };
}

function step(way) {
  const to = neighbours()[way];
  if (to) location.replace(address(to.prefix));
}

// The dialog's `close` event only comes with a later frame: whoever goes back before it would leave the page.
function shut() {
  view.open = null;
  by("story").close();
  if (opened() !== null) history.pushState(null, "", location.pathname);
}

// ---- the drop zone

const slots = [...document.querySelectorAll(".slot")];
const chosen = [null, null];

function choose(slot, files) {
  const pictures = [...files].filter((file) => file.type.startsWith("image/"));
  if (files.length && !pictures.length) return say("These are no pictures: PNG, JPEG and WebP are known.");
  // Two at once fill both places, whichever they were dropped on.
  if (pictures.length > 1) [chosen[0], chosen[1]] = pictures;
  else if (pictures.length) chosen[slot] = pictures[0];
  say("");
  slots.forEach(preview);
}

function preview(place, slot) {
  const image = place.querySelector("img");
  if (image.src) URL.revokeObjectURL(image.src);
  const file = chosen[slot];
  place.classList.toggle("filled", Boolean(file));
  image.hidden = place.querySelector(".remove").hidden = !file;
  if (file) image.src = URL.createObjectURL(file);
  else image.removeAttribute("src");
  image.alt = file ? file.name : "";
}

function say(text, tone = "failed") {
  by("said").textContent = text;
  by("said").dataset.tone = tone;
}

function parameters(form) {
  const given = new FormData(form);
  const told = {};
  for (const name of ["prompt", "aspect_ratio", "output_format"]) if (given.get(name).trim()) told[name] = given.get(name).trim();
  const seed = given.get("seed").trim();
  if (seed) told.seed = /^-?\d+$/.test(seed) ? Number(seed) : seed;
  return told;
}

// Ends the name of a pair that is given none: what is sent a second time is the same pair, and is not paid again.
let mark = newMark();

function newMark() {
  return [...crypto.getRandomValues(new Uint8Array(3))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function send(event) {
  event.preventDefault();
  // The keyboard sends a form even while its button is disabled.
  if (by("send").disabled) return;
  const form = by("composer");
  if (chosen.includes(null)) {
    say("Choose both photographs.");
    slots[chosen.indexOf(null)].querySelector("input").focus();
    return;
  }
  const head = { sizes: chosen.map((file) => file.size), files: chosen.map((file) => file.name), name: form.elements.name.value, mark, parameters: parameters(form) };
  by("send").disabled = true;
  say("");
  try {
    const answer = await fetch("/api/drops", { method: "POST", headers: { "content-type": "application/octet-stream" }, body: new Blob([JSON.stringify(head), "\n", ...chosen]) });
    const told = await answer.json();
    if (answer.ok) sent(form, told.prefix, told.message);
    else refused(form, told);
  } catch {
    say("The console does not answer: was it stopped? If the pair was dropped all the same, Render does not pay for it again.");
  } finally {
    by("send").disabled = false;
  }
}

function refused(form, told) {
  say(told.message);
  if (told.name) form.elements.name.value = told.name;
  if (told.field) {
    form.elements[told.field].select();
    mark = newMark();
  }
}

function sent(form, prefix, message) {
  form.reset();
  mark = newMark();
  say(message, "good");
  chosen.fill(null);
  slots.forEach(preview);
  if (view.group || !prefix.startsWith(view.prefix)) filter("", "");
  by("news").textContent = message || `${prefix}: Dropped.`;
  look();
}

// ---- filters

function filter(group, prefix) {
  Object.assign(view, { group, prefix, limit: PAGE });
  by("prefix").value = prefix;
  by(`chip-${group}`).querySelector("input").checked = true;
}

function chip(group) {
  const input = h("input", { type: "radio", name: "group", value: group, checked: group === "" });
  input.addEventListener("change", () => { filter(group, view.prefix); look(); });
  return h("label", { id: `chip-${group}` }, input, capital(group) || "All", h("span", { class: "count", id: `count-${group}` }));
}

// ---- living

let timer = 0;
let looking = 0;

async function look() {
  clearTimeout(timer);
  const turn = ++looking;
  let pause = LATER;
  try {
    const asked = new URLSearchParams({ group: view.group, prefix: view.prefix, limit: view.limit });
    const answer = await fetch(`/api/pairs?${asked}`);
    const page = await answer.json();
    if (turn !== looking) return;
    if (!answer.ok) throw new Error(page.message, { cause: answer.status });
    view.lag = Number(answer.headers.get("x-now")) - Date.now() / 1000;
    draw(page);
    if (page.counts.running || page.counts.parked) pause = SOON;
    if (view.open !== null && unsettled(view.open)) await tell(view.open);
  } catch (problem) {
    if (turn !== looking) return;
    replace("banners", [problem.cause
      ? h("p", { class: "banner failed", role: "alert" }, h("b", {}, "The console refuses to answer. "), problem.message)
      : silence()]);
  }
  timer = setTimeout(look, document.hidden ? 20 * LATER : pause);
}

const silence = () => h("p", { class: "banner failed", role: "alert" }, h("b", {}, "The console does not answer. "), "Was it stopped? `kontext console` starts it again.");

function tick() {
  for (const node of document.querySelectorAll("[data-since]")) node.textContent = seconds(now() - Number(node.dataset.since));
  for (const node of document.querySelectorAll("[data-ago]")) node.textContent = ago(Number(node.dataset.ago));
}

function listen() {
  const composer = by("composer");
  composer.addEventListener("submit", send);
  composer.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) composer.requestSubmit();
  });
  slots.forEach((place, slot) => {
    const input = place.querySelector("input");
    input.addEventListener("change", () => { choose(slot, input.files); input.value = ""; });
    place.querySelector(".remove").addEventListener("click", () => { chosen[slot] = null; slots.forEach(preview); input.focus(); });
  });
  // Anywhere on the page will do; a file that misses must not replace the page.
  addEventListener("dragover", (event) => { event.preventDefault(); composer.classList.add("over"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) composer.classList.remove("over"); });
  addEventListener("drop", (event) => {
    event.preventDefault();
    composer.classList.remove("over");
    const place = event.target.closest?.(".slot");
    choose(place ? slots.indexOf(place) : Math.max(0, chosen.indexOf(null)), event.dataTransfer.files);
  });
  let typing = 0;
  by("prefix").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => { filter(view.group, by("prefix").value); look(); }, 200);
  });
  by("more").addEventListener("click", () => { view.limit += PAGE; look(); });
  by("close").addEventListener("click", shut);
  by("newer").addEventListener("click", () => step("newer"));
  by("older").addEventListener("click", () => step("older"));
  by("story").addEventListener("close", () => { if (!by("story").open) shut(); });
  by("story").addEventListener("click", (event) => { if (event.target === by("story")) shut(); });
  by("story").addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step("newer");
    if (event.key === "ArrowRight") step("older");
  });
  addEventListener("hashchange", follow);
  addEventListener("popstate", follow);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
}

async function start() {
  let stack;
  try {
    stack = await (await fetch("/api/stack")).json();
  } catch {
    replace("banners", [silence()]);
    setTimeout(start, LATER);
    return;
  }
  const { name, choices, groups, ladder } = stack;
  Object.assign(view, { groups: ["", ...groups], ladder });
  by("chips").append(...view.groups.map(chip));
  look();
  setInterval(tick, 1000);
  by("stack").textContent = name;
  document.title = `kontext / ${name}`;
  for (const [field, values] of Object.entries(choices)) {
    by("composer").elements[field]?.append(...values.map((value) => h("option", { value }, value.replaceAll("_", " "))));
  }
  await follow();
}

listen();
start();
