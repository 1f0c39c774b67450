// Keeps the live parts of a page up to date: told that something has changed, it reads the page anew and puts in what differs.
// No page is read more often than every two seconds, and none that nobody looks at.

const LEAST_MS = 2000;
const SPREAD_MS = 1000;
const AGAIN_MS = 5000;

const url = document.body.dataset.liveUrl;
const state = document.getElementById("connection");
let source = null;
let timer = null;
let read = performance.now();
let missed = false;

if (url) {
  document.addEventListener("visibilitychange", listen);
  window.addEventListener("pagehide", hush);
  listen();
}

function listen() {
  if (document.hidden) {
    hush();
    missed = true;
    return;
  }
  if (source) return;
  source = new EventSource(url);
  source.addEventListener("open", () => {
    state.textContent = "";
    if (missed) later();
    missed = false;
  });
  source.addEventListener("changed", later);
  source.addEventListener("signed-out", () => {
    hush();
    state.textContent = "You are signed out. Load the page again.";
  });
  source.addEventListener("error", () => {
    missed = true;
    state.textContent = "Not connected; what you see may be out of date.";
    if (source && source.readyState === EventSource.CLOSED) {
      hush();
      setTimeout(listen, AGAIN_MS + Math.random() * AGAIN_MS);
    }
  });
}

function hush() {
  if (source) source.close();
  source = null;
}

function later() {
  if (timer) return;
  const since = performance.now() - read;
  timer = setTimeout(refresh, Math.max(0, LEAST_MS - since) + Math.random() * SPREAD_MS);
}

async function refresh() {
  timer = null;
  read = performance.now();
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (!answer.ok || answer.redirected) return;
    put(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch {
    missed = true;
  }
}

function put(page) {
  for (const fresh of page.querySelectorAll("[data-live][id]")) {
    const old = document.getElementById(fresh.id);
    if (old) unfold(old, fresh);
    if (!old || isKept(old, fresh) || old.isEqualNode(fresh) || isBeingFilledIn(old)) continue;
    const focused = old.contains(document.activeElement) ? pathTo(old, document.activeElement) : null;
    const scrolled = [...old.querySelectorAll(".scroll, .gantt")].map((each) => [each.scrollLeft, each.scrollTop]);
    old.replaceWith(document.adoptNode(fresh));
    [...fresh.querySelectorAll(".scroll, .gantt")].forEach((each, index) => {
      if (scrolled[index]) [each.scrollLeft, each.scrollTop] = scrolled[index];
    });
    if (focused) at(fresh, focused)?.focus({ preventScroll: true });
  }
  document.dispatchEvent(new Event("refreshed"));
}

// What somebody has opened stays open.
function unfold(old, fresh) {
  const open = [...old.querySelectorAll("details")].map((each) => each.open);
  [...fresh.querySelectorAll("details")].forEach((each, index) => {
    each.open = Boolean(open[index]);
  });
}

function isKept(old, fresh) {
  return Boolean(fresh.dataset.keep) && old.dataset.keep === fresh.dataset.keep;
}

function isBeingFilledIn(part) {
  const fields = part.querySelectorAll("input:not([type=hidden]), select, textarea");
  return [...fields].some((field) => field === document.activeElement || isChanged(field));
}

function isChanged(field) {
  if (field.type === "checkbox") return field.checked !== field.defaultChecked;
  if (field.options) {
    const chosen = [...field.options].findIndex((option) => option.defaultSelected);
    return field.selectedIndex !== Math.max(0, chosen);
  }
  return field.value !== field.defaultValue;
}

function pathTo(root, element) {
  const path = [];
  for (let each = element; each !== root; each = each.parentElement) {
    path.unshift([...each.parentElement.children].indexOf(each));
  }
  return path;
}

function at(root, path) {
  return path.reduce((each, index) => each?.children[index], root);
}
