// Addresses of the screens: `/admin/NAME?parameters`. Links are plain `<a href>`.
import { useEffect, useState } from "./html.js";
import { mayDiscard } from "./unsaved.js";

// Parameters that open something: the browser's "back" closes it. Others are filters.
const PLACES = ["tab", "view", "tenant", "scope", "decision", "entry", "audit"];

const changed = new EventTarget();
let at = history.state?.at ?? 0; // the place of this address among those of the page
let returning = false;

function read() {
  const name = location.pathname.split("/")[2] || "overview";
  return { screen: name, params: Object.fromEntries(new URLSearchParams(location.search)) };
}

/**
 * Go to an address of the page, unless a form has changes that are to be kept. `replace`: the
 * browser's "back" does not return here.
 */
export function navigate(url, { replace = false } = {}) {
  if (mayDiscard()) go(url, replace);
}

function go(url, replace) {
  if (replace) {
    history.replaceState({ ...history.state, at }, "", url);
  } else {
    at += 1;
    history.pushState({ at, from: location.pathname + location.search }, "", url);
  }
  changed.dispatchEvent(new Event("change"));
}

addEventListener("popstate", ({ state }) => {
  const there = state?.at ?? 0;
  if (returning) {
    returning = false;
  } else if (mayDiscard()) {
    at = there;
    changed.dispatchEvent(new Event("change"));
  } else if (there !== at) {
    returning = true; // the browser has left already
    history.go(at - there);
  }
});

/** Return the address of a screen. */
export function screenUrl(screen, params = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined && value !== "") query.append(name, value);
  }
  const text = query.toString();
  return `/admin/${screen}${text ? `?${text}` : ""}`;
}

/**
 * Change parameters of the address; null removes one. What opens something can be left by the
 * browser's "back", and closing it is that "back"; a filter changes the address in place.
 */
export function setParams(given) {
  const { screen, params } = read();
  const url = screenUrl(screen, { ...params, ...given });
  const opens = PLACES.some((name) => name in given && (given[name] ?? "") !== (params[name] ?? ""));
  if (!opens) go(url, true);
  else if (!mayDiscard()) return;
  else if (history.state?.from === url) history.back();
  else go(url, false);
}

/** Return `{screen, params}` of the address, following it. */
export function useRoute() {
  const [route, setRoute] = useState(read);
  useEffect(() => {
    const follow = () => setRoute(read());
    changed.addEventListener("change", follow);
    return () => changed.removeEventListener("change", follow);
  }, []);
  return route;
}

/** Follow clicks on links to screens without loading the page again. */
export function followLinks() {
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    if (!link || event.defaultPrevented || event.button !== 0 || link.target || link.download) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const url = new URL(link.href);
    if (url.origin !== location.origin || !/^\/admin(\/[a-z]+)?$/.test(url.pathname)) return;
    event.preventDefault();
    if (!mayDiscard()) return;
    go(url.pathname + url.search, false);
    scrollTo(0, 0);
  });
}
