// Hooks: data of the API, live figures, storage in the browser.
import { useCallback, useEffect, useRef, useState } from "./html.js";
import { address, checkConnection, get, signedOut } from "./api.js";

/**
 * Read `path` and follow its changes: `{data, error, loading, reload}`. While it is read again the
 * data before stay. `path` null: nothing is read. `every`: seconds after which it is read again,
 * while the page is visible.
 */
export function useApi(path, params = {}, { every = 0 } = {}) {
  const url = path === null ? null : address(path, params);
  const [state, setState] = useState({ data: null, error: null, loading: url !== null, url });
  const [turn, setTurn] = useState(0);
  const reload = useCallback(() => setTurn((n) => n + 1), []);
  useEffect(() => {
    if (url === null) return undefined;
    const control = new AbortController();
    setState((was) => ({ ...(was.url === url ? was : { data: null }), error: null, loading: true, url }));
    get(url, {}, { signal: control.signal }).then(
      (data) => setState({ data, error: null, loading: false, url }),
      (error) => {
        if (error.name === "AbortError") return;
        setState((was) => ({ data: was.data, error, loading: false, url }));
      },
    );
    return () => control.abort();
  }, [url, turn]);
  useEffect(() => {
    if (!every || url === null) return undefined;
    const timer = setInterval(() => document.visibilityState === "visible" && reload(), every * 1000);
    return () => clearInterval(timer);
  }, [every, url]);
  const current = state.url === url ? state : { data: null, error: null, loading: url !== null };
  return { data: current.data, error: current.error, loading: current.loading, reload };
}

/**
 * Follow server-sent events at `path` while the page is visible: `{event, state}`, the last event's
 * JSON, and "connecting", "live" or "lost". `onEvent` is called with each.
 */
export function useEvents(path, onEvent) {
  const [found, setFound] = useState({ event: null, state: "connecting" });
  const call = useRef(onEvent);
  call.current = onEvent;
  useEffect(() => {
    if (path === null) return undefined;
    let source = null;
    let retry = null;
    let wanted = false;
    const open = async () => {
      if ((await signedOut()) || !wanted || source !== null) return;
      source = new EventSource(path);
      source.onmessage = ({ data }) => {
        const event = JSON.parse(data);
        setFound({ event, state: "live" });
        call.current?.(event);
      };
      source.onerror = () => {
        setFound((was) => ({ ...was, state: "lost" }));
        checkConnection();
        if (source?.readyState !== EventSource.CLOSED) return;
        source = null;
        retry = setTimeout(open, 5000);
      };
    };
    const close = () => {
      wanted = false;
      clearTimeout(retry);
      source?.close();
      source = null;
    };
    const follow = () => {
      if (document.visibilityState !== "visible") return close();
      wanted = true;
      return open();
    };
    follow();
    document.addEventListener("visibilitychange", follow);
    return () => {
      document.removeEventListener("visibilitychange", follow);
      close();
    };
  }, [path]);
  return found;
}

/** Return a value kept in this browser, and its setter. `valid` is what it may be. */
export function useStored(name, initial, valid = () => true) {
  const [value, setValue] = useState(() => {
    try {
      const stored = JSON.parse(localStorage.getItem(name));
      return stored !== null && valid(stored) ? stored : initial;
    } catch {
      return initial;
    }
  });
  const store = useCallback((next) => {
    setValue(next);
    try {
      localStorage.setItem(name, JSON.stringify(next));
    } catch {
      // storage is full or switched off: the choice lasts as long as the page
    }
  }, [name]);
  return [value, store];
}

/** Return `value` once it has not changed for `ms`: what is typed is not asked at each key. */
export function useSettled(value, ms = 250) {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms);
    return () => clearTimeout(timer);
  }, [value, ms]);
  return settled;
}

/** Call `handlers[key]` for keys pressed outside of fields, such as `{j: next}`. */
export function useKeys(handlers) {
  const current = useRef(handlers);
  current.current = handlers;
  useEffect(() => {
    const pressed = (event) => {
      if (event.metaKey || event.ctrlKey || event.altKey) return;
      if (event.target.closest?.("input, textarea, select, dialog, [contenteditable]")) return;
      const handler = current.current[event.key];
      if (handler) {
        event.preventDefault();
        handler(event);
      }
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
}
