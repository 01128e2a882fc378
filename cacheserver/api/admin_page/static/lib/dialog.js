// Dialogs: the browser's own element keeps the focus inside.
import { html, useEffect, useRef } from "./html.js";
import { Field, Form, useForm } from "./form.js";
import { hasUnsaved, mayDiscard } from "./unsaved.js";

/**
 * A dialog that is open while it is rendered. `onClose` is called when it should go; without one it
 * cannot be dismissed. `keep`: it shows what cannot be shown again, so only its buttons close it.
 * A form with changes in it is closed by Escape or "×" after a question, and never by the backdrop.
 */
export function Dialog({ title, onClose, wide = false, keep = false, children }) {
  const element = useRef(null);
  const pressed = useRef(false); // whether the pointer went down on the backdrop
  useEffect(() => {
    const dialog = element.current;
    const before = document.activeElement;
    dialog.showModal();
    dialog.querySelector("input:not([hidden]), select, textarea")?.focus();
    // On the window: a button that is replaced leaves the keyboard outside of the dialog.
    const key = (event) => {
      if (event.key !== "Escape" || [...document.querySelectorAll("dialog[open]")].at(-1) !== dialog) return;
      event.preventDefault(); // browsers close at the second Escape, whatever `cancel` says
      escape.current();
    };
    addEventListener("keydown", key);
    return () => {
      removeEventListener("keydown", key);
      element.current = null;
      dialog.close(); // what is outside of an open dialog takes no focus
      const next = before?.isConnected && before !== document.body ? before : document.querySelector("main h1");
      next?.focus({ preventScroll: true });
    };
  }, []);
  const busy = () => element.current.querySelector("form [aria-busy=true]") !== null;
  const close = () => onClose && !busy() && mayDiscard(element.current) && onClose();
  const clicked = (event) => {
    const outside = pressed.current && event.target === element.current;
    if (outside && !keep && !hasUnsaved(element.current)) close();
  };
  const escape = useRef(null);
  escape.current = () => !keep && close();
  const cancelled = (event) => {
    if (event.target !== element.current) return; // that of a file's chooser
    event.preventDefault();
    escape.current();
  };
  return html`<dialog ref=${element} class=${wide ? "wide" : ""} aria-label=${title}
    onPointerDown=${(event) => (pressed.current = event.target === element.current)}
    onClick=${clicked} onCancel=${cancelled}>
    <div class="dialog-body">
      <div class="card-head">
        <h2>${title}</h2>
        ${onClose && html`<button type="button" class="close" aria-label="Close" onClick=${close}>×</button>`}
      </div>
      ${children}
    </div>
  </dialog>`;
}

/**
 * Ask before something that cannot be undone. With `phrase` it must be typed. `act(phrase)` does it;
 * an error is shown and the dialog stays.
 */
export function Confirm({ title, children, phrase = null, submit, onClose, act }) {
  const form = useForm({ confirm: "" }, async ({ confirm }) => {
    if (phrase !== null && confirm.trim() !== phrase) {
      throw Object.assign(new Error("is not the phrase"), { field: "confirm" });
    }
    await act(confirm.trim());
    onClose();
  });
  return html`<${Dialog} title=${title} onClose=${onClose}>
    ${children}
    <${Form} form=${form} submit=${submit} kind="danger" cancel=${onClose} asks=${false}>
      ${phrase !== null &&
      html`<${Field} form=${form} name="confirm" label=${html`Type <code>${phrase}</code> to confirm`}
        autocomplete="off" />`}
    <//>
  <//>`;
}
