// Addresses of the screens: `/admin/NAME?parameters`. Links are plain `<a href>`.
import { useEffect, useState } from "./html.js";

const changed = new EventTarget();

function read() {
  const name = location.pathname.split("/")[2] || "overview";
  return { screen: name, params: Object.fromEntries(new URLSearchParams(location.search)) };
}

/** Go to an address of the page. `replace`: the browser's "back" does not return here. */
export function navigate(url, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", url);
  changed.dispatchEvent(new Event("change"));
}

/** Return the address of a screen. */
export function screenUrl(screen, params = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined && value !== "") query.append(name, value);
  }
  const text = query.toString();
  return `/admin/${screen}${text ? `?${text}` : ""}`;
}

/** Change parameters of the address in place; null removes one. */
export function setParams(given) {
  const { screen, params } = read();
  navigate(screenUrl(screen, { ...params, ...given }), { replace: true });
}

/** Return `{screen, params}` of the address, following it. */
export function useRoute() {
  const [route, setRoute] = useState(read);
  useEffect(() => {
    const follow = () => setRoute(read());
    changed.addEventListener("change", follow);
    addEventListener("popstate", follow);
    return () => {
      changed.removeEventListener("change", follow);
      removeEventListener("popstate", follow);
    };
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
    navigate(url.pathname + url.search);
    scrollTo(0, 0);
  });
}
