// Forms: a message stands beside the field that the server names, and nothing typed is lost.
import { html, useId, useState } from "./html.js";
import { fieldMessage } from "./format.js";
import { Button } from "./parts.js";

/**
 * State of a form: `{values, set(name, value), errors, problem, busy, changed, submit, reset, settle}`.
 * `save(values)` sends them; an `ApiError` is shown at each field that its `details` name (`names`
 * translates the server's name into the form's), any other above the buttons.
 */
export function useForm(initial, save, { names = (field) => field } = {}) {
  const [values, setValues] = useState(initial);
  const [errors, setErrors] = useState({});
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const set = (name, value) => {
    setValues((was) => ({ ...was, [name]: value }));
    setErrors(({ [name]: _, ...rest }) => rest);
  };
  const submit = async (event) => {
    event?.preventDefault();
    setBusy(true);
    setErrors({});
    setProblem(null);
    try {
      await save(values);
    } catch (error) {
      // A form's own check names one field.
      const told = error.details ?? (error.field ? [error] : []);
      const wrong = told.map((one) => [names(one.field), fieldMessage(one.message)]).reverse();
      const shown = wrong.filter(([field]) => field in values);
      if (shown.length > 0) {
        setErrors(Object.fromEntries(shown)); // the first of a field stands
        requestAnimationFrame(() => document.querySelector("[aria-invalid=true]")?.focus());
      }
      if (shown.length < Math.max(1, wrong.length)) setProblem(error);
    } finally {
      setBusy(false);
    }
  };
  const changed = JSON.stringify(values) !== JSON.stringify(initial);
  const reset = (next = initial) => {
    setValues(next);
    setErrors({});
    setProblem(null);
  };
  /** Show what was sent as the server has it; what was typed since stays. */
  const settle = (sent, stored) => setValues((was) => Object.fromEntries(
    Object.entries(was).map(([name, value]) => [name, value === sent[name] ? stored[name] : value]),
  ));
  return { values, set, errors, problem, busy, changed, submit, reset, settle };
}

/**
 * A field of a form with its label, hint and error. `type`: "text", "number", "password",
 * "datetime-local", "textarea", "select" (`options`: `[[value, text], ...]`) or "checkbox".
 */
export function Field({ form, name, label, hint, type = "text", options, origin, ...rest }) {
  const id = useId();
  const error = form.errors[name];
  const value = form.values[name];
  const described = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ");
  const common = {
    id,
    name,
    "aria-invalid": error ? "true" : undefined,
    "aria-describedby": described || undefined,
    ...rest,
  };
  const onInput = (event) => form.set(name, event.currentTarget.value);
  let control;
  if (type === "textarea") {
    control = html`<textarea ...${common} value=${value ?? ""} onInput=${onInput}></textarea>`;
  } else if (type === "select") {
    control = html`<select ...${common} value=${value ?? ""} onChange=${onInput}>
      ${options.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === value}>${text}</option>`)}
    </select>`;
  } else if (type === "checkbox") {
    control = html`<input ...${common} type="checkbox" checked=${Boolean(value)}
      onChange=${(event) => form.set(name, event.currentTarget.checked)} />`;
  } else {
    control = html`<input ...${common} type=${type} value=${value ?? ""} onInput=${onInput} />`;
  }
  return html`<div class=${`field ${type === "checkbox" ? "field-check" : ""}`}>
    <label for=${id}>${label}${origin && html` <span class="origin">${origin}</span>`}</label>
    ${control}
    ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
    ${error && html`<p class="field-error" id=${`${id}-error`}>${error}</p>`}
  </div>`;
}

/**
 * A form around fields, with its buttons; who may not send it sees none that would. Leaving it with
 * changes asks first; `asks` false: nothing is lost with it, as in a form that only looks something up.
 */
export function Form({ form, submit = "Save", cancel, kind = "primary", may = true, asks = true, children }) {
  // While it is saved it may lead elsewhere itself.
  const unsaved = asks && form.changed && !form.busy;
  return html`<form onSubmit=${form.submit} novalidate data-unsaved=${unsaved ? "" : undefined}>
    ${children}
    ${form.problem && html`<p class="field-error" role="alert">${form.problem.message}</p>`}
    <div class="actions form-actions">
      ${may && html`<${Button} type="submit" kind=${kind} busy=${form.busy}>${submit}<//>`}
      ${cancel && html`<${Button} onClick=${cancel}>Cancel<//>`}
    </div>
  </form>`;
}
