// Dialogs: the browser's own element keeps the focus inside and closes on Escape.
import { html, useEffect, useRef } from "./html.js";
import { Field, Form, useForm } from "./form.js";

/** A dialog that is open while it is rendered. `onClose` is called when it should go. */
export function Dialog({ title, onClose, wide = false, children }) {
  const element = useRef(null);
  useEffect(() => {
    element.current.showModal();
    element.current.querySelector("input, select, textarea")?.focus();
  }, []);
  const clicked = (event) => event.target === element.current && onClose();
  return html`<dialog ref=${element} class=${wide ? "wide" : ""} aria-label=${title}
    onClick=${clicked} onCancel=${(event) => {
      event.preventDefault();
      onClose();
    }}>
    <div class="dialog-body">
      <div class="card-head">
        <h2>${title}</h2>
        <button type="button" class="close" aria-label="Close" onClick=${onClose}>×</button>
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
    <${Form} form=${form} submit=${submit} kind="danger" cancel=${onClose}>
      ${phrase !== null &&
      html`<${Field} form=${form} name="confirm" label=${html`Type <code>${phrase}</code> to confirm`}
        autocomplete="off" />`}
    <//>
  <//>`;
}
