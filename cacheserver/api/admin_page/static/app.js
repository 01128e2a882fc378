// The frame: who is signed in, the list of screens, and the screen of the address.
import { html, render, useEffect, useRef, useState } from "./lib/html.js";
import { checkConnection, get, onConnection, send, setCsrfToken, signOut } from "./lib/api.js";
import { Dialog } from "./lib/dialog.js";
import { Field, Form, useForm } from "./lib/form.js";
import { Button, ErrorBox, Notices, Skeleton, notify } from "./lib/parts.js";
import { followLinks, screenUrl, useRoute } from "./lib/router.js";
import { useStored } from "./lib/use.js";

// Names are those of `routes.py`. `tenant`: what a tenant's key may see, too.
const SCREENS = [
  ["overview", "Overview", { tenant: true }],
  ["tuning", "Tuning", {}],
  ["review", "Review", {}],
  ["requests", "Requests", { tenant: true }],
  ["entries", "Entries", { tenant: true }],
  ["tenants", "Tenants and budgets", {}],
  ["prompts", "Prompt cache and routing", {}],
  ["jobs", "Jobs", {}],
  ["settings", "Settings", {}],
  ["trail", "Audit trail", {}],
];

const CHECK_MS = 3000; // a server that starts again takes about as long

/** The key in a link that `scripts/serve` printed; it leaves the address at once. */
function keyInAddress() {
  if (!location.hash.startsWith("#key=")) return null;
  const key = location.hash.slice("#key=".length);
  history.replaceState(null, "", location.pathname + location.search);
  try {
    return decodeURIComponent(key);
  } catch {
    return key; // the server says that it is no key
  }
}

function App() {
  const [session, setSession] = useState(null);
  const [error, setError] = useState(null);
  const start = async () => {
    setError(null);
    try {
      const key = keyInAddress();
      const found = await get("/admin/session");
      // Somebody else's link must not take the place of a session.
      accept(key && !found.signed_in ? await send("POST", "/admin/session", { key }) : found);
    } catch (failed) {
      if (failed.offline) setError(failed);
      else setSession({ signed_in: false, problem: failed.message });
    }
  };
  const accept = (found) => {
    setCsrfToken(found.csrf_token ?? null);
    setSession(found);
  };
  useEffect(() => {
    start();
    return onConnection((state) => {
      // The screen stays, with what was typed on it, under the form to sign in again.
      if (state === "signed-out") setSession((was) => was && { ...was, over: was.signed_in });
    });
  }, []);
  if (error) return html`<main class="sign-in"><${ErrorBox} error=${error} retry=${start} /></main>`;
  if (session === null) return html`<main class="sign-in"><${Skeleton} /></main>`;
  if (!session.signed_in) return html`<${SignIn} session=${session} accept=${accept} />`;
  // Another person begins anew: nothing of the one before stays on the screen.
  const who = JSON.stringify([session.name, session.role, session.tenant]);
  return html`<${Frame} key=${who} session=${session} accept=${accept} />
    ${session.over && html`<${Dialog} title="The session is over">
      <p class="hint">Sign in again to go on. What you typed is kept.</p>
      <${KeyForm} accept=${accept} />
      <div class="actions"><${Button} kind="small" onClick=${() => accept({ signed_in: false })}>Leave the page<//></div>
    <//>`}`;
}

function KeyForm({ accept }) {
  const form = useForm({ key: "" }, async ({ key }) => {
    accept(await send("POST", "/admin/session", { key: key.trim() }));
  });
  return html`<${Form} form=${form} submit="Sign in" asks=${false}>
    <input type="text" name="username" value="admin" autocomplete="username" hidden />
    <${Field} form=${form} name="key" label="Admin key" type="password" autofocus
      autocomplete="current-password" spellcheck="false"
      hint="An admin key, or a tenant's key to see that tenant's own data." />
  <//>`;
}

function SignIn({ session, accept }) {
  useEffect(() => {
    document.title = "Sign in · cacheserver";
  }, []);
  return html`<main class="sign-in">
    <div class="card">
      <h1><${Mark} /> cacheserver</h1>
      ${session.problem && html`<p class="field-error" role="alert">${session.problem}</p>`}
      <${KeyForm} accept=${accept} />
      <p class="hint">No key yet? <code>cacheserver admin-key create</code> makes one on the server.</p>
    </div>
  </main>`;
}

function Mark() {
  return html`<svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
    <rect width="32" height="32" rx="7"/>
    <path d="M8 11h16M8 16h16M8 21h10"/><circle cx="23" cy="21" r="2.6"/></svg>`;
}

function Frame({ session, accept }) {
  const { screen, params } = useRoute();
  const [open, setOpen] = useState(false);
  const [online, setOnline] = useState(true);
  const screens = SCREENS.filter(([, , { tenant }]) => session.role !== null || tenant);
  const shown = screens.find(([name]) => name === screen);
  const known = SCREENS.some(([name]) => name === screen);
  useEffect(() => setOpen(false), [screen]);
  useEffect(() => onConnection((state) => setOnline(state !== "offline")), []);
  useEffect(() => {
    if (online) return undefined;
    const timer = setInterval(checkConnection, CHECK_MS);
    return () => clearInterval(timer);
  }, [online]);
  const [leaving, setLeaving] = useState(false);
  const leave = async () => {
    setLeaving(true);
    try {
      accept(await signOut());
    } catch (error) {
      notify(error.message, "bad");
    } finally {
      setLeaving(false);
    }
  };
  return html`<a class="skip" href="#screen">To the content</a>
    <div class="frame">
      <nav class=${`side ${open ? "open" : ""}`} aria-label="Screens">
        <div class="brand">
          <a href="/admin/overview"><${Mark} /> cacheserver</a>
          <button type="button" class="menu" aria-expanded=${open} aria-controls="screens"
            onClick=${() => setOpen(!open)}>Menu</button>
        </div>
        <div id="screens" class="side-body">
          <ul>
            ${screens.map(([name, label]) => html`<li key=${name}>
              <a href=${screenUrl(name)} aria-current=${name === screen ? "page" : undefined}>${label}</a>
            </li>`)}
          </ul>
          <div class="side-foot">
            <p>${session.tenant ? `Tenant ${session.tenant}` : session.name}
              <span class="hint"> ${session.role ?? "read only"}</span></p>
            <${Theme} />
            <${Button} kind="small" busy=${leaving} onClick=${leave}>Sign out<//>
            <a href="/docs" target="_blank" rel="noopener">API</a>
          </div>
        </div>
      </nav>
      <div class="content">
        ${!online && html`<p class="banner tone-bad" role="alert">The server cannot be reached. What is shown may be old.</p>`}
        ${session.simulated && html`<p class="banner">A simulated Claude answers here: answers and money are made up.</p>`}
        <main id="screen" tabindex="-1">
          ${shown
            ? html`<${Screen} key=${screen} name=${screen} session=${session} params=${params} />`
            : html`<h1>${known ? "Not for this key" : "No such page"}</h1>
                <p>${known ? "This key does not open that screen." : html`There is no screen <code>${screen}</code>.`}
                  ${" "}<a href=${screenUrl(screens[0][0])}>Go to ${screens[0][1]}</a></p>`}
        </main>
      </div>
    </div>
    <${Notices} />`;
}

/** Load a screen's file when it is first shown. */
function Screen({ name, session, params }) {
  const [found, setFound] = useState({ screen: null, error: null });
  const area = useRef(null);
  const tries = useRef(0);
  const load = () => {
    setFound({ screen: null, error: null });
    // A browser may remember that an address could not be loaded.
    const again = tries.current === 0 ? "" : `?again=${tries.current}`;
    import(`./screens/${name}.js${again}`).then(
      (module) => setFound({ screen: module.default, error: null }),
      async () => {
        tries.current += 1;
        const error = (await checkConnection())
          ? { message: "This screen could not be loaded. The server may have another version: load the page again." }
          : { status: 0, message: "This screen could not be loaded: the server cannot be reached." };
        setFound({ screen: null, error });
      },
    );
  };
  useEffect(load, [name]);
  useEffect(() => {
    // What a screen reader reads after a click on a link; not at the first load.
    if (found.screen && document.activeElement?.closest(".side")) area.current?.querySelector("h1")?.focus();
  }, [found.screen]);
  if (found.error) return html`<${ErrorBox} error=${found.error} retry=${load} />`;
  if (!found.screen) return html`<${Skeleton} lines=${6} />`;
  return html`<div ref=${area}><${found.screen} session=${session} params=${params} /></div>`;
}

function Theme() {
  const [theme, setTheme] = useStored("theme-choice", "system");
  const next = { system: "light", light: "dark", dark: "system" };
  useEffect(() => {
    const root = document.documentElement;
    try {
      if (theme === "system") localStorage.removeItem("theme");
      else localStorage.setItem("theme", theme);
    } catch {
      // storage is switched off: the choice lasts as long as the page
    }
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
  }, [theme]);
  return html`<${Button} kind="small" onClick=${() => setTheme(next[theme])}>Colours: ${theme}<//>`;
}

followLinks();
const root = document.getElementById("app");
root.replaceChildren();
render(html`<${App} />`, root);
