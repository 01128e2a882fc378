// Charts by uPlot, loaded when the first is shown; each with the same figures as a table.
import { html, useEffect, useRef, useState } from "./html.js";

let loading = null;

function library() {
  loading ??= new Promise((done, failed) => {
    const sheet = document.createElement("link");
    sheet.rel = "stylesheet";
    sheet.href = new URL("../vendor/uPlot.min.css", import.meta.url).href;
    const script = document.createElement("script");
    script.src = new URL("../vendor/uPlot.iife.min.js", import.meta.url).href;
    script.onload = () => done(window.uPlot);
    script.onerror = () => {
      loading = null;
      failed(new Error("the chart library could not be loaded"));
    };
    document.head.append(sheet, script);
  });
  return loading;
}

/** Return a colour of the style sheet, such as `token("--exact")`, as the theme in force has it. */
export function token(name) {
  // Of an element, since the property itself reads `light-dark(...)`, which a canvas does not take.
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.documentElement.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

/** Options that all charts share: fonts, grid and axes in the page's colours. */
export function axes({ x = {}, y = {} } = {}) {
  const common = {
    stroke: token("--muted"),
    font: "11px system-ui, sans-serif",
    grid: { stroke: token("--line"), width: 1 },
    ticks: { show: false },
  };
  return [
    { ...common, grid: { show: false }, ...x },
    { ...common, size: 56, ...y },
  ];
}

/**
 * A chart. `options(uPlot, width)` returns uPlot's options without sizes, `data` its data; it is made
 * anew if `version` changes, else given the data. `label` says what it shows; `table` is
 * `{head: [...], rows: [[...]]}` with the same figures, for who does not see it.
 */
export function Chart({ label, options, data, height = 220, version = "", table }) {
  const frame = useRef(null);
  const chart = useRef(null);
  const [failed, setFailed] = useState(null);
  const [theme, setTheme] = useState(0);
  useEffect(() => {
    const media = matchMedia("(prefers-color-scheme: dark)");
    const again = () => setTheme((n) => n + 1);
    media.addEventListener("change", again);
    const watch = new MutationObserver(again);
    watch.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    return () => {
      media.removeEventListener("change", again);
      watch.disconnect();
    };
  }, []);
  useEffect(() => {
    let ended = false;
    let resize = null;
    library().then(
      (uPlot) => {
        if (ended) return;
        const width = frame.current.clientWidth;
        chart.current = new uPlot({ width, height, ...options(uPlot, width) }, data, frame.current);
        resize = new ResizeObserver(([entry]) => {
          const now = Math.floor(entry.contentRect.width);
          if (now > 0 && now !== chart.current?.width) chart.current.setSize({ width: now, height });
        });
        resize.observe(frame.current);
      },
      (error) => setFailed(error),
    );
    return () => {
      ended = true;
      resize?.disconnect();
      chart.current?.destroy();
      chart.current = null;
    };
  }, [version, theme, height]);
  useEffect(() => chart.current?.setData(data), [data]);
  return html`<figure class="chart">
    ${failed ? html`<p class="hint">${failed.message}</p>` : html`<div ref=${frame} role="img" aria-label=${label}></div>`}
    ${table &&
    html`<details class="chart-table"><summary>As a table</summary>
      <div class="table-frame" tabindex="0" role="region" aria-label=${label}><table>
        <thead><tr>${table.head.map((text) => html`<th key=${text} scope="col">${text}</th>`)}</tr></thead>
        <tbody>${table.rows.map((row, i) => html`<tr key=${i}>${row.map((cell, j) => html`<td key=${j}>${cell}</td>`)}</tr>`)}</tbody>
      </table></div></details>`}
  </figure>`;
}
