// The log of an attempt as it is written, and the timeline of tasks that the server makes of it. When the page goes on to another
// attempt, so does the log.

const MOST = 5000;
const AGAIN_MS = 5000;

let list = null;
let source = null;
let isOver = false;
let last = "";

begin();
document.addEventListener("refreshed", begin);
document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
window.addEventListener("pagehide", close);

function begin() {
  const found = document.getElementById("log-lines");
  if (found === list) return;
  close();
  list = found;
  isOver = false;
  last = "";
  if (!list) return;
  part("log-filter").addEventListener("input", sift);
  list.addEventListener("wheel", (event) => {
    if (event.deltaY < 0) part("follow").checked = false;
  }, { passive: true });
  open();
}

function open() {
  if (source || isOver || !list || document.hidden) return;
  const joined = last ? `?after=${encodeURIComponent(last)}` : "";
  const mine = new EventSource(list.dataset.logUrl + joined);
  source = mine;
  say("Connecting…");
  mine.addEventListener("open", () => say("Live"));
  mine.addEventListener("lines", (event) => {
    last = event.lastEventId || last;
    add(JSON.parse(event.data));
  });
  mine.addEventListener("tasks", (event) => show(JSON.parse(event.data).html));
  mine.addEventListener("end", (event) => {
    isOver = true;
    close();
    say(JSON.parse(event.data).why || "The log has ended.");
  });
  mine.addEventListener("error", () => {
    say("Not connected");
    if (mine === source && mine.readyState === EventSource.CLOSED) {
      close();
      setTimeout(open, AGAIN_MS);
    }
  });
}

function close() {
  if (source) source.close();
  source = null;
}

function part(id) {
  return document.getElementById(id);
}

function say(words) {
  part("log-state").textContent = words;
}

function add(lines) {
  const fresh = document.createDocumentFragment();
  for (const line of lines) fresh.append(row(line));
  list.append(fresh);
  while (list.childElementCount > MOST) list.firstElementChild.remove();
  if (part("follow").checked) list.scrollTop = list.scrollHeight;
}

function row(line) {
  const item = document.createElement("li");
  item.append(words("stamp", line.time));
  if (line.task) item.append(words("task", line.task));
  item.append(words(line.level || "plain", line.message));
  item.hidden = !fits(item);
  return item;
}

function words(name, text) {
  const element = document.createElement("span");
  element.className = name;
  element.textContent = text;
  return element;
}

function show(html) {
  const place = part("tasks");
  const scrolled = place.querySelector(".gantt")?.scrollTop ?? 0;
  place.replaceChildren(...new DOMParser().parseFromString(html, "text/html").body.childNodes);
  const chart = place.querySelector(".gantt");
  if (chart) chart.scrollTop = scrolled;
}

function fits(item) {
  return item.textContent.toLowerCase().includes(part("log-filter").value.trim().toLowerCase());
}

function sift() {
  for (const item of list.children) item.hidden = !fits(item);
}
