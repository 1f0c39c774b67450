// The log of an attempt as it is written, and the timeline of tasks that the server makes of it.

const MOST = 5000;
const AGAIN_MS = 5000;

const list = document.getElementById("log-lines");
const follow = document.getElementById("follow");
const filter = document.getElementById("log-filter");
const state = document.getElementById("log-state");
const tasks = document.getElementById("tasks");
let source = null;
let isOver = false;
let last = "";

if (list) {
  open();
  filter.addEventListener("input", sift);
  list.addEventListener("wheel", (event) => {
    if (event.deltaY < 0) follow.checked = false;
  }, { passive: true });
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
}

function open() {
  if (source || isOver || document.hidden) return;
  const joined = last ? `?after=${encodeURIComponent(last)}` : "";
  source = new EventSource(list.dataset.logUrl + joined);
  state.textContent = "Connecting…";
  source.addEventListener("open", () => (state.textContent = "Live"));
  source.addEventListener("lines", (event) => {
    last = event.lastEventId || last;
    add(JSON.parse(event.data));
  });
  source.addEventListener("tasks", (event) => show(JSON.parse(event.data).html));
  source.addEventListener("end", (event) => {
    isOver = true;
    close();
    state.textContent = JSON.parse(event.data).why || "The log has ended.";
  });
  source.addEventListener("error", () => {
    state.textContent = "Not connected";
    if (source && source.readyState === EventSource.CLOSED) {
      close();
      setTimeout(open, AGAIN_MS);
    }
  });
}

function close() {
  if (source) source.close();
  source = null;
}

function add(lines) {
  const fresh = document.createDocumentFragment();
  for (const line of lines) fresh.append(row(line));
  list.append(fresh);
  while (list.childElementCount > MOST) list.firstElementChild.remove();
  if (follow.checked) list.scrollTop = list.scrollHeight;
}

function row(line) {
  const item = document.createElement("li");
  item.append(part("stamp", line.time));
  if (line.task) item.append(part("task", line.task));
  item.append(part(line.level || "plain", line.message));
  item.hidden = !fits(item);
  return item;
}

function part(name, text) {
  const element = document.createElement("span");
  element.className = name;
  element.textContent = text;
  return element;
}

function show(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html").body;
  const chart = tasks.querySelector(".gantt");
  const scrolled = chart ? chart.scrollTop : 0;
  tasks.replaceChildren(...fresh.childNodes);
  const now = tasks.querySelector(".gantt");
  if (now) now.scrollTop = scrolled;
}

function fits(item) {
  return item.textContent.toLowerCase().includes(filter.value.trim().toLowerCase());
}

function sift() {
  for (const item of list.children) item.hidden = !fits(item);
}
