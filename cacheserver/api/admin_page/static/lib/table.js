// Tables, and long lists that the server pages.
import { html, useCallback, useEffect, useRef, useState } from "./html.js";
import { address, get } from "./api.js";
import { Button, Empty, ErrorBox, Skeleton } from "./parts.js";

/**
 * A table. `columns`: `{key, label, render(row), align: "end", wide}`; `onOpen(row)` makes rows open
 * by click and by Enter; `opened(row)` marks one. On a phone each row is a small list of its own,
 * without what is empty.
 */
export function Table({ label, columns, rows, rowKey = "id", onOpen, opened }) {
  const keyOf = typeof rowKey === "function" ? rowKey : (row) => row[rowKey];
  const press = (event, row) => {
    if (event.key === "Enter" && event.target === event.currentTarget) onOpen(row);
  };
  return html`<div class="table-frame" tabindex="0" role="region" aria-label=${label}>
    <table class=${onOpen ? "opens" : ""}>
      <thead>
        <tr>
          ${columns.map(
            (c) => html`<th key=${c.key} scope="col" class=${c.align ?? ""}>${c.label}</th>`,
          )}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row) => html`<tr key=${keyOf(row)} class=${opened?.(row) ? "opened" : ""}
            tabindex=${onOpen ? 0 : undefined}
            onClick=${onOpen && ((e) => !e.target.closest("a, button, input") && onOpen(row))}
            onKeyDown=${onOpen && ((e) => press(e, row))}>
            ${columns.map(
              (c) => {
                const shown = c.render ? c.render(row) : row[c.key];
                const none = shown === "–" || shown === "" || shown === null;
                return html`<td key=${c.key} data-label=${c.label}
                  class=${`${c.align ?? ""} ${c.wide ? "wide" : ""} ${none ? "none" : ""}`}>
                  ${shown}</td>`;
              },
            )}
          </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

/**
 * Pages of a list at `path`: `{rows, error, loading, more, done, replace, reload}`. The list answers
 * `{items, next}`; a page without items that has a `next` is followed, as searches have them.
 */
export function usePages(path, params = {}) {
  const url = address(path, params);
  const [state, setState] = useState({ rows: [], next: null, error: null, loading: true, url: null });
  const running = useRef(null);
  const load = useCallback(
    async (cursor, before) => {
      running.current?.abort();
      const control = new AbortController();
      running.current = control;
      setState({ rows: before, next: null, error: null, loading: true, url });
      try {
        let page;
        let next = cursor;
        do {
          page = await get(path, { ...params, cursor: next }, { signal: control.signal });
          next = page.next;
        } while (page.items.length === 0 && next !== null);
        setState({ rows: [...before, ...page.items], next, error: null, loading: false, url });
      } catch (error) {
        if (error.name !== "AbortError") {
          setState({ rows: before, next: cursor, error, loading: false, url });
        }
      }
    },
    [url],
  );
  useEffect(() => {
    load(null, []);
    return () => running.current?.abort();
  }, [load]);
  return {
    rows: state.url === url ? state.rows : [],
    error: state.error,
    loading: state.loading || state.url !== url,
    done: state.next === null,
    more: () => load(state.next, state.rows),
    reload: () => load(null, []),
    replace: (change) => setState((was) => ({ ...was, rows: change(was.rows) })),
  };
}

/** A list that the server pages: the table, its states, and "Load more". */
export function PagedTable({ pages, empty, ...table }) {
  const { rows, error, loading, done, more, reload } = pages;
  if (rows.length === 0) {
    if (error) return html`<${ErrorBox} error=${error} retry=${reload} />`;
    if (loading) return html`<${Skeleton} lines=${5} />`;
    return empty ?? html`<${Empty} title="Nothing here yet" />`;
  }
  return html`<${Table} rows=${rows} ...${table} />
    ${error && html`<${ErrorBox} error=${error} retry=${more} />`}
    ${!done && !error &&
    html`<div class="more"><${Button} busy=${loading} onClick=${more}>Load more<//></div>`}`;
}
